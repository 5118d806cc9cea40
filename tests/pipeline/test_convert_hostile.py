"""Whatever a stranger's folder holds: it is converted, or what is wrong is said; nothing outside is read or written."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from filelock import FileLock
from hostile_models import VALUES, places, replaced

from autoseg.cli import main
from autoseg.pipeline.convert import LOCK

LONGEST = 2000  # characters of a message


def write(path: Path, array: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.eye(6, dtype=np.int16)[None] if array is None else array), str(path))
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def decathlon(folder: Path, **changes: Any) -> Path:
    for name in ("a", "b"):
        write(folder / "imagesTr" / f"{name}.nii.gz")
        write(folder / "labelsTr" / f"{name}.nii.gz", np.eye(6, dtype=np.uint8)[None])
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in ("a", "b")]
    content = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "x"}, "training": pairs, "test": []}
    (folder / "dataset.json").write_text(json.dumps(content | changes))
    return folder


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `autoseg convert KIND SOURCE tmp/D WORDS`, which must end with a short message and with ``code``."""

    def run(kind: str | Path, source: Path, *words: str, code: int = 2) -> str:
        assert main(["convert", str(kind), str(source), str(tmp_path / "D"), *words]) == code
        message = capsys.readouterr().err
        assert 0 < len(message) < LONGEST
        assert message.replace("\n", "").isprintable()
        return message

    return run


@pytest.mark.parametrize("field", ["image", "label"])
@pytest.mark.parametrize(
    "path", ["../secret.nii.gz", "imagesTr/../../secret.nii.gz", "/etc/passwd", "ABSOLUTE", "..", ""]
)
def test_a_path_that_leads_out_of_a_task_is_refused(
    field: str, path: str, said: Callable[..., str], tmp_path: Path
) -> None:
    secret = write(tmp_path / "secret.nii.gz")
    source = decathlon(tmp_path / "s")
    described = json.loads((source / "dataset.json").read_text())
    described["training"][1][field] = str(secret) if path == "ABSOLUTE" else path
    (source / "dataset.json").write_text(json.dumps(described))
    message = said("msd", source)
    assert "1 cases cannot be converted" in message
    assert "leads out of" in message or "is not there" in message or "cannot be read" in message
    assert said("msd", source, "--leave-out", code=0)
    assert files(tmp_path / "D") == ["dataset.json", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"]


def test_names_that_no_file_can_have_become_some_that_it_can(tmp_path: Path) -> None:
    source = decathlon(tmp_path / "s")
    names = ["con.nii.gz", "x" * 200 + ".nii.gz", " ..odd\n name.nii.gz"]
    for name in names:
        write(source / "odd.nii.gz").rename(source / name)
    described = json.loads((source / "dataset.json").read_text()) | {"test": names}
    (source / "dataset.json").write_text(json.dumps(described))
    assert main(["convert", "msd", str(source), str(tmp_path / "D")]) == 0
    assert [name[:12] for name in files(tmp_path / "D" / "imagesTs")] == ["case_con_000", "odd_name_000", "x" * 12]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_task_with_any_value_replaced_is_a_dataset_or_a_message(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = decathlon(tmp_path / "s", name="Task", licence="CC", reference="x", description="y")
    described = json.loads((source / "dataset.json").read_text())
    every = [(path, value) for path in places(described) for value in VALUES]
    for path, value in random.Random(seed).sample(every, 50):
        (source / "dataset.json").write_text(json.dumps(replaced(described, path, value)))
        code = main(["convert", "msd", str(source), str(tmp_path / "D")])
        assert code in (0, 2), (path, value)
        assert len(capsys.readouterr().err) < LONGEST
        assert (tmp_path / "D" / "dataset.json").exists() == (code == 0) or not list(tmp_path.glob("D/labelsTr/*"))
        shutil.rmtree(tmp_path / "D", ignore_errors=True)


RECIPE = {
    "description": "d", "case": "(p[0-9]+)", "channels": {"T1": "*/t1.nii.gz"}, "label": ["*/seg.nii.gz"],
    "labels": {"x": [1], "y": [2, 3]}, "table": "*.tsv", "named": "_(x)_", "not_images": ["old/*"],
}  # fmt: skip


def recipe(folder: Path, **changes: Any) -> Path:
    path = folder / "recipe.json"
    path.write_text(json.dumps(RECIPE | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"case": "(a"}, "the regular expression '(a' cannot be understood"),
        ({"case": "a{99999999999}"}, "cannot be understood"),
        ({"case": "(" * 600 + ")" * 600}, "longer than 500 characters"),
        ({"named": "*"}, "cannot be understood"),
        ({"case": 5}, "expected str"),
        ({"channels": {"T1": ["*"]}}, "expected str"),
        ({"channels": {"a\nb": "*/t1.nii.gz"}}, "cannot be a name"),
        ({"channels": {}}, "no image fits"),
        ({"labels": {"background": [1]}}, "`background` is all that is not kept"),
        ({"labels": {"x": "1"}}, "expected a list"),
        ({"labels": {"../x\x1b": [1]}}, "cannot be a name"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_named_by_its_field(
    changes: dict[str, Any], expected: str, said: Callable[..., str], tmp_path: Path
) -> None:
    write(tmp_path / "s" / "p1" / "t1.nii.gz")
    assert expected in said(recipe(tmp_path, **changes), tmp_path / "s")


@pytest.mark.slow
def test_a_regular_expression_that_never_ends_is_stopped(
    said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoseg.interop.expressions.PATIENCE", 1.0)
    write(tmp_path / "s" / ("a" * 60 + "!") / "t1.nii.gz")
    assert "takes too long" in said(recipe(tmp_path, case="(a+)+$"), tmp_path / "s")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_recipe_with_any_value_replaced_makes_a_dataset_or_a_message(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "s" / "p1" / "t1.nii.gz")
    write(tmp_path / "s" / "p1" / "seg.nii.gz", np.eye(6, dtype=np.uint8)[None])
    every = [(path, value) for path in places(RECIPE) for value in VALUES]
    for path, value in random.Random(seed).sample(every, 40):
        (tmp_path / "recipe.json").write_text(json.dumps(replaced(RECIPE, path, value)))
        assert main(["convert", str(tmp_path / "recipe.json"), str(tmp_path / "s"), str(tmp_path / "D")]) in (0, 2)
        assert len(capsys.readouterr().err) < LONGEST
        shutil.rmtree(tmp_path / "D", ignore_errors=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("kind", ["bids", "dicom"])
def test_loops_pipes_and_devices_in_a_folder_are_passed_by(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "s"
    write(source / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    write_series(source / "sub-1" / "dicom", np.zeros((3, 6, 5)), np.eye(3))
    (source / "sub-1" / "anat" / "loop").symlink_to(source)
    (source / "loop.dcm").symlink_to(source / "loop.dcm")
    os.mkfifo(source / "sub-1" / "anat" / "sub-1_run-2_T1w.nii.gz")
    os.mkfifo(source / "pipe.dcm")
    (source / "sub-1" / "anat" / "sub-1_run-3_T1w.nii.gz").symlink_to("/dev/zero")
    assert main(["convert", kind, str(source), str(tmp_path / "D")]) == 0
    assert len(files(tmp_path / "D")) == 1


def test_what_a_kill_left_is_removed_and_what_was_finished_is_kept(tmp_path: Path) -> None:
    source, target = decathlon(tmp_path / "s"), tmp_path / "D"
    assert main(["convert", "msd", str(source), str(target)]) == 0
    expected = files(target)
    (target / "dataset.json").unlink()
    table = tmp_path / "tables" / "names.csv"
    table.parent.mkdir()
    (table.parent / f".writing-{2**22 + 7}-0123abcd-names.csv").write_bytes(b"half")
    kept = target / "imagesTr" / "a_0000.nii.gz"
    before = kept.stat().st_mtime_ns
    for name in ("a_0000.nii.gz", "dataset.json"):
        folder = target if name == "dataset.json" else target / "imagesTr"
        (folder / f".writing-{2**22 + 7}-0123abcd-{name}").write_bytes(b"half")
    assert main(["convert", "msd", str(source), str(target), "--table", str(table)]) == 0
    assert files(target) == expected
    assert list(table.parent.iterdir()) == [table]
    assert kept.stat().st_mtime_ns == before


def interrupted(*words: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that ends, as a full disk ends it, before it has written dataset.json."""
    with monkeypatch.context() as patched:
        patched.setattr("autoseg.pipeline.convert.write_json", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        assert main(["convert", *words, str(target)]) == 2
    assert list(target.glob("*/*.nii.gz"))


def test_what_another_conversion_has_left_is_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have cases a and b; those of the first would stay."""
    first, second, target = decathlon(tmp_path / "s"), decathlon(tmp_path / "t"), tmp_path / "D"
    interrupted("msd", str(first), target=target, monkeypatch=monkeypatch)
    before = {path: path.read_bytes() for path in target.glob("*/*.nii.gz")}
    changed = recipe(tmp_path, case="([ab])", channels={"T1": "imagesTr/*.nii.gz"}, label=[])
    for words in (["msd", str(second)], ["msd", str(first), "--keep", "tumour=2"], [str(changed), str(first)]):
        assert main(["convert", *words, str(target)]) == 2
        assert "another conversion has left" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in target.glob("*/*.nii.gz")}
    assert main(["convert", "msd", str(first), str(target)]) == 0
    assert main(["convert", "msd", str(second), str(tmp_path / "E")]) == 0
    for folder in (target, tmp_path / "E"):
        assert {path.name for path in folder.iterdir()} == {"dataset.json", "imagesTr", "labelsTr"}


def test_two_conversions_into_one_folder_are_not_mixed(tmp_path: Path) -> None:
    sources = [decathlon(tmp_path / "s"), decathlon(tmp_path / "t")]
    for path in (tmp_path / "t").glob("*/*.nii.gz"):
        write(path, 1 - np.eye(6, dtype=np.uint8)[None])
    words = [sys.executable, "-m", "autoseg", "convert", "msd"]
    both = [
        subprocess.Popen([*words, str(source), str(tmp_path / "D")], stderr=subprocess.PIPE, text=True)
        for source in sources
    ]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    winner = next(source for source, process in zip(sources, both) if process.returncode == 0)
    for name in ("imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz"):
        for key in ("a", "b"):
            found, expected = tmp_path / "D" / name.format(key), winner / name.format(key).replace("_0000", "")
            np.testing.assert_array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (found, expected)))


def test_one_who_waited_for_another_conversion_leaves_nothing(tmp_path: Path) -> None:
    """The other one takes its lock away when it has finished; who has waited makes the file anew."""
    decathlon(tmp_path / "s")
    (tmp_path / "D").mkdir()
    lock = FileLock(str(tmp_path / "D" / LOCK))
    words = [sys.executable, "-m", "autoseg", "convert", "msd", str(tmp_path / "s"), str(tmp_path / "D")]
    with lock, subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        while "waiting for" not in waiting.stderr.readline():
            assert waiting.poll() is None
        (tmp_path / "D" / "dataset.json").write_text("{}")
        (tmp_path / "D" / LOCK).unlink()
        lock.release()
        assert "is a dataset already" in waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 2
    assert [path.name for path in (tmp_path / "D").iterdir()] == ["dataset.json"]


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd"])
def test_a_file_that_ends_too_early_is_its_cases_problem(ending: str, said: Callable[..., str], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 999, (9, 40, 40)).astype(np.int16)
    for key in ("p1", "p2"):
        write(tmp_path / "s" / key / f"t1.{ending}", noise)
    broken = tmp_path / "s" / "p2" / f"t1.{ending}"
    broken.write_bytes(broken.read_bytes()[:-4000])
    made = recipe(tmp_path, channels={"T1": f"*/t1.{ending}"}, label=[])
    assert "p2: " in said(made, tmp_path / "s")
    assert said(made, tmp_path / "s", "--leave-out", code=0)
    assert files(tmp_path / "D") == ["imagesTs/p1_0000.nii.gz"]


def test_a_place_that_cannot_be_written_is_said(said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "D").write_text("a file")
    assert "a file lies where a folder is needed" in said("msd", decathlon(tmp_path / "s"))


def study(folder: Path, number: int, **tags: str) -> list[Path]:
    uid = {"t0020_000d": f"1.2.{number}", "t0020_000e": f"1.2.{number}.1"}
    pixels = np.random.default_rng(number).integers(0, 999, (4, 30, 20))
    return sorted(write_series(folder, pixels, np.eye(3), **uid, **tags))


def damaged(path: Path, kind: str) -> None:
    content = path.read_bytes()
    at = content.rfind(b"\xe0\x7f\x10\x00")
    if kind.startswith("ends"):
        cuts = {"in its pixels": at + 400, "before them": at - 10, "in its header": 400, "at its class": 140,
                "at once": 0}  # fmt: skip
        path.write_bytes(content[: cuts[kind.removeprefix("ends ")]])
        return
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    data = pydicom.dcmread(path)
    changes: dict[str, dict[str, Any]] = {
        "no place": {"ImagePositionPatient": None},
        "several frames": {"NumberOfFrames": "2"},
        "odd frames": {"NumberOfFrames": "-7"},
        "65535 rows": {"Rows": 65535, "Columns": 65535},
        "scaled to one": {"RescaleSlope": "0", "RescaleIntercept": "0"},
        "colours": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
        "axes of nothing": {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        "pixels of nothing": {"PixelSpacing": [0, 0]},
        "pixels less than nothing": {"PixelSpacing": [-1, -1]},
        "far away": {"ImagePositionPatient": ["1e300", "0", "0"]},
    }
    for name, value in changes[kind].items():
        setattr(data, name, value)
    data.save_as(path)


KINDS = [
    "ends in its pixels", "ends before them", "ends in its header", "ends at its class", "ends at once", "no place",
    "several frames", "odd frames", "65535 rows", "scaled to one", "colours", "axes of nothing", "pixels of nothing",
    "pixels less than nothing", "far away",
]  # fmt: skip


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_slice_is_its_studys_problem_wherever_it_lies(
    kind: str, which: int, said: Callable[..., str], tmp_path: Path
) -> None:
    """At an end of a volume, too: without it the volume is sound, and shorter."""
    study(tmp_path / "s" / "good", 1)
    damaged(study(tmp_path / "s" / "bad", 2)[which], kind)
    message = said("dicom", tmp_path / "s")
    assert "bad" in message
    assert "1 cases cannot be converted" in message
    assert said("dicom", tmp_path / "s", "--leave-out", code=0)
    (made,) = files(tmp_path / "D")
    assert sitk.ReadImage(str(tmp_path / "D" / made)).GetSize() == (20, 30, 4)


def test_numbers_of_a_header_that_are_none_are_refused(said: Callable[..., str], tmp_path: Path) -> None:
    paths = study(tmp_path / "s", 1)
    content = paths[0].read_bytes()
    place = content.index(b"\x28\x00\x30\x00")
    (size,) = struct.unpack("<I", content[place + 4 : place + 8])
    paths[0].write_bytes(content[: place + 8] + b"nan\\nan".ljust(size)[:size] + content[place + 8 + size :])
    assert paths[0].name in said("dicom", tmp_path / "s")


def test_what_is_no_image_is_passed_by(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    paths = study(tmp_path / "s", 1)
    (tmp_path / "s" / "._x.dcm").write_bytes(b"\0\5\x16\7" + b"\0" * 300)
    for number, kind in enumerate(("1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.88.11", "1.3.12.2.1107.5.9.1")):
        data = pydicom.dcmread(paths[0])
        del data.PixelData
        del data.Rows
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
        data.save_as(tmp_path / "s" / f"other_{number}.dcm", enforce_file_format=True)
    assert main(["convert", "dicom", str(tmp_path / "s"), str(tmp_path / "D")]) == 0


@pytest.mark.parametrize(
    "name", ["../../../x", "/etc/passwd", "..", "a/b", "con", "x" * 300, "O'Neill^Ann=\u00e4", "=1+1", " ", "\u202ex"]
)
@pytest.mark.parametrize("flags", [[], ["--keep-names"]])
@pytest.mark.filterwarnings("ignore:The (value|PN component) length")
def test_a_patient_called_like_a_path_stays_in_the_dataset(name: str, flags: list[str], tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    for path in study(tmp_path / "s" / "folder", 1):
        data = pydicom.dcmread(path)
        data.SpecificCharacterSet = "ISO_IR 192"
        data.PatientID = data.PatientName = name
        data.save_as(path)
    before = files(tmp_path)
    words = ["convert", "dicom", str(tmp_path / "s"), str(tmp_path / "D"), "--label", "../masks/{case}.nii.gz", *flags]
    assert main([*words, "--table", str(tmp_path / "table.csv")]) == 0
    new = sorted({*files(tmp_path)} - {*before})
    assert len(new) == 2
    assert new[0].startswith("D/imagesTs/") and new[1] == "table.csv"
    cells = (tmp_path / "table.csv").read_text(encoding="utf-8").replace(",", "\n").splitlines()
    assert not any(cell.strip().startswith(("=", "+", "-", "@")) for cell in cells)


def test_a_table_of_somebody_else_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(tmp_path / "s" / "folder", 1)
    table = tmp_path / "patients.csv"
    table.write_text("patient,age\n1,70\n")
    words = ["convert", "dicom", str(tmp_path / "s"), str(tmp_path / "D"), "--table", str(table)]
    assert main(words) == 2
    assert f"{table} exists already" in capsys.readouterr().err
    assert table.read_text() == "patient,age\n1,70\n" and not (tmp_path / "D").exists()
    table.unlink()
    assert main(words) == 0
    written = table.read_bytes()
    assert main(words) == 0  # as after an interruption
    assert table.read_bytes() == written


def test_a_label_is_found_by_the_patients_name_and_never_elsewhere(tmp_path: Path) -> None:
    study(tmp_path / "s" / "x", 1, t0010_0020="../secret")
    label = sitk.GetImageFromArray(np.ones((4, 30, 20), np.uint8))
    label.SetSpacing((0.5, 0.75, 2.0))
    label.SetOrigin((10.0, -20.0, 30.0))
    sitk.WriteImage(label, str(tmp_path / "secret.nii.gz"))
    (tmp_path / "masks").mkdir()
    words = ["convert", "dicom", str(tmp_path / "s"), str(tmp_path / "D"), "--label", "../masks/{case}.nii.gz"]
    assert main(words) == 0
    assert [name.split("/")[0] for name in files(tmp_path / "D")] == ["imagesTs"]


def test_trailing_bytes_and_members_of_gzip_are_no_part_of_an_image(tmp_path: Path) -> None:
    source = write(tmp_path / "s" / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    content = source.read_bytes()
    source.write_bytes(content + gzip.compress(b"more") + b"and more")
    assert main(["convert", "bids", str(tmp_path / "s"), str(tmp_path / "D")]) == 0
    made = gzip.decompress((tmp_path / "D" / "imagesTs" / "sub-1_0000.nii.gz").read_bytes())
    assert made[352:] == gzip.decompress(content)[352:]
