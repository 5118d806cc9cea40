"""`autoseg search`: better values than the planner's for one dataset and machine, by trying them."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..configuration import NETWORKS
from ..core.locks import alone
from ..core.mishaps import explained
from ..core.names import counted
from ..core.progress import duration
from ..core.records import read_json, write_json
from ..errors import AutosegError, PlanningError, StoppedError, TrainingError, UsageError
from ..evaluation.scores import Summary
from ..plan import Plan
from ..planning.constraints import PlanConstraints
from .bench import TimingBench
from .make_plan import PlanRequest, planner_of
from .search_front import Found, Tried, write_table
from .search_knobs import effective, turned
from .search_place import INNER, OUTER, SHORTEST, Search, laid_out, note, note_failed, planned, read_found
from .search_study import RUNGS, Asked, Study, optuna_or_refuse

LOG = logging.getLogger("autoseg")
REPORTED = 3  # plans of the front that are trained on all cases the search has seen, and scored on those it has not
LEAST_SECONDS = 5.0  # of the shortest training
MOST_FAILURES = 20  # in a row: a third of all plans may be too large where memory is short
TIMED_CASES = 3


def search(asked: Search) -> Found:
    """Tries plans until the time is spent and returns all it knows; resumable, and by several processes at once.

    Raises UsageError for too little time, a fold that is not there or too few cases; MissingPackageError without
    optuna; TrainingError where one plan after the other cannot be trained.
    """
    optuna_or_refuse()
    if asked.shortest < LEAST_SECONDS:
        least = duration(SHORTEST * LEAST_SECONDS)
        raise UsageError(f"--time {duration(asked.seconds)} is too short for a search; give {least} or more")
    for name in asked.networks:
        planner_of(PlanRequest(constraints=PlanConstraints(network=name), trusted=asked.files.trusted))
    laid_out(asked)
    own = planned(asked, "")
    plans = {_network_of(own): own} | {name: planned(asked, name) for name in asked.networks}
    study, failures = Study(asked.root.root / "study.log", tuple(plans), asked.settings.seed), 0
    told = f"{duration(asked.shortest)}, {duration(3 * asked.shortest)} and {duration(9 * asked.shortest)}"
    LOG.info("trainings are of %s; one of three goes on to the next length", told)
    while _left(asked, keep=REPORTED * RUNGS[-1]) > 0:
        with study.asked() as trial:
            failures = 0 if _tried(asked, study, trial, plans) else failures + 1
        if failures == MOST_FAILURES:
            raise TrainingError(f"{failures} plans in a row cannot be trained; the messages above say why")
    with alone(asked.root.root / ".report.lock", "search"):
        _report(asked)
        found = read_found(asked.record)
        write_table(asked.root.root / "front.csv", found)
    LOG.info("%s, of which no other beats %d", counted(len(found.tried), "training"), len(found.front))
    return found


def _network_of(plan: Plan) -> str:
    """What the planner's own network is called among the knobs."""
    return str(NETWORKS.name_of(plan.configurations[plan.default].network))


def _left(asked: Search, keep: float = 0.0) -> float:
    """Seconds, beside so many of the shortest trainings that are kept for the end."""
    return asked.seconds - keep * asked.shortest - _spent(read_found(asked.record))


def _spent(found: Found) -> float:
    """Seconds."""
    return found.failed + sum(each.taken for each in found.tried)


def _tried(asked: Search, study: Study, trial: Asked, plans: dict[str, Plan]) -> bool:
    """Trains what was asked for as long as it is worth it; whether it could be trained at all."""
    dice, finished, start, trusted = None, False, time.monotonic(), asked.files.trusted
    base = plans[trial.knobs["network"]]
    try:
        plan = turned(base, trial.knobs, trusted).plan
        _refuse_too_large(asked, plan)
        knobs = _not_as_planned(trial, plans) | effective(base, trial.knobs, trusted)
        for rung in RUNGS:
            if rung > 1 and _left(asked, keep=REPORTED * RUNGS[-1]) < rung * asked.shortest:
                break
            dice = _trained(asked, plan, trial.number, rung, knobs).dice
            if not study.goes_on(trial, rung, dice):
                finished = rung == RUNGS[-1]
                break
    except StoppedError:
        raise  # the trial is taken up again
    except (AutosegError, MemoryError, RuntimeError, ValueError) as error:  # of values that nobody has tried before
        LOG.warning("trial %d cannot be trained: %s", trial.number, explained(error) or error)
        note_failed(asked, time.monotonic() - start)
    study.tell(trial, dice, finished)
    return dice is not None


def _refuse_too_large(asked: Search, plan: Plan) -> None:
    """Raises PlanningError where a step needs more memory than a training may take."""
    bench = TimingBench(asked.settings, asked.files.steps)
    needed = bench.target.total(bench.memory(plan.task(plan.default)))
    if needed > bench.target.allowed:
        raise PlanningError("it needs more memory than a training may take")


def _not_as_planned(trial: Asked, plans: dict[str, Plan]) -> dict[str, str]:
    """The network, where it is not the planner's."""
    return {} if trial.knobs["network"] == next(iter(plans)) else {"network": trial.knobs["network"]}


def _trained(asked: Search, plan: Plan, number: int, rung: int, knobs: dict[str, str]) -> Tried:
    """Of a length and a trial there is one training; one that has ended is not done again."""
    seconds = rung * asked.shortest
    name = f"t{number}_{round(seconds)}s"
    known = {each.name: each for each in read_found(asked.record).tried}
    if name in known:
        return known[name]
    if same := next((each for each in known.values() if (each.knobs, each.seconds) == (knobs, seconds)), None):
        return same  # knobs that turn nothing lead to the same plan
    start = time.monotonic()
    dice = _scored(asked, plan, name, INNER, seconds)
    per_case = _seconds_per_case(asked, name, INNER)
    tried = Tried(name, number, knobs, seconds, time.monotonic() - start, dice, per_case)
    best = max([dice, *(each.dice for each in known.values())])
    LOG.info("%s: Dice %.3f (best %.3f), %s; %s left", name, dice, best, tried.told, duration(max(0.0, _left(asked))))
    note(asked, tried)
    return tried


def _scored(asked: Search, plan: Plan, name: str, fold: str, seconds: float) -> float:
    """The Dice of a training of the only configuration of ``plan``, which is called ``name``."""
    from .train import train

    root = asked.root
    configuration = plan.configurations[plan.default]
    with alone(root.plan_lock, "search"):
        whole = root.read_plan()
        if name not in whole.configurations:
            write_json(root.plan, replace(whole, configurations={**whole.configurations, name: configuration}))
    with _terse():
        train(root, fold, configuration=name, seconds=seconds, settings=asked.settings)
    summary: Summary = read_json(root.run(name, fold).scores, Summary)
    if math.isnan(summary.dice):
        raise TrainingError(f"{name}: no case that it was scored on has any label")
    return summary.dice


@contextmanager
def _terse() -> Iterator[None]:
    """On the terminal of hundreds of trainings only what went wrong is seen; each has its log.txt."""
    levels = {handler: handler.level for handler in LOG.handlers}
    for handler in levels:
        handler.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


def _seconds_per_case(asked: Search, name: str, fold: str) -> float:
    """Of prediction."""
    from ..inference.model import Model
    from .predict import predict

    dataset, split = asked.root.read_dataset(), asked.root.read_folds().named(fold)
    cases = [dataset.case(key) for key in split.validation[:TIMED_CASES]]
    model = Model.read(asked.root.run(name, fold).root, settings=asked.settings, trusted=asked.root.trusted)
    with tempfile.TemporaryDirectory() as folder, _terse():
        report = predict(model, cases, Path(folder), recorded=False)
    if report.failed:
        raise TrainingError(f"{name}: cases cannot be predicted: {', '.join(report.failed)}")
    return report.elapsed / max(1, len(cases))


def _report(asked: Search) -> None:
    """Trains the best of the front on all that the search has seen, and scores them on the fold it has not."""
    for each in read_found(asked.record).front[:REPORTED]:
        if each.reported is not None:
            continue
        plan = asked.root.read_plan()
        only = replace(plan, configurations={each.name: plan.configurations[each.name]}, default=each.name)
        start = time.monotonic()
        try:
            dice = _scored(asked, only, each.name, OUTER, each.seconds)
        except StoppedError:
            raise
        except AutosegError as error:
            LOG.warning("%s cannot be reported on fold %s: %s", each.name, asked.fold, error)
            continue
        LOG.info("%s, trained on all cases of the search: Dice %.3f on fold %s", each.name, dice, asked.fold)
        note(asked, replace(each, reported=dice, taken=each.taken + time.monotonic() - start))
