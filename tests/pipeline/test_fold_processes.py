"""Folds at once: one process on each device, failures told, a request to stop passed on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoseg.cli import main, parser
from autoseg.commands._options import request
from autoseg.commands.train import _fold_processes
from autoseg.core.fusion import DECISION, MIDDLE, UNPAIRED, Fusion
from autoseg.data.folds import Fold
from autoseg.errors import StoppedError, TrainingError, UsageError
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.fold_processes import FoldProcesses
from autoseg.pipeline.train_fold import FoldRun
from autoseg.plan import Plan
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder

NOTE = "import sys, time; from pathlib import Path; note = Path(sys.argv[1]); note.write_text(sys.argv[2]);"
MEET = """
while not note.with_name(str(int(note.name) ^ 1)).exists():  # folds 0 and 1, 2 and 3 run at once
    time.sleep(0.01)
"""


def runs(plan: Plan, root: Path, count: int) -> list[FoldRun]:
    return [FoldRun(DatasetFolder(root), plan, str(n), Fold(("a",), ()), RunSettings()) for n in range(count)]


def unplanned(draft: Plan, device: str) -> list[str]:
    raise AssertionError("there is a plan already")


def noting(root: Path, then: str) -> Callable[[FoldRun, str], list[str]]:
    """A command that notes its device in a file named by the fold and then does something."""
    return lambda run, device: [sys.executable, "-c", NOTE + then, str(root / run.fold), device]


def test_every_fold_runs_on_one_of_the_devices(small_plan: Plan, tmp_path: Path) -> None:
    FoldProcesses(("a", "b"), noting(tmp_path, MEET), unplanned)(runs(small_plan, tmp_path, 4))
    used = [(tmp_path / str(fold)).read_text() for fold in range(4)]
    assert sorted(used) == ["a", "a", "b", "b"] and used[:2] == ["a", "b"]


def test_a_fold_that_fails_is_told_once_the_others_have_finished(
    small_plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fail = "sys.exit('no room on the disk') if note.name == '0' else None"
    with pytest.raises(TrainingError, match=r"fold_0 failed.*other 2 have finished"):
        FoldProcesses(("a",), noting(tmp_path, fail), unplanned)(runs(small_plan, tmp_path, 3))
    assert "no room on the disk" in caplog.text and (tmp_path / "2").exists()


def test_a_request_to_stop_is_passed_on_and_nothing_new_begins(small_plan: Plan, tmp_path: Path) -> None:
    save = "import signal; signal.signal(signal.SIGTERM, lambda *_: (note.write_text('saved'), sys.exit(130)));"
    ready = "note.write_text('ready'); time.sleep(60)"

    def ask_when_ready() -> None:
        while not (tmp_path / "0").exists() or (tmp_path / "0").read_text() != "ready":
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask_when_ready, daemon=True).start()
    with pytest.raises(StoppedError):
        FoldProcesses(("a",), noting(tmp_path, save + ready), unplanned)(runs(small_plan, tmp_path, 2))
    assert (tmp_path / "0").read_text() == "saved" and not (tmp_path / "1").exists()


def test_a_fold_is_trained_by_the_command_that_was_given(small_plan: Plan, tmp_path: Path) -> None:
    given = "train D cv --devices cuda:0,cuda:1 -f 1 2 --epochs 7 --set batch_size=4 --threads 8 --seed 3".split()
    options = parser().parse_args(given)
    options.arguments = given
    python, flag, _, *words = _fold_processes(options).command(runs(small_plan, tmp_path, 3)[2], "cuda:1")
    again = parser().parse_args(words)
    assert (python, flag, again.dataset, again.fold, again.only) == (sys.executable, "-c", "D", "cv", "2")
    assert (again.device, again.devices, again.threads, again.configuration) == ("cuda:1", (), 4, "3d_fullres")
    assert (again.epochs, again.changes, again.seed) == (7, ["batch_size=4"], 3)


def test_a_draft_is_measured_on_the_first_device_with_the_settings_of_a_fold(small_plan: Plan) -> None:
    given = "train D cv --devices cuda:0,cuda:1 --time 1h --precision float16 --threads 8 --trust lab".split()
    options = parser().parse_args(given)
    options.arguments = given
    made = _fold_processes(options)
    python, flag, _, *words = made.planning(small_plan, made.devices[0])
    planned = parser().parse_args(words)
    assert (python, flag, planned.command, planned.dataset) == (sys.executable, "-c", "plan", "D")
    assert (planned.planner, planned.training_time, planned.trust) == ("tiny", 3600, ["lab"])
    assert (planned.device, planned.precision, planned.threads) == ("cuda:0", "float16", 4)
    assert planned.workspace == options.workspace and planned.network is None
    words = made.planning(replace(small_plan, network="lab.net"), made.devices[0])[3:]
    assert parser().parse_args(words).network == "lab.net"


def test_a_draft_is_measured_with_the_fusions_that_it_notes(small_plan: Plan) -> None:
    options = parser().parse_args("train D cv --devices cuda:0".split())
    options.arguments = []
    groups = (("T1", "T2"), ("PD",))
    normalizers = small_plan.configurations["3d_fullres"].normalizers * 3
    seeing = replace(small_plan.configurations["3d_fullres"], normalizers=normalizers)
    plan = replace(small_plan, channels=("T1", "T2", "PD"), configurations={"3d_fullres": seeing})
    middle, attention = (Fusion(MIDDLE, method, groups) for method in ("concatenation", "attention"))
    for fusion, beside in (
        (None, ()),
        (attention, ()),
        (Fusion(DECISION, None, groups), ()),
        (None, (middle, attention)),
        (Fusion(DECISION, None, groups), (attention,)),
        (Fusion(UNPAIRED, None), ()),
    ):
        words = _fold_processes(options).planning(replace(plan, fusion=fusion, beside=beside), "cuda:0")[3:]
        asked = request(parser().parse_args(words)).constraints
        assert (asked.fusion, asked.beside) == (fusion, beside)


@pytest.mark.parametrize("code", [0, 2])
def test_no_fold_begins_without_a_plan(small_plan: Plan, tmp_path: Path, code: int) -> None:
    then = f"sys.exit({code})"
    planning = [sys.executable, "-c", NOTE + then, str(tmp_path / "planned"), "b"]
    folds = FoldProcesses(("b",), noting(tmp_path, ""), lambda draft, device: planning)
    if code:
        with pytest.raises(TrainingError, match="planning has failed"):
            folds.plan(small_plan)
    else:
        folds.plan(small_plan)
    assert (tmp_path / "planned").exists()


@pytest.mark.slow
def test_folds_are_trained_in_a_folder_full_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_dataset(tmp_path / NAME, cases=2, tests=0)
    for name in ("argparse", "numpy", "torch", "json", "logging", "sitecustomize"):
        (raw / f"{name}.py").write_text(f"open({str(tmp_path / 'fallen')!r}, 'w')")
    monkeypatch.chdir(raw)
    assert main(["plan_and_preprocess", ".", "--planner", "tiny", "-c", "2d"]) == 0
    short = ["--epochs", "1", "--set", "training.iterations_per_epoch=1", "-c", "2d", "-f", "0", "--threads", "1"]
    assert main(["train", ".", "cv", "--devices", "cpu", *short]) == 0
    assert list(raw.glob("autoseg_workspace/*/runs/2d/fold_0/weights.safetensors"))
    assert not (tmp_path / "fallen").exists()


def test_all_devices_are_looked_for_before_a_fold_begins(small_plan: Plan, tmp_path: Path) -> None:
    from autoseg.pipeline.train import _refuse_devices
    from autoseg.training.process_group import SINGLE_PROCESS

    folds = FoldProcesses(("cpu", "cuda:99"), noting(tmp_path, ""), unplanned)
    with pytest.raises(UsageError, match=r"cuda:99.* is not there"):
        _refuse_devices(folds, SINGLE_PROCESS, RunSettings())
