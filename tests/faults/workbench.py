"""A tiny dataset, the commands that work on it one after the other, and what each leaves when nothing disturbs it.

A fault is tried like this: everything is laid as it was before a command, the command is disturbed, then given again;
what is there afterwards must equal what the undisturbed command had left, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from faults.modalities import GAPS, MASKS, OF_EACH, lay_modalities

from autoseg.core.geometry import Geometry
from autoseg.parts.readers import write_channels, write_labels
from autoseg.pipeline.demo import make_dataset

NAME, MSD = "Dataset900_Tiny", "Task01_Tiny"
MODELS = Path(__file__).parents[1] / "interop" / "models"
SECONDS = 300.0  # for one command, on a machine that others use as well


@dataclass(frozen=True)
class Command:
    """One command and what it is to leave behind."""

    name: str
    words: tuple[str, ...]
    makes: tuple[str, ...]
    """Patterns of files, from the root, whose bytes tell the result."""
    refuses_again: bool = False
    """Whether it refuses, rightly, to be given again once it has finished: its target exists."""


RAW, WS = f"raw/{NAME}", f"ws/{NAME}"
RUN = f"{WS}/runs/3d_fullres"
CPU = ("--device", "cpu", "--threads", "1")
TRAIN = ("--epochs", "3", "--checkpoint-every", "1s", *CPU)
TINY = ("--planner", "tiny", "-c", "3d_fullres", "--set", "training.iterations_per_epoch=4")
QUICK_N4 = ("--bias-correction", "T1", "--set", "filters.0.0.iterations=[3,3]")
FOR_GAPS = ("--align", "rigid", "--missing-channels", *QUICK_N4)
OF_GAPS = f"ws/{GAPS}/runs/3d_fullres/fold_0"
COMMANDS = (
    Command("convert", ("convert", "msd", MSD, "raw/Dataset901_Converted"), ("raw/Dataset901_Converted/**/*.*",), True),
    Command("check", ("check", RAW), ()),
    Command("plan_and_preprocess", ("plan_and_preprocess", RAW, *TINY), (f"{WS}/*.json", f"{WS}/prepared/*/*/*")),
    Command(
        "train",
        ("train", NAME, "0", *TRAIN),
        (f"{RUN}/fold_0/weights.safetensors", f"{RUN}/fold_0/validation/*.nii.gz", f"{RUN}/fold_0/validation/scores.*"),
    ),
    Command("train_another", ("train", NAME, "1", *TRAIN), (f"{RUN}/fold_1/weights.safetensors",)),
    Command(
        "predict",
        ("predict", "-i", f"{RAW}/imagesTs", "-o", "out", "-d", NAME, "--probabilities", *CPU),
        ("out/*.nii.gz", "out/probabilities/*"),
    ),
    Command("evaluate", ("evaluate", f"{RAW}/labelsTs", "out", "-o", "out"), ("out/scores.*",)),
    Command(
        "select",
        ("select", NAME, "--folds", "0", "1", *CPU),
        (f"{WS}/selected/**/*.safetensors", f"{WS}/selected/plan.json", f"{WS}/selection/validation/*.nii.gz"),
    ),
    Command("export", ("export", NAME, "-o", "model.zip"), ("model.zip",), True),
    Command("install", ("install", "model.zip"), ("ws/models/**/*.*",), True),
    Command("import", ("import", "nnunet", "cropped.zip", "--out", "imported.zip"), ("imported.zip",), True),
    Command(
        "plan_gaps",
        ("plan_and_preprocess", f"raw/{GAPS}", *TINY, *FOR_GAPS),
        (f"ws/{GAPS}/*.json", f"ws/{GAPS}/prepared/*/*/*", f"ws/{GAPS}/measured/estimates/*/*.npz"),
    ),
    Command(
        "train_gaps",
        ("train", GAPS, "0", *TRAIN),
        (
            f"{OF_GAPS}/weights.safetensors",
            f"{OF_GAPS}/validation/**/*.nii.gz",
            f"{OF_GAPS}/validation/scores.json",
        ),
    ),
    Command(
        "predict_gaps",
        ("predict", "-i", f"raw/{GAPS}/imagesTs", "-o", "out_gaps", "-d", GAPS, *CPU),
        ("out_gaps/*.nii.gz",),
    ),
    Command(
        "plan_masks",
        ("plan_and_preprocess", f"raw/{MASKS}", *TINY, "--fusion", "decision"),
        (f"ws/{MASKS}/*.json", f"ws/{MASKS}/prepared/*/*/*"),
    ),
    *(
        Command(
            f"train_{name}",
            ("train", MASKS, "cv", "--folds", "0", "1", "-c", name, *TRAIN),
            (f"ws/{MASKS}/runs/{name}/*/weights.safetensors", f"ws/{MASKS}/runs/{name}/*/validation/*.nii.gz"),
        )
        for name in OF_EACH
    ),
    Command(
        "select_masks",
        ("select", MASKS, "--folds", "0", "1", *CPU),
        (f"ws/{MASKS}/selected/**/*.*", f"ws/{MASKS}/selection/validation/*.nii.gz"),
    ),
    Command("export_masks", ("export", MASKS, "-o", "masks.zip"), ("masks.zip",), True),
)
"""In the order in which they need each other."""


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    said: str
    seconds: float


@dataclass
class Workbench:
    """Mutable: a root folder in which commands run, and what lay in it before each of them."""

    folder: Path
    undisturbed: dict[str, dict[str, str]] = field(default_factory=dict)
    """Command to the digests of what it makes."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Command to how long it takes here."""

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def before(self, command: Command) -> Path:
        """A copy of the root as it was before the command."""
        return self.folder / "before" / command.name

    def build(self, last: str = COMMANDS[-1].name) -> Workbench:
        """Runs every command once, undisturbed, up to the one called ``last``."""
        _lay_raw(self.root)
        for command in COMMANDS:
            shutil.copytree(self.root, self.before(command), symlinks=True)
            outcome = self.run(command.words)
            assert outcome.code == 0, outcome.said
            self.undisturbed[command.name] = self.made(command)
            self.seconds[command.name] = outcome.seconds
            if command.name == last:
                break
        return self

    def lay(self, command: Command) -> None:
        """Everything as it was before the command. The root itself stays: it may be a file system of its own."""
        self.root.mkdir(exist_ok=True)
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.before(command), self.root, symlinks=True, dirs_exist_ok=True)

    def start(
        self, words: Iterable[str], limits: Callable[[], None] | None = None, said: str = "said.txt", **environment: str
    ) -> subprocess.Popen[bytes]:
        """The command in a process of its own; ``said`` beside the root takes what it says. ``limits`` runs in it."""
        there = os.environ | {"AUTOSEG_WORKSPACE": "ws"} | environment
        with (self.folder / said).open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "autoseg", *words],
                cwd=self.root,
                env=there,
                stdout=file,
                stderr=file,
                preexec_fn=limits,
            )

    def run(self, words: Iterable[str], limits: Callable[[], None] | None = None, **environment: str) -> Outcome:
        """Waits for its end."""
        began = time.monotonic()
        process = self.start(words, limits, **environment)
        try:
            code = process.wait(SECONDS)
        finally:
            process.kill()
        return Outcome(code, self.said(), time.monotonic() - began)

    def said(self, file: str = "said.txt") -> str:
        """What a command has said so far."""
        return (self.folder / file).read_text(encoding="utf-8", errors="replace")

    def made(self, command: Command) -> dict[str, str]:
        """Path to digest of everything that the command makes."""
        found = {path for pattern in command.makes for path in self.root.glob(pattern) if path.is_file()}
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(found)
        }

    def finished(self, command: Command) -> bool:
        """Whether all that the command makes is there."""
        return bool(command.makes) and self.made(command) == self.undisturbed[command.name]

    def completes(self, command: Command) -> None:
        """The same command, given again, ends as if nothing had happened, and nothing is left lying about."""
        refused = command.refuses_again and self.finished(command)
        outcome = self.run(command.words)
        assert "Traceback" not in outcome.said, outcome.said
        assert outcome.code == (2 if refused else 0), outcome.said
        assert self.made(command) == self.undisturbed[command.name], outcome.said
        assert not list(self.root.rglob(".writing-*"))


def ended_in_words(outcome: Outcome) -> None:
    """A message, not a traceback; exit code 1 where cases failed, 2 where the command did."""
    assert outcome.code in (1, 2), (outcome.code, outcome.said)
    assert "Traceback" not in outcome.said, outcome.said
    assert len(outcome.said.splitlines()[-1]) > 20


def named(name: str) -> Command:
    """One of the commands."""
    return next(each for each in COMMANDS if each.name == name)


def _lay_raw(root: Path) -> None:
    make_dataset(root / "raw" / NAME, cases=4, tests=2)
    lay_modalities(root / "raw")
    _decathlon(root / MSD)
    shutil.copy(MODELS / "cropped.zip", root / "cropped.zip")


def _decathlon(folder: Path) -> None:
    """A task of the Decathlon: 4-D images of two channels."""
    random, geometry = np.random.default_rng(0), Geometry.plain((6, 16, 16), (2.0, 1.0, 1.0))
    names = [f"tiny_{number}.nii.gz" for number in range(4)]
    for name in names:
        write_channels(random.random((2, 6, 16, 16)).astype(np.float32), geometry, folder / "imagesTr" / name)
        write_labels(random.integers(0, 2, (6, 16, 16)), geometry, folder / "labelsTr" / name)
    described = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "organ"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(described))
