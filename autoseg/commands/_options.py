"""Parsed flags that several commands share, as the records the pipeline takes."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from ..alignment.record import AlignmentRequest
    from ..data.folds import FoldRules
    from ..data.layouts.names import Names
    from ..pipeline.make_plan import PlanRequest
    from ..settings import RunSettings
    from ..workspace import DatasetFolder, Workspace


def settings(options: Namespace) -> RunSettings:
    from ..settings import RunSettings

    given: dict[str, Any] = {"threads": options.threads} if options.threads else {}
    of_some = ("seed", "deterministic", "compile", "memory")
    given |= {name: getattr(options, name) for name in of_some if hasattr(options, name)}
    return RunSettings(device=options.device, precision=options.precision, **given)


def request(options: Namespace) -> PlanRequest:
    """What the planning flags say."""
    from dataclasses import fields

    from ..model_names import plans_or_model
    from ..pipeline.make_plan import PlanRequest
    from ..planning.constraints import PlanConstraints, fusions_of

    named = {"memory": "training_memory", "seconds": "training_time"}  # other flags have these names
    known = [field.name for field in fields(PlanConstraints) if field.name not in ("fusion", "beside")]
    asked = {name: getattr(options, named.get(name, name)) for name in known}
    asked = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
    asked["fusion"], asked["beside"] = fusions_of(options.fusion, options.groups)
    return PlanRequest(
        planner=options.planner,
        plans=None if options.plans is None else plans_or_model(options.plans, workspace(options)),
        constraints=PlanConstraints(**asked),
        target=options.target,
        changes=options.changes,
        settings=settings(options),
        trusted=tuple(options.trust),
    )


def fold_rules(options: Namespace) -> FoldRules | None:
    """None when no flag says anything about folds."""
    from ..data.folds import FoldRules

    rules = FoldRules(options.group, options.group_file, options.stratify)
    return None if rules == FoldRules() else rules


def names(options: Namespace) -> Names:
    """Of channels and labels of a folder without a dataset.json. Raises UsageError for what can be none."""
    from ..data.layouts.names import Names

    return Names(options.channels, options.labels)


def alignment(options: Namespace) -> AlignmentRequest | None:
    """What is asked for the channels of a case; None when no flag says anything about them."""
    from ..alignment.record import HEADER, AlignmentRequest

    if options.align is None and options.reference is None:
        return None
    return AlignmentRequest(options.align or HEADER, options.reference)


def workspace(options: Namespace, writing: bool = False) -> Workspace:
    """Raises UsageError or OSError where it cannot be one: at once, and not after an hour of work."""
    from ..core.files import nearest_folder, refuse_unwritable
    from ..workspace import Workspace

    if not options.workspace.strip():
        raise UsageError("--workspace (or AUTOSEG_WORKSPACE) is empty; name a folder, or leave it out altogether")
    root = Path(options.workspace)
    if nearest_folder(root) == root:
        next(root.iterdir(), None)  # raises where it is somebody else's
    if writing:
        refuse_unwritable(root)
    return Workspace(root, tuple(options.trust))


def raw_folder(options: Namespace, writing: bool = False) -> Path:
    """The folder that holds DATASET's images."""
    from ..dataset_names import find_dataset

    return find_dataset(options.dataset, workspace(options, writing)).folder


def dataset_folder(options: Namespace, writing: bool = False) -> DatasetFolder:
    """What the workspace holds for DATASET."""
    return dataset_and_images(options, writing)[0]


def dataset_and_images(options: Namespace, writing: bool = False) -> tuple[DatasetFolder, Path]:
    """What the workspace holds for DATASET, and the folder that holds its images."""
    from ..core.files import refuse_unwritable
    from ..dataset_names import find_dataset

    root = workspace(options)
    found = find_dataset(options.dataset, root)
    files = root.folder_for(found.folder, found.name)
    if writing:
        refuse_unwritable(files.root)
    return files, found.folder


def report_at_end(options: Namespace, files: DatasetFolder, pictures: bool = True) -> Callable[[], None] | None:
    """What writes the dataset's page; None where none is wanted."""
    from ..reporting.story import report_after

    return None if options.no_report else partial(report_after, files, settings(options).threads, pictures)


def output_file(path: Path | None) -> Path | None:
    """``path``, if a new file can be written there. Raises UsageError or OSError."""
    from ..core.files import refuse_unwritable, remove_unfinished

    if path is not None:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give -o the name of a file")
        if os.path.lexists(path):
            raise UsageError(f"{path} exists already; remove it or choose another name with -o")
        refuse_unwritable(path.absolute().parent)
        remove_unfinished(path.absolute().parent)
    return path
