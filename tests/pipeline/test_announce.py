"""What a training says before it begins and when it has ended."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from run_settings import SETTINGS

from autoseg.configuration import StepCost, StepMemory
from autoseg.data.folds import Fold
from autoseg.errors import StoppedError
from autoseg.pipeline import announce
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.make_plan import PlanRequest
from autoseg.pipeline.plan_and_preprocess import plan_and_preprocess
from autoseg.pipeline.train import train
from autoseg.pipeline.train_fold import FoldRun
from autoseg.plan import Plan
from autoseg.training.budget import Budget
from autoseg.training.log import written_to
from autoseg.workspace import DatasetFolder, Workspace

SMALL = ("patch_size=8,32,32", "network.features=[4,8,8]", "training.iterations_per_epoch=3", "mirror_axes=[]")
HOUR = 3600


def costing(plan: Plan, seconds: float, epochs: int = 10) -> Plan:
    """With steps that were timed at so many seconds, one to an epoch."""
    ((name, configuration),) = plan.configurations.items()
    cost = StepCost("here", StepMemory(*(0,) * len(StepMemory.__dataclass_fields__)), 1, 2, seconds, 1, timed=True)
    rules = replace(configuration.training, epochs=epochs)
    return replace(plan, configurations={name: replace(configuration, cost=cost, training=rules)})


def run_of(plan: Plan, root: Path) -> FoldRun:
    return FoldRun(DatasetFolder(root), plan, "0", Fold(("a",), ("b",)), SETTINGS)


def test_validation_takes_a_third_of_a_step_for_every_patch_and_mirror_image(small_plan: Plan) -> None:
    timed = costing(small_plan, 6.0)
    # patches of 8 in steps of 4 at most: 12 voxels take 2 places along each axis; 8 and fewer take 1
    assert announce.seconds_of_validation(timed.task(), [(12, 12, 12)]) == 8 * 8 * 6 / 3 / 2
    assert announce.seconds_of_validation(timed.task(), [(5, 8, 12), (8, 8, 8)]) == (2 + 1) * 8 * 6 / 3 / 2
    unmirrored = replace(timed, mirror_axes=())
    assert announce.seconds_of_validation(unmirrored.task(), [(12, 12, 12)]) == 8 * 6 / 3 / 2
    assert announce.seconds_of_validation(small_plan.task(), [(12, 12, 12)]) is None, "nobody has timed a step"


@pytest.mark.parametrize(("seconds", "said"), [(9.0, True), (11.0, False), (159.0, False), (161.0, True)])
def test_a_length_that_the_plan_was_not_made_for_is_told(
    seconds: float, said: bool, small_plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of(costing(small_plan, 4.0), tmp_path)  # 10 iterations: planned for 40 s
    announce.begun(run, Budget.of(run.task.configuration, seconds), [(8, 8, 8)])
    assert ("was planned for trainings of about 40 s" in caplog.text) == said
    assert (f"`autoseg plan Dataset900_Small --time {seconds:.0f}s`" in caplog.text) == said


@pytest.mark.slow
def test_a_training_says_what_it_does_where_and_what_comes_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw, workspace = make_dataset(tmp_path / NAME, cases=5, tests=0), Workspace(tmp_path / "workspace")
    request = PlanRequest(planner="tiny", changes=SMALL, settings=SETTINGS)
    plan_and_preprocess(raw, workspace, request, configurations=["3d_fullres"])
    files = workspace.dataset_folder(NAME)
    with caplog.at_level("INFO", logger="autoseg"):
        train(files, "0", epochs=1, settings=SETTINGS)
    lines, run = [record.getMessage() for record in caplog.records], files.run("3d_fullres", "0")
    first = next(
        number for number, line in enumerate(lines) if line.startswith("training 3d_fullres fold_0 on 4 cases")
    )
    assert lines[first].endswith("3 iterations, on cpu (1 thread, float32)")
    assert lines[first + 1].endswith(f"written to {run.root}")
    assert lines[first + 2].startswith("validation follows, on 1 case")
    assert lines[-2].endswith(f"weights are in {run.weights}") and run.weights.is_file()
    assert lines[-1].startswith(f"next: `autoseg predict -d {NAME} -i IMAGES -o RESULTS`")
    assert f"`autoseg train {NAME} cv`" in lines[-1]
    log = run.log.read_text().splitlines()
    assert "INFO autoseg 0" in log[0] and "torch 2" in log[0] and log[0].rpartition(": ")[2] == shlex.join(sys.argv)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoppedError("x"), "INFO stopped; the same command goes on from the last checkpoint"),
        (KeyboardInterrupt(), "INFO stopped; the same command goes on from the last checkpoint"),
        (OSError(28, "No space left on device"), "ERROR failed: "),
        (ZeroDivisionError("by 0"), "ERROR failed: ZeroDivisionError: by 0"),
    ],
)
def test_a_log_file_ends_with_why_it_ended(error: BaseException, said: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)), written_to(tmp_path / "log.txt"):
        raise error
    assert said in (tmp_path / "log.txt").read_text().splitlines()[-1]
