"""What planning has left to training: a draft becomes a plan by measuring this machine, missing cases are prepared.

Trainings of one dataset may start together: the first does it, the others wait and find it done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.locks import alone
from ..core.names import short
from ..core.progress import duration
from ..data.folds import COUNT
from ..errors import TrainingError, UsageError
from ..plan import Plan
from ..planning.constraints import PlanConstraints
from ..preprocessing.keys import prepared_as
from ..preprocessing.store import CaseStore
from ..settings import RunSettings
from ..workspace import DatasetFolder, Workspace
from .make_plan import PlanRequest, make_plan
from .plan_and_preprocess import fingerprint, look_at, plan_or_draft, preprocess
from .plan_file import is_untouched_draft, write_plan

LOG = logging.getLogger("autoseg")


def prepare_new(files: DatasetFolder, folder: Path, fold: str, settings: RunSettings) -> None:
    """What ``plan_and_preprocess`` does by default before it prepares cases, for the dataset in ``folder``.

    Nothing is done where it was planned before, or where anything is left of that. Raises UsageError for a fold that
    there will not be, DatasetError as ``plan_and_preprocess`` does.
    """
    if _was_planned(files):
        return
    if fold not in ("all", "cv", *map(str, range(COUNT))):
        raise UsageError(f"fold {short(fold)!r} is unknown; give a number below {COUNT}, `all` or `cv`")
    request = PlanRequest(settings=RunSettings(threads=settings.threads), trusted=files.trusted)
    with alone(files.plan_lock, "train"):
        if _was_planned(files):
            LOG.info("%s has been planned by another command", files.root.name)
            return
        LOG.info("%s was never prepared: it is checked, measured and prepared first, as by plan_and_preprocess", folder)
        workspace = Workspace(files.root.parent, files.trusted)
        dataset, measured = fingerprint(folder, workspace, settings=request.settings)
        plan_or_draft(files, dataset, measured, request)


def _was_planned(files: DatasetFolder) -> bool:
    """A dataset that was only read and measured was not: that can be done anew, and what was measured is kept."""
    return files.plan.exists() or files.folds.exists()


def finish_plan(files: DatasetFolder, measure: Callable[[Plan], None]) -> None:
    """Where plan.json is a draft, ``measure`` is asked to write the plan in its place.

    Raises TrainingError for a draft that somebody has edited, or that is none of the dataset's any more.
    """
    if not files.read_plan().draft:
        return
    with alone(files.plan_lock, "train"):
        plan = files.read_plan()
        if not plan.draft:
            LOG.info("%s has been planned by another training", plan.dataset)
            return
        if not is_untouched_draft(files):
            raise TrainingError(
                f"{files.plan} is a draft that was edited, or made before the dataset changed; measuring would undo "
                f"that. Run `autoseg plan {plan.dataset}`, with your decisions as --set or by editing what it writes; "
                'or, to train these values as they are, write "draft": false'
            )
        measure(plan)


def measure_here(plan: Plan, files: DatasetFolder, *, seconds: float | None, settings: RunSettings) -> None:
    """Decides and writes the plan for trainings of ``seconds`` with ``settings``; None: as long as the planner says."""
    long = "" if seconds is None else f", for trainings of {duration(seconds)} as --time says"
    LOG.info("network, patch, batch and length are decided now by measuring this machine%s", long)
    constraints = PlanConstraints(seconds=seconds, network=plan.network, fusion=plan.fusion, beside=plan.beside)
    request = PlanRequest(planner=plan.planner, constraints=constraints, settings=settings, trusted=files.trusted)
    result = make_plan(request, files.read_dataset(), files.read_fingerprint(), files.steps)
    for reason in result.reasons[:2]:  # the machine, and which configuration is trained unless the user names one
        LOG.info(reason)
    write_plan(files, result)


def prepare_missing(files: DatasetFolder, stages: Sequence[Plan], settings: RunSettings) -> None:
    """Prepares the cases of the ``stages``, each a plan with its configuration, that are missing or damaged.

    What was prepared for other decisions stays as it is: another training may be reading it.
    """
    plan, dataset = files.read_plan(), files.read_dataset()
    for name in (stage.default for stage in stages):
        seen = look_at(CaseStore(files.prepared(prepared_as(plan, name))), dataset.keys, settings.threads)
        if any(found is not None for _, found in seen.values()):
            with alone(files.plan_lock, "train"):
                measured = files.read_fingerprint()
                preprocess(files, dataset, measured, plan, configurations=[name], settings=settings, only_missing=True)
