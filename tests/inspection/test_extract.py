"""What is measured is right, is measured once, and every problem inside the voxels is found."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case, Dataset, ImageSource
from autoseg.data.fingerprint import Fingerprint
from autoseg.inspection import extract, scan
from autoseg.inspection.extract import extract_fingerprint
from autoseg.inspection.scan import scan_case, scan_voxels
from autoseg.parts.readers import write_channels, write_labels

SHAPE = (6, 7, 8)
GEOMETRY = Geometry.plain(SHAPE, (3.0, 0.5, 0.5))
LABELS = ExclusiveLabels({"background": 0, "a": 1, "b": 2}, ignore=3)


def make_case(folder: Path, key: str, image: np.ndarray, labels: np.ndarray) -> Case:
    write_channels(image, GEOMETRY, folder / f"{key}_0000.nii.gz")
    write_labels(labels, GEOMETRY, folder / f"{key}.nii.gz")
    images = ImageSource.all_of(folder / f"{key}_0000.nii.gz", len(image))
    return Case(key, images, str(folder / f"{key}.nii.gz"))


def random_case(folder: Path, key: str, seed: int) -> Case:
    generator = np.random.default_rng(seed)
    image = generator.normal(seed * 10, 1 + seed, (2, *SHAPE))
    return make_case(folder, key, image, generator.integers(0, 4, SHAPE))


def dataset_of(*cases: Case, labels: Labels = LABELS) -> Dataset:
    return Dataset("D", "/", ("A", "B"), labels, cases, ".nii.gz", "nnunet")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return dataset_of(*(random_case(tmp_path, key, seed) for seed, key in enumerate("abc")))


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the cases that were really read."""
    keys: list[str] = []

    def counting(case: Case, dataset: Dataset) -> scan.Scan:
        keys.append(case.key)
        return scan_case(case, dataset)

    monkeypatch.setattr(extract, "scan_case", counting)
    return keys


def test_a_case_is_cropped_to_what_is_not_zero(tmp_path: Path) -> None:
    image = np.zeros((2, *SHAPE))
    image[0, 1:3, 2:5, 4] = 1
    image[1, 2, 2, 6] = -1
    labels = np.zeros(SHAPE, int)
    labels[1, 2, 4] = 1
    case = make_case(tmp_path, "a", image, labels)
    found = scan_case(case, dataset_of(case)).fingerprint
    assert found is not None
    assert (found.shape, found.spacing) == (SHAPE, GEOMETRY.spacing)
    assert found.cropped_shape == (2, 3, 3)
    assert found.cropped_fraction == pytest.approx(18 / 336)


def test_the_patients_left_right_is_found_in_the_files_direction(tmp_path: Path) -> None:
    turned = replace(GEOMETRY, direction=(0.0, 0.1, -0.99, 1.0, 0.0, 0.0, 0.0, 0.99, 0.1))  # x runs backwards along z
    case = make_case(tmp_path, "a", np.ones((2, *SHAPE)), np.ones(SHAPE, int))
    for path in case.files:
        write_labels(np.ones(SHAPE, int), turned, path)
    one = replace(case, images=(ImageSource(str(case.files[0])),))
    found = scan_case(one, replace(dataset_of(one), channels=("A",))).fingerprint
    assert found is not None
    assert found.left_right == 0


def test_places_of_labels_are_remembered_with_their_case(dataset: Dataset, tmp_path: Path, scanned: list[str]) -> None:
    first, _ = extract_fingerprint(dataset, tmp_path / "m", 1)
    again, _ = extract_fingerprint(dataset, tmp_path / "m", 1)
    assert len(scanned) == 3
    assert first.structures == again.structures
    assert [structure.cases for structure in first.structures if structure] == [3, 3]


def test_a_fingerprint_from_before_places_were_measured_is_read(dataset: Dataset, tmp_path: Path) -> None:
    record = to_json(extract_fingerprint(dataset, tmp_path / "m", 1)[0])
    del record["structures"]
    for case in record["cases"].values():
        del case["left_right"]
    old: Fingerprint = from_json(Fingerprint, record)
    assert old.structures == ()
    assert {case.left_right for case in old.cases.values()} == {None}


def test_intensities_are_those_of_the_foreground_without_ignored_voxels(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 4, SHAPE)
    case = make_case(tmp_path, "a", image, labels)
    found = scan_case(case, dataset_of(case)).intensities
    np.testing.assert_array_equal(found, image[:, (labels == 1) | (labels == 2)])


def test_large_foregrounds_are_sampled_without_repetition_and_always_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SAMPLES_IN_ALL", 100)
    monkeypatch.setattr(scan, "FEWEST_SAMPLES", 10)
    image = np.arange(2 * np.prod(SHAPE)).reshape(2, *SHAPE) + 1
    case = make_case(tmp_path, "a", image, np.ones(SHAPE, int))
    first, again = (scan_case(case, dataset_of(case, replace(case, key="b"))).intensities for _ in range(2))
    assert first is not None
    assert first.shape == (2, 50)
    assert len(np.unique(first[0])) == 50
    np.testing.assert_array_equal(first[1] - first[0], np.prod(SHAPE))
    np.testing.assert_array_equal(first, again)


def test_statistics_are_numpy_s_when_cases_are_equally_large(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = [generator.normal(size=(2, *SHAPE)).astype(np.float32) for _ in range(3)]
    cases = [make_case(tmp_path, f"c{i}", image, np.ones(SHAPE, int)) for i, image in enumerate(images)]
    fingerprint, _ = extract_fingerprint(dataset_of(*cases), tmp_path / "m", 1)
    for channel, found in enumerate(fingerprint.intensities):
        values = np.concatenate([image[channel].ravel() for image in images])
        assert found.mean == pytest.approx(values.mean(), abs=1e-6)
        assert found.std == pytest.approx(values.std(), rel=1e-6)
        assert (found.min, found.max) == (values.min(), values.max())
        assert found.median == pytest.approx(np.median(values), abs=1e-6)
        assert found.percentile_00_5 == pytest.approx(np.percentile(values, 0.5), abs=1e-6)
        assert found.percentile_99_5 == pytest.approx(np.percentile(values, 99.5), abs=1e-6)


def test_a_case_with_large_structures_weighs_no_more_than_one_with_small_ones(tmp_path: Path) -> None:
    small = np.zeros(SHAPE, int)
    small[0, 0, :2] = 1
    large = np.ones(SHAPE, int)
    cases = [
        make_case(tmp_path, "small", np.full((2, *SHAPE), 10.0), small),
        make_case(tmp_path, "large", np.full((2, *SHAPE), 30.0), large),
    ]
    fingerprint, _ = extract_fingerprint(dataset_of(*cases), tmp_path / "m", 1)
    assert fingerprint.intensities[0].mean == pytest.approx(20.0)
    assert fingerprint.intensities[0].std == pytest.approx(10.0)


def test_unchanged_cases_are_not_read_again(dataset: Dataset, tmp_path: Path, scanned: list[str]) -> None:
    first = extract_fingerprint(dataset, tmp_path / "m", 2)
    assert sorted(scanned) == ["a", "b", "c"]
    assert extract_fingerprint(dataset, tmp_path / "m", 2) == first
    assert sorted(scanned) == ["a", "b", "c"]


def test_a_touched_file_with_the_same_content_is_not_measured_again(
    dataset: Dataset, tmp_path: Path, scanned: list[str]
) -> None:
    first = extract_fingerprint(dataset, tmp_path / "m", 1)
    os.utime(dataset.cases[0].files[0], (1, 1))
    assert extract_fingerprint(dataset, tmp_path / "m", 1) == first
    assert len(scanned) == 3


def test_a_changed_case_is_read_again_and_only_that(dataset: Dataset, tmp_path: Path, scanned: list[str]) -> None:
    first, _ = extract_fingerprint(dataset, tmp_path / "m", 1)
    random_case(tmp_path, "b", 9)
    second, _ = extract_fingerprint(dataset, tmp_path / "m", 1)
    assert scanned[3:] == ["b"]
    assert first.cases["b"].content != second.cases["b"].content
    assert first.cases["a"] == second.cases["a"]


def test_what_is_remembered_and_damaged_is_read_again(dataset: Dataset, tmp_path: Path, scanned: list[str]) -> None:
    folder = tmp_path / "measured"
    measured, _ = extract_fingerprint(dataset, folder, 1)
    content = (folder / "a.npz").read_bytes()
    header = content.index(b"'shape': (2, ") + len(b"'shape': (")
    short = content[:header] + b"1" + content[header + 1 :]  # a whole file with half as many numbers, for numpy
    for damaged in (short, content[: len(content) // 2], b"", bytes(100), (folder / "b.npz").read_bytes()):
        (folder / "a.npz").write_bytes(damaged)
        scanned.clear()
        assert extract_fingerprint(dataset, folder, 1)[0] == measured
        assert scanned == ["a"] and (folder / "a.npz").read_bytes() == content


def test_a_killed_run_continues(dataset: Dataset, tmp_path: Path, scanned: list[str]) -> None:
    whole, _ = extract_fingerprint(dataset, tmp_path / "other", 1)
    extract_fingerprint(dataset_of(*dataset.cases[:2]), tmp_path / "m", 1)
    (tmp_path / "m/b.npz").write_bytes((tmp_path / "m/b.npz").read_bytes()[:100])
    scanned.clear()
    continued, _ = extract_fingerprint(dataset, tmp_path / "m", 1)
    assert scanned == ["b", "c"]
    assert continued == whole


def test_other_label_meanings_measure_again(dataset: Dataset, tmp_path: Path, scanned: list[str]) -> None:
    extract_fingerprint(dataset, tmp_path / "m", 1)
    other = ExclusiveLabels({"background": 0, "a": 1, "b": 2, "c": 3})
    extract_fingerprint(dataset_of(*dataset.cases, labels=other), tmp_path / "m", 1)
    assert len(scanned) == 6


def test_all_problems_of_all_cases_are_found_in_one_pass(tmp_path: Path) -> None:
    image, labels = np.random.default_rng(1).normal(size=(2, *SHAPE)), np.random.default_rng(2).integers(0, 3, SHAPE)
    sound = make_case(tmp_path, "sound", image, labels)
    nan = image * 2
    nan[1, 0, 0, :3] = np.nan
    wild = labels.copy()
    wild[0, 0, 0] = 99
    cases = [
        sound,
        make_case(tmp_path, "nan", nan, wild),
        make_case(tmp_path, "empty", image * 3, labels * 0),
        make_case(tmp_path, "copy", image, labels),
        make_case(tmp_path, "cut", np.random.default_rng(0).normal(size=(2, *SHAPE)), labels),
    ]
    cut = cases[-1].files[0]
    cut.write_bytes(cut.read_bytes()[:-200])
    _, problems = extract_fingerprint(dataset_of(*cases), tmp_path / "m", 2)
    found = {(problem.case, problem.severity, problem.what.split(":")[0].split(" (")[0][:32]) for problem in problems}
    assert found == {
        ("nan", "error", "3 of 336 voxels of channel 1 are"),
        ("nan", "error", "1 unknown label values"),
        ("empty", "note", "holds no foreground at all"),
        ("copy", "note", "has the same images as sound"),
        ("cut", "error", "cannot be read, it is damaged, i"),
    }


def test_cases_with_errors_are_looked_at_again(tmp_path: Path, scanned: list[str]) -> None:
    image = np.full((2, *SHAPE), np.inf)
    dataset = dataset_of(make_case(tmp_path, "a", image, np.random.default_rng(0).integers(0, 2, SHAPE)))
    for _ in range(2):
        _, problems = extract_fingerprint(dataset, tmp_path / "m", 1)
        assert [problem.severity for problem in problems] == ["error", "error"]
    assert scanned == ["a", "a"]


def test_notes_are_remembered(tmp_path: Path, scanned: list[str]) -> None:
    image = np.random.default_rng(0).normal(size=(2, *SHAPE))
    empty = make_case(tmp_path, "empty", image, np.zeros(SHAPE, int))
    dataset = dataset_of(empty, random_case(tmp_path, "b", 1))
    first, again = (extract_fingerprint(dataset, tmp_path / "m", 1)[1] for _ in range(2))
    assert [problem.case for problem in again] == ["empty"]
    assert first == again
    assert scanned == ["empty", "b"]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint64, np.int64])
@pytest.mark.parametrize("values", [[0], [0, 1, 2], [3, 100], [-5, 0, 7], [0, 10**6], [0, 65535, 65536]])
def test_values_of_label_maps_are_numpy_s(kind: type, values: list[int]) -> None:
    labels = np.random.default_rng(0).choice(np.array(values).astype(kind), (4, 5, 6))
    assert scan._values_in(labels) == np.unique(labels).tolist()


def test_label_maps_without_background_are_a_note(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(2, *SHAPE))
    dataset = dataset_of(make_case(tmp_path, "full", image, np.ones(SHAPE, int)), random_case(tmp_path, "b", 1))
    (problem,) = (each for each in extract_fingerprint(dataset, tmp_path / "m", 1)[1] if each.case != "all cases")
    assert (problem.case, problem.severity, problem.what) == ("full", "note", "holds no background at all")


@pytest.mark.parametrize(
    ("empty", "said"),
    [
        ((), None),
        ((0, 5), None),  # masked, as brains are
        ((0, 1, 4, 5), "4 of 6 slices of channel 1 hold only 0"),
        ((2, 5), "2 of 6 slices of channel 1 hold only 0, 1 of them between others"),
        (tuple(range(6)), None),  # that a channel is constant is said as such
    ],
)
def test_slices_of_zeros_are_a_note(tmp_path: Path, empty: tuple[int, ...], said: str | None) -> None:
    image = np.random.default_rng(0).normal(size=(2, *SHAPE))
    image[1, list(empty)] = 0
    case = make_case(tmp_path, "a", image, np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3)
    found = scan_case(case, dataset_of(case))
    assert [(problem.severity, problem.what) for problem in found.problems] == ([("note", said)] if said else [])


@pytest.mark.slow
def test_voxels_that_fit_no_label_are_not_unpacked(tmp_path: Path) -> None:
    """A few megabytes may hold gigabytes of zeros: headers say already that the two do not belong together."""
    case = random_case(tmp_path, "a", 0)
    large = gzip.compress(bytes(nibabel.Nifti1Image(np.zeros((500, 500, 500), np.uint8), np.eye(4)).to_bytes()), 1)
    for path in map(Path, (case.image_files[0], str(case.label))):
        whole = path.read_bytes()
        path.write_bytes(large)
        tracemalloc.start()
        try:
            found = scan_case(case, dataset_of(case))
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()
        (problem,) = found.problems
        assert (problem.file, problem.severity) == ("a.nii.gz", "error")
        assert "(500, 500, 500)" in problem.what and "(6, 7, 8)" in problem.what
        path.write_bytes(whole)
    assert scan_case(case, dataset_of(case)).problems == ()


def test_headers_that_were_checked_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of(random_case(tmp_path, "a", 0), random_case(tmp_path, "b", 1))
    whole = extract_fingerprint(dataset, tmp_path / "whole", 1)
    monkeypatch.setattr("autoseg.inspection.scan.unfit", lambda *_: pytest.fail("headers are read again"))
    assert extract_fingerprint(dataset, tmp_path / "m", 1, unfit=()) == whole
    found, problems = extract_fingerprint(dataset, tmp_path / "m", 1, unfit={"a"})
    assert [*found.cases] == ["b"] and problems == []


def test_a_label_map_that_became_another_meanwhile_is_a_problem(tmp_path: Path) -> None:
    case = random_case(tmp_path, "a", 0)
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.eye(4)), str(case.label))
    (problem,) = scan_voxels(case, dataset_of(case)).problems
    assert problem.severity == "error" and "shape" in problem.what


def test_a_dataset_without_any_foreground_is_an_error(tmp_path: Path) -> None:
    dataset = dataset_of(make_case(tmp_path, "a", np.ones((2, *SHAPE)), np.zeros(SHAPE, int)))
    fingerprint, problems = extract_fingerprint(dataset, tmp_path / "m", 1)
    assert fingerprint.intensities == ()
    assert ("error", "no foreground voxel in any case") in {(p.severity, p.what) for p in problems}
