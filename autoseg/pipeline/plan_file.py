"""plan.json as it lies in the workspace: what replaces it, and what of it is kept."""

from __future__ import annotations

import json
import logging
from typing import Any

from ..core.json_text import read_json_value
from ..core.records import from_json, to_json, write_json
from ..errors import AutosegError, RecordError
from ..plan import Plan
from ..planning.constraints import PlanConstraints
from ..planning.explain import summary
from ..workspace import DatasetFolder
from .make_plan import PlanRequest, draft

LOG = logging.getLogger("autoseg")


def write_plan(files: DatasetFolder, result: Plan) -> None:
    """Writes and tells it. A plan of before that differs is kept as plan.old.json: it may hold a user's edits."""
    if _is_worth_keeping(files, result):
        LOG.warning("the plan has changed; the old one is kept as %s", files.old_plan)
        files.old_plan.write_bytes(files.plan.read_bytes())
    write_json(files.plan, result)
    if result.draft:
        LOG.info("how cases are prepared is decided: %s (--explain says why)", files.plan)
        return
    for title, configuration in result.configurations.items():
        LOG.info("%s: %s", title, summary(configuration))
    LOG.info("default configuration %s; written to %s; --explain says why", result.default, files.plan)


def _is_worth_keeping(files: DatasetFolder, result: Plan) -> bool:
    before = _plan_of_before(files)
    if before is None or before == _as_json(result):
        return False
    try:
        return not is_untouched_draft(files)
    except AutosegError:  # what made it is not trusted, or not there, any more
        return True


def is_measured(files: DatasetFolder, planner: str) -> bool:
    """Whether there is a whole plan by ``planner``, which a draft must not replace."""
    before = _plan_of_before(files) or {}
    return before.get("planner") == planner and not before.get("draft")


def is_untouched_draft(files: DatasetFolder) -> bool:
    """Whether plan.json is the draft that follows from the dataset, in which nobody has decided anything."""
    before = _plan_of_before(files)
    if not before or not before.get("draft") or not isinstance(before.get("planner"), str):
        return False
    try:  # one of before may lack fields that have a default
        whole = from_json(Plan, before, trusted=files.trusted)
    except RecordError:
        return False
    constraints = PlanConstraints(network=whole.network, fusion=whole.fusion, beside=whole.beside)
    request = PlanRequest(planner=whole.planner, constraints=constraints, trusted=files.trusted)
    made = draft(request, files.read_dataset(), files.read_fingerprint())
    return bool(_decisions(_as_json(whole)) == _decisions(_as_json(made)))


def _plan_of_before(files: DatasetFolder) -> dict[str, Any] | None:
    """As JSON, empty where it is no object in JSON; None where there is none."""
    if not files.plan.is_file():
        return None
    try:
        value = read_json_value(files.plan)
    except RecordError:
        return {}
    return value if isinstance(value, dict) else {}


def _decisions(record: Any) -> Any:
    """A plan's JSON without its reasons, which another version tells in other words, and what it leaves open."""
    if not isinstance(record, dict):
        return record
    return {name: _decisions(value) for name, value in record.items() if name != "reasons" and value is not None}


def _as_json(result: Plan | None) -> Any:
    return json.loads(json.dumps(to_json(result)))
