"""What several modalities leave in the workspace, damaged in every way: made anew or named, nothing foreign is used.

Registrations lie with what was measured of a case and in the records of the dataset, bias fields in files of their own,
scores of subsets of the channels in ``scores.json``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.modalities import GAPS, lay_gaps
from faults.place import HERE, WAYS, Place
from faults.workbench import QUICK_N4

from autoseg.core import integrity

RUN = f"{GAPS}/runs/3d_fullres/fold_0"
PLAN = ("patch_size=8,8,8", "network.features=[4,8,8]", "training.iterations_per_epoch=2", "mirror_axes=[]")
REMEDIES = ("run ", "Run ", "move ", "move it away", "remove ", "put back", "Train this fold again")


@dataclass(frozen=True)
class Modalities(Place):
    """The commands on a dataset of two modalities."""

    def plan_and_preprocess(self, *asked: str) -> int:
        changes = [word for change in PLAN for word in ("--set", change)]
        words = ("plan_and_preprocess", self.raw, "--planner", "tiny", *changes, "-c", "3d_fullres", *HERE)
        return self.call(*words, *(asked or ("--align", "rigid")), *QUICK_N4)

    def by_header(self) -> int:
        return self.plan_and_preprocess("--reference", "T1")

    def prepare_anew(self) -> int:
        shutil.rmtree(self.workspace / GAPS / "prepared")
        return self.call("preprocess", GAPS, "-c", "3d_fullres", *HERE)

    def train(self, fold: str = "0") -> int:
        return self.call("train", GAPS, fold, "--epochs", 1, *HERE)

    def select(self) -> int:
        return self.call("select", GAPS, "-f", "0", *HERE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Modalities:
    """Registered, corrected, prepared; fold 0 trained and validated with channels withheld."""
    root = tmp_path_factory.mktemp("modalities")
    lay_gaps(root / GAPS)
    place = Modalities(root / GAPS, root / "whole" / "workspace")
    assert [place.plan_and_preprocess(), place.train()] == [0, 0]
    return place


@pytest.fixture
def place(whole: Modalities, tmp_path: Path) -> Iterator[Modalities]:
    """A copy of it; what was found whole before is forgotten, as by a new process."""
    shutil.copytree(whole.workspace, tmp_path / "workspace")
    integrity._whole.clear()
    yield Modalities(whole.raw, tmp_path / "workspace")


ESTIMATES = f"{GAPS}/measured/estimates/*/*.npz"
FILES: dict[str, tuple[str, str, str]] = {
    # name: the file, one of the same kind, who reads it; the first that fit
    "bias field": (ESTIMATES, ESTIMATES, "prepare_anew"),
    "registration": (f"{GAPS}/measured/case_0.npz", f"{GAPS}/measured/case_1.npz", "plan_and_preprocess"),
    "dataset": (f"{GAPS}/dataset.json", f"{GAPS}/fingerprint.json", "prepare_anew"),
    "fingerprint": (f"{GAPS}/fingerprint.json", f"{GAPS}/dataset.json", "plan_and_preprocess"),
    "subsets": (f"{RUN}/validation/scores.json", f"{GAPS}/folds.json", "train"),
    "subsets selected": (f"{RUN}/validation/scores.json", f"{GAPS}/folds.json", "select"),
    "withheld": (f"{RUN}/validation/without_*/*.nii.gz", f"{RUN}/validation/*.nii.gz", "train"),
}
QUICK = [("bias field", "another"), ("bias field", "half"), ("registration", "another"), ("subsets", "flipped")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), QUICK)
def test_what_is_damaged_is_made_anew(
    place: Modalities, whole: Modalities, capsys: pytest.CaptureFixture[str], name: str, way: str
) -> None:
    mended_or_named(place, whole, capsys, name, way)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_damaged_is_made_anew_or_named(
    place: Modalities, whole: Modalities, capsys: pytest.CaptureFixture[str], name: str, way: str
) -> None:
    mended_or_named(place, whole, capsys, name, way)


def mended_or_named(
    place: Modalities, whole: Modalities, capsys: pytest.CaptureFixture[str], name: str, way: str
) -> None:
    file, other, command = FILES[name]
    path, beside = sorted(place.workspace.glob(file))[0], sorted(place.workspace.glob(other))[-1]
    expected = whole.result()
    if name == "withheld":  # while it is validated: then nothing was scored yet
        (place.workspace / RUN / "validation" / "scores.json").unlink()
    WAYS[way](path, beside)
    capsys.readouterr()
    code = getattr(place, command)()
    said = capsys.readouterr().err
    assert "Traceback" not in said and len(said) < 20_000
    if code == 0:
        found = place.result()
        if command == "select":  # it does not mend what it does not need
            found, expected = ({key: each for key, each in of.items() if "/runs/" in key} for of in (found, expected))
            inside = path.relative_to(place.workspace.parent).as_posix()
            found.pop(inside, None), expected.pop(inside)
        assert found == expected
        return
    assert code == 2 and path.name in said and any(word in said for word in REMEDIES), said


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_shifts_that_were_measured_are_measured_anew(place: Modalities, tmp_path: Path, way: str) -> None:
    path = place.workspace / GAPS / "measured" / "shifts.json"
    assert place.by_header() == 0
    fingerprint, kept = (place.workspace / GAPS / "fingerprint.json").read_bytes(), path.read_bytes()
    assert any(case["shifts"] for case in json.loads(fingerprint)["cases"].values())
    WAYS[way](path, place.workspace / GAPS / "folds.json")
    code = place.by_header()
    if way == "folder":
        assert code == 2 and path.is_dir()
        return
    assert code == 0 and path.read_bytes() == kept
    assert (place.workspace / GAPS / "fingerprint.json").read_bytes() == fingerprint
