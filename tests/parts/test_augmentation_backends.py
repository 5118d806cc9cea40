"""Both augmentation backends draw from the same distributions: transform by transform, moments and quantiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from autoseg.errors import RecordError
from autoseg.parts.augmentations import batchgenerators, standard

SILENT = {name: 0.0 for name in vars(standard.Spec()) if name.endswith("_probability")}
CHANNELS = {"blur_channel_probability": 1.0, "low_resolution_channel_probability": 1.0}
DOUBT = 1e-6  # that a difference is chance, for one of some hundred statistics
PATCH = (13, 12, 14)
KINDS = ("noise", "blur", "brightness", "contrast", "low_resolution", "inverted_gamma", "gamma")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Thousands of tiny products: on a busy machine threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def only(kind: str, probability: float = 1.0, **more: Any) -> tuple[standard.Spec, batchgenerators.Spec]:
    values = SILENT | CHANNELS | {f"{kind}_probability": probability} | more
    return standard.Spec(**values), batchgenerators.Spec(**values)


def images(channels: int = 1, patch: tuple[int, ...] = PATCH) -> torch.Tensor:
    """One smooth random patch, neither centred nor symmetric."""
    noise = np.random.default_rng(0).gamma(2.0, size=(channels, *patch))
    return torch.from_numpy(np.stack([ndimage.gaussian_filter(each, 0.8) for each in noise])).float()


def drawn(spec: Any, patch: torch.Tensor, count: int, seed: int, **draw: Any) -> np.ndarray:
    """``count`` augmentations of one patch (C, *patch), without enlargement."""
    given = {"channels": len(patch), "mirror_axes": (), "dimensions": patch.dim() - 1} | draw
    params = spec.draw(np.random.default_rng(seed), batch=count, **given)
    targets = torch.zeros(count, *patch.shape[1:], dtype=torch.uint8)
    repeated = patch.expand(count, *patch.shape).clone()
    found: np.ndarray = spec.apply(repeated, targets, params, tuple(patch.shape[1:]))[0].numpy()
    return found


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Two samples (n, ...) of as many numbers: quantiles by Kolmogorov and Smirnov, mean and variance by their errors.

    Values that are equal but for rounding are told apart by nobody: a little noise goes over both.
    """
    random, limit = np.random.default_rng(1), stats.norm.isf(DOUBT / 2)
    for one, other in zip(first.reshape(len(first), -1).T, second.reshape(len(second), -1).T):
        grain = 1e-3 * max(1.0, float(np.abs(one).mean()))
        one, other = (values + grain * random.standard_normal(len(values)) for values in (one, other))
        for centred in (lambda values: values, lambda values: (values - values.mean()) ** 2):
            a, b = centred(one), centred(other)
            error = np.sqrt(a.var() / len(a) + b.var() / len(b))
            if abs(a.mean() - b.mean()) > limit * error:
                return False
        if stats.ks_2samp(one, other).pvalue < DOUBT:
            return False
    return True


def summary(patches: np.ndarray) -> np.ndarray:
    """(n, statistics) of every channel, away from the border, where the two continue the image differently."""
    inner = patches[:, :, 4:-4, 4:-4, 4:-4].reshape(*patches.shape[:2], -1)
    steps = np.abs(np.diff(patches[:, :, 4:-4, 4:-4, 4:-4], axis=4)).mean((2, 3, 4))
    quantiles = np.moveaxis(np.quantile(inner, (0.0, 0.1, 0.5, 0.9, 1.0), axis=2), 0, 2)
    each = np.concatenate((inner.mean(2)[..., None], inner.std(2)[..., None], steps[..., None], quantiles), axis=2)
    return each.reshape(len(patches), -1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_grey_values_has_the_same_distribution(kind: str) -> None:
    ours, theirs = only(kind)
    expected = summary(drawn(theirs, images(), 250, 1))
    assert alike(summary(drawn(ours, images(), 250, 0)), expected)
    name = {"noise": "noise_variance", "blur": "blur_sigma", "inverted_gamma": "gamma"}.get(kind, kind)
    low, high = getattr(ours, name)
    other = replace(ours, **{name: (low, low + 0.7 * (high - low))})
    assert not alike(summary(drawn(other, images(), 250, 0)), expected)  # so the comparison can fail


def maps(spec: Any, count: int, seed: int, loaded: tuple[int, ...], patch: tuple[int, ...]) -> np.ndarray:
    """(count, axes, axes) the linear map that moved each patch, read off an image of its own coordinates."""
    axes = np.stack(np.meshgrid(*(np.arange(edge, dtype=np.float32) for edge in loaded), indexing="ij"))
    params = spec.draw(
        np.random.default_rng(seed), batch=count, channels=len(patch), mirror_axes=(), dimensions=len(patch)
    )
    targets = torch.zeros(count, *loaded, dtype=torch.uint8)
    moved = spec.apply(torch.from_numpy(axes).expand(count, *axes.shape), targets, params, patch)[0].numpy()
    offsets = np.stack(np.meshgrid(*(np.arange(edge) - (edge - 1) / 2 for edge in patch), indexing="ij"))
    design = np.concatenate((offsets.reshape(len(patch), -1), np.ones((1, offsets[0].size))))
    found: np.ndarray = (moved.reshape(count, len(patch), -1) @ np.linalg.pinv(design))[..., :-1]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [3, 2])
def test_rotation_and_scaling_have_the_same_distribution(dimensions: int) -> None:
    patch, loaded = (2,) * dimensions, (6,) * dimensions
    ours, theirs = (
        maps(spec, 1200, seed, loaded, patch) for seed, spec in enumerate(only("rotation", scaling_probability=1.0))
    )
    scales = [np.abs(np.linalg.det(found)) ** (1 / dimensions) for found in (ours, theirs)]
    assert all(0.69 < scale.min() and scale.max() < 1.41 for scale in scales)
    assert alike(ours, theirs) and alike(*scales)
    assert not alike(scales[0], np.where(np.arange(1200) % 2, scales[1], 1.0 / scales[1]))  # it can fail


def test_flat_patches_are_moved_within_their_slices_in_both() -> None:
    for spec in only("rotation", dummy_2d=True, rotation_degrees=180.0, scaling_probability=1.0):
        found = maps(spec, 50, 0, (4, 16, 16), (4, 4, 4))
        assert np.allclose(found[:, 0], [1, 0, 0], atol=1e-5) and np.allclose(found[:, :, 0], [1, 0, 0], atol=1e-5)
        assert np.abs(found[:, 1, 2]).max() > 0.5


@pytest.mark.parametrize("kind", [*KINDS, "rotation", "scaling"])
def test_a_change_happens_as_often_as_asked_in_the_library_too(kind: str) -> None:
    by_channel = {name: 0.5 for name in CHANNELS}
    share = 0.15 if f"{kind}_channel_probability" in CHANNELS else 0.3
    patch, (_, spec) = images(1, (6, 6)), only(kind, 0.3, **by_channel)
    changed = np.abs(drawn(spec, patch, 500, 0) - patch.numpy()).max((1, 2, 3)) > 1e-5
    assert stats.binomtest(int(changed.sum()), changed.size, share).pvalue > DOUBT


def test_mirroring_happens_as_often_and_along_allowed_axes_only() -> None:
    patch = images(1, (3, 4, 5))
    for seed, spec in enumerate(only("mirror", 0.4)):
        found = drawn(spec, patch, 500, seed, mirror_axes=(0, 2))
        flips = {axes: patch.flip([axis + 1 for axis in axes]).numpy() for axes in ((), (0,), (2,), (0, 2))}
        seen = {axes: int((found == flipped).all((1, 2, 3, 4)).sum()) for axes, flipped in flips.items()}
        assert sum(seen.values()) == 500
        for axes, count in seen.items():
            chance = 0.4 ** len(axes) * 0.6 ** (2 - len(axes))
            assert stats.binomtest(count, 500, chance).pvalue > DOUBT


def test_the_library_moves_labels_and_further_inputs_with_the_image() -> None:
    spec = batchgenerators.Spec(**SILENT | {"rotation_probability": 1.0, "mirror_probability": 0.5})
    labels = torch.zeros(4, 20, 22, 24, dtype=torch.uint8)
    labels[:, 6:13, 5:15, 8:12] = 1
    params = spec.draw(np.random.default_rng(0), batch=4, channels=1, mirror_axes=(0, 1, 2), dimensions=3)
    moved, targets = spec.apply(labels[:, None].float(), labels, params, (10, 12, 12))
    assert targets.dtype == torch.uint8 and targets.shape == (4, 10, 12, 12)
    assert ((moved[:, 0] > 0.5) == (targets == 1)).float().mean() > 0.999
    assert torch.equal(spec.move_labels(labels[:, None], params, (10, 12, 12))[:, 0], targets)
    assert torch.equal(spec.move_images(labels[:, None], params, (10, 12, 12)), moved)
    assert len({tuple(each.flatten().tolist()) for each in targets}) == 4


@pytest.mark.slow
def test_the_library_is_given_the_patch_alone_unless_it_moves_it() -> None:
    spec, patch = batchgenerators.Spec(), (6, 7, 8)
    params = spec.draw(np.random.default_rng(0), batch=200, channels=1, mirror_axes=(0, 1, 2), dimensions=3)
    largest = spec.loaded_shape(patch)
    before = np.random.get_state()[1].copy()
    shapes = [spec.needed_shape(params, index, patch) for index in range(200)]
    assert (np.random.get_state()[1] == before).all()  # a thread that reads must not disturb one that augments
    moved = sum(shape == largest for shape in shapes)
    assert moved + shapes.count(patch) == 200 and stats.binomtest(moved, 200, 1 - 0.8 * 0.8).pvalue > DOUBT
    image = torch.randn(1, *largest, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 3, largest, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    inner = tuple(slice((size - kept) // 2, (size - kept) // 2 + kept) for size, kept in zip(largest, patch))
    cut = (image[(slice(None), *inner)], target[inner])
    given = [(image, target) if shape == largest else cut for shape in shapes]
    for found, expected in zip(
        spec.apply(*zip(*given), params, patch), spec.apply([image] * 200, [target] * 200, params, patch)
    ):
        assert torch.equal(found, expected)


def test_the_library_leaves_the_global_generators_as_they_were() -> None:
    spec = batchgenerators.Spec()
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    first, second = (drawn(spec, images(), 5, 3) for _ in range(2))
    assert (first == second).all() and (np.random.get_state()[1] == before).all()


def test_masked_channels_keep_their_zeros_in_the_library_too() -> None:
    patch = images(2)
    patch[:, :5] = 0
    found = drawn(batchgenerators.Spec(**SILENT | {"noise_probability": 1.0}, masked_channels=(1,)), patch, 3, 0)
    assert (found[:, 1, :5] == 0).all() and (found[:, 0, :5] != 0).any()


def test_what_the_library_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="mirror_probability"):
        batchgenerators.Spec(mirror_probability=0.8)
    with pytest.raises(RecordError, match="neighbouring slices"):
        drawn(batchgenerators.Spec(), images(3), 1, 0, channels=1)
