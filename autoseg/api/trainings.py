"""Functions about trainings: train, look at what is being trained, select the best of it, report all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import _arguments as given

if TYPE_CHECKING:
    from ..evaluation.selection import Selection
    from ..pipeline.search_front import Found
    from ..pipeline.status import RunLine
    from ..settings import RunSettings
    from ..workspace import DatasetFolder


def train(
    dataset: str | Path,
    fold: int | str,
    workspace: str | Path | None = None,
    *,
    configuration: str | None = None,
    folds: Sequence[int | str] | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    checkpoint_minutes: float = 10,
    patience: int | None = None,
    changes: Sequence[str] = (),
    extend: bool = False,
    init: str | Path | None = None,
    encoder_rate: float | None = None,
    report: bool = True,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Path:
    """Trains one fold (0-4, ``"all"`` or ``"cv"``), continuing where it was; returns the model's folder.

    A dataset that was never prepared is prepared first, as by ``plan_and_preprocess`` without any wish. Where the plan
    is a draft, this machine is measured first, for trainings of ``minutes``. A finished fold is left
    alone, or with ``extend`` trained on until ``epochs`` or ``minutes`` in all. ``folds`` chooses among those of
    ``"cv"``. A checkpoint is written every ``checkpoint_minutes``; training ends well after ``patience`` epochs without
    a better Dice on whole validation cases (0: never). ``dataset`` is a path, or a name or number known to the
    workspace; ``changes`` are those of ``--set`` (``["batch_size=4"]``). ``init`` is a model whose weights a training
    begins with; those of the encoder learn at ``encoder_rate`` of the learning rate (0: not at all). ``report`` writes
    the dataset's page at the end, and never fails. Raises TrainingError, WorkspaceError or UsageError.
    """
    from ..dataset_names import find_dataset
    from ..errors import UsageError
    from ..pipeline import train as story

    seconds, length = given.seconds(minutes), given.count(epochs, "epochs")
    every, epochs_to_wait = (
        given.seconds(checkpoint_minutes, "checkpoint_minutes"),
        given.count(patience, "patience", 0),
    )
    if folds is not None and str(fold) != "cv":
        raise UsageError('folds chooses among the folds of "cv": give fold="cv"')
    root = given.workspace_in(workspace, trusted)
    found = find_dataset(given.name(dataset), root)
    files = root.folder_for(found.folder, found.name)
    early = [] if epochs_to_wait is None else [f"training.patience={epochs_to_wait}"]
    return story.train(
        files,
        str(fold),
        configuration=configuration,
        epochs=length,
        seconds=seconds,
        changes=[*changes, *early],
        checkpoint_every=every or story.CHECKPOINT_SECONDS,
        extend=extend,
        only=given.fold_names(folds),
        at_end=_report_of(files, settings) if report else None,
        folder=found.folder,
        donors=given.donors(init, encoder_rate, root),
        settings=settings,
    )


def _report_of(files: DatasetFolder, settings: RunSettings | None) -> Callable[[], None]:
    """What writes the dataset's page, and never fails."""
    from ..reporting.story import report_after
    from ..settings import RunSettings

    return partial(report_after, files, (settings or RunSettings()).threads)


def status(dataset: str | Path | None = None, workspace: str | Path | None = None) -> list[RunLine]:
    """Every training of the workspace, or of one dataset: progress, time left, Dice, last error."""
    from ..pipeline.status import all_runs

    root = given.workspace_in(workspace)
    return all_runs(root, None if dataset is None else given.dataset_in(dataset, root).root.name)


def search(
    dataset: str | Path,
    workspace: str | Path | None = None,
    *,
    minutes: float,
    fold: int | str = 0,
    configuration: str | None = None,
    networks: Sequence[str] = (),
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Found:
    """Tries plans around the planner's own for ``minutes`` in all, and returns them with their Dice and times.

    The validation cases of ``fold`` are seen by nothing that the search decides by; the best plans are scored on them
    at the end. ``networks`` are tried beside the planner's own. Needs optuna. Raises UsageError, MissingPackageError,
    WorkspaceError or TrainingError.
    """
    from ..pipeline import search as story
    from ..pipeline.search_place import Search
    from ..settings import RunSettings

    files, seconds = given.dataset_in(dataset, given.workspace_in(workspace, trusted)), given.seconds(minutes)
    asked, how = given.words(networks, "networks"), settings or RunSettings()
    return story.search(Search(files, seconds or 0.0, str(fold), configuration, tuple(asked), how))


def select(
    dataset: str | Path,
    workspace: str | Path | None = None,
    *,
    configurations: Sequence[str] | None = None,
    folds: Sequence[int | str] | None = None,
    mirroring_test: bool = True,
    report: bool = True,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Selection:
    """Compares what was trained on a dataset and every ensemble of it; ``newest_model`` is then the best as one model.

    ``configurations`` and ``folds`` None take all. ``mirroring_test`` measures whether mirrored passes pay; ``report``
    writes the dataset's page at the end, and never fails. Raises WorkspaceError, ModelError or UsageError.
    """
    from ..pipeline import select as story

    files = given.dataset_in(dataset, given.workspace_in(workspace, trusted))
    selection = story.select(
        files,
        configurations=configurations,
        folds=given.fold_names(folds),
        mirroring=mirroring_test,
        settings=settings,
    )
    if report:
        _report_of(files, settings)()
    return selection


def report(
    dataset: str | Path,
    workspace: str | Path | None = None,
    *,
    output: str | Path | None = None,
    pictures: bool = True,
    watch: int | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Path:
    """Writes one HTML page about a dataset, a folder ``runs/<configuration>`` or ``.../fold_0``, or one of predictions.

    Returns it. ``output`` None: ``report.html`` in that folder. ``pictures`` False leaves out all slices of
    images. ``watch`` writes it anew every so many seconds until no training runs. Raises WorkspaceError where nothing
    is known of ``dataset``, UsageError where ``output`` is a file that is no report.
    """
    from ..reporting.story import report as story
    from ..reporting.watch import watch as watched
    from ..settings import RunSettings

    target, root, every = given.name(dataset), given.workspace_in(workspace, trusted), given.count(watch, "watch")
    path, threads = given.optional_path(output, "output"), (settings or RunSettings()).threads
    if every is None:
        return story(target, root, output=path, pictures=pictures, threads=threads)
    return watched(target, root, every, output=path, pictures=pictures, threads=threads)
