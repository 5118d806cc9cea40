"""Laws of the augmentations."""

import dataclasses
from operator import le, lt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from skimage.transform import resize

from autoseg.configuration import AUGMENTATIONS
from autoseg.parts.augmentations import none, standard
from autoseg.parts.augmentations._intensity import blurred, change_intensities, coarsened
from autoseg.parts.augmentations._spatial import resample_patches

PATCH = (8, 12, 10)
STANDARD = standard.Spec()
MOVING = ("rotation_probability", "scaling_probability", "mirror_probability")
GREY = {name: 0.0 for name in vars(STANDARD) if name.endswith("_probability") and name not in MOVING}


def neutral(batch=2, channels=2, dimensions=3):
    spec = standard.Spec(
        rotation_probability=0,
        scaling_probability=0,
        mirror_probability=0,
        noise_probability=0,
        blur_probability=0,
        brightness_probability=0,
        contrast_probability=0,
        low_resolution_probability=0,
        inverted_gamma_probability=0,
        gamma_probability=0,
    )
    random = np.random.default_rng(0)
    return spec.draw(random, batch=batch, channels=channels, mirror_axes=(0, 1, 2), dimensions=dimensions)


def loaded(spec=STANDARD, patch=PATCH, batch=2, channels=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    shape = spec.loaded_shape(patch)
    images = torch.randn(batch, channels, *shape, generator=random)
    targets = torch.randint(0, 4, (batch, *shape), generator=random, dtype=torch.uint8)
    return images, targets


def test_neutral_parameters_crop_the_centre():
    images, targets = loaded()
    got, labels = standard.Spec().apply(images, targets, neutral(), PATCH)
    margin = [(a - b) // 2 for a, b in zip(images.shape[2:], PATCH)]
    window = tuple(slice(m, m + p) for m, p in zip(margin, PATCH))
    assert torch.equal(got, images[(..., *window)])
    assert torch.equal(labels, targets[(..., *window)])


def test_the_same_draw_gives_the_same_result_and_leaves_its_input_alone():
    images, targets = loaded()
    before = images.clone()
    for seed in range(8):
        params = standard.Spec().draw(
            np.random.default_rng(seed), batch=2, channels=2, mirror_axes=(0, 1, 2), dimensions=3
        )
        first, second = (standard.Spec().apply(images, targets, params, PATCH) for _ in range(2))
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert torch.equal(images, before)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_labels_stay_labels_and_images_stay_finite(seed, flat):
    patch = (12, 10) if flat else PATCH
    spec = standard.Spec(rotation_probability=1, scaling_probability=0.5, rotation_degrees=180)
    images, targets = loaded(spec, patch, seed=seed)
    random = np.random.default_rng(seed)
    params = spec.draw(random, batch=2, channels=2, mirror_axes=tuple(range(len(patch))), dimensions=len(patch))
    got, labels = spec.apply(images, targets, params, patch)
    assert got.shape == (2, 2, *patch) and got.dtype == torch.float32 and torch.isfinite(got).all()
    assert labels.shape == (2, *patch) and labels.dtype == torch.uint8
    assert set(labels.unique().tolist()) <= set(targets.unique().tolist()) | {0}


def test_an_identity_matrix_equals_the_crop():
    images, targets = loaded()
    crop = resample_patches(images, targets, neutral(), PATCH)
    params = dataclasses.replace(neutral(), affine=(np.eye(3),) * 2)
    got = resample_patches(images, targets, params, PATCH)
    assert torch.allclose(got[0], crop[0], atol=1e-4)
    assert torch.equal(got[1], crop[1])


def test_a_quarter_turn_equals_rot90():
    images, targets = loaded(patch=(4, 9, 9))
    crop = resample_patches(images, targets, neutral(), (4, 9, 9))
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    got = resample_patches(images, targets, dataclasses.replace(neutral(), affine=(turn,) * 2), (4, 9, 9))
    assert torch.allclose(got[0], torch.rot90(crop[0], -1, (3, 4)), atol=1e-4)
    assert torch.equal(got[1], torch.rot90(crop[1], -1, (2, 3)))


@pytest.mark.parametrize("patch", [(8, 12, 10), (12, 10)], ids=["3-D", "2-D"])
def test_a_drawn_rotation_and_scaling_equal_scipy(patch):
    random, dimensions = np.random.default_rng(3), len(patch)
    loaded = tuple(edge + 6 for edge in patch)
    image = ndimage.gaussian_filter(random.standard_normal(loaded), 1.5).astype(np.float32)
    labels = np.digitize(image, np.quantile(image, (0.5, 0.75, 0.9))).astype(np.uint8)
    spec = standard.Spec(rotation_probability=1, scaling_probability=1)
    for seed in range(4):
        drawn = spec.draw(
            np.random.default_rng(seed), batch=1, channels=1, mirror_axes=(), dimensions=dimensions
        ).affine[0]
        params = dataclasses.replace(neutral(1, 1, dimensions), affine=(drawn,))
        got, indices = resample_patches(
            torch.from_numpy(image)[None, None], torch.from_numpy(labels)[None], params, patch
        )
        centre_out, centre_in = (np.array(patch) - 1) / 2, (np.array(loaded) - 1) / 2

        def moved(map, drawn=drawn, offset=centre_in - drawn @ centre_out):
            return ndimage.affine_transform(map, drawn, offset, patch, order=1, mode="grid-constant", cval=0.0)

        assert np.abs(got[0, 0].numpy() - moved(image)).max() < 1e-4
        shares = np.stack([moved((labels == label).astype(float)) for label in range(1, 4)])
        shares = np.concatenate((1 - shares.sum(0, keepdims=True), shares))
        best = np.sort(shares, axis=0)
        clear = best[-1] - best[-2] > 1e-4
        assert (indices[0].numpy() == shares.argmax(0))[clear].all() and clear.mean() > 0.99


def test_an_identity_matrix_keeps_every_one_of_many_labels():
    targets = torch.arange(20, dtype=torch.uint8).repeat_interleave(5).reshape(1, 10, 10)
    params = dataclasses.replace(neutral(1, 1, 2), affine=(np.eye(2),))
    _, labels = resample_patches(torch.zeros(1, 1, 10, 10), targets, params, (10, 10))
    assert torch.equal(labels, targets)


def test_mirroring_flips_image_and_labels_alike():
    images, targets = loaded()
    crop = resample_patches(images, targets, neutral(), PATCH)
    got = resample_patches(images, targets, dataclasses.replace(neutral(), mirrored=((0, 2), ())), PATCH)
    assert torch.equal(got[0][0], crop[0][0].flip(1, 3)) and torch.equal(got[1][0], crop[1][0].flip(0, 2))
    assert torch.equal(got[0][1], crop[0][1]) and torch.equal(got[1][1], crop[1][1])


def test_dummy_2d_never_mixes_slices():
    spec = standard.Spec(dummy_2d=True, rotation_degrees=180, rotation_probability=1, scaling_probability=1)
    assert spec.loaded_shape(PATCH)[0] == PATCH[0]
    params = spec.draw(np.random.default_rng(0), batch=20, channels=1, mirror_axes=(), dimensions=3)
    for matrix in params.affine:
        assert matrix[0].tolist() == [1, 0, 0] and matrix[:, 0].tolist() == [1, 0, 0]
    assert (params.low_resolution[..., 0] == 1).all()


def test_loaded_shape_is_nnunets():
    # get_patch_size of nnU-Net v2 2.8.1 for equal sides and +-30 degrees, and for 180 degrees.
    assert standard.Spec().loaded_shape((128, 128, 128)) == (205, 205, 205)
    assert standard.Spec(rotation_degrees=180).loaded_shape((256, 192)) == (301, 301)


@pytest.mark.parametrize("patch", [PATCH, (12, 10)], ids=["3-D", "2-D"])
@pytest.mark.parametrize("changes", [{}, {"dummy_2d": True}, {"rotation_degrees": 180.0}], ids=str)
def test_what_a_patch_needs_is_all_that_it_shows(patch, changes):
    """Nothing beyond it changes a bit, and where a whole patch is not needed less is read."""
    if changes.get("dummy_2d") and len(patch) == 2:
        return
    spec = standard.Spec(rotation_probability=0.5, scaling_probability=0.5, **changes)
    images, targets = loaded(spec, patch, batch=40, seed=1)
    params = spec.draw(np.random.default_rng(5), batch=40, channels=2, mirror_axes=(0,), dimensions=len(patch))
    shapes = [spec.needed_shape(params, index, patch) for index in range(40)]
    centres = []
    for image, target, shape in zip(images, targets, shapes):
        margin = [(size - kept) // 2 - (need - kept) // 2 for size, kept, need in zip(target.shape, patch, shape)]
        window = tuple(slice(start, start + need) for start, need in zip(margin, shape))
        centres.append((image[(slice(None), *window)], target[window]))
    got = spec.apply(*zip(*centres), params, patch)
    for found, expected in zip(got, spec.apply(images, targets, params, patch)):
        assert torch.equal(found, expected)
    assert {shape for shape, matrix in zip(shapes, params.affine) if matrix is None} == {patch}
    assert all(all(map(le, shape, spec.loaded_shape(patch))) for shape in shapes)
    assert any(any(map(lt, shape, patch)) for shape in shapes)


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.0])
def test_blur_equals_scipy(sigma):
    signal = np.random.default_rng(0).standard_normal(30)
    got = blurred(torch.from_numpy(signal), 0, sigma).numpy()
    assert np.allclose(got, ndimage.gaussian_filter1d(signal, sigma, mode="mirror"), atol=1e-9)


@pytest.mark.parametrize("factor", [0.5, 0.61, 0.9])
def test_low_resolution_equals_torch_interpolate(factor):
    signal = torch.randn(1, 1, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    down = torch.nn.functional.interpolate(signal, round(37 * factor), mode="nearest-exact")
    expected = torch.nn.functional.interpolate(down, 37, mode="linear")[0, 0]
    assert torch.allclose(coarsened(signal[0, 0], 0, factor), expected, atol=1e-6)


def by_numpy(image, params, patch):
    """What the drawn ``params`` do to ``image`` (C, ...), by numpy, scipy and scikit-image, without noise."""
    changed = []
    for channel, x in enumerate(image.astype(float)):
        if (sigmas := params.blur_sigma[patch, channel]).any():
            x = ndimage.gaussian_filter(x, sigmas, mode="mirror")
        x = x * params.brightness[patch, channel]
        x = np.clip((x - x.mean()) * params.contrast[patch, channel] + x.mean(), x.min(), x.max())
        coarse = [round(size * factor) for size, factor in zip(x.shape, params.low_resolution[patch, channel])]
        if tuple(coarse) != x.shape:
            smaller = resize(x, coarse, order=0, mode="edge", anti_aliasing=False)
            x = resize(smaller, x.shape, order=1, mode="edge", anti_aliasing=False)
        for sign, gamma in ((-1, params.inverted_gamma[patch, channel]), (1, params.gamma[patch, channel])):
            if gamma != 1:
                bent = ((sign * x - (sign * x).min()) / np.ptp(x)) ** gamma
                x = sign * ((bent - bent.mean()) / bent.std() * x.std() + sign * x.mean())
        changed.append(x)
    return np.stack(changed)


@pytest.mark.parametrize("shape", [(9, 12, 11), (14, 13)], ids=["3-D", "2-D"])
def test_drawn_changes_of_grey_values_equal_numpy_scipy_and_scikit_image(shape):
    always = {name: 1.0 for name in vars(STANDARD) if name.endswith("_probability")}
    random = np.random.default_rng(0)
    images = np.stack([ndimage.gaussian_filter(random.gamma(2.0, size=shape), 0.7) for _ in range(12)])
    images = images.reshape(6, 2, *shape)
    for spec in (standard.Spec(), standard.Spec(**always), standard.Spec(**always, dummy_2d=len(shape) == 3)):
        params = spec.draw(random, batch=6, channels=2, mirror_axes=(), dimensions=len(shape))
        params = dataclasses.replace(params, noise_std=np.zeros(6))
        got = change_intensities(torch.from_numpy(images).float(), params).numpy()
        expected = np.stack([by_numpy(image, params, patch) for patch, image in enumerate(images)])
        assert np.abs(got - expected).max() < 2e-4 * np.abs(expected).max()
        assert np.abs(got - images).max() > 0.1


def test_noise_is_normal_with_the_drawn_deviation():
    params = dataclasses.replace(neutral(3, 2), noise_std=np.array([0.0, 0.03, 0.1]))
    images = torch.randn(3, 2, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    added = (change_intensities(images.clone(), params) - images).numpy()
    assert (added[0] == 0).all()
    for patch, deviation in ((1, 0.03), (2, 0.1)):
        assert stats.kstest(added[patch].ravel() / deviation, "norm").pvalue > 1e-3
        assert abs(np.corrcoef(added[patch, 0].ravel(), added[patch, 1].ravel())[0, 1]) < 0.05


def test_gamma_and_contrast_keep_what_they_promise():
    images = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    params = neutral(1, 2, 2)
    for name in ("gamma", "inverted_gamma"):
        changed = change_intensities(images.clone(), dataclasses.replace(params, **{name: np.array([[1.4, 1.0]])}))
        assert torch.equal(changed[0, 1], images[0, 1])
        assert not torch.allclose(changed[0, 0], images[0, 0], atol=1e-2)
        assert changed[0, 0].mean().item() == pytest.approx(images[0, 0].mean().item(), abs=1e-5)
        assert changed[0, 0].std().item() == pytest.approx(images[0, 0].std().item(), abs=1e-5)
    changed = change_intensities(images.clone(), dataclasses.replace(params, contrast=np.array([[1.2, 1.0]])))
    assert changed[0, 0].aminmax() == images[0, 0].aminmax()


def test_masked_channels_keep_their_zeros():
    images = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    images[:, :, :3] = 0
    params = dataclasses.replace(neutral(2, 2, 2), noise_std=np.array([0.1, 0.1]))
    changed = change_intensities(images.clone(), params, masked_channels=(1,))
    assert (changed[:, 1, :3] == 0).all() and (changed[:, 0, :3] != 0).any() and (changed[:, 1, 3:] != 0).all()


def test_every_change_happens_as_often_as_its_probability_says():
    spec = standard.Spec()
    params = spec.draw(np.random.default_rng(0), batch=20_000, channels=2, mirror_axes=(0, 2), dimensions=3)
    shares = {
        "affine": (np.mean([m is not None for m in params.affine]), 1 - 0.8 * 0.8),
        "mirror z": (np.mean([0 in axes for axes in params.mirrored]), 0.5),
        "mirror y": (np.mean([1 in axes for axes in params.mirrored]), 0.0),
        "noise": ((params.noise_std > 0).mean(), 0.1),
        "blur": ((params.blur_sigma > 0).mean(), 0.1),
        "brightness": ((params.brightness != 1).mean(), 0.15),
        "brighter": ((params.brightness > 1).mean(), 0.075),
        "contrast": ((params.contrast != 1).mean(), 0.15),
        "low resolution": ((params.low_resolution != 1).mean(), 0.125),
        "inverted gamma": ((params.inverted_gamma != 1).mean(), 0.1),
        "gamma": ((params.gamma != 1).mean(), 0.3),
    }
    assert {name: got for name, (got, wanted) in shares.items() if abs(got - wanted) > 0.015} == {}
    assert 0.7 <= params.gamma.min() < 0.72 and 1.48 < params.gamma.max() <= 1.5


@pytest.mark.parametrize("change", [{"gamma": (1.5, 0.7)}, {"noise_probability": 1.5}, {"scaling": (-1.0, 1.0)}])
def test_impossible_numbers_are_refused(change):
    with pytest.raises(ValueError):
        standard.Spec(**change)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_further_arrays_are_moved_as_image_and_target(name):
    spec = AUGMENTATIONS.load(name)()
    if isinstance(spec, standard.Spec):
        spec = dataclasses.replace(spec, rotation_probability=1, **GREY)
    images, targets = loaded(spec)
    for seed in range(4):
        params = spec.draw(np.random.default_rng(seed), batch=2, channels=2, mirror_axes=(0, 1, 2), dimensions=3)
        moved, labels = spec.apply(images, targets, params, PATCH)
        assert torch.equal(spec.move_images(images, params, PATCH), moved)
        two = spec.move_labels([torch.stack((target, target // 2)) for target in targets], params, PATCH)
        assert two.shape == (2, 2, *PATCH) and torch.equal(two[:, 0], labels)
        assert torch.equal(two[:, 1], spec.apply(images, targets // 2, params, PATCH)[1])


def test_neighbouring_slices_of_a_channel_change_together():
    spec = standard.Spec(brightness_probability=1, gamma_probability=1, low_resolution_probability=1)
    one = torch.randn(2, 2, 12, 10, generator=torch.Generator().manual_seed(0))
    thrice = one.repeat_interleave(3, 1)  # (channel, slice): three times the same slice
    targets = torch.zeros(2, 12, 10, dtype=torch.uint8)
    random = np.random.default_rng(0)
    params = spec.draw(random, batch=2, channels=2, mirror_axes=(0, 1), dimensions=2)
    params = dataclasses.replace(params, noise_std=np.zeros(2))
    single, _ = spec.apply(one, targets, params, (12, 10))
    several, _ = spec.apply(thrice, targets, params, (12, 10))
    assert torch.allclose(several, single.repeat_interleave(3, 1), atol=1e-4)


def test_none_changes_nothing():
    images, targets = torch.ones(1, 1, 4, 4).half(), torch.ones(1, 4, 4, dtype=torch.uint8)
    got, labels = none.Spec().apply(images, targets, None, (4, 4))
    assert none.Spec().loaded_shape((4, 4)) == (4, 4)
    assert torch.equal(got, images.float()) and torch.equal(labels, targets)
