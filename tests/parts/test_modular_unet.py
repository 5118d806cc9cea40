"""The U-Net with switches: by default a plain U-Net; what each switch computes, beside torch's functions or by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_step import THREADS, allocated, begun
from operations import Operations
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from autoseg.core.inputs import InputSpec
from autoseg.parts.networks import modular_unet, plain_unet
from autoseg.parts.networks._attention import ATTENTION, Channel, Mixed, NonLocal, Spatial
from autoseg.parts.networks._blocks import BLOCKS, Dense, Inception, Plain, RecurrentResidual, Residual, Separable
from autoseg.parts.networks._context import CONTEXT, Aspp, HybridDilated, PyramidPooling, block_maxima
from autoseg.parts.networks._interpolation import in_bins, resized
from autoseg.parts.networks._norms import ACTIVATIONS, NORMS, Style
from autoseg.parts.networks._residual_unet import ResidualBlock
from autoseg.parts.networks._switches import ENCODERS, SWITCHES, weights
from autoseg.parts.networks.modular_unet import Spec
from autoseg.plan import Plan
from autoseg.reporting.blocks import UNet
from autoseg.reporting.sections.plan import drawn
from autoseg.settings import computes
from autoseg.training.accounting import _Ledger, step_memory

BOTH = pytest.mark.parametrize("dimensions", [2, 3])
PATCH = (8, 16, 16)
SWITCHED = [(name, value) for name, values in SWITCHES.items() for value in values[1:]]
EVERY = pytest.mark.parametrize(("name", "value"), SWITCHED, ids=[f"{name}-{value}" for name, value in SWITCHED])
STYLE = Style(NORMS["instance"], ACTIVATIONS["leaky_relu"])
PLAIN_STYLE = Style(lambda channels: nn.Identity(), lambda maps: maps)  # convolutions alone: all is linear


def shape_of(dimensions: int) -> dict[str, Any]:
    """Of three stages, the second of which halves two axes of three."""
    return {
        "features": (4, 6, 8),
        "kernels": ((1, 3, 3)[-dimensions:], *((3,) * dimensions,) * 2),
        "strides": ((1,) * dimensions, (1, 2, 2)[-dimensions:], (2,) * dimensions),
        "blocks_encoder": (2, 1, 2),
        "blocks_decoder": (1, 2),
    }


def built(dimensions: int, seed: int = 0, **switches: str) -> Any:
    torch.manual_seed(seed)
    return Spec(**shape_of(dimensions)).with_fields(**switches).build(InputSpec.of_image(2), 3)


def noise(dimensions: int, batch: int = 2, channels: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, *PATCH[-dimensions:], generator=torch.Generator().manual_seed(seed))


def trained(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Its logits, after gradients have come to all weights."""
    scales: list[Tensor] = network(images)
    torch.stack([(scale * torch.randn_like(scale)).mean() for scale in scales]).sum().backward()
    return scales


@BOTH
def test_by_default_it_is_the_plain_u_net(dimensions: int) -> None:
    """Weights are called alike; logits are the same, bit by bit, in training and in prediction."""
    network, images = built(dimensions), noise(dimensions)
    plain = plain_unet.Spec(**shape_of(dimensions)).build(InputSpec.of_image(2), 3)
    plain.load_state_dict(network.state_dict())
    assert all(map(torch.equal, network(images), plain(images)))
    with torch.inference_mode():
        assert all(map(torch.equal, network(images), plain(images)))
        assert torch.equal(network.maps(images), plain.maps(images))


def test_every_name_has_something_that_it_stands_for() -> None:
    tables = {"block": BLOCKS, "attention": ATTENTION, "context": CONTEXT, "norm": NORMS, "activation": ACTIVATIONS}
    for name, table in tables.items():
        assert [value for value in SWITCHES[name] if value != "none"] == [*table]
    assert [*SWITCHES["encoder"][1:]] == [*ENCODERS]
    assert all(getattr(Spec(**shape_of(2)), name) == values[0] for name, values in SWITCHES.items())


@EVERY
@BOTH
def test_a_switch_trains_and_predicts_the_same(dimensions: int, name: str, value: str) -> None:
    network, images = built(dimensions, **{name: value}), noise(dimensions)
    before = [weight.detach().clone() for weight in network.parameters()]
    patch, halved = PATCH[-dimensions:], [edge // step for edge, step in zip(PATCH, (1, 2, 2))][-dimensions:]
    logits = trained(network, images)
    assert [tuple(scale.shape) for scale in logits] == [(2, 3, *patch), (2, 3, *halved)]
    assert all(torch.isfinite(scale).all() for scale in logits)
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())
    torch.optim.SGD(network.parameters(), 0.1).step()
    assert any(not torch.equal(old, new) for old, new in zip(before, network.parameters()))
    assert len(before) >= Spec(**shape_of(dimensions)).with_fields(**{name: value}).blocks
    network.eval()
    expected = network(images)[0]
    with torch.inference_mode():
        torch.testing.assert_close(network(images)[0], expected, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(network.last(network.maps(images)), expected, atol=1e-4, rtol=1e-3)


@EVERY
def test_training_uses_nothing_that_is_not_deterministic_on_a_gpu(name: str, value: str) -> None:
    with torch.device("meta"), Operations() as ran:
        network = built(3, **{name: value})
        sum(scale.float().square().mean() for scale in network(torch.empty(2, 2, *PATCH))).backward()
    assert {"convolution", "convolution_backward"} <= ran.names
    looked_up = {"grid_sampler"} if value == "deformable" else set()  # as in dunet
    assert {operation[:12] for operation in ran.not_deterministic} == looked_up


@pytest.mark.parametrize("dimensions", [2, 3])
def test_blocks_that_deform_are_plain_ones_at_first_and_learn_where_to_look(dimensions: int) -> None:
    torch.manual_seed(0)
    plain = built(dimensions).eval()
    deformed = built(dimensions, block="deformable").eval()
    states = plain.state_dict()
    for name, weight in deformed.state_dict().items():
        if "offsets" in name:
            assert not weight.any() or name.endswith("bias")
        else:
            kept = states[name]
            weight.copy_(kept.flatten(2) if weight.shape != kept.shape else kept)
    images = torch.randn(1, 2, *PATCH[-dimensions:])
    for name, weight in deformed.state_dict().items():
        if name.endswith("offsets.bias"):
            weight.zero_()
    torch.testing.assert_close(deformed(images)[0], plain(images)[0], atol=1e-4, rtol=1e-3)
    logits = deformed.train()(images)[0]
    logits.square().mean().backward()
    learned = [weight for name, weight in deformed.named_parameters() if "offsets.weight" in name]
    assert learned and all(weight.grad is not None and weight.grad.any() for weight in learned)


@settings(max_examples=12)
@given(
    st.sampled_from([2, 3]), st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SWITCHES.items()})
)
def test_switches_combine(dimensions: int, switches: dict[str, str]) -> None:
    network = built(dimensions, **switches)
    assert all(torch.isfinite(scale).all() for scale in trained(network, noise(dimensions)))
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


# what blocks compute


def test_a_residual_block_is_that_of_residual_unet_and_starts_as_its_shortcut() -> None:
    one, other = (kind(3, 5, (3, 3), (2, 2), *more) for kind, more in ((Residual, (STYLE,)), (ResidualBlock, ())))
    other.load_state_dict(one.state_dict())
    images = noise(2, channels=3)
    assert torch.equal(one(images), other(images))
    _, second = built(2, block="residual").encoder[0]
    maps = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(second(maps), functional.leaky_relu(maps, 0.01))


def test_a_separable_block_is_a_convolution_whose_kernels_are_products() -> None:
    block = Separable(3, 5, (3, 3), (2, 2), PLAIN_STYLE)
    kernel = block.pointwise.weight * block.depthwise.weight[None, :, 0]
    expected = functional.conv2d(noise(2, channels=3), kernel, block.pointwise.bias, stride=2, padding=1)
    torch.testing.assert_close(block(noise(2, channels=3)), expected)
    assert block.depthwise.weight.numel() + block.pointwise.weight.numel() == 3 * 9 + 3 * 5


def reach(module: nn.Module, channels: int, edge: int = 21) -> list[list[int]]:
    """For every map that the module makes, which voxels along the last axis the middle voxel depends on."""
    images = torch.randn(1, channels, edge, edge, requires_grad=True)
    middle, found = edge // 2, []
    for value in module(images)[0, :, middle, middle]:
        (gradient,) = torch.autograd.grad(value, images, retain_graph=True)
        found.append([place - middle for place in range(edge) if gradient[0, :, middle, place].any()])
    return found


def test_paths_of_an_inception_block_have_a_quarter_a_half_and_a_quarter_and_see_1_3_and_5_voxels() -> None:
    seen = reach(Inception(2, 8, (3, 3), (1, 1), PLAIN_STYLE), 2)
    assert [len(each) for each in seen] == [1, 1, 3, 3, 3, 3, 5, 5]


def test_in_a_dense_stage_every_layer_sees_all_maps_before_it() -> None:
    torch.manual_seed(0)
    stage = Dense(3, 6, (3, 3), (2, 2), 4, STYLE)
    assert [layer.convolution.in_channels for layer in stage.layers] == [3, 6, 9, 12]
    assert {layer.convolution.out_channels for layer in stage.layers} == {3}
    maps = functional.avg_pool2d(noise(2, channels=3), 2)
    for layer in stage.layers:
        maps = torch.cat((maps, layer(maps)), 1)
    torch.testing.assert_close(stage(noise(2, channels=3)), stage.mix(maps))
    assert maps.shape[1] == 15


def test_a_recurrent_convolution_sees_twice_what_it_gave() -> None:
    """Of single voxels without norm or bias: w (x + w (x + w x)) of each unit, and the projection beside both."""
    block = RecurrentResidual(1, 1, (1, 1), (1, 1), PLAIN_STYLE)
    for weight, value in zip(block.parameters(), (2.0, 0.0, 0.5, 0.0, 3.0, 0.0)):
        nn.init.constant_(weight, value)
    assert [name for name, _ in block.named_parameters() if name.startswith("recurrent.0")] == [
        "recurrent.0.convolution.weight",
        "recurrent.0.convolution.bias",
    ]
    projected = 2.0
    first = 0.5 * (projected + 0.5 * (projected + 0.5 * projected))
    second = 3 * (first + 3 * (first + 3 * first))
    assert block(torch.ones(1, 1, 2, 2))[0, 0, 0, 0].item() == pytest.approx(projected + second)


@pytest.mark.parametrize(("encoder", "numbers"), [("vgg", (2, 2, 3)), ("resnet", (1, 3, 4)), ("densenet", (2, 3, 4))])
def test_an_encoder_brings_its_kind_of_block_and_its_numbers(encoder: str, numbers: tuple[int, ...]) -> None:
    spec = Spec(**shape_of(2)).with_fields(encoder=encoder, block="separable")
    assert spec.blocks_encoder == numbers and spec.blocks_decoder == (1, 2)
    assert spec.with_fields(encoder=encoder, blocks_encoder=(1, 1, 1)).blocks_encoder == (1, 1, 1)
    network: Any = spec.build(InputSpec.of_image(1), 2)
    kind = {"vgg": Plain, "resnet": Residual, "densenet": Dense}[encoder]
    stages = [[stage] if isinstance(stage, Dense) else [*stage] for stage in network.encoder]
    assert all(isinstance(block, kind) for block in chain(*stages))
    counted = [len(stage[0].layers) if isinstance(stage[0], Dense) else len(stage) for stage in stages]
    assert counted == [*numbers]
    assert all(isinstance(block, Separable) for stage in network.decoder for block in stage)


# what attention computes


def test_squeeze_and_excitation_scales_each_channel_by_a_weight_from_all_means() -> None:
    """By hand: two channels of means 1 and 3, one hidden unit 1 - 3 + 4 = 2, scores 2 * 0.5 and 2 * -1."""
    gate = Channel(2, (3, 3))
    for weight, value in zip(gate.parameters(), ([[1.0, -1.0]], [4.0], [[0.5], [-1.0]], [0.0, 0.0])):
        weight.data = torch.tensor(value)
    maps = torch.stack((torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 4.0]])))[None]
    weights = [1 / (1 + math.exp(-1.0)), 1 / (1 + math.exp(2.0))]
    torch.testing.assert_close(gate(maps, None)[0], maps[0] * torch.tensor(weights)[:, None, None])


@BOTH
def test_mixed_attention_is_that_of_channels_and_then_that_of_voxels(dimensions: int) -> None:
    torch.manual_seed(0)
    kernel = (1, 3, 3)[-dimensions:]
    gate, maps = Mixed(8, kernel), noise(dimensions, channels=8)
    assert gate.voxels.kernel_size == (1, 7, 7)[-dimensions:]
    axes = [*range(2, 2 + dimensions)]
    pooled = [maps.flatten(2).mean(2), maps.flatten(2).max(2).values]
    weights = sum(gate.second(gate.first(each).relu()) for each in pooled).sigmoid()
    scaled = maps * weights.view(*weights.shape, *(1 for _ in axes))
    beside = torch.stack((scaled.mean(1), scaled.max(1).values), 1)
    convolution = functional.conv2d if dimensions == 2 else functional.conv3d
    expected = scaled * convolution(beside, gate.voxels.weight, padding=gate.voxels.padding).sigmoid()
    torch.testing.assert_close(gate(maps, None), expected)


def test_a_spatial_gate_weighs_voxels_by_what_comes_up() -> None:
    gate, maps = Spatial(2, (3, 3)), noise(2)
    for weight, value in zip(gate.parameters(), (0.0, 0.0, 1.0, 1.0, 0.0)):
        nn.init.constant_(weight, value)  # the score is what comes up, where that is positive
    coming = torch.zeros_like(maps)
    coming[:, 0, 3, 4], coming[:, 0, 5, 6] = 100.0, -100.0
    weighed = gate(maps, coming)
    torch.testing.assert_close(weighed[..., 3, 4], maps[..., 3, 4])
    torch.testing.assert_close(weighed[..., 5, 6], maps[..., 5, 6] / 2)
    torch.testing.assert_close(weighed[..., 0, 0], maps[..., 0, 0] / 2)


@BOTH
@pytest.mark.parametrize("edge", [4, 20])
def test_non_local_attention_is_torchs_over_means_of_bins_and_starts_without_effect(dimensions: int, edge: int) -> None:
    torch.manual_seed(0)
    size = (edge, 6, 5)[:dimensions]
    look, maps = NonLocal(6, (3,) * dimensions), torch.randn(2, 6, *size)
    pool = functional.adaptive_avg_pool2d if dimensions == 2 else functional.adaptive_avg_pool3d
    seen = pool(maps, tuple(min((16, 8)[dimensions - 2], each) for each in size))
    query, key, value = (
        module(each).flatten(2).transpose(1, 2)
        for module, each in ((look.query, maps), (look.key, seen), (look.value, seen))
    )
    found = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(2, 3, *size)
    torch.testing.assert_close(look(maps, None), maps + look.out(found), atol=1e-5, rtol=1e-4)
    network = built(dimensions, attention="non_local")
    assert [*network.attention] == ["1", "2"]
    assert torch.equal(network.attention["2"](torch.ones(1, 8, *size), None), torch.ones(1, 8, *size))


# what contexts compute


@BOTH
@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=3, max_size=3), st.integers(0, 99))
def test_bins_and_back_are_torchs_pooling_and_interpolation(
    dimensions: int, sizes: list[tuple[int, int]], seed: int
) -> None:
    size, other = zip(*sizes[:dimensions])
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))
    pool = functional.adaptive_avg_pool2d if dimensions == 2 else functional.adaptive_avg_pool3d
    torch.testing.assert_close(in_bins(maps, [min(pair) for pair in zip(size, other)]),
                               pool(maps, tuple(min(pair) for pair in zip(size, other))))  # fmt: skip
    larger = tuple(max(pair) for pair in zip(size, other))
    mode = "bilinear" if dimensions == 2 else "trilinear"
    expected = functional.interpolate(maps, larger, mode=mode, align_corners=False)
    torch.testing.assert_close(resized(maps, larger), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("block", [(2, 2, 2), (3, 5, 1), (5, 2, 4)])
def test_maxima_over_blocks_are_max_pooling(block: tuple[int, int, int]) -> None:
    maps = torch.randn(2, 3, 5, 7, 9, dtype=torch.float64).requires_grad_()
    found, expected = block_maxima(maps, block), functional.max_pool3d(maps, block)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each.square().sum(), maps)[0] for each in (found, expected)))


def test_rates_of_dilated_convolutions_leave_no_voxel_out() -> None:
    """1 + 2 + 3 voxels to each side, of each group; a path of aspp sees its rate to each side, and the middle."""
    network = HybridDilated(1, (3, 3), PLAIN_STYLE)
    assert reach(network.groups[0], 1) == [[*range(-6, 7)]]
    assert reach(network, 1, 31) == [[*range(-12, 13)]]
    paths = Aspp(1, (3, 3), PLAIN_STYLE).paths
    assert [reach(path, 1)[0] for path in paths] == [[0], [-1, 0, 1], [-2, 0, 2], [-3, 0, 3]]


def test_pyramid_pooling_and_aspp_see_the_whole_patch() -> None:
    for kind in (Aspp, PyramidPooling):
        assert reach(kind(4, (3, 3), PLAIN_STYLE), 4, 15)[0] == [*range(-7, 8)]


@BOTH
@pytest.mark.parametrize("context", [*CONTEXT])
def test_a_context_keeps_channels_and_size_of_any_stage(dimensions: int, context: str) -> None:
    wide = CONTEXT[context](6, (3,) * dimensions, STYLE)
    for size in ((4, 4, 4), (2, 7, 5), (1, 2, 9)):
        maps = torch.randn(1, 6, *size[-dimensions:])
        assert wide(maps).shape == maps.shape


# what norms and activations compute


def test_group_norm_normalises_groups_of_channels_of_each_patch() -> None:
    norm, maps = NORMS["group"](12), noise(3, channels=12) * 7 + 3
    assert norm.num_groups == 6
    grouped = norm(maps).unflatten(1, (6, 2)).flatten(2)
    torch.testing.assert_close(grouped.mean(2), torch.zeros(2, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(grouped.std(2, correction=0), torch.ones(2, 6), atol=1e-4, rtol=0)
    assert [NORMS["group"](channels).num_groups for channels in (1, 7, 16, 320)] == [1, 7, 8, 8]


def test_group_norm_is_exact_where_channels_lie_last() -> None:
    """A constant background with little noise: torch's own is off by far more there."""
    maps = (100 + torch.randn(1, 8, 32, 48, 48)).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        found = NORMS["group"](8)(maps)
    expected = functional.group_norm(maps.double().contiguous(), 8)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


@BOTH
def test_batch_norm_normalises_the_batch_and_predicts_with_moving_averages(dimensions: int) -> None:
    norm, maps = NORMS["batch"](2), noise(dimensions, batch=4) * 3 + 5
    axes = (0, *range(2, 2 + dimensions))
    made = norm(maps)
    torch.testing.assert_close(made.mean(axes), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm.running_mean, 0.1 * maps.mean(axes))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * maps.var(axes))
    norm.eval()
    shape = (1, 2, *(1 for _ in range(dimensions)))
    mean, variance = norm.running_mean.view(shape), norm.running_var.view(shape)
    torch.testing.assert_close(norm(maps[:1]), (maps[:1] - mean) / (variance + 1e-5).sqrt())


@pytest.mark.parametrize("name", [*ACTIVATIONS])
def test_activations_are_torchs(name: str) -> None:
    kinds = {"leaky_relu": nn.LeakyReLU(), "relu": nn.ReLU(), "elu": nn.ELU(), "gelu": nn.GELU(), "silu": nn.SiLU()}
    values = torch.linspace(-3, 3, 25)
    torch.testing.assert_close(ACTIVATIONS[name](values.clone()), kinds[name](values))
    with torch.inference_mode():
        torch.testing.assert_close(ACTIVATIONS[name](values.clone()), kinds[name](values))


# what cannot be


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(({name: "nope"}, f"{name} must be one of {values[0]}, {values[1]}") for name, values in SWITCHES.items()),
        ({"block": "inception", "features": (2, 6, 8)}, "block inception needs 4 feature maps .* found 2"),
        ({"encoder": "densenet", "features": (60000, 60000, 8)}, "weights, more than"),
        ({"context": "aspp", "features": (4, 6, 1 << 16), "blocks_encoder": (1, 1, 1)}, "weights, more than"),
        ({"features": (4,)}, "at least two stages"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Spec(**shape_of(2) | change)


@EVERY
def test_weights_are_reckoned_before_they_are_made(name: str, value: str) -> None:
    """Roughly, and no fewer than two thirds of what there is: strangers' plans are refused by it."""
    spec = Spec(**shape_of(3) | {"features": (16, 24, 32)}).with_fields(**{name: value})
    with torch.device("meta"):
        network = spec.build(InputSpec.of_image(1), 2)
    made = sum(weight.numel() for weight in chain(network.encoder.parameters(), network.decoder.parameters()))
    assert weights(spec) >= 2 / 3 * made


# what is held in memory


def held(dimensions: int, half: bool, **switches: str) -> tuple[float, Spec]:
    """Finest feature maps in float32 that prediction of a patch holds at most, on tensors without data."""
    strides = ((1,) * dimensions, *((2,) * dimensions,) * 3)
    spec = Spec((16, 32, 64, 64), ((3,) * dimensions,) * 4, strides, (2,) * 4, (2,) * 3).with_fields(**switches)
    patch, ledger = ((1024, 1024), (128, 128, 128))[dimensions - 2], _Ledger(None)  # beside which weights are little
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        network, images = spec.build(InputSpec.of_image(1), 3).eval(), torch.empty(1, 1, *patch)
        before = ledger.now
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            network(images)
    return (ledger.peak - before) / (4 * math.prod(patch)), spec


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize(("dimensions", "half"), [(2, False), (3, True)])
def test_prediction_holds_no_more_than_is_said(dimensions: int, half: bool, name: str, value: str) -> None:
    plain, _ = held(dimensions, half)
    found, spec = held(dimensions, half, **{name: value})
    assert found <= 1.1 * (plain + spec.held_beside)
    more = {"dense": 3, "recurrent_residual": 4}.get(value if name == "block" else "", 0)
    offsets = 3 * dimensions * 3**dimensions if value == "deformable" else 0
    assert spec.held_beside == more * 16 + (offsets and offsets + 32)
    if not half:
        assert found == pytest.approx(plain + spec.held_beside, rel=0.1)


@pytest.mark.slow
def test_where_voxels_look_at_each_other_in_a_fine_stage_it_is_counted() -> None:
    """Two stages only: the coarser one has an eighth of the voxels, each of which looks at 512 bins."""
    spec = Spec((8, 16), ((3,) * 3,) * 2, ((1,) * 3, (2,) * 3), (2, 2), (2,), attention="non_local")
    ledger, patch = _Ledger(None), (32, 64, 64)
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        network, images = spec.build(InputSpec.of_image(1), 3).eval(), torch.empty(1, 1, *patch)
        before = ledger.now
        with torch.no_grad():
            network(images)
    assert (ledger.peak - before) / (4 * math.prod(patch)) == pytest.approx(5 * 8 + spec.held_beside, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    "switches",
    [
        {"block": "dense"},
        {"block": "inception"},
        {"block": "separable"},
        {"block": "recurrent_residual"},
        {"encoder": "densenet"},
        {"attention": "non_local", "context": "aspp"},
        {"attention": "mixed", "activation": "gelu"},
        {"attention": "spatial", "norm": "batch"},
        {"context": "hybrid_dilated", "norm": "group"},
    ],
    ids=lambda switches: "-".join(switches.values()),
)
def test_what_is_counted_of_a_training_step_is_what_torch_allocates(
    small_plan: Plan, switches: dict[str, str], dimensions: int
) -> None:
    """Of slices in float32, of volumes in bfloat16."""
    if not computes(torch.bfloat16):
        pytest.skip("oneDNN's needs were measured with AVX-512 and bfloat16 instructions only")
    strides = ((1,) * dimensions, *((2,) * dimensions,) * 2)
    spec = Spec((16, 32, 32), ((3,) * dimensions,) * 3, strides, (2,) * 3, (2,) * 2).with_fields(**switches)
    before = small_plan.configuration()[1]
    patch, spacing = ((96, 96), (None, 2.0, 2.0)) if dimensions == 2 else ((24, 24, 24), (2.0, 2.0, 2.0))
    changed = replace(before, network=spec, patch_size=patch, spacing=spacing)
    plan = replace(small_plan, configurations={small_plan.default: changed})
    _, state, step, batch = begun(plan, "float32" if dimensions == 2 else "bfloat16")
    counted = step_memory(plan.task(), step.resolved, THREADS)
    assert counted.peak == pytest.approx(allocated(state, step, batch, counted), rel=0.1)


def test_it_is_a_part_with_a_ladder() -> None:
    sizes = modular_unet.Spec.ladder((1.0, 1.0, 1.0), (64, 64, 64))
    assert [size.features[0] for size in sizes] == [16, 32, 32]
    plain = plain_unet.Spec.ladder((1.0, 1.0, 1.0), (64, 64, 64))
    assert [replace(size).features for size in sizes] == [size.features for size in plain]


def test_a_drawing_of_the_plan_names_its_blocks(small_plan: Plan) -> None:
    spec = Spec(**shape_of(3)).with_fields(encoder="densenet", block="recurrent_residual")
    changed = replace(small_plan.configuration()[1], network=spec, patch_size=PATCH)
    picture = drawn(changed, replace(small_plan, configurations={small_plan.default: changed}).task())
    assert isinstance(picture, UNet)
    assert picture.stages[1].down.startswith("3 dense layers") and picture.stages[1].up.startswith(
        "2 recurrent residual"
    )
