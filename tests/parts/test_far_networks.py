"""Networks that look far: what is particular to each, beside values made by hand or by torch."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from operations import Operations
from scipy.ndimage import map_coordinates
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import conv2d, conv3d

from autoseg.configuration import NETWORKS
from autoseg.core.inputs import InputSpec
from autoseg.inference.memory import working_bytes
from autoseg.inference.sliding_window import patches_at_once
from autoseg.parts.networks import conv_lstm_unet, dunet, h_denseunet, plain_unet, primus, transunet
from autoseg.parts.networks._conv_lstm_unet import ConvLSTM
from autoseg.parts.networks._deformable import DeformableConvolution
from autoseg.parts.networks._h_denseunet import DenseStage, SeparableBlock
from autoseg.parts.networks._slices import slices_of, volumes_of, with_neighbours
from autoseg.parts.networks._transformer import Attention, Transformer, angles, positions, turned
from autoseg.parts.networks._unet import Block
from autoseg.plan import Plan
from autoseg.settings import Resolved
from autoseg.training.accounting import _Ledger

ONE = InputSpec.of_image(1)
# The first three are for slices, too.
NAMES = ("transunet", "primus", "dunet", "h_denseunet", "conv_lstm_unet")
SIZES: dict[str, Any] = {
    "features": (4, 8),
    "kernels": ((3, 3, 3),) * 2,
    "strides": ((1, 1, 1), (2, 2, 2)),
    "blocks_encoder": (2, 2),
    "blocks_decoder": (2,),
}
POINTS: dict[str, Any] = SIZES | {"kernels": ((1, 1, 1),) * 2, "blocks_encoder": (1, 1)}
FLAT: dict[str, Any] = SIZES | {"kernels": ((3, 3),) * 2, "strides": ((1, 1), (2, 2))}
SLICES: dict[str, Any] = SIZES | {"kernels": ((1, 3, 3),) * 2, "strides": ((1, 1, 1), (1, 2, 2))}
TOKENS: dict[str, Any] = {
    "features": (4, 8), "strides": ((2, 2, 2),) * 2, "width": 12, "layers": 2, "attention_heads": 2
}  # fmt: skip


def weights_of(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


# Attention


def test_queries_and_keys_that_both_move_have_the_products_they_had() -> None:
    """Whatever the shift, along each axis; the products of pairs that lie differently differ."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 1, 4 * 3 * 5, 14, generator=generator, dtype=torch.float64) for _ in range(2))
    places = positions((4, 3, 5)).double()

    def products(at: Tensor) -> Tensor:
        turns = angles(at, 14)
        return turned(query, turns) @ turned(key, turns).mT

    torch.testing.assert_close(
        products(places + torch.tensor([7.0, -20.0, 3.5])), products(places), atol=1e-5, rtol=1e-5
    )
    assert (products(places * 2) - products(places)).abs().max() > 0.1
    assert (products(places.flip(1)) - products(places)).abs().max() > 0.1, "axes are told apart"


def test_pairs_of_maps_are_turned_as_the_formula_says() -> None:
    """Two axes, six maps: one pair per axis and one that stays; the first wavelength is 2 pi voxels."""
    places, maps = torch.tensor([[0.5, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 0.0, 1.0, 4.0]])
    turned_ = turned(maps, angles(places, 6))
    cos, sin = np.cos, np.sin
    expected = [[cos(0.5), -sin(2.0), 3.0, sin(0.5), cos(2.0), 4.0]]
    torch.testing.assert_close(turned_, torch.tensor(expected, dtype=torch.float32))
    speeds = angles(torch.tensor([[1.0, 0.0]]), 8)[0]
    torch.testing.assert_close(speeds, torch.tensor([1.0, 0.1, 0.0, 0.0]))


def test_attention_without_positions_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, torchs = Attention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(ours.seen.weight)
        torchs.in_proj_bias.copy_(ours.seen.bias)
        torchs.out_proj.load_state_dict(ours.out.state_dict())
        tokens = torch.randn(2, 7, 12)
        torch.testing.assert_close(ours(tokens, torch.zeros(7, 2)), torchs(tokens, tokens, tokens)[0])


@pytest.mark.parametrize(
    "kind", [transunet.Spec(**SIZES, layers=2), primus.Spec(**TOKENS)], ids=["transunet", "primus"]
)
def test_one_corner_is_decided_by_the_opposite_one_whatever_the_patch(kind: Any) -> None:
    """Of a plain U-Net it is not. The same weights take any patch."""
    torch.manual_seed(0)
    network = kind.build(ONE, 2).eval()
    for patch in ((16, 16, 16), (32, 16, 24)):
        image = torch.randn(1, 1, *patch, requires_grad=True)
        logits = network(image)[0]
        assert logits.shape == (1, 2, *patch)
        logits[0, 0, 0, 0, 0].backward()
        assert image.grad is not None and image.grad[..., -1, -1, -1].abs() > 0


def test_a_transformer_adds_little_at_first_and_gives_maps_of_the_same_shape() -> None:
    torch.manual_seed(0)
    transformer, maps = Transformer(12, 3, 2), torch.randn(2, 12, 3, 4, 5)
    made = transformer(maps)
    assert made.shape == maps.shape and made.is_contiguous()
    normal = nn.functional.layer_norm(maps.movedim(1, -1), (12,)).movedim(-1, 1)
    assert (made - normal).abs().max() < 0.2


def test_a_primus_of_the_papers_size_has_its_weights() -> None:
    """Primus-M: 16 layers of 864 maps; twelve times the width's square each, beside tokens and head."""
    spec = primus.Spec.ladder((1.0,) * 3, (128,) * 3)[2]
    assert (spec.width, spec.layers, spec.attention_heads, spec.divisor) == (864, 16, 12, (8, 8, 8))
    with torch.device("meta"):
        network = spec.build(ONE, 2)
    assert weights_of(network.transformer) == pytest.approx(16 * 12 * 864**2, rel=0.01)
    assert primus.Spec.ladder((5.0, 1.0, 1.0), (16, 128, 128))[0].divisor == (2, 8, 8), "fewer voxels of a coarse axis"


# Deformable convolution


@pytest.mark.parametrize("kernel", [(3, 3), (1, 3, 3), (3, 3, 3)])
def test_without_offsets_a_deformable_convolution_is_the_plain_one(kernel: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    axes = len(kernel)
    layer, maps = DeformableConvolution(3, 5, kernel), torch.randn(2, 3, *(4, 6, 5)[-axes:])
    nn.init.zeros_(layer.offsets.weight)
    nn.init.zeros_(layer.offsets.bias)
    nn.init.normal_(layer.bias)
    plain = conv2d if axes == 2 else conv3d
    weight = layer.weight.unflatten(2, kernel)
    expected = plain(maps, weight, layer.bias, padding=tuple(size // 2 for size in kernel))
    torch.testing.assert_close(layer(maps), expected, atol=1e-4, rtol=1e-4)
    layer(maps).square().sum().backward()
    found = layer.weight.grad.clone(), layer.bias.grad.clone()
    layer.zero_grad()
    plain(
        maps, layer.weight.unflatten(2, kernel), layer.bias, padding=tuple(size // 2 for size in kernel)
    ).square().sum().backward()
    for one, other in zip(found, (layer.weight.grad, layer.bias.grad)):
        torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-3)


def test_offsets_of_one_voxel_look_one_voxel_beside_and_of_a_half_between_two() -> None:
    torch.manual_seed(0)
    layer, maps = DeformableConvolution(2, 2, (3, 3, 3)), torch.randn(1, 2, 5, 6, 7)
    weight = layer.weight.unflatten(2, (3, 3, 3))
    offsets = torch.zeros(1, 27, 3, 5, 6, 7)
    offsets[:, :, 1] = 1.0  # along y: what lies there comes here
    moved = torch.cat((maps[:, :, :, 1:], torch.zeros(1, 2, 5, 1, 7)), 3)
    expected = conv3d(moved, weight, layer.bias, padding=1)
    found = layer.at(maps, offsets)
    torch.testing.assert_close(found[:, :, :, 1:], expected[:, :, :, 1:], atol=1e-4, rtol=1e-4)
    mean = (maps + moved) / 2
    offsets[:, :, 1] = 0.5
    expected = conv3d(mean, weight, layer.bias, padding=1)
    torch.testing.assert_close(layer.at(maps, offsets)[:, :, :, 1:], expected[:, :, :, 1:], atol=1e-4, rtol=1e-4)


def test_every_entry_of_the_kernel_is_looked_up_where_its_own_offset_says() -> None:
    """Beside linear interpolation of SciPy, which is 0 beyond the border."""
    torch.manual_seed(0)
    layer, maps, offsets = DeformableConvolution(1, 1, (3, 3)), torch.randn(1, 1, 6, 7), torch.randn(1, 9, 2, 6, 7)
    found = layer.at(maps, offsets)[0, 0].detach().numpy()
    padded, expected = np.pad(maps[0, 0].numpy(), 8), np.full((6, 7), layer.bias.item())
    for entry, (row, column) in enumerate((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)):
        at = np.mgrid[:6, :7] + np.array([row, column])[:, None, None] + offsets[0, entry].numpy()
        expected += layer.weight[0, 0, entry].item() * map_coordinates(padded, at + 8, order=1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_offsets_have_a_limit_within_which_the_gradient_stays() -> None:
    torch.manual_seed(0)
    layer, maps = DeformableConvolution(1, 1, (3, 3)), torch.rand(1, 1, 8, 8)
    nn.init.constant_(layer.offsets.weight, 0.0)
    nn.init.constant_(layer.offsets.bias, 1e3)  # by far beyond the border; now almost three voxels
    padded = nn.functional.pad(maps, (0, 3, 0, 3))[:, :, 3:, 3:]
    expected = conv2d(padded, layer.weight.unflatten(2, (3, 3)), layer.bias, padding=1)
    made = layer(maps)
    torch.testing.assert_close(made[..., 1:, 1:], expected[..., 1:, 1:], atol=0.05, rtol=0.05)
    made.square().sum().backward()
    assert layer.offsets.bias.grad.abs().max() > 0


def test_a_dunet_begins_as_a_plain_u_net_and_deforms_from_its_first_deformable_stage_on() -> None:
    torch.manual_seed(0)
    spec = dunet.Spec(**FLAT, deformable=0)
    network, plain = spec.build(ONE, 2), plain_unet.Spec(**FLAT).build(ONE, 2)
    state = network.state_dict()
    for title, value in plain.state_dict().items():
        value.copy_(state[title].view(value.shape))
    image = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(network(image)[0], plain(image)[0], atol=1e-4, rtol=1e-4)
    coarse = replace(spec, deformable=1).build(ONE, 2)
    deforming = [title for title, module in coarse.named_modules() if isinstance(module, DeformableConvolution)]
    assert deforming == ["encoder.1.1.convolution"]
    assert [size.deformable for size in dunet.Spec.ladder((1.0,) * 3, (32,) * 3)] == [2, 2, 2]


# Context of slices


def test_a_step_of_the_lstm_is_that_of_torch() -> None:
    """Of one voxel the convolution's middle is the cell's matrix; torch has the new values before the last gate."""
    torch.manual_seed(0)
    ours, torchs = ConvLSTM(3, 2), nn.LSTM(3, 2, batch_first=True)
    order = torch.tensor([0, 1, 2, 3, 6, 7, 4, 5])
    with torch.no_grad():
        torchs.weight_ih_l0.copy_(ours.seen.weight[order, :, 1, 1])
        torchs.weight_hh_l0.copy_(ours.kept.weight[order, :, 1, 1])
        torchs.bias_ih_l0.copy_(ours.seen.bias[order])
        torchs.bias_hh_l0.zero_()
        maps = torch.randn(2, 5, 3)  # two volumes of five slices
        as_slices = maps.flatten(0, 1)[..., None, None]
        for reverse in (False, True):
            expected = torchs(maps.flip(1) if reverse else maps)[0]
            expected = expected.flip(1) if reverse else expected
            found = ours(as_slices, 5, reverse=reverse)[..., 0, 0].unflatten(0, (2, 5))
            torch.testing.assert_close(found, expected)
    assert ours.seen.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0], "what is known is kept at first"


def test_a_slice_depends_on_slices_far_away_in_both_directions() -> None:
    torch.manual_seed(0)
    network = conv_lstm_unet.Spec(**SLICES).build(ONE, 2)
    image = torch.randn(2, 1, 9, 8, 8, requires_grad=True)
    network(image)[0][0, :, 4].square().sum().backward()
    assert image.grad is not None
    reached = image.grad.abs().amax((1, 3, 4))
    assert (reached[0] > 0).all() and not reached[1].any(), "all slices of its own volume, none of another"
    torch.nn.init.zeros_(network.backwards.seen.weight)
    torch.nn.init.zeros_(network.backwards.seen.bias)
    image.grad = None
    network(image)[0][0, :, 4].square().sum().backward()
    reached = image.grad.abs().amax((1, 3, 4))[0]
    assert (reached[:5] > 0).all() and not reached[5:].any(), "without the way back, none that comes after"


def test_slices_and_volumes_are_the_same_voxels() -> None:
    volumes = torch.arange(2 * 3 * 4 * 5 * 6).view(2, 3, 4, 5, 6)
    slices = slices_of(volumes)
    assert slices.shape == (8, 3, 5, 6) and torch.equal(slices[5], volumes[1, :, 1])
    assert torch.equal(volumes_of(slices, 4), volumes)
    seen = with_neighbours(volumes)
    assert torch.equal(seen[:, :, 2], torch.cat((volumes[:, :, 1], volumes[:, :, 2], volumes[:, :, 3]), 1))
    assert torch.equal(seen[:, :3, 0], volumes[:, :, 0]) and torch.equal(seen[:, 6:, 3], volumes[:, :, 3])
    assert with_neighbours(volumes[:, :, :1]).shape == (2, 9, 1, 5, 6)


# Dense blocks


def test_each_layer_of_a_dense_block_sees_all_before_it() -> None:
    torch.manual_seed(0)
    stage, seen = DenseStage(2, 8, (3, 3), (2, 2), 3, 5, Block), []
    for layer in (*stage.layers, stage.leave):
        layer.register_forward_pre_hook(lambda _, handed: seen.append(handed[0].detach().clone()))
    made = stage(torch.randn(1, 2, 8, 8))
    assert made.shape == (1, 8, 4, 4)
    assert [maps.shape[1] for maps in seen] == [4, 9, 14, 19]
    for before, after in pairwise(seen):
        assert torch.equal(after[:, : before.shape[1]], before)
    convolutions = sum(9 * maps * out + out + 2 * out for maps, out in ((2, 4), (4, 5), (9, 5), (14, 5)))
    assert weights_of(stage) == convolutions + 19 * 8 + 8 + 2 * 8


def test_a_separable_convolution_has_the_weights_of_one_per_map_and_one_per_voxel() -> None:
    block = SeparableBlock(6, 10, (3, 3, 3), (1, 2, 2))
    assert weights_of(block) == 6 * 27 + 6 * 10 + 10 + 2 * 10
    maps = torch.randn(1, 6, 4, 6, 6)
    assert block(maps).shape == (1, 10, 4, 3, 3)
    whole = torch.einsum("oi,izyx->oizyx", block.mix.weight[..., 0, 0, 0], block.each.weight[:, 0])
    expected = conv3d(maps, whole, block.mix.bias, stride=(1, 2, 2), padding=1)
    torch.testing.assert_close(block.mix(block.each(maps)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("separable", [False, True])
def test_both_halves_of_an_h_denseunet_are_seen_and_learn(separable: bool) -> None:
    torch.manual_seed(0)
    spec = h_denseunet.Spec(**SIZES, growth=3, separable=separable)
    network, image = spec.build(ONE, 2), torch.randn(2, 1, 6, 8, 8)
    hybrid, of_slices = network(image)[:2]
    assert hybrid.shape == of_slices.shape == (2, 2, 6, 8, 8)
    alone = network.slices(slices_of(with_neighbours(image)))[0]
    torch.testing.assert_close(of_slices, volumes_of(alone, 6))
    hybrid.square().mean().backward()
    assert network.slices.encoder[0].enter.convolution.weight.grad.abs().sum() > 0
    first = network.encoder[0].enter
    assert (first.each if separable else first.convolution).in_channels == 1 + 2, "the image and what slices say"


@pytest.mark.slow
def test_the_light_form_has_fewer_weights() -> None:
    whole = h_denseunet.Spec.ladder((1.0,) * 3, (32,) * 3)[0]
    light = replace(whole, separable=True)
    with torch.device("meta"):
        counts = [weights_of(spec.build(ONE, 2)) - weights_of(spec.build(ONE, 2).slices) for spec in (whole, light)]
    assert counts[1] < 0.4 * counts[0]


# Sizes


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_a_gpu_cannot_compute_deterministically_is_deformable_convolution_alone(name: str) -> None:
    network = NETWORKS.load(name).ladder((1.0,) * 3, (32,) * 3)[0]
    with torch.device("meta"), Operations() as ran:
        sum(scale.square().mean() for scale in network.build(ONE, 2)(torch.empty(1, 1, 32, 32, 32))).backward()
    assert {operation[:12] for operation in ran.not_deterministic} == ({"grid_sampler"} if name == "dunet" else set())


def test_what_is_for_volumes_is_refused_for_slices_with_the_reason() -> None:
    for kind in (h_denseunet.Spec, conv_lstm_unet.Spec):
        with pytest.raises(ValueError, match="is for volumes"):
            kind.ladder((1.0, 1.0), (64, 64))
        with pytest.raises(ValueError, match="is for volumes"):
            kind(**FLAT)


@pytest.mark.parametrize(
    ("kind", "fields", "wrong", "message"),
    [
        (transunet.Spec, SIZES, {"layers": 0}, "layers must be at least 1"),
        (transunet.Spec, SIZES, {"attention_heads": 3}, "attention_heads: each of 3 heads"),
        (transunet.Spec, SIZES, {"attention_heads": 2}, "at least 6 in 3-D, and they share 8"),
        (transunet.Spec, POINTS, {"features": (1, 1 << 15)}, "wider than"),
        (transunet.Spec, SIZES, {"features": (4, 1 << 14), "layers": 90}, "weights, more than"),
        (primus.Spec, TOKENS, {"features": (4,)}, "features and strides need one entry for each step"),
        (primus.Spec, TOKENS, {"strides": ((2, 2, 2), (2, 2))}, "every stride needs 2 entries"),
        (primus.Spec, TOKENS, {"strides": ((0, 2, 2), (2, 2, 2))}, "strides must be at least 1"),
        (primus.Spec, TOKENS, {"strides": ((512,) * 3,) * 2}, "weights, more than"),
        (primus.Spec, TOKENS, {"width": 1 << 20}, "width must be at most"),
        (primus.Spec, TOKENS, {"width": 14}, "attention_heads: each of 2 heads must see an even number"),
        (primus.Spec, TOKENS, {"features": (4, 1 << 20)}, "features must be at most"),
        (dunet.Spec, SIZES, {"deformable": 2}, "deformable must be at most 1"),
        (dunet.Spec, SIZES, {"kernels": ((99, 99, 99), (3, 3, 3))}, "weights, more than"),
        (h_denseunet.Spec, SIZES, {"growth": 0}, "growth must be at least 1"),
        (h_denseunet.Spec, SIZES, {"growth": 4096, "blocks_encoder": (100, 100)}, "weights, more than"),
        (conv_lstm_unet.Spec, SIZES, {}, "must be 1 along z"),
        (conv_lstm_unet.Spec, SLICES, {"features": (5, 8)}, "an even number, not 5"),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_or_that_nobody_has_are_refused(
    kind: Any, fields: dict[str, Any], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**fields | wrong)


def test_a_patch_that_cannot_be_cut_into_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="4,4,4 is too small to be cut into tokens"):
        primus.Spec.ladder((1.0,) * 3, (4,) * 3)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("name", "patch"), [*((name, (48, 64, 64)) for name in NAMES), *((name, (256, 256)) for name in NAMES[:3])]
)
@pytest.mark.slow
def test_prediction_holds_no_more_than_is_counted(
    small_plan: Plan, name: str, patch: tuple[int, ...], half: bool
) -> None:
    """On tensors that have a shape and no data."""
    network = NETWORKS.load(name).ladder((1.0,) * len(patch), patch)[0]
    configuration = replace(small_plan.configuration()[1], patch_size=patch, network=network)
    run, ledger = Resolved(torch.device("cpu"), torch.bfloat16 if half else None), _Ledger(None)
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        built = network.build(ONE, 3).eval()
        images = torch.empty(patches_at_once(prod(patch), 3, run), 1, *patch)
        before = ledger.now
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            built(images)
    assert ledger.peak - before < working_bytes(configuration, 3, run)
