"""`autoseg search`: plans are tried on cases of their own, and scored on those that no decision has seen."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from autoseg.cli import main
from autoseg.core.records import write_json
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import AutosegError, StoppedError, UsageError
from autoseg.parts.networks import plain_unet
from autoseg.pipeline import search as story
from autoseg.pipeline import search_place, search_study
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.search_front import Tried, front_of
from autoseg.pipeline.search_knobs import as_planned, choices, effective, turned
from autoseg.pipeline.search_place import Search
from autoseg.plan import Plan
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder, Workspace

NETWORKS = ("plain_unet",)
FAST = RunSettings(device="cpu", threads=1, precision="float32")


@pytest.fixture
def one_of(small_plan: Plan) -> Plan:
    return replace(small_plan, configurations={"3d_fullres": small_plan.configurations["3d_fullres"]})


def test_knobs_that_are_not_turned_leave_the_plan_as_it_is(one_of: Plan) -> None:
    found = turned(one_of, as_planned(NETWORKS))
    assert found.changes == () and found.plan == one_of and not effective(one_of, as_planned(NETWORKS))


@pytest.mark.parametrize("size", [(16, 32, 32), (32, 32, 32), (40, 40, 24)])
@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_a_patch_comes_near_the_voxels_that_are_asked_for(
    one_of: Plan, size: tuple[int, int, int], factor: float
) -> None:
    """Also where each edge has few steps: 8 voxels each, as the usual four halvings have 16."""
    grid = one_of.configurations["3d_fullres"]
    halvings = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    network = plain_unet.Spec((4, 8, 8, 8), ((3, 3, 3),) * 4, halvings, (1,) * 4, (1,) * 3)
    plan = replace(one_of, configurations={"3d_fullres": replace(grid, network=network, patch_size=size)})
    knobs = as_planned(NETWORKS) | {"patch": factor}
    found = turned(plan, knobs).plan.configurations["3d_fullres"].patch_size
    assert prod(found) / prod(size) == pytest.approx(factor, rel=0.15)
    assert effective(plan, knobs) == {"patch": str(factor)}


def test_knobs_that_turn_nothing_are_not_told(one_of: Plan) -> None:
    grid = replace(one_of.configurations["3d_fullres"], batch_size=1)
    plan = replace(one_of, configurations={"3d_fullres": grid})
    assert effective(plan, as_planned(NETWORKS) | {"batch": 0.5}) == {}
    assert effective(plan, as_planned(NETWORKS) | {"batch": 2.0, "loss": "focal"}) == {"batch": "2.0", "loss": "focal"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_wherever_knobs_are_turned_there_is_a_plan(one_of: Plan, data: some.DataObject) -> None:
    plan = one_of
    knobs = {name: data.draw(some.sampled_from(values)) for name, values in choices(NETWORKS).items()}
    found = turned(plan, knobs)
    before, after = (each.configurations["3d_fullres"] for each in (plan, found.plan))
    assert all(size % step == 0 for size, step in zip(after.patch_size, after.network.divisor))
    assert after.network.strides == before.network.strides and after.batch_size >= 1
    assert (found.plan == plan) == (not found.changes)


def tried(name: str, dice: float, seconds: float, per_case: float) -> Tried:
    return Tried(name, 0, {}, seconds, seconds, dice, per_case)


@given(some.lists(some.tuples(some.integers(0, 4), some.integers(1, 3), some.integers(1, 3)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(values: list[tuple[int, int, int]]) -> None:
    known = [tried(str(n), dice / 4, seconds, per_case) for n, (dice, seconds, per_case) in enumerate(values)]
    front = front_of(known)
    for each in known:
        better = [
            other
            for other in known
            if other.dice >= each.dice and other.seconds <= each.seconds
            and other.seconds_per_case <= each.seconds_per_case
            and (other.dice, other.seconds, other.seconds_per_case) != (each.dice, each.seconds, each.seconds_per_case)
        ]  # fmt: skip
        assert (each in front) == (not better)
    assert [each.dice for each in front] == sorted((each.dice for each in front), reverse=True)


def test_a_trial_of_a_process_that_is_gone_is_taken_up_under_its_name(tmp_path: Path) -> None:
    pytest.importorskip("optuna")

    class Killed(BaseException):
        pass

    first = search_study.Study(tmp_path / "study.log", NETWORKS, 0)
    with first.asked() as asked:  # the planner's own plan
        assert asked.knobs == as_planned(NETWORKS) and asked.number == 0
        assert first.goes_on(asked, 1, 0.5)  # the best so far
        first.tell(asked, 0.5, finished=False)
    with pytest.raises(Killed), first.asked() as asked:
        left = asked
        raise Killed
    second = search_study.Study(tmp_path / "study.log", NETWORKS, 0)
    with second.asked() as again, second.asked() as other:  # what is held is nobody else's
        assert (again.number, again.knobs) == (left.number, left.knobs) and other.number not in (0, again.number)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    folder = tmp_path_factory.mktemp("search")
    raw = make_dataset(folder / NAME, cases=6, tests=0)
    words = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "3d_fullres", "--no-report"]
    assert main([*words, "--workspace", str(folder / "workspace")]) == 0
    return Workspace(folder / "workspace").dataset_folder(NAME)


def test_too_little_time_and_folds_that_are_not_are_told(files: DatasetFolder) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(UsageError, match="60 s is too short for a search; give 9 min or more"):
        story.search(Search(files, 60, settings=FAST))
    with pytest.raises(UsageError, match="there is no fold 7"):
        story.search(Search(files, 3600, "7", settings=FAST))
    with pytest.raises(UsageError, match=r"fold '\.\./x' is unknown"):
        story.search(Search(files, 3600, "../x", settings=FAST))
    with pytest.raises(UsageError, match="fold '²' is unknown"):
        story.search(Search(files, 3600, "²", settings=FAST))
    with pytest.raises(UsageError, match="no search has kept fold 1 of Dataset999_Demo aside"):
        search_place.take(files, "1", "t0_30s")
    assert not (files.root / "x").exists() and not files.searches.exists()


@pytest.mark.slow
def test_a_search_goes_on_after_a_kill_and_never_sees_what_it_reports_on(
    files: DatasetFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(story, "LEAST_SECONDS", 0.1)
    held_out = set(files.read_folds().folds[0].validation)
    planned: list[Fingerprint] = []
    genuine, scored = search_place.make_plan, story._scored
    monkeypatch.setattr(
        search_place,
        "make_plan",
        lambda how, seen, measured, steps: planned.append(measured) or genuine(how, seen, measured, steps),
    )
    asked = Search(files, 20.0, settings=FAST)
    killed: list[str] = []

    def once(search: Search, plan: Plan, name: str, fold: str, seconds: float) -> float:
        if not killed and not name.startswith("t0_"):
            killed.append(name)
            raise StoppedError("stopped by SIGTERM")
        return scored(search, plan, name, fold, seconds)

    monkeypatch.setattr(story, "_scored", once)
    with pytest.raises(StoppedError):
        story.search(asked)
    found = story.search(asked)
    assert killed[0] in [each.name for each in found.tried]
    assert len({each.name for each in found.tried}) == len(found.tried) > 2
    assert [each for each in found.front if each.reported is not None]
    assert sum(each.taken for each in found.tried) > 15
    assert all(not held_out & measured.cases.keys() for measured in planned) and len(planned) == 1
    inner, outer = asked.root.read_folds().folds
    assert set(outer.validation) == held_out and not held_out & {*inner.train, *inner.validation, *outer.train}
    with (asked.root.root / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["dice"]) for row in rows] == pytest.approx([each.dice for each in found.tried])
    for each in found.tried:
        scores = json.loads(asked.root.run(each.name, "0").scores.read_text())
        assert scores["overall"]["dice"]["mean"] == pytest.approx(each.dice) and not held_out & scores["cases"].keys()

    with pytest.raises(
        UsageError, match="there is a search with neither --network nor -c; go on with it so, or remove"
    ):
        story.search(replace(asked, networks=("residual_unet",)))
    assert Search(files, 9000.0, settings=FAST).shortest == asked.shortest  # gone on with for longer
    best = found.front[0]
    where = ["--workspace", str(files.root.parent)]
    assert main(["search", NAME, "--take", "t99_1s", *where]) == 2
    assert f"no plan 't99_1s'; its front is {best.name}" in capsys.readouterr().err
    assert main(["search", NAME, "--take", best.name, *where]) == 0
    assert files.read_plan().configurations[best.name] == asked.root.read_plan().configurations[best.name]
    assert main(["search", NAME, "--take", best.name, *where]) == 0  # again: it is the same
    plan = files.read_plan()
    changed = replace(plan.configurations[best.name], batch_size=plan.configurations[best.name].batch_size + 1)
    write_json(files.plan, replace(plan, configurations={**plan.configurations, best.name: changed}))
    with pytest.raises(UsageError, match=f"has another configuration {best.name}"):
        search_place.take(files, "0", best.name)
    write_json(files.plan, replace(plan, draft=True))
    with pytest.raises(UsageError, match="is a draft; run `autoseg plan"):
        search_place.take(files, "0", best.name)
    write_json(files.plan, plan)
    folds = files.read_folds()
    write_json(files.folds, replace(folds, folds=folds.folds[::-1]))
    with pytest.raises(UsageError, match="the folds have changed since this search began"):
        story.search(asked)
    write_json(files.folds, folds)
    assert main(["train", NAME, "1", "-c", best.name, "--epochs", "1", "--no-report", "--device", "cpu", *where]) == 0


def test_plans_that_cannot_be_trained_end_the_search(
    files: DatasetFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(story, "planned", lambda asked, network: files.read_plan())
    monkeypatch.setattr(story, "_refuse_too_large", _refuse)
    with pytest.raises(AutosegError, match="20 plans in a row cannot be trained"):
        story.search(Search(files, 3600, "1", settings=FAST))


def _refuse(asked: Search, plan: Plan) -> None:
    raise UsageError("too large")
