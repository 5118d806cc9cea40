"""What prepared cases depend on: where it is the same configurations share them, where it changes they are stale."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..alignment.record import VERSION
from ..configuration import Configuration
from ..core.records import to_json
from ..data.fingerprint import CaseFingerprint, Fingerprint
from ..plan import Plan
from ..task import Task

PREPARED_VERSION = 2  # raise it when preparing the same files with the same plan gives something else


def prepared_as(plan: Plan, name: str) -> str:
    """The configuration under whose name the cases of ``name`` are prepared: the first with the same grid and values.

    A cascade's are those of 3d_fullres. ``plan`` is the whole plan of the dataset.
    """
    wanted = _preparation(plan.configurations[name])
    return next(title for title, other in plan.configurations.items() if _preparation(other) == wanted)


def _preparation(configuration: Configuration) -> tuple[Any, ...]:
    filters = configuration.filters if any(configuration.filters) else ()
    return configuration.spacing, filters, configuration.normalizers, configuration.resampler


def preparation_keys(measured: Fingerprint, task: Task) -> dict[str, str]:
    """Per case, what changes when anything changes that its prepared arrays depend on: its files or these decisions."""
    configuration = to_json(task.configuration)
    decisions = {name: configuration[name] for name in ("spacing", "normalizers", "resampler")}
    if any(configuration["filters"]):  # cases that were prepared before there were filters keep their key
        decisions["filters"] = configuration["filters"]
    axes = task.axis_order if task.orientation is None else (task.orientation, *task.axis_order)
    aligned = [] if task.alignment is None else [VERSION, to_json(task.alignment)]
    shared = json.dumps([PREPARED_VERSION, axes, to_json(task.labels), decisions, *aligned])

    def key_of(case: CaseFingerprint) -> str:
        registered = json.dumps(to_json(case.registrations)) if case.registrations else ""
        return hashlib.sha256((case.content + registered + shared).encode()).hexdigest()

    return {key: key_of(case) for key, case in measured.cases.items()}
