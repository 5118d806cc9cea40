"""`autoseg report`: one HTML file about a dataset of the workspace, one of its trainings, or predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .. import __version__
from ..core.mishaps import explained
from ..core.names import counted
from ..dataset_names import find_dataset
from ..errors import AutosegError, UsageError
from ..pipeline.status import RUNNING
from ..workspace import DatasetFolder, Workspace, run_at
from .page import Page, refuse_foreign, reload_of, write
from .predicted_blocks import prediction_sections
from .predictions import PredictionsSource, open_predictions, predictions_at
from .sections import Kept, sections
from .source import Source, open_source

LOG = logging.getLogger("autoseg")
NAME = "report.html"


def report(
    target: str, workspace: Workspace, *, output: Path | None = None, pictures: bool = True, threads: int = 1
) -> Path:
    """Writes the page of a dataset, of a folder ``runs/<configuration>`` or ``.../fold_0``, or of one that `predict`
    wrote, and returns its path.

    ``output`` None: ``report.html`` in that folder. ``pictures`` False leaves out all slices of images. Raises
    WorkspaceError where nothing is known of ``target``, UsageError where ``output`` is no report, OSError where it
    cannot be written.
    """
    if (predicted := predictions_of(target)) is not None:
        path = output or predicted / NAME
        refuse_foreign(path)
        write(path, page_of_predictions(open_predictions(predicted, pictures=pictures, threads=threads)))
        return path
    files, configuration, fold, path = place_of(target, workspace, output)
    refuse_foreign(path)
    source = open_source(files, configuration=configuration, fold=fold, pictures=pictures, threads=threads)
    write(path, page_of(source))
    return path


def page_of(source: Source, kept: Kept | None = None) -> Page:
    """Every section that has something to say; those in ``kept`` whose files have not changed as they are there."""
    found = sections(source, kept)
    of = " ".join(filter(None, (source.configuration, f"fold {source.fold}" if source.fold else "")))
    subtitle = of or "all trainings"
    return Page(source.dataset.name, subtitle, __version__, found, tuple(source.damaged))


def report_after(files: DatasetFolder, threads: int, pictures: bool = True) -> None:
    """The page of a dataset at the end of another command, whose success does not depend on it.

    Preparing leaves out ``pictures``: of 200 small cases the page takes 15 % of its time without them.
    """
    path = files.root / NAME
    watched = reload_of(path)

    def made() -> Page:
        source = open_source(files, pictures=pictures, threads=threads)
        goes_on = any(line.state in RUNNING for line in source.lines)  # another fold, for which somebody watches
        return replace(page_of(source), reload=watched if goes_on else None)

    _tried(path, made)


def predictions_report_after(folder: Path, threads: int) -> None:
    """Likewise, of a folder that `predict` has written."""
    _tried(folder / NAME, lambda: page_of_predictions(open_predictions(folder, threads=threads)))


def page_of_predictions(source: PredictionsSource) -> Page:
    """All that can be told of them."""
    found = prediction_sections(source)
    told = f"{counted(len(source.record.cases), 'prediction')} by {source.record.model}"
    name = source.folder.resolve().name
    title = f"Predictions {name}".strip() if name.lower() != "predictions" else "Predictions"
    return Page(title, told, __version__, found, tuple(source.damaged))


def _tried(path: Path, made: Callable[[], Page]) -> None:
    """Writes a page, or says why there is none."""
    try:
        refuse_foreign(path)
        write(path, made())
    except Exception as error:
        said = explained(error) or f"{type(error).__name__}: {error}"
        LOG.warning("no report was written (`autoseg report` tries again): %s", said)
    else:
        LOG.info("the report is %s", path)


def place_of(
    target: str, workspace: Workspace, output: Path | None = None
) -> tuple[DatasetFolder, str | None, str | None, Path]:
    """The dataset, the configuration and fold that are meant, and the file of the page."""
    run = _run(target, workspace)
    if run is not None:
        files, configuration, fold = run
        folder = files.run(configuration, fold).root if fold else files.runs(configuration)
        return files, configuration, fold, output or folder / NAME
    found = find_dataset(target, workspace)
    files = workspace.folder_for(found.folder, found.name)
    return files, None, None, output or files.root / NAME


def predictions_of(target: str) -> Path | None:
    """The folder that is meant, if `predict` wrote it. Raises WorkspaceError where an earlier version did."""
    try:
        return predictions_at(Path(target).expanduser())
    except (OSError, ValueError, RuntimeError):  # as below
        return None


def _run(target: str, workspace: Workspace) -> tuple[DatasetFolder, str, str | None] | None:
    try:
        return run_at(Path(target).expanduser(), workspace.trusted)
    except (OSError, ValueError, RuntimeError):  # too long for a name, no text for the system, a home that nobody has
        return None
    except AutosegError as error:
        raise UsageError(str(error)) from None
