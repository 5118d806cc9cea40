"""A plan from nnU-Net's own measurements: no image is read, nothing is written to the workspace."""

from __future__ import annotations

import logging
from pathlib import Path

from ..data.fingerprint import Fingerprint
from ..interop.nnunet_plans import read_fingerprint
from ..plan import Plan
from ..planning.explain import summary
from .make_plan import PlanRequest, make_plan

LOG = logging.getLogger("autoseg")


def plan_from_fingerprint(path: Path, dataset_json: Path, request: PlanRequest) -> tuple[Plan, Fingerprint]:
    """The plan for nnU-Net's ``dataset_fingerprint.json``, and what that file says.

    Raises RecordError or DatasetError for files that do not say enough, PlanningError where no plan exists.
    """
    dataset, measured = read_fingerprint(path, dataset_json)
    planned = make_plan(request, dataset, measured)
    for title, configuration in planned.configurations.items():
        LOG.info("%s: %s", title, summary(configuration))
    return planned, measured
