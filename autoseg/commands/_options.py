"""Parsed flags that several commands share, as the records the pipeline takes."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from ..folds import FoldRules
    from ..pipeline.decide import Request
    from ..settings import RunSettings
    from ..workspace import DatasetFolder, Workspace


def settings(options: Namespace) -> RunSettings:
    """Raises UsageError for fewer than one thread."""
    from ..settings import RunSettings

    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads must be at least 1, found {options.threads}")
    given: dict[str, Any] = {"threads": options.threads} if options.threads else {}
    of_some = ("seed", "deterministic", "compile", "memory")
    given |= {name: getattr(options, name) for name in of_some if hasattr(options, name)}
    return RunSettings(device=options.device, precision=options.precision, **given)


def request(options: Namespace) -> Request:
    """What the planning flags say."""
    from ..pipeline.decide import Request
    from ..planning.wishes import Wishes

    wishes = Wishes(options.spacing, options.mirror, options.slices, options.training_memory, options.training_time)
    return Request(
        planner=options.planner,
        plans=options.plans,
        wishes=wishes,
        target=options.target,
        changes=options.changes,
        settings=settings(options),
        trusted=tuple(options.trust),
    )


def fold_rules(options: Namespace) -> FoldRules | None:
    """None when no flag says anything about folds."""
    from ..folds import FoldRules

    rules = FoldRules(options.group, options.group_file, options.stratify)
    return None if rules == FoldRules() else rules


def workspace(options: Namespace) -> Workspace:
    from ..workspace import Workspace

    return Workspace(options.workspace)


def raw_folder(options: Namespace) -> Path:
    """The folder that holds DATASET's images."""
    from ..dataset_names import find_dataset

    return find_dataset(options.dataset, workspace(options)).folder


def dataset_folder(options: Namespace) -> DatasetFolder:
    """What the workspace holds for DATASET."""
    from ..dataset_names import find_dataset

    root = workspace(options)
    return root.dataset_folder(find_dataset(options.dataset, root).name)
