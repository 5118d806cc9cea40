"""Statistics within regions, grids and mutual information of channels: as planted, as numpy and skimage have them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from skimage.metrics import normalized_mutual_information
from two_channels import GRID, SHAPE, laid, phantom, save

from autoseg.alignment.record import Alignment
from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case, Dataset, ImageSource
from autoseg.data.fingerprint import CaseFingerprint, ChannelFingerprint, ValueStatistics
from autoseg.data.layouts import read_dataset
from autoseg.inspection import statistics
from autoseg.inspection.channels import channel_fingerprint
from autoseg.inspection.scan import scan_case
from autoseg.inspection.statistics import BINS, COMPARED, spread, with_comparisons, with_regions
from autoseg.parts.readers import write_channels, write_labels

FOLDER = os.environ.get("AUTOSEG_TEST_DATA")
LABELS = ExclusiveLabels({"background": 0, "a": 1, "b": 2}, ignore=3)
PLAIN = Geometry.plain((6, 7, 8), (3.0, 0.5, 0.5))
real = pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")


def measured(array: np.ndarray) -> tuple[ChannelFingerprint, ...]:
    return tuple(channel_fingerprint(np.ascontiguousarray(channel, np.float32)) for channel in array)


def compared(array: np.ndarray, **named: object) -> list[tuple[float | None, ...]]:
    image = Image(np.asarray(array, np.float32), Geometry.plain(array.shape[1:], (1.0, 1.0, 1.0)))
    given = {"grids": {}, "reference": 0} | named
    return [each.information for each in with_comparisons(measured(array), image, **given) if each]  # type: ignore[arg-type]


def scanned(
    folder: Path, array: np.ndarray, labels: np.ndarray, names: tuple[str, ...], **named: object
) -> CaseFingerprint:
    write_channels(array, replace(PLAIN, shape=array.shape[1:]), folder / "c.nii.gz")
    write_labels(labels, replace(PLAIN, shape=array.shape[1:]), folder / "l.nii.gz")
    case = Case("c", ImageSource.all_of(folder / "c.nii.gz", len(array)), str(folder / "l.nii.gz"))
    dataset = Dataset("D", "/", names, LABELS, (case,), ".nii.gz", "nnunet", **named)  # type: ignore[arg-type]
    found = scan_case(case, dataset).fingerprint
    assert found is not None
    return found


def test_a_spread_is_numpy_s() -> None:
    values = np.random.default_rng(0).normal(-300, 50, 4001).astype(np.float32)
    found = spread(values)
    assert found is not None
    assert (found.mean, found.std) == pytest.approx((values.mean(dtype=float), values.std(dtype=float)), rel=1e-12)
    assert (found.low, found.median, found.high) == pytest.approx(tuple(np.percentile(values, [1, 50, 99])), rel=1e-6)
    assert spread(values[:0]) is None
    assert spread(values[:1]) == ValueStatistics(
        *[float(values[0]) if name != "std" else 0.0 for name in ("mean", "std", "low", "median", "high")]
    )


def test_foreground_background_and_what_is_not_0_are_told_apart(tmp_path: Path) -> None:
    labels = np.zeros((6, 7, 8), int)
    labels[1:3], labels[3], labels[5] = 1, 2, 3  # the last one is to be ignored
    image = np.zeros((2, 6, 7, 8), np.float32)
    image[0][labels == 1], image[0][labels == 2], image[0][labels == 3] = 100, 300, 5000
    image[0, 0], image[1, 0] = 7, 70
    image[1, 4, :, :4] = -30  # where the first channel is 0
    first, second = scanned(tmp_path, image, labels, ("T1", "T2")).channels
    assert first is not None and second is not None
    assert first.foreground is not None and first.background is not None and first.nonzero is not None
    inside = image[0][(labels == 1) | (labels == 2)]
    assert (first.foreground.mean, first.foreground.std) == pytest.approx((inside.mean(), inside.std()))
    assert (first.foreground.low, first.foreground.median, first.foreground.high) == (100, 100, 300)
    outside = image[0][labels == 0]
    assert (first.background.mean, first.background.std) == pytest.approx((outside.mean(), outside.std()))
    anything = image[:, image.any(axis=0)]
    assert first.nonzero.mean == pytest.approx(anything[0].mean())
    assert second.nonzero is not None and second.nonzero.mean == pytest.approx(anything[1].mean())
    assert second.foreground == ValueStatistics(0, 0, 0, 0, 0)


def test_regions_without_a_voxel_have_no_statistics(tmp_path: Path) -> None:
    zeros = scanned(tmp_path, np.zeros((1, 6, 7, 8)), np.zeros((6, 7, 8), int), ("T1",)).channels[0]
    assert zeros is not None and (zeros.foreground, zeros.nonzero) == (None, None)
    assert zeros.background == ValueStatistics(0, 0, 0, 0, 0)
    one = scanned(tmp_path, np.full((1, 1, 1, 1), 4.0), np.ones((1, 1, 1), int), ("T1",)).channels[0]
    assert one is not None and (one.foreground, one.background) == (ValueStatistics(4, 0, 4, 4, 4), None)


def test_large_images_are_sampled_and_absent_channels_left_out() -> None:
    array = np.random.default_rng(0).normal(50, 10, (2, 60, 70, 80)).astype(np.float32)
    labels = np.zeros(array.shape[1:], np.uint8)
    found = with_regions((measured(array)[0], None), array, labels, 0, array[:, :1].reshape(2, -1))
    assert found[1] is None and found[0] is not None and found[0].background is not None
    assert found[0].background.mean == pytest.approx(50, abs=0.5) and found[0].background.std == pytest.approx(
        10, rel=0.05
    )


def test_channels_that_tell_everything_or_nothing_about_each_other() -> None:
    random = np.random.default_rng(0)
    first = random.integers(1, 9, (20, 30, 40))
    table = compared(np.stack([first, 20 - first, random.permutation(first.ravel()).reshape(first.shape)]))
    assert table[0] == (None, pytest.approx(2), pytest.approx(1, abs=0.01))
    assert [row[number] for number, row in enumerate(table)] == [None] * 3
    assert table[0][1] == table[1][0] and table[1][2] == table[2][1]


def test_mutual_information_is_scikit_image_s_where_any_channel_is_not_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "COMPARED", 10**9)
    first, second, _ = phantom()
    inside = (first != 0) | (second != 0)
    expected = normalized_mutual_information(first[inside], second[inside], bins=BINS)
    ((_, found), _) = compared(np.stack([first, second]))
    assert found == pytest.approx(expected, rel=1e-4) and found > 1.05


def test_a_sample_says_nearly_the_same() -> None:
    first, second, _ = (np.repeat(each, 8, axis=0) for each in phantom())
    assert first.size > 16 * COMPARED
    inside = (first != 0) | (second != 0)
    ((_, found), _) = compared(np.stack([first, second]))
    assert found == pytest.approx(normalized_mutual_information(first[inside], second[inside], bins=BINS), abs=0.02)


def test_constant_and_tiny_channels_tell_nothing() -> None:
    random = np.random.default_rng(0)
    constant = compared(np.stack([random.random((12, 12, 12)), np.ones((12, 12, 12))]))
    assert constant == [(None, 1.0), (1.0, None)]
    assert compared(random.random((2, 1, 1, 1))) == [(None, None)] * 2


def test_of_many_channels_each_is_compared_with_the_reference_only() -> None:
    array = np.random.default_rng(0).random((9, 10, 11, 12))
    table = compared(array, reference=4)
    for number, row in enumerate(table):
        known = [other for other, value in enumerate(row) if value is not None]
        assert known == ([0, 1, 2, 3, 5, 6, 7, 8] if number == 4 else [4])


def test_a_channel_on_another_grid_is_described_and_compared_where_it_has_voxels(tmp_path: Path) -> None:
    first, second, labels = phantom()
    half = SHAPE[2] // 2  # the second channel ends in the middle, along x, and its array runs along other axes
    flipped, grid = laid(second[:, :, :half], replace(GRID, shape=(*SHAPE[:2], half)), (1, 0, 2), (2,))
    files = [save(first, GRID, tmp_path / "a.nii.gz"), save(flipped, grid, tmp_path / "b.nii.gz")]
    save(labels, GRID, tmp_path / "l.nii.gz")
    case = Case.of_files("c", map(str, files), str(tmp_path / "l.nii.gz"))
    meaning = ExclusiveLabels({"background": 0, "left": 1, "right": 2})
    dataset = Dataset("D", "/", ("T1", "T2"), meaning, (case,), ".nii.gz", "nnunet", alignment=Alignment(0))
    found = scan_case(case, dataset).fingerprint
    assert found is not None and found.channels[0] is not None and found.channels[1] is not None
    assert found.channels[0].grid is None
    lies = found.channels[1].grid
    assert lies is not None and lies.shape == (SHAPE[1], SHAPE[0], half)
    assert lies.spacing == pytest.approx((3.0, 4.0, 3.5)) and lies.orientation != found.orientation
    assert lies.covers == pytest.approx(0.5, abs=0.05)
    parts = np.stack([first, second])[..., :half]
    inside = parts.any(axis=0)
    expected = normalized_mutual_information(parts[0][inside], parts[1][inside], bins=BINS)
    assert found.channels[0].information[1] == pytest.approx(expected, abs=0.03)
    assert from_json(CaseFingerprint, to_json(found)) == found


def test_colours_are_not_compared_and_few_cases_of_others_have_a_picture(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 6, 7, 8))
    labels = np.ones((6, 7, 8), int)
    colours = scanned(tmp_path, array, labels, ("R", "G", "B"))
    assert colours.fusion_quality is None and {each and each.information for each in colours.channels} == {()}
    others = scanned(tmp_path, array, labels, ("T1", "T2", "FLAIR"))
    assert others.fusion_quality is not None and len(others.fusion_quality.information) == 3
    assert {each and len(each.information) for each in others.channels} == {3}


def test_channels_without_a_telling_name_get_a_guess(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    air = np.where(random.random((6, 7, 8)) < 0.5, -1000, 40) + random.normal(0, 10, (6, 7, 8))
    array = np.stack([air, air, air, np.abs(random.normal(300, 50, air.shape))])
    found = scanned(tmp_path, array, np.ones((6, 7, 8), int), ("image", "CT", "T1", "second")).channels
    assert [each and each.modality for each in found] == ["CT", None, "CT", "MR"]


def test_a_case_without_the_reference_is_compared_with_what_it_has() -> None:
    array = np.random.default_rng(0).random((3, 10, 11, 12)).astype(np.float32)
    array[0] = 0
    channels = (None, *measured(array)[1:])
    first, second, third = with_comparisons(channels, Image(array, PLAIN, (0,)), {}, 1)
    assert first is None and second is not None and third is not None
    assert second.information[:2] == third.information[::2] == (None, None)
    assert second.information[2] == third.information[1] is not None


@pytest.mark.slow
@real
@pytest.mark.parametrize("start", ["Dataset002", "Dataset047", "Dataset052"])
def test_real_cases_have_the_statistics_of_their_files(start: str) -> None:
    dataset = read_dataset(next(Path(str(FOLDER)).glob(f"{start}_*")))
    case = dataset.cases[0]
    found = scan_case(case, dataset).fingerprint
    assert found is not None
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(file), sitk.sitkFloat32)) for file in case.image_files]
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(case.label)))
    content = np.any([array != 0 for array in arrays], axis=0)
    for channel, array in zip(found.channels, arrays):
        assert channel is not None
        for region, where in (
            (channel.foreground, labels != 0),
            (channel.background, labels == 0),
            (channel.nonzero, content),
        ):
            assert region is not None
            values = array[where].astype(float)
            assert region.mean == pytest.approx(
                values.mean(), abs=6 * values.std() / np.sqrt(min(values.size, 8192)) + 1e-6
            )
            assert region.std == pytest.approx(values.std(), rel=0.15)
        for other, shared in zip(arrays, channel.information):
            assert (shared is None) == (other is array)
            if shared is not None:
                # skimage looks at all voxels, whose outliers widen its bins
                expected = normalized_mutual_information(array[content], other[content], bins=BINS)
                assert shared - 1 == pytest.approx(expected - 1, rel=0.35, abs=0.01)


@pytest.mark.slow
@real
def test_adc_of_a_real_prostate_lies_within_its_t2(tmp_path: Path) -> None:
    study = Path(str(FOLDER)) / "dicom/PROSTATEx/ProstateX-0000"
    images = []
    for number, name in enumerate(("T2_tra", "ADC")):
        files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(study / name))
        images.append(sitk.Cast(sitk.ReadImage(files), sitk.sitkFloat32))
        sitk.WriteImage(images[-1], str(tmp_path / f"c_{number:04d}.nii.gz"))
    t2, adc = images
    label = sitk.Image(t2.GetSize(), sitk.sitkUInt8)
    label.CopyInformation(t2)
    label[150:200, 150:200, 5:10] = 1
    sitk.WriteImage(label, str(tmp_path / "c.nii.gz"))
    case = Case.of_files(
        "c", [str(tmp_path / f"c_{number:04d}.nii.gz") for number in (0, 1)], str(tmp_path / "c.nii.gz")
    )
    meaning = ExclusiveLabels({"background": 0, "box": 1})
    names = ("first", "second")
    found = scan_case(
        case, Dataset("D", "/", names, meaning, (case,), ".nii.gz", "nnunet", alignment=Alignment(0))
    ).fingerprint
    assert found is not None and found.channels[0] is not None and found.channels[1] is not None
    assert [each and each.modality for each in found.channels] == ["MR", "MR"]
    lies = found.channels[1].grid
    assert lies is not None and found.channels[0].grid is None
    assert lies.shape == adc.GetSize()[::-1] and lies.spacing == pytest.approx(adc.GetSpacing()[::-1], rel=1e-5)
    ones = sitk.Resample(adc * 0 + 1, t2, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    assert lies.covers == pytest.approx(sitk.GetArrayFromImage(ones).mean(), abs=0.06)
    shared = found.channels[1].information[0]
    assert shared is not None and 1.005 < shared < 1.3
    assert found.fusion_quality is not None
