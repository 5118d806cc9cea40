"""Between two stages of a cascade: what the earlier one predicted becomes an input of the next.

A network that is shown its own training cases is better on them than on any other; one that learns from such
predictions trusts them too much. Every case is therefore predicted by the fold that did not train on it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..core.digests import content_hash
from ..core.files import remove_unfinished
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..data.folds import Folds
from ..data.label_maps import files_in, read_label_map
from ..errors import TrainingError
from ..plan import Plan
from ..preprocessing.priors import PriorStore, on_grid
from ..preprocessing.store import StoredCase
from ..run_folder import RunFolder
from ..task import Task
from ..workspace import DatasetFolder
from .validated import is_validated

LOG = logging.getLogger("autoseg")


def unfinished(files: DatasetFolder, earlier: Plan, folds: Folds, workers: int = 1) -> list[str]:
    """Folds of the stage that ``earlier`` trains which have not been trained, or not predicted their validation cases.

    Or have once, and what they left is damaged.
    Raises TrainingError where there are no folds, or where one was trained for another dataset than there is now.
    """
    if not folds.folds:
        raise TrainingError(
            f"a cascade needs {earlier.default}'s predictions of cases that it was not trained on, which a single case "
            "does not allow; train another configuration"
        )
    runs = {str(number): files.run(earlier.default, str(number)) for number in range(len(folds.folds))}
    for run in runs.values():
        if run.finished:
            _refuse_another_dataset(run, earlier)
    return [
        name
        for name, run in runs.items()
        if not (run.finished and is_validated(run, folds[int(name)].validation, earlier, workers))
    ]


def _refuse_another_dataset(run: RunFolder, earlier: Plan) -> None:
    """Both stages must speak of the same labels: a finished one is not trained again when the dataset has changed."""
    before = run.read_plan()
    if different := before.differences(earlier):
        raise TrainingError(
            f"{run.root} was trained when {', '.join(different)} of the plan were others than now; a cascade needs "
            f"stages that belong together. Remove {run.root.parent} to train it anew"
        )


def tell_first(earlier: Task, task: Task, missing: Sequence[str]) -> None:
    """Says which folds of the earlier stage will be trained, and why."""
    if missing:
        folds = f"fold {missing[0]} comes" if len(missing) == 1 else f"folds {', '.join(missing)} come"
        LOG.info(
            "%s sees what %s predicts for cases that it was not trained on: its %s first, as long as you asked for",
            task.name,
            earlier.name,
            folds,
        )


def bring_to_grid(files: DatasetFolder, earlier: Task, task: Task, cases: dict[str, StoredCase], workers: int) -> None:
    """Brings the label maps that the folds of stage ``earlier`` predicted to the grid of the stage ``task``.

    ``cases`` are that stage's prepared cases. What was made from the same label maps for the same grid stays. Raises
    TrainingError for a case without such a label map.
    """
    predicted = _predicted(files, earlier)
    for key in cases:
        _refuse_unpredicted(key, predicted.get(key), earlier)
    store = PriorStore(files.priors(task.name), task.configuration.patch_size)
    remove_unfinished(store.folder)
    todo = [
        _Transfer(key, predicted[key], case, content)
        for key, case in cases.items()
        if store.content(key) != (content := _content(predicted[key], case))
    ]
    work = partial(_transfer, task=task, store=store)
    what = f"{earlier.name} for {task.name}"
    for _ in progress(ordered_map(work, todo, workers), len(todo), what):
        pass
    LOG.info("%s: predictions of %d cases brought to its grid, %d were there", what, len(todo), len(cases) - len(todo))


def _predicted(files: DatasetFolder, earlier: Task) -> dict[str, tuple[Path, ...]]:
    """Case to the files of the labels that the fold which validated on it has predicted."""
    return {
        key: files_in(files.run(earlier.name, str(number)).validation, key, earlier.file_ending, earlier.labels)
        for number, fold in enumerate(files.read_folds().folds)
        for key in fold.validation
    }


def _refuse_unpredicted(key: str, paths: tuple[Path, ...] | None, earlier: Task) -> None:
    if paths is None:
        raise TrainingError(
            f"case {key} is in no fold's validation cases, so that every fold of {earlier.name} was trained on it; "
            "a cascade needs folds of which each case validates one"
        )
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise TrainingError(
            f"{missing} is missing, the label map that {earlier.name} predicted for case {key}. Remove "
            f"{missing.parent} to predict it again; or, if the folds have changed, {missing.parents[1]} to train anew"
        )


def _content(paths: tuple[Path, ...], case: StoredCase) -> str:
    return hashlib.sha256((content_hash(*paths) + case.case.content).encode()).hexdigest()


@dataclass(frozen=True)
class _Transfer:
    """One label map, or the masks of a case, on their way."""

    key: str
    paths: tuple[Path, ...]
    case: StoredCase
    content: str


def _transfer(work: _Transfer, task: Task, store: PriorStore) -> None:
    label_map, _ = read_label_map(work.paths, task.labels)
    indices = on_grid(label_map, work.case.record, task.labels, task.configuration.resampler)
    store.write(work.key, indices, work.content)
