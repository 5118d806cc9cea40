"""The rule by which a change of the recipe becomes a default, on trainings whose scores are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.records import write_json
from autoseg.data.folds import make_folds
from autoseg.evaluation.scores import summarise, write_scores
from autoseg.workspace import Workspace

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "judge.py"
NAMES = ("Dataset001_One", "Dataset002_Two")


def trained(root: Path, gains: dict[str, float], folds: int = 3, scans: int = 1) -> Path:
    """A workspace in which every patient of ``folds`` folds has a Dice that is higher by its dataset's gain."""
    for name, gain in gains.items():
        files = Workspace(root).dataset_folder(name)
        patients = {f"p{n}_{scan}": f"p{n}" for n in range(15) for scan in range(scans)}
        split = make_folds(patients, patients)
        write_json(files.folds, split)
        random = np.random.default_rng(0)
        dice = {f"p{n}": 0.7 + gain + (0.05 if gain else 0.0) * random.normal() for n in range(15)}
        for fold in range(folds):
            cases = {key: {"organ": {"dice": dice[patients[key]]}} for key in split[fold].validation}
            write_scores(files.run("3d_fullres", str(fold)).validation, summarise(cases))
    return root


def judged(before: Path, after: Path, *names: str) -> dict:
    done = subprocess.run([sys.executable, SCRIPT, before, after, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gains", "folds", "verdict"),
    [
        ((0.2, 0.0), 3, "yes: better on Dataset001_One, worse on none"),
        ((0.2, -0.2), 3, "no: worse on Dataset002_Two"),
        ((0.0, 0.0), 3, "no: better on none"),
        ((0.2, 0.2), 2, "not judged: it takes 3 folds of each of 2 datasets"),
        ((0.2,), 3, "not judged: it takes 3 folds of each of 2 datasets"),
    ],
)
def test_the_rule(tmp_path: Path, gains: tuple[float, ...], folds: int, verdict: str) -> None:
    names = NAMES[: len(gains)]
    before = trained(tmp_path / "before", dict.fromkeys(names, 0.0), folds)
    after = trained(tmp_path / "after", dict(zip(names, gains)), folds)
    assert judged(before, after, *names)["may_become_a_default"] == verdict


@pytest.mark.slow
def test_patients_count_and_folds_are_told(tmp_path: Path) -> None:
    before = trained(tmp_path / "before", {NAMES[0]: 0.0}, folds=2, scans=4)
    found = judged(before, trained(tmp_path / "after", {NAMES[0]: 0.1}, folds=2, scans=4), NAMES[0])
    found = found["datasets"][NAMES[0]]
    assert list(found["folds"]) == ["fold_0", "fold_1"] and found["patients"] == 6
    assert found["after_minus_before"]["better"] <= 6
    assert found["after_minus_before"]["difference"]["cases"] == 24
