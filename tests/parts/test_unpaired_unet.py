"""Modalities that share kernels: each patch is computed as by a plain U-Net with the norms of its modality."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import Operations
from tasks import task_of
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from autoseg.core.inputs import InputGroup, InputSpec
from autoseg.core.missing import MissingChannels
from autoseg.parts.inputs import presence
from autoseg.parts.networks import plain_unet, unpaired_unet
from autoseg.parts.networks._normalisation import ModalityNorm
from autoseg.parts.normalizers import none as untouched
from autoseg.plan import Plan
from autoseg.settings import RunSettings, resolve
from autoseg.training.accounting import step_memory

BOTH = pytest.mark.parametrize("dimensions", [2, 3])
PATCH, HEADS, MODALITIES = (8, 16, 12), 3, 3
TOLD = InputSpec.of_image(MODALITIES, extras=(InputGroup("presence", "heat map", MODALITIES),))
NUMBER = re.compile(r"norm\.of\.(\d+)\.")


def spec_of(dimensions: int, kind: Any = unpaired_unet.Spec) -> Any:
    return kind(
        features=(16, 24, 32),
        kernels=((1, 3, 3)[-dimensions:], *((3,) * dimensions,) * 2),
        strides=((1,) * dimensions, (1, 2, 2)[-dimensions:], (2,) * dimensions),
        blocks_encoder=(2, 1, 2),
        blocks_decoder=(1, 2),
    )


def built(dimensions: int = 3, inputs: InputSpec = TOLD, alike: bool = False) -> Any:
    """With norms that are as far apart as trained ones, or ``alike``."""
    torch.manual_seed(0)
    network = spec_of(dimensions).build(inputs, HEADS)
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, ModalityNorm)):
            drawn = [(torch.rand_like(own.weight) + 0.5, torch.randn_like(own.bias)) for own in norm.of]
            for own, (weight, bias) in zip(norm.of, [drawn[0]] * len(drawn) if alike else drawn):
                own.weight.copy_(weight)
                own.bias.copy_(bias)
    return network


def plain_of(network: nn.Module, modality: int, dimensions: int = 3) -> nn.Module:
    """A plain U-Net of one channel with the kernels of ``network`` and the norms of one modality."""
    state = {
        NUMBER.sub("norm.", name): value
        for name, value in network.state_dict().items()
        if (found := NUMBER.search(name)) is None or int(found[1]) == modality
    }
    plain: nn.Module = spec_of(dimensions, plain_unet.Spec).build(InputSpec.of_image(1), HEADS)
    plain.load_state_dict(state)
    return plain


def patches(modalities: list[int], dimensions: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """One channel (B, 1, *patch), and what the network gets: that channel among empty ones, and which it is."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(len(modalities), 1, *PATCH[-dimensions:], generator=generator)
    whole = torch.zeros(len(modalities), 2 * MODALITIES, *PATCH[-dimensions:])
    for row, (own, modality) in enumerate(zip(image, modalities)):
        whole[row, modality], whole[row, MODALITIES + modality] = own[0], 1
    return image, whole


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("half", [False, True])
def test_with_equal_norms_it_trains_as_a_plain_u_net(dimensions: int, half: bool) -> None:
    """Bit for bit in the forward pass, up to the order of sums in the gradients."""
    network = built(dimensions, alike=True)
    plain, (image, whole) = plain_of(network, 0, dimensions), patches([0, 2, 2, 1], dimensions)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found, expected = network(whole), plain(image)
    assert len(found) == len(expected) == 2 and all(map(torch.equal, found, expected))
    for scales in (found, expected):
        sum(scale.square().mean() for scale in scales).backward()
    tolerance = {"atol": 1e-2, "rtol": 5e-2} if half else {"atol": 1e-6, "rtol": 1e-4}
    gradients = {name: weight.grad for name, weight in plain.named_parameters()}
    for name, weight in network.named_parameters():
        if not NUMBER.search(name):
            torch.testing.assert_close(weight.grad, gradients[name], **tolerance)
    for name, gradient in gradients.items():
        if "norm." in name:
            parts = [network.get_parameter(name.replace("norm.", f"norm.of.{number}.")).grad for number in range(3)]
            torch.testing.assert_close(sum(parts), gradient, **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@BOTH
@settings(max_examples=4)
@given(modalities=st.lists(st.integers(0, MODALITIES - 1), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_each_patch_is_computed_with_the_norms_of_its_modality(
    dimensions: int, half: bool, modalities: list[int], seed: int
) -> None:
    """Whatever stands beside it in the batch, in training and in prediction."""
    network = built(dimensions)
    image, whole = patches(modalities, dimensions, seed)
    for predicting in (False, True):
        with torch.inference_mode(predicting), torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = network(whole)
            for row, modality in enumerate(modalities):
                expected = plain_of(network, modality, dimensions)(image[row : row + 1])
                for one, other in zip(found, expected):
                    tolerance = {"atol": 0.1, "rtol": 0.1} if half else {"atol": 1e-4, "rtol": 1e-3}
                    torch.testing.assert_close(one[row : row + 1], other, **tolerance)


def test_modalities_differ() -> None:
    network = built()
    (_, first), (_, second) = patches([0]), patches([1])
    assert (network(first)[0] - network(second)[0]).abs().max() > 0.1


@BOTH
def test_prediction_equals_the_training_pass_and_its_maps_make_the_finest_logits(dimensions: int) -> None:
    network, (_, whole) = built(dimensions), patches([1, 0], dimensions)
    expected = network(whole)[0]
    with torch.inference_mode():
        torch.testing.assert_close(network(whole)[0], expected, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(network.last(network.maps(whole)), expected, atol=2e-5, rtol=1e-4)


def test_norms_that_no_patch_uses_have_a_gradient_of_exactly_zero() -> None:
    network, (_, whole) = built(), patches([0, 2])
    sum(scale.square().mean() for scale in network(whole)).backward()
    used, unused, other = network.alternatives
    assert len(used) == len(unused) == 2 * 8, "two convolutions, one, two on the way down; one and two on the way up"
    assert all(weight.grad.any() for weight in (*used, *other))
    assert not any(weight.grad.any() for weight in unused)
    alternatives = {id(weight) for weights in network.alternatives for weight in weights}
    assert alternatives == {id(weight) for name, weight in network.named_parameters() if NUMBER.search(name)}


def test_it_is_told_or_sees_which_channel_there_is() -> None:
    untold = spec_of(3).build(InputSpec.of_image(MODALITIES), HEADS)
    told = spec_of(3).build(TOLD, HEADS)
    told.load_state_dict(untold.state_dict())
    _, whole = patches([2, 0])
    for one, other in zip(untold(whole[:, :MODALITIES]), told(whole)):
        assert torch.equal(one, other)
    whole[0, :MODALITIES] = 0  # outside of the image: what it is told counts
    mixed, (_, alone) = told(whole)[0][0], patches([2])
    alone[:, :MODALITIES] = 0
    torch.testing.assert_close(mixed, told(alone)[0][0])
    assert torch.isfinite(untold(torch.zeros(1, MODALITIES, *PATCH))[0]).all()


def test_neighbouring_slices_and_further_inputs_reach_the_kernels() -> None:
    extras = (
        InputGroup("prior", "labels", 2),
        InputGroup("presence", "heat map", 2),
        InputGroup("clicks", "heat map", 1),
    )
    inputs = InputSpec.of_image(2, slices=3, extras=extras)
    network = spec_of(2).build(inputs, HEADS)
    assert network.encoder[0][0].convolution.in_channels == 3 + 2 + 1
    images = torch.randn(1, inputs.seen, *PATCH[-2:])
    images[:, 3:6], images[:, 8], images[:, 9] = 0, 1, 0
    seen: list[Tensor] = []
    network.encoder[0].register_forward_pre_hook(lambda _, handed: seen.append(handed[0]))
    network(images)
    assert torch.equal(seen[0], torch.cat((images[:, :3], images[:, 6:8], images[:, 10:]), 1))


def test_threads_do_not_see_each_others_modality() -> None:
    network = built().eval()
    given = [patches([number % MODALITIES], seed=number)[1] for number in range(12)]

    def predicted(whole: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(whole)[0]
            return logits

    alone = [predicted(whole) for whole in given]
    with ThreadPoolExecutor(4) as pool:
        assert all(map(torch.equal, alone, pool.map(predicted, given)))


@BOTH
def test_training_uses_nothing_that_is_not_deterministic_on_a_gpu(dimensions: int) -> None:
    with torch.device("meta"), Operations() as ran:
        network = spec_of(dimensions).build(TOLD, HEADS)
        images = torch.empty(2, 2 * MODALITIES, *PATCH[-dimensions:])
        sum(scale.float().square().mean() for scale in network(images)).backward()
    assert {"convolution", "convolution_backward", "leaky_relu_backward"} <= ran.names
    assert ran.not_deterministic == set()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_holds_what_that_of_a_plain_u_net_holds(small_plan: Plan, precision: str) -> None:
    one = replace(small_plan.configurations["3d_fullres"], network=spec_of(3, plain_unet.Spec), patch_size=(16, 32, 32))
    missing = MissingChannels({"CT": 0.0, "MR": 0.0}, exclusive=True)
    two = replace(one, network=spec_of(3), normalizers=(untouched.Spec(),) * 2, missing=missing)
    two = replace(two, inputs=(presence.Spec(),))
    run = resolve(RunSettings(device="cpu", precision=precision))
    plain, unpaired = (
        step_memory(task_of(small_plan, one), run, None),
        step_memory(replace(task_of(small_plan, two), channels=("CT", "MR")), run, None),
    )
    beside = unpaired.batch - plain.batch
    assert plain.activations <= unpaired.activations < 1.02 * plain.activations + beside
    assert unpaired.peak < 1.02 * plain.peak + 2 * beside


def test_images_of_one_channel_are_refused() -> None:
    for refused in (spec_of(3).check_inputs, lambda inputs: spec_of(3).build(inputs, HEADS)):
        with pytest.raises(ValueError, match="the images have one channel only"):
            refused(InputSpec.of_image(1))


def test_what_is_seen_without_data_has_the_shape_of_what_is_computed() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits = spec_of(3).build(TOLD, HEADS)(torch.zeros(1, 2 * MODALITIES, *PATCH))
    assert tuple(logits[0].shape) == (1, HEADS, *PATCH)
