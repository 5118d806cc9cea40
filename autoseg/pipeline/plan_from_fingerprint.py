"""A plan from nnU-Net's own measurements: no image is read, nothing is written to the workspace."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ..changes import changed
from ..core.family import Family
from ..fingerprint import Fingerprint
from ..interop.nnunet_plans import read_fingerprint
from ..plan import Plan
from ..planning.explain import summary
from ..planning.wishes import NO_WISHES, Wishes

LOG = logging.getLogger("autoseg")
PLANNERS = Family("autoseg.planners", "PLANNER")


def plan_from_fingerprint(
    path: Path,
    dataset_json: Path,
    *,
    planner: str,
    wishes: Wishes = NO_WISHES,
    changes: Sequence[str] = (),
    trusted: tuple[str, ...] = (),
) -> tuple[Plan, Fingerprint]:
    """The plan for nnU-Net's ``dataset_fingerprint.json``, and what that file says.

    Raises RecordError or DatasetError for files that do not say enough, PlanningError where no plan exists.
    """
    dataset, measured = read_fingerprint(path, dataset_json)
    planned = changed(PLANNERS.load(planner, trusted).plan(dataset, measured, wishes), changes, trusted)
    for title, configuration in planned.configurations.items():
        LOG.info("%s: %s", title, summary(configuration))
    return planned, measured
