"""What is particular to each network of the field, against values by hand and torch's own functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import Operations
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from autoseg.core.inputs import InputGroup, InputSpec
from autoseg.inference.memory import working_bytes
from autoseg.inference.sliding_window import patches_at_once
from autoseg.parts.networks import conv_lstm_unet, deeplabv3plus, fcn, kiunet, plain_unet, r2unet, saunet, segnet
from autoseg.parts.networks._deeplabv3plus import AtrousBlock, PyramidPooling
from autoseg.parts.networks._interpolation import resized
from autoseg.parts.networks._kiunet import CrossResidualFusion
from autoseg.parts.networks._r2unet import RecurrentConvolution
from autoseg.parts.networks._saunet import DualAttention, Gate, ShapeStream, steepness
from autoseg.parts.networks._segnet import pooled, unpooled
from autoseg.parts.networks._stages import UNetSpec
from autoseg.plan import Plan
from autoseg.settings import Resolved
from autoseg.training.accounting import _Ledger

KINDS: tuple[Any, ...] = (r2unet.Spec, kiunet.Spec, segnet.Spec, fcn.Spec, deeplabv3plus.Spec, saunet.Spec)
EVERY = pytest.mark.parametrize("kind", KINDS, ids=[kind.__module__.rpartition(".")[2] for kind in KINDS])
BOTH = pytest.mark.parametrize("dimensions", [2, 3])
PATCH, HEADS = (8, 16, 12), 3
CPU = torch.device("cpu")


def spec_of(kind: Any, dimensions: int, features: tuple[int, ...] = (8, 12, 16), **fields: Any) -> Any:
    """Three stages; of volumes, the first halving leaves z alone."""
    if issubclass(kind, UNetSpec):
        fields["blocks_decoder"] = (1, 2)
    if kind is deeplabv3plus.Spec:
        fields = {"rates": ((1,) * dimensions, (2,) * dimensions), "low_level": 1} | fields
    if kind is kiunet.Spec:
        fields = {"over_features": (4, 2)} | fields
    return kind(
        features=features,
        kernels=((1, 3, 3)[-dimensions:], *((3,) * dimensions,) * 2),
        strides=((1,) * dimensions, (1, 2, 2)[-dimensions:], (2,) * dimensions),
        blocks_encoder=(2, 1, 2),
        **fields,
    )


def built(kind: Any, dimensions: int, channels: int = 2, **fields: Any) -> Any:
    torch.manual_seed(0)
    return spec_of(kind, dimensions, **fields).build(InputSpec.of_image(channels), HEADS)


def set_to(layer: Any, weights: list[float], bias: float) -> None:
    """Weights of a convolution of single voxels that makes one map."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights).view(layer.weight.shape))
        layer.bias.fill_(bias)


@EVERY
@BOTH
def test_prediction_equals_the_training_pass_and_nothing_depends_on_the_batch(kind: Any, dimensions: int) -> None:
    """Prediction may overwrite maps, and lays them out otherwise."""
    network, images = built(kind, dimensions), torch.randn(2, 2, *PATCH[-dimensions:])
    expected = network(images)
    with torch.inference_mode():
        found = network(images)
        for one, other in zip(found, expected):
            torch.testing.assert_close(one, other, atol=5e-5, rtol=1e-3)
        torch.testing.assert_close(network(images[1:])[0], expected[0][1:], atol=5e-5, rtol=1e-3)
        if last := getattr(network, "last", None):
            torch.testing.assert_close(last(network.maps(images)), expected[0], atol=5e-5, rtol=1e-3)


@EVERY
@BOTH
def test_scales_are_those_that_the_shape_offers(kind: Any, dimensions: int) -> None:
    sizes = [tuple(scale.shape[2:]) for scale in built(kind, dimensions)(torch.randn(1, 2, *PATCH[-dimensions:]))]
    fine, half, quarter = (8, 16, 12)[-dimensions:], (8, 8, 6)[-dimensions:], (4, 4, 3)[-dimensions:]
    expected = {deeplabv3plus.Spec: [fine], fcn.Spec: [fine, half, quarter]}
    assert sizes == expected.get(kind, [fine, half])


@pytest.mark.slow
@EVERY
@BOTH
def test_training_uses_nothing_that_is_not_deterministic_on_a_gpu(kind: Any, dimensions: int) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True), Operations() as ran:
        images = torch.empty(2, 2, *PATCH[-dimensions:])
        sum(scale.square().mean() for scale in built(kind, dimensions)(images)).backward()
    of_a_processor = {"avg_pool3d_backward"} if kind is deeplabv3plus.Spec else set()  # see ``AveragePool``
    assert "convolution_backward" in ran.names and ran.not_deterministic <= of_a_processor


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize(
    ("patch", "dtype"),
    [((384, 384), torch.bfloat16), ((48, 64, 64), torch.bfloat16), ((48, 64, 64), None)],
    ids=["2d-bfloat16", "3d-bfloat16", "3d-float32"],
)
def test_prediction_holds_no_more_than_is_counted(
    kind: Any, patch: tuple[int, ...], dtype: torch.dtype | None, small_plan: Plan
) -> None:
    """On tensors that have a shape and no data, with few weights beside many voxels."""
    network = spec_of(kind, len(patch), (16, 32, 64), **({"over_features": (4, 4)} if kind is kiunet.Spec else {}))
    configuration = replace(small_plan.configuration()[1], patch_size=patch, network=network)
    run = Resolved(CPU, dtype)
    ledger, patches = _Ledger(None), patches_at_once(prod(patch), HEADS, run)
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        module, images = network.build(InputSpec.of_image(1), HEADS).eval(), torch.empty(patches, 1, *patch)
        before = ledger.now
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
            logits = module(images)
    counted = working_bytes(configuration, HEADS, run)
    assert tuple(logits[0].shape) == (patches, HEADS, *patch)
    assert 0.15 * counted < ledger.peak - before < counted


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=3))
def test_maps_are_interpolated_as_torch_does(edges: list[tuple[int, int]]) -> None:
    maps, size = torch.randn(2, 3, *(old for old, _ in edges)), tuple(new for _, new in edges)
    mode = "bilinear" if len(edges) == 2 else "trilinear"
    torch.testing.assert_close(resized(maps, size), functional.interpolate(maps, size, mode=mode), atol=1e-5, rtol=1e-5)


def test_logits_are_interpolated_in_float32_in_half_precision_too() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert resized(torch.randn(1, 1, 4, 4), (8, 8)).dtype == torch.float32


@pytest.mark.parametrize("block", [(2, 2), (1, 3), (2, 2, 2), (1, 2, 2), (3, 1, 2)])
def test_maxima_are_pooled_and_go_back_as_in_torch(block: tuple[int, ...]) -> None:
    """torch numbers places in the whole map; its gradients are compared as well."""
    flat, draw = len(block) == 2, torch.Generator().manual_seed(0)
    pool: Callable[..., Any] = functional.max_pool2d if flat else functional.max_pool3d
    unpool: Callable[..., Any] = functional.max_unpool2d if flat else functional.max_unpool3d
    images = torch.randn(2, 3, *(6 if step != 2 else 4 for step in block), generator=draw)
    results = []
    for own in (True, False):
        given_ = images.clone().requires_grad_()
        maxima, places = pooled(given_, block) if own else pool(given_, block, block, return_indices=True)
        back = unpooled(maxima * 3, places, block) if own else unpool(maxima * 3, places, block, block)
        (back * images.sin()).sum().backward()
        results.append((maxima, back, given_.grad))
    for one, other in zip(*results):
        assert torch.equal(one, other)


def test_segnet_puts_a_maximum_back_where_it_came_from() -> None:
    image = torch.tensor([[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 0.0, 7.0]])[None, None]
    maxima, places = pooled(image, (2, 2))
    assert maxima[0, 0].tolist() == [[5.0, 7.0]] and places[0, 0].tolist() == [[1, 3]]
    back = unpooled(torch.tensor([[[[8.0, 9.0]]]]), places, (2, 2))
    assert back[0, 0].tolist() == [[0.0, 8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]]


def test_nothing_passes_segnets_coarsest_stage_by() -> None:
    """It has no skip connections: where nothing comes up, the result is the same at every voxel inside."""
    network = built(segnet.Spec, 2, 1)
    images = torch.randn(1, 1, 16, 12)
    with torch.no_grad():
        before = network(images)[0]
        for block in network.narrow:  # nothing comes up
            block.norm.weight.zero_()
            block.norm.bias.zero_()
        flat = network(images)[0]
    assert before.std() > 0.01
    torch.testing.assert_close(flat[..., 4:-4, 4:-4], flat[..., 4:5, 4:5].expand(1, HEADS, 8, 4))


def test_recurrences_share_their_weights() -> None:
    """A recurrent convolution by its formula: x(0) = f(W u), x(t) = f(W u + V x(t - 1))."""
    counts = [
        sum(weight.numel() for weight in built(r2unet.Spec, 3, recurrences=times).parameters()) for times in (1, 2, 5)
    ]
    assert len(set(counts)) == 1
    torch.manual_seed(0)
    layer, maps = RecurrentConvolution(4, (3, 3), 2), torch.randn(2, 4, 8, 6)

    def f(driven: Tensor) -> Tensor:
        return functional.leaky_relu(functional.instance_norm(driven), 0.01)

    driven = functional.conv2d(maps, layer.convolution.weight, layer.convolution.bias, padding=1)  # type: ignore[arg-type]
    state = f(driven)
    for _ in range(2):
        state = f(driven + functional.conv2d(state, layer.recurrent.weight, padding=1))  # type: ignore[arg-type]
    torch.testing.assert_close(layer(maps), state, atol=1e-5, rtol=1e-4)


def test_with_every_recurrence_a_convolution_sees_one_voxel_further() -> None:
    seen = []
    for recurrences in (1, 3):
        layer = RecurrentConvolution(2, (3, 3), recurrences)
        layer.norm = nn.Identity()  # type: ignore[assignment]
        maps = torch.randn(1, 2, 15, 15, requires_grad=True)
        layer(maps)[..., 7, 7].sum().backward()
        seen.append(int(maps.grad.abs().sum((0, 1, 2)).count_nonzero()))  # type: ignore[union-attr]
    assert seen == [5, 9]


@BOTH
def test_kiunets_branch_works_at_finer_voxels_and_mirrors_the_u_net(dimensions: int) -> None:
    network, shapes = built(kiunet.Spec, dimensions), []
    for fusion in (*network.fusions_down, *network.fusions_up):
        fusion.register_forward_hook(lambda _, given_, made: shapes.append([tuple(maps.shape[1:]) for maps in made]))
    network(torch.randn(1, 2, *PATCH[-dimensions:]))
    first = [(12, *(8, 8, 6)[-dimensions:]), (4, *(8, 32, 24)[-dimensions:])]
    second = [(16, *(4, 4, 3)[-dimensions:]), (2, *(16, 64, 48)[-dimensions:])]
    assert shapes == [first, second, first], "two stages on the way down, one on the way up"


def test_kiunets_branches_tell_each_other() -> None:
    """Each gets the other's maps, convolved and interpolated, on top of its own."""
    torch.manual_seed(0)
    fusion = CrossResidualFusion(4, 2, (3, 3))
    coarse, fine = torch.randn(1, 4, 4, 6), torch.randn(1, 2, 16, 24)
    to_coarse = fusion.to_coarse(functional.interpolate(fine, (4, 6), mode="bilinear"))
    to_fine = functional.interpolate(fusion.to_fine(coarse), (16, 24), mode="bilinear")
    found = fusion(coarse, fine)
    torch.testing.assert_close(found[0], coarse + to_coarse, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], fine + to_fine, atol=1e-5, rtol=1e-4)


def test_kiunet_is_counted_with_its_finer_maps() -> None:
    spec = spec_of(kiunet.Spec, 3)
    assert spec.held_beside == kiunet.HELD * (4 * 4 + 2 * 4 * 8)
    assert [size.over_features for size in kiunet.Spec.ladder((1.0,) * 3, (64,) * 3)] == [(16,)] * 3
    assert [size.over_features for size in kiunet.Spec.ladder((1.0,) * 2, (64,) * 2)] == [(16, 16)] * 3
    assert [size.over_features for size in kiunet.Spec.ladder((1.0,) * 2, (8, 8))] == [(16,)] * 3


@pytest.mark.parametrize("over", [(), (2, 2, 2), (0,), (1 << 17,)])
def test_a_finer_branch_that_does_not_fit_the_u_net_is_refused(over: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="over_features"):
        spec_of(kiunet.Spec, 2, over_features=over)


def test_a_finer_branch_of_too_many_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="over_features, features and kernels ask for"):
        spec_of(kiunet.Spec, 3, over_features=(1 << 15,))


@pytest.mark.parametrize(("skips", "stages"), [(0, [2]), (1, [1, 2]), (2, [0, 1, 2]), (9, [0, 1, 2])])
def test_fcn_adds_coarse_scores_to_finer_ones(skips: int, stages: list[int]) -> None:
    network, images = built(fcn.Spec, 2, skips=skips), torch.randn(1, 2, 16, 12)
    maps, found = images, []
    for encode in network.encoder:
        maps = encode(maps)
        found.append(maps)
    scores = [head(found[stage]) for head, stage in zip(network.heads, stages)]
    assert len(scores) == len(network.heads) == len(stages)
    total = scores[-1]
    for finer in scores[-2::-1]:
        total = finer + functional.interpolate(total, finer.shape[2:], mode="bilinear")
    expected = functional.interpolate(total, (16, 12), mode="bilinear")
    logits = network(images)
    torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits[-1], scores[-1])
    assert len(logits) == len(stages) + (stages[0] > 0)


@pytest.mark.parametrize("rate", [(1, 1), (2, 3)])
def test_an_atrous_kernel_sees_voxels_that_lie_its_rate_apart(rate: tuple[int, int]) -> None:
    block = AtrousBlock(1, 1, (3, 3), rate)
    block.norm = nn.Identity()  # type: ignore[assignment]
    maps = torch.randn(1, 1, 11, 11, requires_grad=True)
    found = block(maps)
    assert found.shape == maps.shape
    found[0, 0, 5, 5].backward()
    expected = {(5 + y * rate[0], 5 + x * rate[1]) for y in (-1, 0, 1) for x in (-1, 0, 1)}
    assert {tuple(place) for place in maps.grad[0, 0].nonzero().tolist()} == expected  # type: ignore[index]


def test_the_mean_of_the_patch_reaches_every_voxel_of_the_pyramid() -> None:
    """Instance normalisation takes the mean from every map, so what is added before it would be lost."""
    torch.manual_seed(0)
    pyramid = PyramidPooling(spec_of(deeplabv3plus.Spec, 2, rates=()))
    maps = torch.randn(1, 16, 6, 6)
    one, other = pyramid(maps), pyramid(maps + 1)  # the view of single voxels is normalised, and does not see it
    assert ((one - other).abs().amax((2, 3)) > 1e-3).sum() > 6


@pytest.mark.parametrize(
    ("patch", "rates", "strides"),
    [
        ((528, 528), ((6, 6), (12, 12), (18, 18)), 16),
        ((128, 256), ((1, 3), (3, 6), (4, 9)), 16),
        ((64, 128, 192), ((1, 1, 2), (3, 3, 4), (4, 4, 7)), 16),
        ((16, 16), ((1, 1), (3, 3), (4, 4)), 2),
        ((8, 8), ((1, 1), (1, 1), (2, 2)), 2),
    ],
)
def test_rates_are_such_shares_of_the_coarsest_maps_as_in_the_paper(
    patch: tuple[int, ...], rates: tuple[tuple[int, ...], ...], strides: int
) -> None:
    for size in deeplabv3plus.Spec.ladder((1.0,) * len(patch), patch):
        assert size.rates == rates and max(size.divisor) == strides


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rates": ((1, 2, 3),)}, "rates: each needs 2 entries"),
        ({"rates": ((0, 1),)}, "rates must be at least 1"),
        ({"rates": ((1, 1 << 20),)}, "rates must be at most 1024"),
        ({"rates": ((1, 1),) * 17}, "rates: 17 are more than 16"),
        ({"low_level": 2}, "low_level must be at most 1"),
    ],
)
def test_a_pyramid_that_does_not_fit_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spec_of(deeplabv3plus.Spec, 2, **fields)


def test_recurrences_and_skips_are_bounded() -> None:
    for kind, name, value in (
        (r2unet.Spec, "recurrences", 0),
        (r2unet.Spec, "recurrences", 99),
        (fcn.Spec, "skips", -1),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            spec_of(kind, 2, **{name: value})


@BOTH
def test_steepness_is_the_length_of_the_gradient(dimensions: int) -> None:
    """Of a ramp it is the slope inside, of two channels the root of the mean square; of a constant image it is 0."""
    ramp = torch.arange(6.0) * 3
    images = torch.stack([ramp.expand(*(4,) * (dimensions - 1), 6), torch.zeros(*(4,) * (dimensions - 1), 6)])[None]
    assert steepness(images[:, :1])[..., 1:-1].sub(3).abs().max() < 1e-5
    assert steepness(images)[..., 1:-1].sub(3 / 2**0.5).abs().max() < 1e-5
    assert steepness(images[:, 1:]).max() < 2e-3
    thin = steepness(images[:, :, :1])
    assert thin.shape == (1, 1, 1, *images.shape[3:]) and torch.isfinite(thin).all()


def test_an_edge_in_the_image_opens_the_gate_of_the_shape_stream() -> None:
    """A gate that was told to look at one map is open where that is large; the attention likewise follows edges."""
    gate = Gate(2, 3, 2)
    set_to(gate.texture, [0, 8, 0], 0)
    set_to(gate.opening, [0, 0, 1], -4)
    image = torch.zeros(1, 1, 16, 16)
    image[..., 8:] = 4
    steep = steepness(image)
    texture = functional.avg_pool2d(steep, 2).repeat(1, 3, 1, 1)
    opening = gate(torch.randn(1, 2, 16, 16), texture)
    assert opening.shape == (1, 1, 16, 16)
    assert opening[..., 7:9].min() > 0.9 and opening[..., :5].max() < 0.05 and opening[..., 11:].max() < 0.05
    expected = functional.interpolate(8 * texture[:, 1:2], (16, 16), mode="bilinear")
    torch.testing.assert_close(opening, (expected - 4).sigmoid(), atol=1e-4, rtol=1e-4)
    stream = ShapeStream(spec_of(saunet.Spec, 2))
    set_to(stream.attend, [0, 4], -2)
    attention = stream(
        [torch.randn(1, count, 16 // size, 16 // size) for count, size in ((8, 1), (12, 2), (16, 4))], steep
    )
    torch.testing.assert_close(attention, (4 * steep - 2).sigmoid(), atol=1e-5, rtol=1e-4)


def test_a_closed_gate_lets_nothing_of_the_shape_pass() -> None:
    """And what the image's own edges say reaches the last maps of the U-Net."""
    network = built(saunet.Spec, 2, 1)
    stream, texture = network.shape, [torch.randn(1, count, 8 * size, 8) for count, size in ((8, 1), (12, 1), (16, 1))]
    for gate in stream.gates:
        set_to(gate.opening, [0] * gate.opening.weight.numel(), -100)
    steep = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(stream(texture, steep), stream([maps + 1 for maps in texture], steep))
    assert (stream(texture, steep) - stream(texture, steep + 1)).abs().max() > 1e-3


def test_edges_are_looked_for_in_the_image_only() -> None:
    inputs = InputSpec.of_image(2, extras=(InputGroup("prior", "labels", 2),))
    network, seen = spec_of(saunet.Spec, 2).build(inputs, HEADS), []
    network.shape.register_forward_pre_hook(lambda _, given_: seen.append(given_[1]))
    images = torch.randn(1, inputs.seen, 16, 12)
    network(images)
    assert torch.equal(seen[0], steepness(images[:, :2]))


def test_dual_attention_weighs_voxels_and_maps() -> None:
    """(1 + a weight per voxel) times a weight per map, each a sigmoid of convolutions of single voxels."""
    torch.manual_seed(0)
    attention, maps = DualAttention(20, 2), torch.randn(2, 20, 4, 4)
    shown = functional.leaky_relu(functional.conv2d(maps, attention.narrow.weight, attention.narrow.bias), 0.01)
    voxels = functional.conv2d(shown, attention.voxels.weight, attention.voxels.bias).sigmoid()
    means = functional.conv2d(maps.mean((2, 3), keepdim=True), attention.reduce.weight, attention.reduce.bias)
    channels = functional.conv2d(functional.leaky_relu(means, 0.01), attention.channels.weight, attention.channels.bias)
    torch.testing.assert_close(attention(maps), maps * channels.sigmoid() * (1 + voxels), atol=1e-5, rtol=1e-4)
    assert attention.narrow.weight.shape[0] == 10 and attention.reduce.weight.shape[0] == 2


@EVERY
def test_a_network_without_two_stages_is_refused_and_a_ladder_says_why(kind: Any) -> None:
    with pytest.raises(ValueError, match="needs at least two stages"):
        kind.ladder((1.0, 1.0), (3, 3))


def test_weights_are_bounded_before_anything_is_allocated() -> None:
    for kind in KINDS:
        with pytest.raises(ValueError, match="weights, more than"):
            spec_of(kind, 3, features=(8, 1 << 15, 1 << 15))


def test_r2unet_and_saunet_are_the_plain_u_net_of_their_rung_with_other_blocks() -> None:
    plain = plain_unet.Spec.ladder((1.0,) * 3, (64,) * 3)
    for kind in (r2unet.Spec, saunet.Spec, kiunet.Spec, segnet.Spec):
        ladder = kind.ladder((1.0,) * 3, (64,) * 3)
        assert [(size.features, size.strides) for size in ladder] == [(size.features, size.strides) for size in plain]


VOXEL, LARGE = (1, 1, 1), (15, 15, 15)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (plain_unet, {"features": (20000, 500), "kernels": (VOXEL, LARGE)}),
        (segnet, {"features": (20000, 500), "kernels": (VOXEL, LARGE)}),
        (kiunet, {"features": (20000, 4), "kernels": (VOXEL, LARGE), "over_features": (300,)}),
        (deeplabv3plus, {"features": (4000, 500), "kernels": (VOXEL, LARGE), "rates": (VOXEL,) * 16}),
        (deeplabv3plus, {"features": (4, 4000, 4), "kernels": (LARGE, VOXEL, VOXEL)}),
        (conv_lstm_unet, {"features": (30000, 2), "kernels": (VOXEL, VOXEL)}),
    ],
)
def test_wide_stages_beside_large_kernels_are_too_many_weights(kind: Any, fields: dict[str, Any]) -> None:
    """Each stage by itself would not be; between them would lie 30 GB or more."""
    stages = len(fields["features"])
    sizes: dict[str, Any] = {"strides": (VOXEL, *((1, 2, 2),) * (stages - 1)), "blocks_encoder": (1,) * stages}
    if issubclass(kind.Spec, UNetSpec):
        sizes["blocks_decoder"] = (1,) * (stages - 1)
    with pytest.raises(ValueError, match=r"ask for \S+ weights, more than 4e[+]09"):
        kind.Spec(**sizes, **fields)
