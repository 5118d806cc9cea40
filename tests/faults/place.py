"""A tiny dataset, a workspace in which commands are given in this process, and the ways in which a file is damaged."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from autoseg.cli import main

NAME = "Dataset901_Tiny"
CASES = 3
HERE = ("--device", "cpu", "--threads", "1")
PLAN = ("patch_size=8,8,8", "network.features=[4,8]", "training.iterations_per_epoch=2", "mirror_axes=[]")
RUN = f"{NAME}/runs/3d_fullres/fold_0"


def make_raw(folder: Path) -> None:
    random = np.random.default_rng(0)
    for place in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / place).mkdir(parents=True)
    for number in range(CASES):
        image = random.normal(size=(10, 9, 11)).astype(np.float32)
        labels = np.zeros(image.shape, np.uint8)
        labels[3:7, 2:6, 3 + number : 8 + number] = 1
        sitk.WriteImage(sitk.GetImageFromArray(image + 2 * labels), str(folder / f"imagesTr/c{number}_0000.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(folder / f"labelsTr/c{number}.nii.gz"))
    shutil.copy(folder / "imagesTr/c0_0000.nii.gz", folder / "imagesTs/new_0000.nii.gz")
    described = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described | {"numTraining": CASES}))


@dataclass(frozen=True)
class Place:
    """A workspace that commands are given in."""

    raw: Path
    workspace: Path

    def call(self, *words: object) -> int:
        return main([*map(str, words), "--workspace", str(self.workspace)])

    def prepare(self) -> int:
        return self.call("preprocess", NAME, "-c", "3d_fullres", *HERE)

    def plan_and_preprocess(self) -> int:
        changes = [word for change in PLAN for word in ("--set", change)]
        return self.call("plan_and_preprocess", self.raw, "--planner", "tiny", *changes, "-c", "3d_fullres", *HERE)

    def train(self, fold: str = "0") -> int:
        return self.call("train", NAME, fold, "--epochs", 1, *HERE)

    def train_another(self) -> int:
        """A fold of which nothing is there yet: by the prepared cases and the records of the dataset."""
        return self.train("1")

    def extend(self) -> int:
        return self.call("train", NAME, "0", "--epochs", 2, "--extend", *HERE)

    def select(self) -> int:
        return self.call("select", NAME, "-f", "0", *HERE)

    def predict(self) -> int:
        return self.call("predict", "-m", self.workspace / RUN, "-i", self.raw / "imagesTs", "-o", self.out, *HERE)

    def predict_selected(self) -> int:
        model = self.workspace / NAME / "selected"
        return self.call("predict", "-m", model, "-i", self.raw / "imagesTs", "-o", self.out, *HERE)

    def export(self) -> int:
        return self.call("export", self.workspace / RUN, "-o", self.out / "model.zip")

    def status(self) -> int:
        return self.call("status")

    @property
    def out(self) -> Path:
        return self.workspace.parent / "out"

    def result(self) -> dict[str, bytes]:
        """What the user has in the end, wherever it lies; without times, and without what was set aside."""
        left_out = {
            "log.txt",
            "status.json",
            "made.json",
            "steps.json",
            "metrics.csv",
            "report.html",
            ".plan.lock",
            ".predict.lock",
            ".lock",
            "plan.old.json",
            "predicted.jsonl",  # a journal: what is done again is a line more
        }
        found = {}
        for path in sorted([*self.workspace.rglob("*"), *self.out.rglob("*")]):
            name = path.relative_to(self.workspace.parent).as_posix()
            if path.is_dir() or path.name in left_out or "damaged_" in name or "/measured/" in name:
                continue
            content = path.read_bytes()
            if path.suffix == ".pt":
                with zipfile.ZipFile(path) as archive:
                    content = b"".join(archive.read(entry) for entry in archive.namelist() if "/data/" in entry)
            found[name] = content
        return found


Damage = Callable[[Path, Path], None]


def flip(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        chance = random.Random(path.name)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut_to(size: float) -> Damage:
    def cut(path: Path, other: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(size if size >= 1 else size * len(content))])

    return cut


def replace(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def make_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def delete(path: Path, other: Path) -> None:
    path.unlink()


WAYS: dict[str, Damage] = {
    "flipped": flip,
    "empty": cut_to(0),
    "100 bytes": cut_to(100),
    "half": cut_to(0.5),
    "another": replace,
    "folder": make_folder,
    "deleted": delete,
}
