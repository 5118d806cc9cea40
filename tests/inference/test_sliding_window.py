"""Patches cover the image, weigh as a Gaussian, and add up to the logits of the whole."""

import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import nn

from autoseg.errors import ModelError
from autoseg.inference.accumulator import Space
from autoseg.inference.mirroring import mirrorings
from autoseg.inference.sliding_window import SlidingWindow
from autoseg.inference.tiles import axis_weights, starts, tiles
from autoseg.settings import RunSettings, resolve

CPU = resolve(RunSettings(device="cpu", precision="float32"))


def sliding_window(networks, image, patch, *, mirror_axes=(), batch_size=2, heads=2, **options) -> np.ndarray:
    """All logits at once, (heads, z, y, x)."""
    sweep = SlidingWindow(
        networks,
        image,
        patch,
        heads=heads,
        batch_size=batch_size,
        mirror_axes=mirror_axes,
        run=CPU,
        whole=True,
        **options,
    )
    return sweep.read(0, sweep.shape[0]).movedim(-1, 0).numpy()


class Pointwise(nn.Module):
    """Logits that depend on one voxel only, so any tiling must give the same; two scales as a network returns them."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        first = x[:, :1]
        return [torch.cat([first, 2 * first + 1], dim=1), first]


class Position(nn.Module):
    """Logits that depend on where the voxel lies in its patch: not equivariant, so the weighting shows."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        ramp = torch.arange(x[0, 0].numel(), dtype=torch.float32).reshape(x.shape[2:])
        return [ramp.expand(x.shape[0], 1, *x.shape[2:]) + x[:, :1]]


# Values that nnU-Net 2.8.1's compute_steps_for_sliding_window returned for step 0.5.
NNUNET_STARTS = [
    (110, 64, [0, 23, 46]),
    (128, 64, [0, 32, 64]),
    (64, 64, [0]),
    (65, 64, [0, 1]),
    (97, 64, [0, 16, 33]),
    (512, 96, [0, 46, 92, 139, 185, 231, 277, 324, 370, 416]),
    (43, 40, [0, 3]),
    (61, 40, [0, 10, 21]),
]


@pytest.mark.parametrize("size, patch, expected", NNUNET_STARTS)
def test_patches_start_where_nnunet_starts_them(size, patch, expected):
    assert starts(size, patch) == expected


@given(st.integers(1, 40), st.integers(0, 300), st.sampled_from([0.25, 0.5, 0.8, 1.0]))
def test_patches_cover_every_voxel_and_overlap_by_the_rest_of_the_step(patch, extra, step):
    size = patch + extra
    found = starts(size, patch, step)
    assert found[0] == 0 and found[-1] == size - patch
    assert all(0 < b - a <= max(1, np.ceil(patch * step)) for a, b in pairwise(found))


def test_a_slice_wise_patch_starts_once_on_every_slice():
    assert starts(7, 1) == list(range(7))


@given(st.integers(1, 40), st.integers(0, 100), st.sampled_from([0.25, 0.5, 1.0]))
def test_weights_sum_to_one_at_every_voxel(patch, extra, step):
    total = np.zeros(patch + extra)
    for start, weights in zip(starts(patch + extra, patch, step), axis_weights(patch + extra, patch, step)):
        total[start : start + patch] += weights
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def reference_window(volume: np.ndarray, patch: tuple[int, int, int]) -> np.ndarray:
    """Accumulate and divide with scipy's Gaussian, as nnU-Net describes it, for the network ``Position``."""
    impulse = np.zeros(patch)
    impulse[tuple(p // 2 for p in patch)] = 1
    gaussian = gaussian_filter(impulse, [p / 8 for p in patch], mode="constant")
    gaussian /= gaussian.max()
    total, weight = np.zeros(volume.shape), np.zeros(volume.shape)
    ramp = np.arange(np.prod(patch)).reshape(patch)
    for tile in tiles(volume.shape, patch):
        total[tile.box.slices] += gaussian * (ramp + volume[tile.box.slices])
        weight[tile.box.slices] += gaussian
    return total / weight


def test_weighting_equals_a_gaussian_accumulated_and_divided():
    volume = np.random.default_rng(0).normal(size=(13, 21, 17)).astype(np.float32)
    found = sliding_window([Position()], volume[None], (8, 12, 16), heads=1, batch_size=3, mirror_axes=())
    np.testing.assert_allclose(found[0], reference_window(volume, (8, 12, 16)), rtol=2e-5, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(1, 14)] * 3), st.sampled_from([(4, 6, 8), (5, 7), (8, 8, 8)]), st.integers(1, 5))
def test_any_size_and_batch_gives_the_logits_of_the_whole(shape, patch, batch_size):
    image = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    found = sliding_window([Pointwise()], image, patch, heads=2, batch_size=batch_size, mirror_axes=(0, 1, 2))
    expected = np.stack([image[0], 2 * image[0] + 1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_three_axes_have_eight_mirrorings_and_the_identity_comes_first():
    assert mirrorings((0, 1, 2))[0] == ()
    assert len(set(mirrorings((0, 1, 2)))) == 8


def test_mirrored_logits_come_back_to_their_voxels():
    image = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    found = sliding_window([Pointwise()], image, (3, 4, 5), mirror_axes=(0, 1, 2))
    np.testing.assert_allclose(found[0], image[0], atol=1e-6)


def test_mirroring_averages_over_all_orientations():
    ramp = np.arange(4.0)
    image = np.array([[[[0, 0, 0, 0.001]]]], np.float32)  # not uniform, so that it is really mirrored
    found = sliding_window([Position()], image, (1, 1, 4), heads=1, mirror_axes=(2,))
    np.testing.assert_allclose(found[0, 0, 0], (ramp + ramp[::-1]) / 2, atol=0.002)


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.full_like(x, self.value)]


def test_folds_are_averaged_as_logits():
    image = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    found = sliding_window([Constant(1), Constant(4)], image, (2, 2, 2), heads=1, mirror_axes=(0,))
    np.testing.assert_allclose(found, 2.5, rtol=1e-6)


def test_a_2d_network_is_mirrored_in_the_plane_only():
    seen = []

    class Recorder(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            seen.append(tuple(x.shape))
            return [x]

    image = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    sliding_window([Recorder()], image, (8, 8), heads=1, mirror_axes=(0, 1, 2))
    assert seen == [(2, 1, 8, 8)] * 6  # three slices in four orientations, two at a time


class UnevenConvolution(nn.Module):
    """The network of benchmarks/oracle_sliding_window.py: one convolution with weights from a formula."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.layer = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(2, 2, 3, padding=1)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                ramp = torch.arange(parameter.numel(), dtype=torch.float32)
                parameter.copy_(torch.sin(ramp).reshape(parameter.shape))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.layer(x)]


@pytest.mark.parametrize("name, patch", [("larger", (8, 12, 10)), ("padded", (16, 12, 24)), ("flat", (12, 10))])
def test_mirrored_logits_of_the_whole_equal_nnunets(name, patch):
    with np.load(Path(__file__).with_name("nnunet_sliding_window.npz"), allow_pickle=False) as stored:
        image, expected = stored["image"], stored[name]
    network = UnevenConvolution(len(patch))
    found = sliding_window([network], image, patch, heads=2, batch_size=2, mirror_axes=(0, 1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


class Differences(nn.Module):
    """What the slices around the middle one hold more than it: (next - middle, middle - before, middle)."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        before, middle, after = x[:, 0:1], x[:, 1:2], x[:, 2:3]
        return [torch.cat([after - middle, middle - before, middle], dim=1)]


def test_a_network_of_several_slices_sees_its_neighbours_and_at_the_border_the_border_again():
    volume = np.random.default_rng(0).normal(size=(1, 5, 9, 11)).astype(np.float32)
    found = sliding_window((Differences(),), volume, (8, 8), heads=3, mirror_axes=(1, 2), slices=3)
    padded = np.pad(volume[0], ((1, 1), (0, 0), (0, 0)), mode="edge")
    np.testing.assert_allclose(found[0], padded[2:] - padded[1:-1], atol=1e-5)
    np.testing.assert_allclose(found[1], padded[1:-1] - padded[:-2], atol=1e-5)
    np.testing.assert_allclose(found[2], volume[0], atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([(4, 6, 8), (5, 7), (8, 4, 4)]),
    st.integers(1, 7),
    st.sampled_from([0.5, 1.0]),
    st.booleans(),
)
def test_slices_read_in_turn_are_those_read_at_once(shape, patch, thickness, step, mapped):
    image = np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)
    expected = sliding_window([Position()], image, patch, heads=1, mirror_axes=(0, 1, 2), step=step)
    space = Space(room=0 if mapped else None)
    sweep = SlidingWindow(
        [Position()], image, patch, heads=1, batch_size=2, mirror_axes=(0, 1, 2), step=step, run=CPU, space=space
    )
    found = [sweep.read(z, min(z + thickness, shape[0])).clone() for z in range(0, shape[0], thickness)]
    np.testing.assert_array_equal(torch.cat(found).movedim(-1, 0).numpy(), expected)


def test_slices_may_be_read_again_with_the_next_ones():
    image = np.random.default_rng(1).normal(size=(1, 30, 6, 6)).astype(np.float32)
    expected = sliding_window([Position()], image, (8, 6, 6), heads=1)
    sweep = SlidingWindow([Position()], image, (8, 6, 6), heads=1, batch_size=2, mirror_axes=(), run=CPU)
    for z in range(28):
        np.testing.assert_array_equal(sweep.read(z, z + 3).movedim(-1, 0).numpy(), expected[:, z : z + 3])


@pytest.mark.parametrize("patch", [(8, 6, 6), (6, 6)])
def test_only_as_many_slices_exist_as_a_patch_is_thick(patch):
    image = np.random.default_rng(1).normal(size=(1, 400, 9, 6)).astype(np.float32)
    sweep = SlidingWindow([Position()], image, patch, heads=1, batch_size=2, mirror_axes=(), run=CPU)
    held = []
    for z in range(399):
        sweep.read(z, z + 2)
        held.append(sum(len(block.values) for block in sweep._window._blocks.values()))
    assert max(held) <= (patch[0] if len(patch) == 3 else 1) + 3  # and those read last


def test_patches_without_contrast_are_computed_once():
    image = np.zeros((1, 64, 8, 8), np.float32)
    image[0, 50] = np.random.default_rng(0).normal(size=(8, 8))
    seen: list[int] = []

    class Counting(UnevenConvolution):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            seen.append(len(x))
            return super().forward(x[:, [0, 0]])

    found = sliding_window([Counting(3)], image, (8, 8, 8), mirror_axes=(0, 1, 2))
    assert sum(seen) == 1 + 2 * 8  # one uniform patch; two patches see slice 50, each in eight orientations
    noisy = image + np.random.default_rng(0).normal(size=image.shape).astype(np.float32) * 1e-7
    expected = sliding_window([Counting(3)], noisy, (8, 8, 8), mirror_axes=(0, 1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved():
    seen: list[int] = []

    class Hungry(Pointwise):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            seen.append(len(x))
            if len(x) > 1:
                raise torch.OutOfMemoryError
            return super().forward(x)

    image = np.random.default_rng(0).normal(size=(1, 4, 4, 12)).astype(np.float32)
    found = sliding_window([Hungry()], image, (4, 4, 4))
    np.testing.assert_allclose(found[0], image[0], atol=1e-6)
    assert seen[:3] == [2, 1, 1]


@pytest.mark.slow
def test_when_a_batch_is_halved_the_failed_pass_holds_no_memory_and_the_next_batches_are_as_small():
    seen: list[int] = []

    class Hungry(Pointwise):
        before: weakref.ref | None = None

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            assert self.before is None or self.before() is None
            maps = x + 1
            self.before = weakref.ref(maps)
            seen.append(len(x))
            if len(x) > 1:
                raise torch.OutOfMemoryError
            return super().forward(maps - 1)

    image = np.random.default_rng(0).normal(size=(1, 4, 4, 28)).astype(np.float32)
    found = sliding_window([Hungry()], image, (4, 4, 4))
    np.testing.assert_allclose(found[0], image[0], atol=1e-6)
    assert seen[0] == 2 and set(seen[1:]) == {1}


@pytest.mark.slow
def test_a_patch_for_which_memory_does_not_suffice_is_an_error_of_the_case():
    """On a processor torch raises what it raises for every defect."""

    class Vast(Pointwise):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            torch.empty(1 << 60, dtype=torch.uint8)
            return super().forward(x)

    with pytest.raises(MemoryError, match=r"patch of \(4, 4, 4\) voxels"):
        sliding_window([Vast()], np.ones((1, 4, 4, 12), np.float32), (4, 4, 4))


@pytest.mark.parametrize(("scale", "heads"), [(2, 2), (1, 3)])
def test_a_network_of_another_shape_is_refused(scale, heads):
    class Other(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x[:, :1, ::scale].repeat(1, heads, 1, 1, 1)]

    with pytest.raises(ModelError, match=r"are wanted"):
        sliding_window([Other()], np.ones((1, 4, 4, 12), np.float32), (4, 4, 4))
