"""Slow variation of brightness: planted fields are measured, anatomy alone is not, and large ones are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.dataset import Case, Dataset, ImageSource
from autoseg.data.fingerprint import LARGE_VARIATION
from autoseg.inspection.brightness import MEASURED_CASES, is_measured, slow_variation
from autoseg.inspection.channels import channel_fingerprint
from autoseg.inspection.extract import extract_fingerprint
from autoseg.parts.normalizers.histogram import PERCENTILES
from autoseg.parts.readers import write_channels, write_labels

SHAPE = (40, 60, 56)


def body(noise: float = 0.05) -> np.ndarray:
    """Two tissues in patches all over a ball, and dark noise around it."""
    random = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    tissue = 100 + 40 * (np.sin(17 * z) * np.sin(19 * y) * np.sin(18 * x) > 0)
    inside = z**2 + y**2 + x**2 < 0.8
    return (np.where(inside, tissue, 3) * (1 + noise * random.standard_normal(SHAPE))).astype(np.float32)


def planted(strength: float) -> np.ndarray:
    """A field that is brighter at one side; its logarithm deviates by ``strength`` over the ball, about."""
    along = np.linspace(-1, 1, SHAPE[1])[None, :, None]
    return np.exp(strength * 2.2 * along).astype(np.float32)


@pytest.mark.parametrize("strength", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_planted_field_is_measured(strength: float, noise: float) -> None:
    assert slow_variation(body(noise) * planted(strength)) == pytest.approx(strength, rel=0.25)


def test_anatomy_noise_and_gain_alone_are_no_field() -> None:
    found = slow_variation(body())
    assert found is not None and found < LARGE_VARIATION / 3
    assert slow_variation(1000 * body()) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(SHAPE, np.float32),
        np.full(SHAPE, -5.0, np.float32),
        np.ones((3, 4, 5), np.float32),
        np.eye(30, dtype=np.float32)[None],
        body() * planted(0.4) - 50,
    ],
    ids=["zero", "negative", "tiny", "few", "normalised already"],
)
def test_where_little_is_bright_nothing_is_measured(array: np.ndarray) -> None:
    assert slow_variation(array) is None


def test_constant_images_have_none_and_slices_are_measured_like_volumes() -> None:
    assert slow_variation(np.full(SHAPE, 5.0, np.float32)) == pytest.approx(0, abs=1e-9)
    flat = (body() * planted(0.3))[20:21]
    assert slow_variation(flat) == pytest.approx(0.3, rel=0.3)


def test_a_few_cases_are_measured_whoever_they_are() -> None:
    keys = [f"case_{number:04d}" for number in range(2000)]
    assert all(is_measured(key, MEASURED_CASES) for key in keys[:MEASURED_CASES])
    assert 2 <= sum(is_measured(key, len(keys)) for key in keys) <= 4 * MEASURED_CASES


def dataset_of(folder: Path, channels: tuple[str, ...], array: np.ndarray) -> Dataset:
    geometry, cases = Geometry.plain(SHAPE, (1.0, 1.0, 1.0)), []
    labels = np.zeros(SHAPE, np.uint8)
    labels[18:22, 28:32, 26:30] = 1
    for number in range(3):
        write_channels(np.stack([array + number] * len(channels)), geometry, folder / f"c{number}.nii.gz")
        write_labels(labels, geometry, folder / f"l{number}.nii.gz")
        files = [str(folder / f"c{number}.nii.gz")] * len(channels)
        sources = tuple(ImageSource(file, channel) for channel, file in enumerate(files))
        cases.append(Case(f"c{number}", sources, str(folder / f"l{number}.nii.gz")))
    return Dataset(
        "D", str(folder), channels, ExclusiveLabels({"background": 0, "a": 1}), tuple(cases), ".nii.gz", "msd"
    )


@pytest.mark.slow
def test_a_large_field_is_told_for_channels_of_mr_only(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ("CT", "FLAIR"), body() * planted(0.4))
    measured, problems = extract_fingerprint(dataset, tmp_path / "measured", workers=1)
    (told,) = [problem for problem in problems if "slowly" in problem.what]
    assert told.severity == "note" and "FLAIR" in told.what and "--bias-correction FLAIR" in told.cure
    assert measured.variation(0) is None
    share, cases = measured.variation(1) or (0, 0)
    assert f"{share:.0%}" in told.what and cases == 3


def test_no_field_is_not_told(tmp_path: Path) -> None:
    _, problems = extract_fingerprint(dataset_of(tmp_path, ("FLAIR",), body()), tmp_path / "measured", workers=1)
    assert not [problem for problem in problems if "slowly" in problem.what]


def test_landmarks_are_percentiles_of_what_is_not_0_and_of_what_is_above_the_mean() -> None:
    array = body()
    array[:, :20] = 0
    found = channel_fingerprint(array)
    np.testing.assert_allclose(found.landmarks, np.percentile(array[array != 0], PERCENTILES), rtol=0.05, atol=0.5)
    np.testing.assert_allclose(
        found.bright_landmarks, np.percentile(array[array > array.mean()], PERCENTILES), rtol=0.07
    )


def test_a_channel_without_contrast_or_with_infinite_voxels_has_no_landmarks_that_mislead() -> None:
    assert channel_fingerprint(np.zeros((4, 5, 6), np.float32)).landmarks == ()
    assert channel_fingerprint(np.full((4, 5, 6), 3, np.float32)).bright_landmarks == ()
    assert channel_fingerprint(np.full((4, 5, 6), np.nan, np.float32), variation=True).landmarks == ()
