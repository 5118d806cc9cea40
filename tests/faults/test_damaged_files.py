"""Whatever becomes of a file in the workspace: a command ends as if nothing had been, or names it and the remedy.

A very small dataset is prepared, one fold trained and a model selected; then every file is damaged in every way, and
the commands that read it are given again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.place import NAME, RUN, WAYS, Place, make_raw

from autoseg.core import integrity


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Prepared, fold 0 trained, a model selected."""
    root = tmp_path_factory.mktemp("faults")
    make_raw(root / NAME)
    place = Place(root / NAME, root / "whole" / "workspace")
    assert [place.plan_and_preprocess(), place.train(), place.select()] == [0, 0, 0]
    return place


@pytest.fixture
def place(whole: Place, tmp_path: Path) -> Iterator[Place]:
    """A copy of it; what was found whole before is forgotten, as by a new process."""
    shutil.copytree(whole.workspace, tmp_path / "workspace")
    integrity._whole.clear()
    yield Place(whole.raw, tmp_path / "workspace")


CASE = f"{NAME}/prepared/3d_fullres/c0"
READERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # name: the file, one of the same kind, who reads it
    "image": (f"{CASE}/image.b2nd", f"{NAME}/prepared/3d_fullres/c1/image.b2nd", ("prepare", "train_another")),
    "labels": (f"{CASE}/labels.b2nd", f"{NAME}/prepared/3d_fullres/c1/labels.b2nd", ("prepare", "train_another")),
    "voxels": (f"{CASE}/locations.npy", f"{NAME}/prepared/3d_fullres/c1/locations.npy", ("prepare", "train_another")),
    "parts": (f"{CASE}/locations.npz", f"{NAME}/prepared/3d_fullres/c1/locations.npz", ("prepare", "train_another")),
    "record": (f"{CASE}/case.json", f"{NAME}/prepared/3d_fullres/c1/case.json", ("prepare", "train_another")),
    "measured": (f"{NAME}/measured/c0.npz", f"{NAME}/measured/c1.npz", ("plan_and_preprocess",)),
    "dataset": (f"{NAME}/dataset.json", f"{NAME}/fingerprint.json", ("plan_and_preprocess", "train_another")),
    "fingerprint": (f"{NAME}/fingerprint.json", f"{NAME}/dataset.json", ("plan_and_preprocess", "train_another")),
    "weights": (f"{RUN}/weights.safetensors", "other.safetensors", ("train", "extend", "predict", "export", "select")),
    "checkpoint": (f"{RUN}/checkpoints/iteration_00000002.pt", "other.pt", ("extend",)),
    "plan of a run": (f"{RUN}/plan.json", f"{NAME}/folds.json", ("train", "extend", "predict", "select", "export")),
    "status": (f"{RUN}/status.json", f"{NAME}/folds.json", ("status", "train", "extend")),
    "metrics": (f"{RUN}/metrics.csv", f"{RUN}/validation/scores.csv", ("extend",)),
    "log": (f"{RUN}/log.txt", f"{NAME}/folds.json", ("train", "extend")),
    "lock": (f"{RUN}/.lock", f"{NAME}/folds.json", ("train", "status")),
    "scores": (f"{RUN}/validation/scores.json", "other.json", ("train", "select", "status", "export")),
    "label map": (f"{RUN}/validation/{{case}}.nii.gz", "other.nii.gz", ("train", "select")),
    "probabilities": (f"{RUN}/validation/probabilities/{{case}}.b2nd", "other.b2nd", ("train", "select")),
    "their record": (f"{RUN}/validation/probabilities/{{case}}.json", f"{NAME}/folds.json", ("train", "select")),
    "selected weights": (f"{NAME}/selected/3d_fullres/fold_0.safetensors", "other.safetensors", ("predict_selected",)),
    "selected manifest": (f"{NAME}/selected/model.json", f"{NAME}/folds.json", ("predict_selected", "select")),
    "selected plan": (f"{NAME}/selected/plan.json", f"{NAME}/folds.json", ("predict_selected", "select")),
}
MENDING = ("prepare", "plan_and_preprocess", "train", "train_another", "extend")
REMEDIES = ("run ", "Run ", "train ", "Train ", "move ", "remove ", "Remove ", "put back", "no dataset")
OF_A_BUNDLE = ("selected weights", "selected manifest", "selected plan")
EVERY = [(name, way, command) for name, (_, _, commands) in READERS.items() for way in WAYS for command in commands]
# every file in every way, by its readers in turn: all of them take as many times longer as there are
ROUNDS = [
    (name, way, commands[(place + turn) % len(commands)])
    for place, (name, (_, _, commands)) in enumerate(READERS.items())
    for turn, way in enumerate(WAYS)
]


@pytest.fixture(scope="module")
def undisturbed(whole: Place, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """What a command leaves where nothing was damaged."""
    known: dict[str, dict[str, bytes]] = {}

    def result(command: str) -> dict[str, bytes]:
        if command not in known:
            copy = Place(whole.raw, tmp_path_factory.mktemp("undisturbed") / "workspace")
            shutil.copytree(whole.workspace, copy.workspace)
            assert getattr(copy, command)() == 0
            known[command] = copy.result()
        return known[command]

    return result


@pytest.fixture(scope="module")
def others(whole: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of another fold of the same configuration."""
    copy = Place(whole.raw, tmp_path_factory.mktemp("others") / "workspace")
    shutil.copytree(whole.workspace, copy.workspace)
    assert copy.train("1") == 0
    run = copy.workspace / NAME / "runs/3d_fullres/fold_1"
    folder = tmp_path_factory.mktemp("of fold 1")
    shutil.copy(run / "weights.safetensors", folder / "other.safetensors")
    for pattern in ("checkpoints/*.pt", "validation/*.nii.gz", "validation/scores.json", "validation/*/*.b2nd"):
        path = next(run.glob(pattern))
        shutil.copy(path, folder / f"other{''.join(path.suffixes)}")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way", "command"), ROUNDS)
def test_what_is_damaged_is_mended_or_named(
    place: Place,
    undisturbed: Callable[[str], dict[str, bytes]],
    others: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    way: str,
    command: str,
) -> None:
    expected = undisturbed(command)
    file, other, _ = READERS[name]
    (case,) = json.loads((place.workspace / NAME / "folds.json").read_text())["folds"][0]["validation"]
    path = place.workspace / file.format(case=case)
    WAYS[way](path, others / other if (others / other).exists() else place.workspace / other)
    capsys.readouterr()
    code = getattr(place, command)()
    said = capsys.readouterr().err
    found = place.result()
    inside = path.relative_to(place.workspace.parent).as_posix()
    if command not in MENDING:  # what it does not use, it leaves
        found, expected = ({name: one for name, one in each.items() if name != inside} for each in (found, expected))
    if code == 0 and "was not validated" not in said:
        assert command == "status" or found == expected
        return
    assert code in (0, 2) and len(said) < 2000
    assert any(word in said for word in (path.name, path.parent.name, "checkpoint is gone", "fold 0", "no dataset"))
    assert name in OF_A_BUNDLE or any(word in said for word in REMEDIES)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["plan.json", "folds.json"])
def test_what_may_be_edited_is_taken_or_refused(
    place: Place, capsys: pytest.CaptureFixture[str], name: str, way: str
) -> None:
    WAYS[way](place.workspace / NAME / name, place.workspace / NAME / "dataset.json")
    for command in (place.train_another, place.plan_and_preprocess):
        capsys.readouterr()
        code = command()
        said = capsys.readouterr().err
        assert code in (0, 2)
        assert code == 0 or (len(said) < 2000 and any(word in said for word in REMEDIES))


@pytest.mark.slow
def test_a_folder_in_the_place_of_a_file_that_is_made_while_training(place: Place) -> None:
    shutil.rmtree(place.workspace / RUN)
    for name in ("stop", "status.json", "metrics.csv", "log.txt"):
        (place.workspace / RUN / name).mkdir(parents=True)
    assert place.train() == 2  # metrics.csv
    (place.workspace / RUN / "metrics.csv").rmdir()
    assert place.train() == 0


@pytest.mark.parametrize("name", ["checkpoints", "validation", "validation/probabilities"])
def test_a_file_in_the_place_of_a_folder_is_named_before_training(
    place: Place, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.rmtree(place.workspace / RUN)
    path = place.workspace / RUN / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert place.train() == 2
    assert str(path) in capsys.readouterr().err and path.read_bytes() == b"mine"
    assert not list((place.workspace / RUN).rglob("*.pt"))
