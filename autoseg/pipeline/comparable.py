"""What `select` can compare: configurations that are complete and trained alike, and cases that they have not seen."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

from ..bundle.trained import TrainedRuns, read_trained
from ..core.missing import listed
from ..data.dataset import Dataset
from ..data.folds import Folds
from ..errors import ModelError, WorkspaceError
from ..task import Task
from ..workspace import DatasetFolder
from .compare import Unseen
from .missing import seen
from .validated import problems

LOG = logging.getLogger("autoseg")


def trained_alike(
    files: DatasetFolder,
    dataset: Dataset,
    splits: Folds,
    wanted: Sequence[str] | None,
    folds: Sequence[str],
) -> tuple[dict[str, TrainedRuns], dict[str, str]]:
    """Configurations of which every fold can be compared, and why the others cannot.

    ``wanted`` None takes all that were trained. Raises WorkspaceError where one of ``wanted``, or all, cannot be
    compared, or something is damaged; ModelError for models that do not belong together.
    """
    there = files.trained()
    missing = {name: why for name in wanted or there if (why := _incomplete(files, dataset, splits, name, folds))}
    complete = [name for name in wanted or there if name not in missing]
    if not complete or (wanted and missing):
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items()) or "nothing was trained on it"
        raise WorkspaceError(
            f"{files.root.name} cannot be compared: {reasons}. Finish with `autoseg train {files.root.name} cv -c NAME`"
            + ("" if len(folds) < len(splits.folds) else ", or compare with fewer folds (--folds 0)")
        )
    trained: dict[str, TrainedRuns] = {}
    for name in complete:
        found = read_trained(files.runs(name), folds, files.trusted)
        assert isinstance(found, TrainedRuns), "a folder of runs holds no manifest"
        found.verify()
        trained[name] = found
    first = trained[complete[0]].plan
    for name, each in trained.items():
        if different := first.differences(each.plan):
            raise ModelError(
                f"{name} and {complete[0]} were not trained alike: {', '.join(different)} differ; "
                "train one of them again, or choose with -c"
            )
    return trained, missing


def _incomplete(files: DatasetFolder, dataset: Dataset, splits: Folds, name: str, folds: Sequence[str]) -> str:
    """What is missing of a configuration; nothing when all is there. Raises WorkspaceError for what is damaged."""
    runs = {fold: files.run(name, fold) for fold in folds}
    untrained = [fold for fold, run in runs.items() if not os.path.lexists(run.weights)]
    if untrained:
        return f"fold {', '.join(untrained)} is not trained"
    without, shown = [], 0
    for fold, run in runs.items():
        plan = run.read_plan()
        keys = seen(splits[int(fold)].validation, plan.task(), dataset)
        found, shown = problems(run, keys, plan, 1), shown + len(keys)
        if damaged := [f"case {key}: {why}" for key, why in found.items() if why]:
            raise WorkspaceError(
                f"{damaged[0]}. Run `autoseg train {files.root.name} {fold} -c {name}` again: it predicts anew what "
                f"is damaged ({len(damaged)} of its validation cases)"
            )
        without += [fold] * bool(found)
    if without:
        return f"fold {', '.join(without)} has no probabilities of its validation cases; `autoseg train` adds them"
    return "" if shown else "no validation case has the channels that it needs"


def unseen_cases(
    files: DatasetFolder, dataset: Dataset, splits: Folds, tasks: Mapping[str, Task], folds: Sequence[str]
) -> list[Unseen]:
    """The cases that any of the configurations sees."""
    found = [
        Unseen(
            key,
            int(fold),
            splits.patients.get(key, key),
            dataset.case(key).label_files,
            {name: files.run(name, fold).kept(key) for name, task in tasks.items() if seen([key], task, dataset)},
            dataset.case(key).absent,
        )
        for fold in folds
        for key in splits[int(fold)].validation
    ]
    if blind := [case.key for case in found if not case.kept]:
        LOG.warning("%d cases lack what every configuration needs, and are not compared: %s", len(blind), listed(blind))
    return [case for case in found if case.kept]
