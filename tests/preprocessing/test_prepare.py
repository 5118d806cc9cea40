"""``prepare``: nnU-Net's numbers, and what holds for any image."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import binary_fill_holes

from autoseg.configuration import Configuration, TrainingRules
from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.core.masks import MaskLabels
from autoseg.data.layouts import read_dataset_labels
from autoseg.errors import DatasetError
from autoseg.parts.normalizers import ct, none, rescale, zscore
from autoseg.parts.readers import read_image, read_labels
from autoseg.parts.resamplers import spline
from autoseg.plan import Plan
from autoseg.preprocessing.prepare import prepare

# made by benchmarks/oracle_preprocessing.py with nnU-Net v2 2.8.1
NNUNET = np.load(Path(__file__).with_name("nnunet_preprocessing.npz"), allow_pickle=False)
STATISTICS = {"mean": 20.0, "std": 33.0, "percentile_00_5": -60.0, "percentile_99_5": 90.0}
LABELS = ExclusiveLabels({"background": 0, "one": 1, "two": 2, "three": 3})


def make_plan(
    normalizers: tuple[Any, ...],
    *,
    spacing: tuple[float | None, float, float] = (1.0, 1.0, 1.0),
    axis_order: tuple[int, int, int] = (0, 1, 2),
    labels: Labels = LABELS,
) -> Plan:
    unused = SimpleNamespace(divisor=(1, 1, 1), features=(1,), masked_channels=())
    configuration = Configuration(
        spacing=spacing, median_shape=(8, 8, 8), patch_size=(8, 8, 8), batch_size=2, normalizers=normalizers,
        resampler=spline.Spec(), network=unused, loss=unused, augmentation=unused, optimizer=unused, schedule=unused,
        training=TrainingRules(epochs=1),
    )  # fmt: skip
    channels = tuple(str(index) for index in range(len(normalizers)))
    return Plan("d", "p", axis_order, channels, labels, ".nii.gz", (0, 1, 2), {"it": configuration}, "it")


def run(image: np.ndarray, labels: np.ndarray | None, spacing: tuple[float, float, float], plan: Plan) -> Any:
    geometry = Geometry.plain(image.shape[1:], spacing)
    return prepare(Image(image, geometry), labels, plan.task("it"))


def plan_of(case: dict[str, Any], *, channels: int, labels: Labels = LABELS) -> Plan:
    """The plan of a stored case."""
    normalizer = {
        "ZScoreNormalization": zscore.Spec(mask=bool(case["mask"])),
        "CTNormalization": ct.Spec(**STATISTICS),
        "NoNormalization": none.Spec(),
        "RescaleTo01Normalization": rescale.Spec(),
    }[str(case["normalization"])]
    z, y, x = (None if np.isnan(value) else float(value) for value in case["target"])
    order = tuple(case["transpose"].tolist())
    return make_plan((normalizer,) * channels, spacing=(z, y, x), axis_order=order, labels=labels)


def from_nnunet(name: str) -> tuple[Any, Any, Any]:
    """Our result and nnU-Net's image and labels."""
    case = {key.split("/")[1]: NNUNET[key] for key in NNUNET.files if key.startswith(f"{name}/")}
    plan = plan_of(case, channels=2)
    ours = run(case["image"].astype(np.float32), case["labels"], tuple(case["spacing"].tolist()), plan)
    return ours, case["prepared_image"], case["prepared_labels"]


NAMES = sorted({key.split("/")[0] for key in NNUNET.files})


@pytest.mark.parametrize("name", NAMES)
def test_image_equals_nnunets(name: str) -> None:
    ours, image, _ = from_nnunet(name)
    assert ours.image.shape == image.shape
    assert np.abs(ours.image - image).max() < 1e-5 * np.abs(image).max()


@pytest.mark.parametrize("name", NAMES)
def test_labels_equal_nnunets_wherever_one_label_wins(name: str) -> None:
    ours, _, labels = from_nnunet(name)
    expected = np.where(labels < 0, 0, labels)  # nnU-Net's mark for "outside the nonzero region" is our background
    differs = ours.labels != expected
    before, resampling = ours.record.split()
    image, cropped = (
        before.apply(NNUNET[f"{name}/{what}"], spline.Spec().resample_labels) for what in ("image", "labels")
    )
    cropped = np.where((cropped == 0) & ~binary_fill_holes((image != 0).any(axis=0)), -1, cropped.astype(int))
    indicators = np.stack([cropped == label for label in range(-1, 4)]).astype(np.float32)
    scores = np.sort(resampling.apply(indicators, spline.Spec(order=1).resample_image), axis=0)
    # an exact tie at a point halfway between two voxels: there nnU-Net's float64 rounding decides
    assert (scores[-1] - scores[-2])[differs].max(initial=0) < 1e-5
    assert differs.mean() < 0.02


FOLDER = os.environ.get("AUTOSEG_TEST_DATA")
REAL = np.load(Path(__file__).with_name("nnunet_preprocessing_real.npz"), allow_pickle=False)


def signature(image: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """As in benchmarks/oracle_preprocessing.py: images of patients are not stored."""
    flat = image.reshape(len(image), -1).astype(np.float64)
    random = np.random.default_rng(0)
    signs = [random.integers(0, 2, labels.size, dtype=np.int8) * 2 - 1 for _ in range(16)]
    return {
        "percentiles": np.percentile(flat, np.arange(101), axis=1),
        "image_sums": np.array([flat @ sign for sign in signs]),
        "label_sums": np.array([int(labels.reshape(-1).astype(np.int64) @ sign) for sign in signs]),
    }


@pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")
@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in REAL.files}))
def test_real_cases_equal_nnunets(name: str) -> None:
    case = {key.split("/")[1]: REAL[key] for key in REAL.files if key.startswith(f"{name}/")}
    dataset, key = str(case["case"]).split("/")
    folder = Path(str(FOLDER)) / dataset
    image = read_image(sorted((folder / "imagesTr").glob(f"{key}_*.nii.gz")))
    labels, _ = read_labels(folder / "labelsTr" / f"{key}.nii.gz")
    plan = plan_of(case, channels=len(image.array), labels=read_dataset_labels(folder / "dataset.json"))
    ours = prepare(image, labels, plan.task("it"))
    assert ours.image.shape == tuple(case["shape"])
    found = signature(ours.image, ours.labels)
    np.testing.assert_allclose(found["percentiles"], case["percentiles"], rtol=0, atol=1e-5)
    # a voxel that differs by 0.04 shows in every sum; rounding of a million voxels adds up to less
    np.testing.assert_allclose(found["image_sums"], case["image_sums"], rtol=0, atol=0.02)
    np.testing.assert_allclose(found["label_sums"], case["label_sums"], rtol=0, atol=3)  # a few voxels lie on a tie


def test_preparing_does_not_change_the_image_it_was_given() -> None:
    random = np.random.default_rng(0)
    image, labels = random.normal(size=(1, 6, 7, 8)).astype(np.float32), random.integers(0, 4, (6, 7, 8))
    before = image.copy(), labels.copy()
    for normalizer in (zscore.Spec(), none.Spec(), rescale.Spec(), ct.Spec(**STATISTICS)):
        prepared = run(image, labels, (1.0, 1.0, 1.0), make_plan((normalizer,)))
        assert prepared.image.dtype == np.float32
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(labels, before[1])


def test_undo_returns_every_label_to_its_voxel() -> None:
    random = np.random.default_rng(1)
    image, labels = np.zeros((1, 9, 11, 7), np.float32), np.zeros((9, 11, 7), np.uint8)
    image[:, 2:8, 1:9, 1:6] = random.normal(size=(6, 8, 5))
    labels[2:8, 1:9, 1:6] = random.integers(0, 4, (6, 8, 5))
    plan = make_plan((zscore.Spec(),), axis_order=(2, 0, 1))
    prepared = run(image, labels, (1.0, 1.0, 1.0), plan)
    assert prepared.labels.shape == (5, 6, 8)
    np.testing.assert_array_equal(prepared.record.undo(prepared.labels, spline.Spec().resample_labels), labels)


def test_users_values_become_indices() -> None:
    labels = np.full((4, 4, 4), 420)
    labels[:2] = 205
    odd = ExclusiveLabels({"background": 205, "heart": 420})
    prepared = run(np.ones((1, 4, 4, 4), np.float32), labels, (1.0, 1.0, 1.0), make_plan((none.Spec(),), labels=odd))
    assert sorted(np.unique(prepared.labels)) == [0, 1]
    assert (prepared.labels[2:] == 1).all()


def test_an_empty_image_is_kept_whole() -> None:
    prepared = run(
        np.zeros((1, 5, 6, 7), np.float32), np.zeros((5, 6, 7), int), (1.0,) * 3, make_plan((zscore.Spec(),))
    )
    assert prepared.image.shape == (1, 5, 6, 7)
    assert np.isfinite(prepared.image).all()
    assert prepared.foreground is not None and prepared.foreground.present == {}


def test_a_wrong_number_of_channels_is_named() -> None:
    with pytest.raises(DatasetError, match="has 1 channels, the plan expects 2"):
        run(np.zeros((1, 4, 4, 4), np.float32), None, (1.0, 1.0, 1.0), make_plan((none.Spec(),) * 2))


def test_labels_on_another_grid_are_refused() -> None:
    with pytest.raises(DatasetError, match="same grid"):
        run(np.zeros((1, 4, 4, 4), np.float32), np.zeros((4, 4, 5), int), (1.0,) * 3, make_plan((none.Spec(),)))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SLP", "AIR"])
def test_a_plan_with_an_orientation_sees_the_same_however_the_file_lies(codes: str) -> None:
    """The same scan stored in two ways; labels come home to the voxels they came from."""
    random = np.random.default_rng(0)
    array = random.normal(size=(6, 7, 8)).astype(np.float32)
    labels = random.integers(0, 4, array.shape)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 2.0))
    plan = replace(make_plan((zscore.Spec(),), spacing=(1.7, 1.5, 1.2), axis_order=(1, 0, 2)), orientation="RAS")

    def prepared(scan: sitk.Image, map_of_labels: sitk.Image) -> Any:
        x, y, z = scan.GetSpacing()
        geometry = Geometry(scan.GetSize()[::-1], (z, y, x), scan.GetOrigin(), scan.GetDirection())
        voxels, values = (sitk.GetArrayFromImage(file) for file in (scan, map_of_labels))
        done = prepare(Image(voxels[None], geometry), values, plan.task("it"))
        return done, values

    stored = sitk.GetImageFromArray(labels.astype(np.uint8))
    stored.CopyInformation(image)
    one, _ = prepared(image, stored)
    other, values = prepared(sitk.DICOMOrient(image, codes), sitk.DICOMOrient(stored, codes))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.labels, other.labels)
    before, _ = other.record.split()
    there = before.apply(values, spline.Spec().resample_labels)
    np.testing.assert_array_equal(before.undo(there, spline.Spec().resample_labels), values)


@pytest.mark.parametrize("channels", [(1,), (2, 0)])
def test_a_case_to_be_predicted_has_the_channels_that_the_network_sees_cropped_by_all(
    channels: tuple[int, ...],
) -> None:
    image = np.zeros((3, 8, 9, 10), np.float32)
    random = np.random.default_rng(0)
    for channel, begin in enumerate((1, 2, 4)):  # each is nonzero elsewhere
        image[channel, begin : begin + 3, 2:7, 1:8] = random.normal(5, 1, (3, 5, 7))
    plan = make_plan((zscore.Spec(True), zscore.Spec(False), zscore.Spec(True)), spacing=(1.0, 0.8, 1.3))
    some = replace(plan.configurations["it"], channels=channels)
    seen = replace(plan, configurations={"it": some})
    assert seen.task("it").seen == channels and seen.task("it").inputs.seen == len(channels)
    labels = np.zeros(image.shape[1:], np.uint8)
    whole, alone = run(image, None, (1.0, 1.0, 1.0), plan), run(image, None, (1.0, 1.0, 1.0), seen)
    assert alone.record == whole.record
    np.testing.assert_array_equal(alone.image, whole.image[list(channels)])
    shared = run(image, labels, (1.0, 1.0, 1.0), seen)
    np.testing.assert_array_equal(shared.image, run(image, labels, (1.0, 1.0, 1.0), plan).image)


@pytest.mark.parametrize("masked", [False, True])
def test_each_mask_is_resampled_as_if_it_were_alone(masked: bool) -> None:
    """Between overlapping masks no voxel has to choose, as it does between labels that exclude each other."""
    labels, random = MaskLabels(tuple(f"m{number}" for number in range(9))), np.random.default_rng(0)
    image = random.normal(5, 1, (1, 9, 12, 11)).astype(np.float32)
    if masked:
        image[:, :2] = image[..., :3] = 0
    masks = np.stack([np.roll(np.indices(image.shape[1:])[1] < 4 + number % 3, number, 1) for number in range(9)])
    normalizers, spacing = (zscore.Spec(mask=masked),), (1.5, 1.5, 1.0)
    whole = run(image, labels.joined(masks, image.shape[1:]), spacing, make_plan(normalizers, labels=labels))
    one = ExclusiveLabels({"background": 0, "one": 1})
    for mask, found in zip(masks, labels.split(whole.labels)):
        alone = run(image, mask.astype(np.uint8), spacing, make_plan(normalizers, labels=one))
        if not masked:  # where labelled voxels count as inside, the others' do, too
            np.testing.assert_array_equal(found, alone.labels)
        assert abs(float(found.mean()) - mask.mean()) < 0.1
    assert whole.labels.dtype == np.uint16 and whole.labels.max() > 255
