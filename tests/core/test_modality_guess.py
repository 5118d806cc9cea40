"""Planted images of each modality are told apart, odd ones are none, and names say what they say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.modality_guess import CT, MR, PET, guess_modality, named_modality
from autoseg.data.layouts import read_dataset
from autoseg.parts.readers import read_files

SHAPE = (30, 40, 36)
RANDOM = np.random.default_rng(0)
FOLDER = os.environ.get("AUTOSEG_TEST_DATA", "")


def body() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a ball is, a smaller one in it, and spots of 0.3 % of its voxels."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    return radius < 0.85, radius < 0.4, (radius < 0.85) & (np.random.default_rng(1).random(SHAPE) < 0.003)


def ct(air: float = -1000.0) -> np.ndarray:
    inside, core, spots = body()
    values = np.where(inside, np.where(core, 50.0, -90.0), air) + RANDOM.normal(0, 15, SHAPE)
    values[spots] = 800
    return values


def mr() -> np.ndarray:
    inside, core, spots = body()
    values = np.where(inside, np.where(core, 400.0, 250.0), 5.0) + RANDOM.normal(0, 12, SHAPE)
    values[spots] = 900
    return np.abs(values)


def pet() -> np.ndarray:
    """In SUV: noise around the body, muscle and liver in it, and hot spots."""
    inside, core, spots = body()
    values = np.where(inside, np.where(core, 2.0, 0.6), 0.02) * RANDOM.gamma(20, 1 / 20, SHAPE)
    values[spots] = 18
    return values


def padded(values: np.ndarray) -> np.ndarray:
    """As a scanner's circle leaves it."""
    y, x = np.ogrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]  # type: ignore[misc]
    return np.where(y**2 + x**2 > 1, -2048, values)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (ct(), CT),
        (np.rint(ct()).astype(np.int16), CT),
        (padded(ct()), CT),
        (ct()[15:16], CT),
        (mr(), MR),
        (np.rint(mr()).astype(np.uint16), MR),
        (mr() / mr().max(), MR),
        ((mr() - mr().mean()) / mr().std(), MR),
        (np.clip(mr() / 4, 0, 255).astype(np.uint8), MR),
        (mr() * 200, MR),
        (pet(), PET),
        (pet() * 4000, PET),
        (np.where(body()[0], mr(), 0), MR),
    ],
    ids=[
        *("ct", "ct of whole numbers", "ct with padding", "one slice of ct"),
        *("mr", "mr of whole numbers", "mr from 0 to 1", "mr as z-score", "mr of 8 bits", "mr with a gain", "pet"),
        *("pet in becquerel", "mr without skull"),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_planted_modalities_are_told_apart(values: np.ndarray, wanted: str, kind: type) -> None:
    assert guess_modality(values) == guess_modality(values.astype(kind)) == wanted


@pytest.mark.parametrize(
    "values",
    [
        np.full(SHAPE, 7.0),
        np.full(SHAPE, np.nan),
        np.full(SHAPE, np.inf),
        np.full(SHAPE, 1e300),
        np.ones((1, 1, 1)),
        np.array([[[-1000.0]]]),
        np.zeros((0, 3, 3)),
        RANDOM.integers(0, 4, SHAPE).astype(np.uint8),
        RANDOM.integers(0, 256, (1, 64, 64)).astype(np.uint8),
        RANDOM.integers(0, 256, (64, 64)).astype(np.float32),
        np.where(body()[0], ct(), 0),
        RANDOM.integers(-4096, 4096, SHAPE).astype(np.int16),
    ],
    ids=[
        *("constant", "nan", "infinite", "beyond float32", "one voxel", "one voxel of air", "none", "mask"),
        *("photograph", "photograph as float", "ct without air", "phase"),
    ],
)
def test_what_is_none_of_them_is_not_guessed(values: np.ndarray) -> None:
    assert guess_modality(values) is None


def test_voxels_that_are_not_finite_are_left_out_and_the_answer_is_always_the_same() -> None:
    values = ct()
    values[::7] = np.nan
    values[1::7] = -np.inf
    assert guess_modality(values) == guess_modality(values.copy()) == CT


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *[
            (name, MR)
            for name in ("T1", "t2w", "T1ce", "FLAIR", "T2SPIR", "cineMRI", "ADC", "MR", "b0 dwi", "T2*", "T1_post")
        ],
        *[(name, CT) for name in ("CT", "ct", "CT_portal", "cta", "low-dose CT")],
        *[(name, PET) for name in ("PET", "pet_suv", "FDG")],
        *[
            (name, None)
            for name in ("channel_0", "image", "contrast", "R", "noNorm", "T10", "", "\x1b", "actor", "petrol")
        ],
    ],
)
def test_names_say_what_they_say(name: str, wanted: str | None) -> None:
    assert named_modality(name) == wanted


@pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")
@pytest.mark.parametrize("folder", sorted(Path(FOLDER).glob("Dataset*")), ids=lambda path: path.name)
def test_real_images_are_mr_and_photographs_are_none(folder: Path) -> None:
    dataset = read_dataset(folder)
    for case in dataset.cases[::10]:
        arrays, _ = read_files(case.image_files)
        guesses = {guess_modality(channel) for array in arrays for channel in array}
        assert guesses == ({None} if dataset.channels == ("R", "G", "B") else {MR}), case.key


@pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")
@pytest.mark.parametrize(
    ("series", "wanted"),
    [
        ("CHAOS_CT/CT", CT),
        *[(f"PROSTATEx/ProstateX-000{number}/{name}", MR) for number in (0, 1) for name in ("ADC", "T2_tra")],
    ],
)
def test_real_series_are_what_they_are(series: str, wanted: str) -> None:
    import SimpleITK as sitk

    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(Path(FOLDER) / "dicom" / series))
    assert guess_modality(sitk.GetArrayFromImage(sitk.ReadImage(files))) == wanted
