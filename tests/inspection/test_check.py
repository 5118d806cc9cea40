"""Every problem of every case is found, said with a cure, and only rounding is repaired."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from autoseg.core.labels import ExclusiveLabels
from autoseg.data.dataset import Case, Dataset
from autoseg.inspection.check import Problem, check_headers, fix
from autoseg.inspection.problem import problem_table
from autoseg.inspection.scan import scan_case
from autoseg.parts.readers import read_header

SHAPE = (6, 7, 8)
generator = np.random.default_rng(0)


def write(
    path: Path,
    array: np.ndarray | None = None,
    spacing: tuple[float, ...] = (0.488281, 0.488281, 3.0),
    origin: tuple[float, ...] = (-120.5, 33.25, 7.0),
    turned: float = 0.0,
) -> str:
    image = sitk.GetImageFromArray(np.ones(SHAPE, np.int16) if array is None else array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.0, 0.0, turned).GetMatrix())
    sitk.WriteImage(image, path)
    return str(path)


def dataset(*cases: Case, channels: int = 1) -> Dataset:
    names = tuple(f"c{number}" for number in range(channels))
    return Dataset("D", "/", names, ExclusiveLabels({"background": 0, "a": 1}), cases, ".nii.gz", "nnunet")


def case(folder: Path, key: str = "a", ending: str = ".nii.gz", **label: object) -> Case:
    image = write(folder / f"{key}_0000{ending}")
    return Case.of_files(key, (image,), write(folder / f"{key}{ending}", **label))  # type: ignore[arg-type]


def test_a_sound_case_has_no_problems(tmp_path: Path) -> None:
    assert check_headers(dataset(case(tmp_path)), 2) == []


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"array": np.zeros((6, 7, 9), np.uint8)}, "shape (6, 7, 9), expected (6, 7, 8)"),
        ({"spacing": (0.5, 0.488281, 3.0)}, "spacing"),
        ({"origin": (-120.0, 33.25, 7.0)}, "origin"),
        ({"turned": 0.1}, "direction"),
    ],
)
def test_another_grid_is_an_error(tmp_path: Path, label: dict[str, object], words: str) -> None:
    (problem,) = check_headers(dataset(case(tmp_path, **label)), 1)
    assert (problem.case, problem.file, problem.severity, problem.fixable) == ("a", "a.nii.gz", "error", False)
    assert words in problem.what


@pytest.mark.parametrize(
    "label",
    [{"spacing": (0.488, 0.488, 3.0)}, {"origin": (-120.501, 33.25, 7.0)}, {"turned": 0.001}],
    ids=["spacing", "origin", "direction"],
)
def test_rounding_is_a_note_that_can_be_fixed(tmp_path: Path, label: dict[str, object]) -> None:
    (problem,) = check_headers(dataset(case(tmp_path, **label)), 1)
    assert (problem.severity, problem.fixable) == ("note", True)


def test_float_noise_is_no_problem(tmp_path: Path) -> None:
    label = {"spacing": (0.48828101, 0.488281, 3.0000002), "origin": (-120.50001, 33.25, 7.0)}
    assert check_headers(dataset(case(tmp_path, **label)), 1) == []


@pytest.mark.slow
def test_more_files_than_channels_are_not_opened(tmp_path: Path) -> None:
    label = write(tmp_path / "a.nii.gz")
    files = tuple(str(tmp_path / f"a_{number:04d}.nii.gz") for number in range(9999))  # none of them exists
    (problem,) = check_headers(dataset(Case.of_files("a", files, label)), 1)
    assert problem.what.startswith("9999 channels in a_0000.nii.gz, a_0001.nii.gz, ")
    assert "but the dataset has 1; " in problem.what
    assert scan_case(Case.of_files("a", files, label), dataset(Case.of_files("a", files, label))).problems == (problem,)


def test_what_a_tiff_states_of_its_spacing_and_is_not_read_is_told(tmp_path: Path) -> None:
    stack = generator.integers(0, 2, SHAPE).astype(np.uint8)
    options = {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 5.0, "unit": "mm"}, "resolution": (2.0, 2.0)}
    tifffile.imwrite(tmp_path / "a_0000.tif", stack, **options)
    tifffile.imwrite(tmp_path / "a.tif", stack)
    one = Case.of_files("a", (str(tmp_path / "a_0000.tif"),), str(tmp_path / "a.tif"))
    (problem,) = check_headers(dataset(one), 1)
    assert (problem.severity, problem.file) == ("note", "a_0000.tif")
    assert "voxels of 5 x 0.5 x 0.5 mm, which is not read; without a.json they are taken as 1 x 1 x 1" in problem.what
    (tmp_path / "a.json").write_text('{"spacing": [5, 0.5, 0.5]}')
    assert check_headers(dataset(one), 1) == []


def test_problems_of_all_cases_come_in_one_pass(tmp_path: Path) -> None:
    broken = case(tmp_path, "broken")
    content = broken.image_files[0].read_bytes()
    broken.image_files[0].write_bytes(content[:20])
    missing = Case.of_files("missing", (str(tmp_path / "missing_0000.nii.gz"),), case(tmp_path, "x").label)
    shifted = case(tmp_path, "shifted", origin=(0.0, 0.0, 0.0))
    problems = check_headers(dataset(broken, case(tmp_path, "fine"), missing, shifted), 2)
    assert [problem.case for problem in problems] == ["broken", "missing", "shifted"]


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    files = tuple(write(tmp_path / f"a_000{number}.nii.gz") for number in (0, 2))
    (problem,) = check_headers(dataset(Case.of_files("a", files, write(tmp_path / "a.nii.gz")), channels=3), 1)
    assert "2 channels" in problem.what
    assert "_0001 is missing" in problem.what


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_fixing_changes_the_header_and_no_voxel(tmp_path: Path, ending: str) -> None:
    labels = generator.integers(0, 2, SHAPE).astype(np.uint8)
    rounded = case(tmp_path, ending=ending, array=labels, spacing=(0.488, 0.488, 3.0), origin=(-120.501, 33.25, 7.0))
    path = Path(str(rounded.label))
    before = sitk.ReadImage(path)
    (done,) = fix(dataset(rounded))
    assert str(path) in done
    after = sitk.ReadImage(path)
    assert after.GetPixelID() == before.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(after), labels)
    np.testing.assert_allclose(after.GetSpacing(), sitk.ReadImage(rounded.image_files[0]).GetSpacing(), rtol=1e-7)
    assert check_headers(dataset(rounded), 1) == []
    assert fix(dataset(rounded)) == []


def test_fixing_leaves_stored_scaling_alone(tmp_path: Path) -> None:
    rounded = case(tmp_path, ending=".nii", spacing=(0.488, 0.488, 3.0))
    path = Path(str(rounded.label))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2.0, 1.0], "<f4").tobytes()
    path.write_bytes(content)
    fix(dataset(rounded))
    assert path.read_bytes()[352:] == bytes(content[352:])
    assert path.read_bytes()[112:120] == bytes(content[112:120])


def test_fixing_touches_nothing_but_rounding(tmp_path: Path) -> None:
    cases = [case(tmp_path, "far", origin=(0.0, 0.0, 0.0)), case(tmp_path, "same")]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert fix(dataset(*cases)) == []
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_case_with_an_error_besides_rounding_is_not_half_fixed(tmp_path: Path) -> None:
    both = case(tmp_path, spacing=(0.488, 0.488, 3.0), origin=(0.0, 0.0, 0.0))
    (problem,) = check_headers(dataset(both), 1)
    assert problem.severity == "error"
    assert fix(dataset(both)) == []


def test_the_table_is_aligned_and_fits_a_terminal(tmp_path: Path) -> None:
    cure = "Do this. " * 20
    problems = [
        Problem("case_2", "case_2.nii.gz", "is wrong " * 20, cure),
        Problem("a_longer_case_name", "", "holds nothing", cure, severity="note"),
        Problem("case_1", "case_1.nii.gz", "is wrong", cure),
    ]
    lines = problem_table(problems).splitlines()
    assert max(map(len, lines)) <= 100
    first = [line for line in lines if line.startswith(("error", "note"))]
    assert [line.split()[1] for line in first] == ["case_1", "case_2", "a_longer_case_name"]
    assert len({line.index(word) for line, word in zip(first, ("case_1.nii", "case_2.nii", "holds"))}) == 1
    assert sum(line.startswith("-> ") for line in lines) == 1, "one cure is said once"
    assert problem_table([]) == "no problems"


def test_the_geometry_of_a_fixed_file_is_that_of_the_image(tmp_path: Path) -> None:
    rounded = case(tmp_path, turned=0.001)
    fix(dataset(rounded))
    image, label = (read_header(path).geometry for path in rounded.files)
    assert image == label
    gzip.decompress(Path(str(rounded.label)).read_bytes())


def test_flat_images_among_volumes_are_named_with_what_to_do(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.ones(SHAPE[1:], np.int16))
    names = [str(tmp_path / f"flat{ending}") for ending in ("_0000.nii.gz", ".nii.gz")]
    for name in names:
        sitk.WriteImage(image, name)
    flat = Case.of_files("flat", (names[0],), names[1])
    (problem,) = check_headers(dataset(case(tmp_path, "a"), case(tmp_path, "b"), flat), 2)
    assert (problem.case, problem.what) == ("flat", "is 2-D, but 2 other cases are 3-D")
    assert "one slice" in problem.cure
    assert check_headers(dataset(flat), 1) == []
