"""What is odd beside the others is named with the usual, and what may be meant so is no error."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.fingerprint import CaseFingerprint, ChannelFingerprint, Fingerprint
from autoseg.data.folds import Fold, Folds
from autoseg.data.layouts import read_dataset
from autoseg.inspection.extract import check_dataset, extract_fingerprint
from autoseg.inspection.outliers import absent_labels, copies, untrained_labels, unusual_grids, unusual_values
from autoseg.inspection.problem import Problem, problem_table
from autoseg.parts.readers import write_channels, write_labels

FOLDER = os.environ.get("AUTOSEG_TEST_DATA")
USUAL = ((1.0, 1.0, 1.0), (100, 120, 110))
NUMBERS = itertools.count()
Grid = tuple[tuple[float, float, float], tuple[int, int, int]]


def severities(*grids: Grid) -> dict[str, str]:
    found = {str(number): Geometry.plain(shape, spacing) for number, (spacing, shape) in enumerate(grids)}
    return {problem.case: problem.severity for problem in unusual_grids(found)}


@pytest.mark.parametrize("factor", [1000.0, 0.001, 25.4, 1e-6, 1e6])
@pytest.mark.parametrize("axes", [(0, 1, 2), (0,), (2,)])
def test_other_units_in_one_case_are_an_error_of_that_case(factor: float, axes: tuple[int, ...]) -> None:
    spacing = [factor if axis in axes else 1.0 for axis in range(3)]
    odd = ((spacing[0], spacing[1], spacing[2]), USUAL[1])
    assert severities(USUAL, USUAL, odd, USUAL) == {"2": "error"}
    assert severities(USUAL, odd) == {"0": "error", "1": "error"}  # nobody knows which of two
    assert severities(odd, odd, odd) == {}


def test_a_minority_in_other_units_is_named_even_where_it_is_large() -> None:
    thousand = ((1000.0, 1000.0, 1000.0), USUAL[1])
    found = severities(*[USUAL] * 51, *[thousand] * 49)
    assert found == {str(number): "error" for number in range(51, 100)}


@pytest.mark.parametrize(
    "grids",
    [
        [((slices, 0.7, 0.7), (int(400 / slices), 512, 512)) for slices in (0.5, 0.8, 1.0, 1.5, 3.0, 5.0, 8.0)],  # CT
        [((1.0, 1.0, 5.0), (200, 200, 30)), ((5.0, 1.0, 1.0), (30, 200, 200)), ((1.0, 5.0, 1.0), (200, 30, 200))],
        [((1.0, 1.0, 1.0), (edge, edge, edge)) for edge in (60, 100, 200, 400)],
        [((0.001, 0.0003, 0.0003), (30, 500, 500))] * 5,  # a microscope's
        [((scale, scale, scale), (200, 200, 200)) for scale in np.geomspace(0.03, 3, 30).tolist()],  # any bone
    ],
    ids=["slices", "orientations", "sizes", "micrometres", "any size"],
)
def test_what_varies_in_sound_datasets_is_no_error(grids: list[Grid]) -> None:
    assert "error" not in severities(*grids).values()
    if len(grids) != 30:
        assert severities(*grids) == {}


def test_a_slice_among_volumes_is_a_note() -> None:
    assert severities(USUAL, USUAL, USUAL, ((1.0, 1.0, 1.0), (1, 120, 110))) == {"3": "note"}


def test_the_number_the_usual_one_and_a_cure_are_said() -> None:
    grids = {str(n): Geometry.plain(USUAL[1], (1.0,) * 3 if n else (1000.0,) * 3) for n in range(5)}
    (problem,) = unusual_grids(grids)
    assert "voxels of 1000 x 1000 x 1000 mm" in problem.what
    assert "usual are 1 x 1 x 1 and 100 x 120 x 110" in problem.what
    assert "Correct the spacing" in problem.cure


@pytest.mark.parametrize(("ones", "thousands"), [(1, 1), (2, 2), (3, 3), (3, 2)])
def test_the_lengths_beside_are_those_of_a_case(ones: int, thousands: int) -> None:
    """Half of the cases in micrometres: the median of both halves is 500.5 mm, and no case has it."""
    sizes = [1.0] * ones + [1000.0] * thousands
    problems = unusual_grids({str(n): Geometry.plain(USUAL[1], (size,) * 3) for n, size in enumerate(sizes)})
    assert len(problems) == (thousands if ones > thousands else len(sizes))
    for problem in problems:
        own, other = (1, 1000) if sizes[int(problem.case)] == 1 else (1000, 1)
        assert f"voxels of {own} x {own} x {own} mm" in problem.what
        beside = problem.what.partition("; ")[2]
        assert beside.partition(" x ")[0] in [
            f"{word} {other}" for word in ("the other has", "others have", "usual are")
        ]


def test_pictures_are_compared_within_their_plane() -> None:
    grids = {str(n): Geometry.plain_2d((100, 100), (10.0**n, 10.0**n)) for n in (0, 0, 3)} | {
        f"more{n}": Geometry.plain_2d((90, 120)) for n in range(4)
    }
    assert [(problem.case, problem.severity) for problem in unusual_grids(grids)] == [("3", "error")]


def channel(low: float = 0.0, high: float = 1000.0, distinct: int = 500, **changes: object) -> ChannelFingerprint:
    values = ChannelFingerprint(low, high, low, (low + high) / 2, high, distinct, str(next(NUMBERS)))
    return replace(values, **changes)  # type: ignore[arg-type]


def cases(*channels: ChannelFingerprint) -> dict[str, CaseFingerprint]:
    return {
        str(n): CaseFingerprint((9, 9, 9), (1.0,) * 3, (9, 9, 9), 1.0, "", channels=(each,))
        for n, each in enumerate(channels)
    }


@pytest.mark.parametrize(
    ("name", "odd", "said"),
    [
        ("T1", channel(0, 0, 1), "channel 0 (T1) is 0 everywhere"),
        ("T1", channel(7, 7, 1), "is 7 everywhere"),
        ("T1", channel(0, 1, 2), "looks like a mask: 2 different values, usual are 500"),
        ("T1", channel(0, 1), "has values from 0 to 1, the usual range is 1e+03 wide"),
        ("T1", channel(0, 1e6), "the usual range is 1e+03 wide"),
        ("ct", channel(1000, 2000), "begins at 1000 with a median of 1500, usual are 0 and 500"),
    ],
)
def test_a_channel_of_another_kind_is_a_note(name: str, odd: ChannelFingerprint, said: str) -> None:
    ((case, severity, what),) = [
        (problem.case, problem.severity, problem.what)
        for problem in unusual_values(cases(channel(), channel(), odd, channel(), channel()), [name])
    ]
    assert (case, severity) == ("2", "note") and said in what


def test_scanners_with_other_units_are_no_oddity() -> None:
    assert unusual_values(cases(*[channel()] * 30, *[channel(0, 4e5)] * 5), ["MR"]) == []
    assert unusual_values(cases(*[channel(0, high) for high in np.geomspace(1, 1e5, 20)]), ["MR"]) == []


def test_copies_are_named_once() -> None:
    same = channel(voxels="x")
    found = cases(channel(voxels="y"), same, same)
    assert [(problem.case, problem.what) for problem in copies(found)] == [("2", "has the same images as 1")]
    two = {key: replace(case, channels=(*case.channels, channel())) for key, case in found.items()}
    assert [problem.what for problem in copies(two)] == ["channel 0 holds the same voxels as channel 0 of 1"]
    assert copies(cases(channel(0, 0, voxels="0"), channel(0, 0, voxels="0"))) == []


def test_labels_that_nobody_has_are_named() -> None:
    labels = ExclusiveLabels({"background": 0, "a": 1, "b": 2, "c": 3})
    having = [(1,), (1, 2), (1,)]
    some = cases(*[channel()] * 3)
    fingerprint = Fingerprint(
        {key: replace(case, labels=there) for (key, case), there in zip(some.items(), having)}, ()
    )
    assert [problem.what for problem in absent_labels(fingerprint, labels)] == [
        "no case has any voxel of label 'c' (value 3)"
    ]
    folds = Folds((Fold(("0", "2"), ("1",)), Fold(("1", "2"), ("0",))))
    assert [problem.what for problem in untrained_labels(fingerprint, labels, folds)] == [
        "fold 0 trains on no case with label b"
    ]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Four cases of two channels."""
    folder, random = tmp_path / "Dataset009_Odd", np.random.default_rng(0)
    for key in "abcd":
        for number in range(2):
            array = random.normal(100, 20, (1, 20, 22, 24)).astype(np.float32)
            geometry = Geometry.plain(array.shape[1:], (1.0, 1.0, 1.0))
            write_channels(array, geometry, folder / f"imagesTr/{key}_000{number}.nii.gz")
        labels = np.zeros(array.shape[1:], np.uint8)
        labels[5:15, 5:15, 5:15] = 1
        write_labels(labels, geometry, folder / f"labelsTr/{key}.nii.gz")
    described = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def notes(folder: Path) -> list[tuple[str, str, str]]:
    _, found = check_dataset(read_dataset(folder), folder.parent / "measured", 2)
    return [(problem.case, problem.severity, problem.what) for problem in found]


def recompressed(source: Path, target: Path) -> None:
    target.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()), 1))


def other_header(source: Path, target: Path) -> None:
    image = sitk.Cast(sitk.ReadImage(source), sitk.sitkFloat64)
    image.SetOrigin((0.0, 0.0, 1e-4))
    sitk.WriteImage(image, target)


@pytest.mark.slow
@pytest.mark.parametrize("copy", [recompressed, other_header, lambda a, b: b.symlink_to(a), lambda a, b: os.link(a, b)])
def test_two_channels_with_the_same_voxels_are_named_whatever_their_files_are(raw: Path, copy) -> None:
    first, second = (raw / f"imagesTr/b_000{number}.nii.gz" for number in range(2))
    assert notes(raw) == []
    second.unlink()
    copy(first, second)
    ((case, severity, what),) = notes(raw)
    assert (case, severity) == ("b", "note")
    assert what == "b_0000.nii.gz and b_0001.nii.gz are channel 0 and channel 1, with the same voxels"


def test_a_file_that_a_list_names_twice_is_named(raw: Path) -> None:
    described = json.loads((raw / "dataset.json").read_text())
    described["dataset"] = {
        key: {"images": [f"imagesTr/{key}_0000.nii.gz"] * 2, "label": f"labelsTr/{key}.nii.gz"} for key in "a"
    }
    (raw / "dataset.json").write_text(json.dumps(described))
    assert ("a", "note", "a_0000.nii.gz is both channel 0 and channel 1, with the same voxels") in notes(raw)


@pytest.mark.slow
def test_another_cases_channel_is_named(raw: Path) -> None:
    (raw / "imagesTr/d_0001.nii.gz").write_bytes((raw / "imagesTr/a_0001.nii.gz").read_bytes())
    assert notes(raw) == [("d", "note", "channel 1 holds the same voxels as channel 1 of a")]


@pytest.mark.slow
def test_all_files_of_a_case_that_cannot_be_read_are_named(raw: Path) -> None:
    for name in ("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz", "labelsTr/c.nii.gz"):
        path = raw / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert sorted(found[:2] for found in notes(raw)) == [("b", "error"), ("b", "error"), ("c", "error")]


@pytest.mark.slow
def test_a_pipe_in_place_of_a_file_that_was_measured_does_not_hang(raw: Path) -> None:
    assert notes(raw) == []
    (raw / "labelsTr/c.nii.gz").unlink()
    os.mkfifo(raw / "labelsTr/c.nii.gz")
    ((case, severity, what),) = notes(raw)
    assert (case, severity) == ("c", "error") and "pipe" in what


@pytest.mark.slow
def test_the_same_scans_stored_along_other_axes_give_the_same_places(raw: Path, tmp_path: Path) -> None:
    dataset = read_dataset(raw)
    before, _ = extract_fingerprint(dataset, tmp_path / "before", 1)
    for path in dataset.cases[1].files:
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(path), "PSR"), path)
    after, problems = extract_fingerprint(dataset, tmp_path / "after", 1)
    assert problems == [] and after.orientation == "LPS"
    assert [case.left_right for case in after.cases.values()] == [2, 0, 2, 2]
    for one, other in zip(before.structures, after.structures):
        assert one and other
        np.testing.assert_allclose((*one.centre, *one.covariance), (*other.centre, *other.covariance), atol=1e-9)


@pytest.mark.slow
def test_one_case_in_other_units_stops_before_anything_is_read(raw: Path, tmp_path: Path, capsys) -> None:
    for name in ("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz", "labelsTr/b.nii.gz"):
        image = sitk.ReadImage(raw / name)
        image.SetSpacing((1000.0,) * 3)
        sitk.WriteImage(image, raw / name)
    for command in ("check", "plan_and_preprocess"):
        assert main([command, str(raw), "--workspace", str(tmp_path / command)]) == 2
        said = capsys.readouterr()
        assert "error  b  voxels of 1000 x 1000 x 1000 mm" in said.out + said.err
    assert not (tmp_path / "plan_and_preprocess/Dataset009_Odd/measured").exists()


@pytest.mark.slow
def test_cases_too_large_to_be_prepared_are_named_together(raw: Path, tmp_path: Path, capsys) -> None:
    tiny = ["--planner", "plain_unet", "--spacing", "0.01,0.02,0.02", "--workspace", str(tmp_path / "w")]
    assert main(["plan_and_preprocess", str(raw), *tiny]) == 2
    said = capsys.readouterr().err
    assert "4 of 4 cases cannot be prepared for 3d_fullres" in said
    assert all(f"case {key}: " in said for key in "abcd") and said.count("voxels of 1 x 1 x 1 mm would become") == 4


def test_a_table_may_be_cut_and_says_so() -> None:
    problems = [Problem(f"case_{n:03d}", "", "is wrong\x1b[2J " * 100, "Do this.", "error") for n in range(500)]
    text = problem_table(problems, 10)
    assert "... and 490 more: `autoseg check DATASET` lists all" in text and "\x1b" not in text
    assert text.count("case_") == 10
    assert problem_table(problems).count("case_") == 500


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")
@pytest.mark.parametrize("folder", sorted(Path(str(FOLDER)).glob("Dataset*")), ids=lambda path: path.name)
def test_real_datasets_are_not_odd(folder: Path, tmp_path: Path) -> None:
    _, problems = check_dataset(read_dataset(folder), tmp_path, 2)
    hints = [
        each for each in problems if "--bias-correction" in each.cure
    ]  # coils make some of them brighter in places
    assert [each for each in problems if each not in hints] == []
    assert {each.severity for each in hints} <= {"note"}
