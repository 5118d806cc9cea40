"""An encoder for each modality: what it sees, how they are fused, and what that costs beside a plain U-Net."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import Operations
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from autoseg.core.fusion import METHODS
from autoseg.core.inputs import InputGroup, InputSpec
from autoseg.parts.networks import plain_unet
from autoseg.parts.networks._multi_encoder_unet import FUSIONS
from autoseg.parts.networks.multi_encoder_unet import MOST_ENCODERS, WHOLE, Spec

ALL = pytest.mark.parametrize("fusion", METHODS)
BOTH = pytest.mark.parametrize("dimensions", [2, 3])
PATCH = (8, 16, 12)
HEADS = 3


def spec_of(dimensions: int, fusion: str = METHODS[0], groups: tuple[tuple[int, ...], ...] = ()) -> Spec:
    return Spec(
        features=(16, 24, 32),
        kernels=((1, 3, 3)[-dimensions:], *((3,) * dimensions,) * 2),
        strides=((1,) * dimensions, (1, 2, 2)[-dimensions:], (2,) * dimensions),
        blocks_encoder=(2, 1, 2),
        blocks_decoder=(1, 2),
        fusion=fusion,
        groups=groups,
    )


def built(spec: Spec, inputs: InputSpec, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return spec.build(inputs, HEADS)


@ALL
@BOTH
@pytest.mark.parametrize("groups", [(), ((0, 2), (1, 3)), ((3,), (0, 1, 2))])
def test_all_scales_come_out_and_every_weight_has_a_gradient(
    fusion: str, dimensions: int, groups: tuple[tuple[int, ...], ...]
) -> None:
    network, patch = built(spec_of(dimensions, fusion, groups), InputSpec.of_image(4)), PATCH[-dimensions:]
    assert len(network.encoder) == (len(groups) or 4)
    logits = network(torch.randn(2, 4, *patch))
    halved = [edge // step for edge, step in zip(patch, (1, 2, 2)[-dimensions:])]
    assert [tuple(scale.shape) for scale in logits] == [(2, HEADS, *patch), (2, HEADS, *halved)]
    sum(scale.square().mean() for scale in logits).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


@ALL
@BOTH
def test_prediction_equals_the_training_pass_and_its_maps_make_the_finest_logits(fusion: str, dimensions: int) -> None:
    network, images = built(spec_of(dimensions, fusion), InputSpec.of_image(3)), torch.randn(1, 3, *PATCH[-dimensions:])
    expected = network(images)[0]
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[0], expected, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(network.last(network.maps(images)), expected, atol=2e-5, rtol=1e-4)


def swapped(network: nn.Module, order: list[int]) -> dict[str, Tensor]:
    """Its weights, those of encoder ``order[i]`` at the place of encoder i."""
    state = network.state_dict()
    found = dict(state)
    for place, other in enumerate(order):
        begin = f"encoder.{other}."
        found |= {f"encoder.{place}.{key[len(begin) :]}": state[key] for key in state if key.startswith(begin)}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["mean_maximum", "attention"])
@BOTH
@settings(max_examples=10)
@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
def test_the_order_of_the_modalities_makes_no_difference(
    fusion: str, dimensions: int, order: list[int], seed: int
) -> None:
    """Images and encoders in another order give the same logits, up to rounding."""
    spec, inputs = spec_of(dimensions, fusion), InputSpec.of_image(4)
    network, other = built(spec, inputs, seed), built(spec, inputs, seed + 1)
    other.load_state_dict(swapped(network, order))
    images = torch.randn(1, 4, *PATCH[-dimensions:])
    for one, two in zip(network(images), other(images[:, order])):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_an_encoder_sees_its_channels_with_all_their_slices_and_what_comes_beside_the_image() -> None:
    extra = InputGroup("prior", "labels", 2)
    inputs = InputSpec.of_image(3, slices=3, extras=(extra,))
    network = built(spec_of(2, groups=((0, 2), (1,))), inputs)
    images = torch.randn(1, inputs.seen, *PATCH[-2:], requires_grad=True)
    seen = []
    for encoder in network.encoder:
        encoder[0].register_forward_hook(lambda _, given, maps: seen.append(maps))
    network(images)
    of_image = [torch.autograd.grad(maps.square().sum(), images, retain_graph=True)[0] for maps in seen]
    reached = [[channel for channel in range(inputs.seen) if grad[:, channel].any()] for grad in of_image]
    assert reached == [[0, 1, 2, 6, 7, 8, 9, 10], [3, 4, 5, 9, 10]]


@ALL
def test_a_modality_that_is_all_zeros_leaves_everything_finite(fusion: str) -> None:
    network, images = built(spec_of(3, fusion), InputSpec.of_image(2)), torch.randn(2, 2, *PATCH)
    images[:, 1] = 0
    logits = network(images)
    sum(scale.square().mean() for scale in logits).backward()
    assert all(torch.isfinite(scale).all() for scale in logits)
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[0], logits[0], atol=2e-5, rtol=1e-4)


def test_attention_is_a_mean_with_weights_of_each_voxel_that_sum_to_one() -> None:
    torch.manual_seed(0)
    fuse = FUSIONS["attention"](3, 8, 8, 2)
    with torch.no_grad():
        fuse.mix.weight.copy_(torch.eye(8)[..., None, None])
        fuse.mix.bias.zero_()
        same = torch.randn(1, 8, 5, 5)
        torch.testing.assert_close(fuse([same] * 3), same)
        maps = [torch.randn(1, 8, 5, 5) for _ in range(3)]
        fused, stacked = fuse(maps), torch.stack(maps)
        assert (fused <= stacked.amax(0) + 1e-6).all() and (fused >= stacked.amin(0) - 1e-6).all()
        fuse.score.weight.mul_(1e4)  # then the encoder with the largest score is taken alone
        nearest = (fuse(maps) - stacked).abs().amax(2).amin(0)
        assert (nearest < 1e-4).float().mean() > 0.9
        assert (fuse(maps) - stacked.mean(0)).abs().max() > 0.1


def test_mean_and_maximum_are_those_over_the_encoders() -> None:
    fuse = FUSIONS["mean_maximum"](3, 4, 8, 3)
    maps = [torch.randn(2, 4, 3, 4, 5) for _ in range(3)]
    with torch.no_grad():
        fuse.mix.weight.copy_(torch.eye(8)[..., None, None, None])
        fuse.mix.bias.zero_()
        mean, maximum = fuse(maps).split(4, 1)
    stacked = torch.stack(maps)
    torch.testing.assert_close(mean, stacked.mean(0))
    torch.testing.assert_close(maximum, stacked.amax(0))


@ALL
@BOTH
def test_training_uses_nothing_that_is_not_deterministic_on_a_gpu(fusion: str, dimensions: int) -> None:
    with torch.device("meta"), Operations() as ran:
        network = built(spec_of(dimensions, fusion), InputSpec.of_image(2))
        images = torch.empty(2, 2, *PATCH[-dimensions:])
        sum(scale.float().square().mean() for scale in network(images)).backward()
    assert {"convolution", "convolution_backward", "leaky_relu_backward"} <= ran.names
    assert ran.not_deterministic == set()


@ALL
def test_it_computes_in_half_precision(fusion: str) -> None:
    network = built(spec_of(3, fusion), InputSpec.of_image(2))
    seen: list[torch.dtype] = []
    for fuse in network.fusions:
        fuse.mix.register_forward_hook(lambda _, given, maps: seen.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(1, 2, *PATCH))
    assert logits[0].dtype == torch.float32 and torch.isfinite(logits[0]).all()
    assert seen == [torch.bfloat16] * 3, "maps in float32 would take twice the memory"


def flops(network: nn.Module, channels: int, patch: tuple[int, ...]) -> int:
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, channels, *patch, device="meta"))
    return int(counter.get_total_flops())


def elements(network: nn.Module, channels: int, patch: tuple[int, ...]) -> int:
    """Of all feature maps that convolutions give."""
    counted = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            module.register_forward_hook(lambda _, given, maps: counted.append(maps.numel()))
    network(torch.empty(1, channels, *patch, device="meta"))
    return sum(counted)


@pytest.mark.slow
@ALL
@BOTH
@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("encoders", [2, MOST_ENCODERS])
def test_it_costs_about_what_a_plain_u_net_of_its_rung_costs(
    fusion: str, dimensions: int, size: int, encoders: int
) -> None:
    """Multiplications; weights; and feature maps, which grow with the root of the number of encoders."""
    spacing, patch = (1.0,) * dimensions, (128, 128) if dimensions == 2 else (64, 64, 64)
    ours = replace(Spec.ladder(spacing, patch)[size], fusion=fusion)
    plain = plain_unet.Spec.ladder(spacing, patch)[size]
    assert (ours.features, ours.strides) == (plain.features, plain.strides)
    inputs = InputSpec.of_image(encoders)
    with torch.device("meta"):
        one, other = ours.build(inputs, 2), plain.build(inputs, 2)
    assert 0.75 < flops(one, encoders, patch) / flops(other, encoders, patch) < 1.35
    weights = [sum(weight.numel() for weight in network.parameters()) for network in (one, other)]
    assert 0.85 < weights[0] / weights[1] < 1.35
    assert 1.0 < elements(one, encoders, patch) / elements(other, encoders, patch) < 1.25 * math.sqrt(encoders)


def test_feature_maps_of_an_encoder_are_whole_blocks_unless_there_are_fewer() -> None:
    spec = spec_of(3)
    assert spec.own_features(4) == (8, 16, 16) and spec.own_features(2) == (8, 16, 24)
    assert replace(spec, features=(4, 6, 8)).own_features(4) == (2, 3, 4)
    for encoders in range(2, MOST_ENCODERS + 1):
        for size in Spec.ladder((1.0, 1.0, 1.0), (128, 128, 128)):
            assert all(count % WHOLE == 0 for count in size.own_features(encoders))


@pytest.mark.parametrize(
    ("groups", "channels", "said"),
    [
        ((), 1, "the images have one channel only"),
        ((), MOST_ENCODERS + 1, r"7 encoders are more than 6: let channels share one \(--groups"),
        (((0, 1, 2),), 3, "at least two groups"),
        (((0, 1), ()), 2, "at least two groups, of at least one channel"),
        (((0,), (1,)), 3, "each of the 3 channels must be in one group"),
        (((0, 1), (1, 2)), 3, "each of the 3 channels must be in one group"),
        (((0,), (3,)), 2, "each of the 2 channels must be in one group"),
        (((0,), (-1,)), 2, "each of the 2 channels must be in one group"),
    ],
)
def test_groups_that_are_none_of_the_channels_are_refused(
    groups: tuple[tuple[int, ...], ...], channels: int, said: str
) -> None:
    spec = spec_of(3, groups=groups)
    with pytest.raises(ValueError, match=said):
        spec.check_inputs(InputSpec.of_image(channels))
    with pytest.raises(ValueError, match=said):
        spec.build(InputSpec.of_image(channels), 2)


def test_a_fusion_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="fusion must be one of concatenation, mean_maximum, attention, found 'sum'"):
        replace(spec_of(3), fusion="sum")


def test_what_is_seen_without_data_has_the_shape_of_what_is_computed() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits = spec_of(3, "attention").build(InputSpec.of_image(2), HEADS)(torch.zeros(1, 2, *PATCH))
    assert tuple(logits[0].shape) == (1, HEADS, *PATCH)
