"""What planning leaves to training: a draft becomes a plan on the machine that trains, once, whoever comes first."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoseg.cli import main
from autoseg.core.locks import alone
from autoseg.core.records import write_json
from autoseg.errors import TrainingError
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.finish_plan import finish_plan, prepare_missing, prepare_new
from autoseg.pipeline.make_plan import PlanRequest
from autoseg.plan import Plan
from autoseg.planning.constraints import PlanConstraints
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder, Workspace

CASES = 3
LAB = '''
"""A planner that measures, for networks so small and hurried that the images get a coarser grid, too."""

from dataclasses import replace

from autoseg.planners import plain_unet, tiny
from autoseg.planning.measured import MeasuringPlanner
from autoseg.planning.rungs import Rung

BUDGETS = {
    "budget_2d": replace(tiny.PLANNER.budget_2d, elements=0.2e6),
    "budget_3d": replace(tiny.PLANNER.budget_3d, elements=0.5e6),
}
PLANNER = MeasuringPlanner(
    name="lab.small",
    description="very small",
    rungs=(Rung(replace(tiny.PLANNER, **BUDGETS), 100),),
    patience=4.0,
    reference=plain_unet.PLANNER,
)
'''
HOLD = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""
TRUST = ("--planner", "lab.small", "--trust", "lab")
HERE = ("--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("raw") / NAME, cases=CASES, tests=0)


@pytest.fixture(scope="module")
def drafted(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a draft, after a plan of ``tiny``; everything that could be prepared is."""
    root = tmp_path_factory.mktemp("drafted")
    (root / "lab").mkdir()
    (root / "lab" / "small.py").write_text(LAB)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        at = ("--workspace", str(root / "workspace"))
        assert main(["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", *at]) == 0
        assert main(["plan_and_preprocess", str(raw), *TRUST, *at]) == 0
        yield root / "workspace"


@pytest.fixture
def files(drafted: Path, tmp_path: Path) -> DatasetFolder:
    """A copy of it."""
    shutil.copytree(drafted, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace", ("lab",)).dataset_folder(NAME)


def plan_of(files: DatasetFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files.plan.read_text())
    return found


def call(files: DatasetFolder, *words: str) -> int:
    return main([*words, "--trust", "lab", "--workspace", str(files.root.parent)])


@pytest.mark.slow
def test_the_default_planner_prepares_without_torch_and_measures_nothing(raw: Path, tmp_path: Path) -> None:
    words = ["plan_and_preprocess", str(raw), "--workspace", str(tmp_path)]
    code = f"import sys; from autoseg.cli import main; assert main({words!r}) == 0; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    files = Workspace(tmp_path).dataset_folder(NAME)
    plan = plan_of(files)
    assert done.stdout.strip() == "False"
    assert f"data are prepared. Network and batch are chosen when you run `autoseg train {NAME} 0`" in done.stderr
    assert "draft" not in done.stderr and max(map(len, done.stderr.splitlines())) < 160
    assert (plan["planner"], plan["draft"]) == ("measured", True)
    assert [one["cost"] for one in plan["configurations"].values()] == [None, None]
    assert not files.steps.exists()
    for name in ("3d_fullres", "2d"):
        assert len(list(files.prepared(name).glob("*/case.json"))) == CASES


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [
        PlanRequest(planner="tiny"),
        PlanRequest(constraints=PlanConstraints(memory=1)),
        PlanRequest(constraints=PlanConstraints(seconds=1.0)),
        PlanRequest(constraints=PlanConstraints(spacing=(1.0, 1.0, 1.0))),
        PlanRequest(target="a100-40g"),
        PlanRequest(changes=("batch_size=2",)),
        PlanRequest(plans=Path("nnUNetPlans.json")),
        PlanRequest(settings=RunSettings(device="cpu")),
        PlanRequest(settings=RunSettings(precision="float32")),
    ],
    ids=str,
)
def test_a_wish_is_planned_at_once(request_: PlanRequest, files: DatasetFolder) -> None:
    from autoseg.pipeline.make_plan import draft

    task = files.read_dataset(), files.read_fingerprint()
    assert draft(request_, *task) is None
    assert draft(PlanRequest(settings=RunSettings(threads=1)), *task) is not None
    assert draft(PlanRequest(constraints=PlanConstraints(network="plain_unet")), *task) is not None


@pytest.mark.slow
def test_training_on_a_draft_plans_as_plan_does_and_prepares_what_only_the_plan_has(
    files: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in files.root.glob("prepared/*/*/case.json")}
    kept = files.old_plan.read_bytes()
    assert "3d_lowres" not in plan_of(files)["configurations"]
    short = ("--epochs", "1", "--set", "training.iterations_per_epoch=1")
    assert call(files, "train", NAME, "0", "-c", "3d_lowres", *short, *HERE) == 0
    said, plan = capsys.readouterr().err, plan_of(files)
    assert "one training may take" in said and "and 4 s" in said
    assert not plan["draft"] and all(one["cost"]["timed"] for one in plan["configurations"].values())
    assert files.run("3d_lowres", "0").scores.exists()
    assert not json.loads(files.run("3d_lowres", "0").effective.read_text())["draft"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(files.prepared("3d_lowres").glob("*/case.json"))) == CASES
    assert files.old_plan.read_bytes() == kept and json.loads(kept)["planner"] == "tiny"

    assert call(files, "plan", NAME, "--planner", "lab.small", *HERE) == 0
    assert plan_of(files) == plan
    raw = files.read_dataset().folder
    assert call(files, "plan_and_preprocess", raw, "--planner", "lab.small", "-c", "2d", "--threads", "1") == 0
    assert plan_of(files)["draft"] is False, "what was measured is never replaced by a draft"


@pytest.mark.slow
def test_the_time_of_a_training_is_what_it_is_planned_for(
    files: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(files, "train", NAME, "0", "--time", "2s", "-c", "4d", *HERE) == 2
    said = capsys.readouterr().err
    assert "for trainings of 2 s as --time says" in said and "choose one of 3d_fullres, 3d_lowres" in said
    plan = plan_of(files)
    assert any("and 2 s, as you asked" in reason for reason in plan["reasons"])
    assert f"default: {plan['default']}: " in said, "which configuration the time is enough for, and why"


def test_a_draft_from_before_networks_could_be_asked_for_is_no_edited_one(files: DatasetFolder) -> None:
    before = plan_of(files)
    assert before.pop("network") is None
    files.plan.write_text(json.dumps(before))
    finish_plan(files, lambda plan: write_json(files.plan, replace(plan, draft=False)))
    assert not plan_of(files)["draft"]


@pytest.mark.slow
def test_training_takes_the_planned_default_and_not_the_drafts(files: DatasetFolder) -> None:
    assert plan_of(files)["default"] == "3d_fullres"
    finish_plan(files, lambda plan: write_json(files.plan, replace(plan, draft=False, default="2d")))
    short = ("--epochs", "1", "--set", "training.iterations_per_epoch=1")
    assert call(files, "train", NAME, "0", *short, *HERE) == 0
    assert [path.name for path in files.root.glob("runs/*")] == ["2d"]


@pytest.mark.slow
def test_a_configuration_that_a_draft_does_not_have_is_planned_at_once(raw: Path, files: DatasetFolder) -> None:
    words = ("plan_and_preprocess", str(raw), "--planner", "lab.small", "-c", "3d_lowres", "--threads", "1")
    assert call(files, *words) == 0
    assert not plan_of(files)["draft"]
    assert len(list(files.prepared("3d_lowres").glob("*/case.json"))) == CASES


def test_a_draft_says_who_decides_on_a_configuration_that_it_does_not_have(
    files: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(files, "preprocess", NAME, "-c", "3d_lowres") == 2
    assert f"`autoseg plan {NAME}` decides whether there are more" in capsys.readouterr().err
    assert plan_of(files)["draft"]


@pytest.mark.slow
def test_training_on_data_that_were_never_prepared_reads_and_plans_them_first(
    raw: Path, drafted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As plan_and_preprocess does by default; a change that fits no plan ends it before the machine is measured."""
    words = ["train", str(raw), "0", "--set", "training.epochs=x", *HERE, "--workspace", str(tmp_path / "new")]
    files = Workspace(tmp_path / "new").dataset_folder(NAME)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{raw} was never prepared: it is checked, measured and prepared first" in said and "epochs" in said
    made = {path: path.read_bytes() for path in (files.dataset, files.fingerprint, files.plan, files.folds)}
    assert plan_of(files)["planner"] == "measured" and plan_of(files)["draft"]
    assert not (files.root / "prepared").exists(), "training prepares what it needs"
    assert main(words) == 2
    assert "never prepared" not in capsys.readouterr().err
    assert {path: path.read_bytes() for path in made} == made
    assert main(["plan_and_preprocess", str(raw), "-c", "2d", "--workspace", str(tmp_path / "other")]) == 0
    other = Workspace(tmp_path / "other").dataset_folder(NAME)
    assert (plan_of(other), other.read_folds()) == (plan_of(files), files.read_folds())


@pytest.mark.parametrize(
    ("target", "fold", "said"),
    [("raw", "9", "give a number below 5"), ("raw", "x", "give a number below 5"), ("empty", "0", "empty")],
)
def test_what_cannot_be_trained_is_told_before_anything_is_written(
    target: str, fold: str, said: str, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    folder = {"raw": raw, "empty": tmp_path / "empty"}[target]
    assert main(["train", str(folder), fold, *HERE, "--workspace", str(tmp_path / "workspace")]) == 2
    assert said in capsys.readouterr().err
    assert not [*(tmp_path / "workspace").rglob("*.json")]


def test_what_is_left_of_an_earlier_reading_is_not_replaced_by_training(
    raw: Path, files: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    files.dataset.unlink()
    before = {path: path.read_bytes() for path in files.root.rglob("*.json")}
    assert call(files, "train", str(raw), "0", *HERE) == 2
    assert "dataset.json does not exist" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in files.root.rglob("*.json")} == before


def test_a_training_that_waits_for_another_one_leaves_its_plan_alone(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Workspace(tmp_path).dataset_folder(NAME)
    with caplog.at_level("INFO", "autoseg"), ThreadPoolExecutor(1) as pool:
        with alone(files.plan_lock, "train"):
            second = pool.submit(prepare_new, files, raw, "1", RunSettings(threads=1))
            while "waiting for" not in caplog.text:
                assert not second.done()
                time.sleep(0.01)
            files.plan.write_text("of the first")
        second.result(timeout=60)
    assert files.plan.read_text() == "of the first" and not files.dataset.exists()


@pytest.mark.slow
def test_a_first_training_that_was_stopped_before_it_had_a_plan_goes_on(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Workspace(tmp_path).dataset_folder(NAME)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("autoseg.pipeline.plan_and_preprocess.draft", stop)
        prepare_new(files, raw, "0", RunSettings(threads=1))
    assert files.fingerprint.exists() and not files.plan.exists()
    prepare_new(files, raw, "0", RunSettings(threads=1))
    assert plan_of(files)["draft"] and files.folds.exists()


@pytest.mark.slow
def test_two_planners_are_compared_for_a_time_that_one_of_them_cannot_take(
    files: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = []
    for long in ("1m", "2h"):
        words = ["--target", "memory=2GB,bandwidth=100GB/s", "--time", long]
        assert call(files, "plan", NAME, "--compare", "lab.small", "tiny", *words) == 0
        said = capsys.readouterr()
        assert "--time and --target of tiny: it has a fixed budget" in said.err
        rows = [line[2:].split() for line in said.out.splitlines() if "training." in line]
        lengths.append([[row[1] for row in rows], [row[2] for row in rows]])
    (short, tiny), (long_, tiny_again) = lengths
    assert short != long_ and tiny == tiny_again


def test_an_edited_draft_is_neither_measured_nor_lost(files: DatasetFolder, capsys: pytest.CaptureFixture[str]) -> None:
    edited = plan_of(files)
    edited["configurations"]["3d_fullres"]["batch_size"] = 3
    files.plan.write_text(json.dumps(edited))
    assert call(files, "train", NAME, "0", *HERE) == 2
    assert "a draft that was edited" in capsys.readouterr().err
    assert plan_of(files) == edited
    assert call(files, "plan_and_preprocess", files.read_dataset().folder, "--planner", "lab.small") == 0
    assert json.loads(files.old_plan.read_text()) == edited


def test_a_draft_by_a_planner_that_is_not_trusted_any_more_can_be_replaced(files: DatasetFolder) -> None:
    draft = plan_of(files)
    assert main(["plan", NAME, "--planner", "tiny", "--workspace", str(files.root.parent)]) == 0
    assert json.loads(files.old_plan.read_text()) == draft


def test_cases_that_were_never_prepared_are_prepared_when_training_starts(files: DatasetFolder) -> None:
    finish_plan(files, lambda plan: write_json(files.plan, replace(plan, draft=False)))
    shutil.rmtree(files.prepared("2d") / "demo_001")
    before = (files.prepared("2d") / "demo_000" / "case.json").stat().st_mtime_ns
    stage = replace(files.read_plan(), default="2d")
    prepare_missing(files, [stage], RunSettings(threads=1))
    assert len(list(files.prepared("2d").glob("*/case.json"))) == CASES
    assert (files.prepared("2d") / "demo_000" / "case.json").stat().st_mtime_ns == before


def test_cases_that_were_prepared_for_another_plan_are_left_to_the_user(files: DatasetFolder) -> None:
    finish_plan(files, lambda plan: write_json(files.plan, replace(plan, draft=False)))
    plan = files.read_plan()
    coarser = replace(plan.configurations["2d"], spacing=(None, 2.0, 2.0))
    write_json(files.plan, replace(plan, configurations=plan.configurations | {"2d": coarser}, default="2d"))
    before = {path: path.stat().st_mtime_ns for path in files.root.glob("prepared/*/*/case.json")}
    assert call(files, "train", NAME, "0", *HERE) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_a_draft_says_in_other_words_is_no_edit(files: DatasetFolder) -> None:
    other = plan_of(files) | {"reasons": ["draft: as an earlier version has put it"]}
    files.plan.write_text(json.dumps(other))
    finish_plan(files, lambda plan: write_json(files.plan, replace(plan, draft=False)))
    assert not plan_of(files)["draft"]


def test_of_trainings_that_start_together_one_measures(files: DatasetFolder) -> None:
    measured: list[Plan] = []
    together = threading.Barrier(3, timeout=60)

    def measure(plan: Plan) -> None:
        measured.append(plan)
        write_json(files.plan, replace(plan, draft=False, planner="measured once"))

    def start(_: int) -> None:
        together.wait()
        finish_plan(files, measure)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(start, range(3)))
    assert len(measured) == 1
    assert plan_of(files)["planner"] == "measured once"


def test_a_training_that_fails_to_measure_leaves_it_to_the_next(files: DatasetFolder) -> None:
    def fail(plan: Plan) -> None:
        raise TrainingError("no memory")

    with pytest.raises(TrainingError, match="no memory"):
        finish_plan(files, fail)
    finish_plan(files, lambda plan: write_json(files.plan, replace(plan, draft=False)))
    assert not plan_of(files)["draft"]


def test_a_training_that_was_killed_while_measuring_holds_nobody_up(files: DatasetFolder) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(files.plan_lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(finish_plan, files, lambda plan: write_json(files.plan, replace(plan, draft=False)))
        time.sleep(0.2)
        assert not waiting.done() and plan_of(files)["draft"]
        holder.send_signal(signal.SIGKILL)
        waiting.result(timeout=30)
    holder.wait()
    holder.stdout.close()
    assert not plan_of(files)["draft"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.epochs=1e400", "training.epochs: expected int, found '1e400'"),
        ("3d_fullres.training.epochs=0", "epochs must be at least 1"),
        ("batch_size=" + "9" * 30, "batch_size: expected int"),
        ("optimizer.learning_rate=fast", "learning_rate: expected float, found 'fast'"),
    ],
)
@pytest.mark.parametrize("command", [("plan", NAME, "--planner", "lab.small"), ("train", NAME, "0")])
def test_a_value_that_fits_no_plan_is_refused_before_anything_is_measured(
    files: DatasetFolder, command: tuple[str, ...], change: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = plan_of(files)
    assert call(files, *command, "--set", change, *HERE) == 2
    assert said in capsys.readouterr().err
    assert plan_of(files) == before and not files.steps.exists()
