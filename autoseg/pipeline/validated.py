"""What validation has left of a fold: whether it is all there, and still what was written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from ..core.parallel import ordered_map
from ..core.records import read_json
from ..data.label_maps import files_in
from ..errors import RecordError
from ..evaluation.scores import Summary
from ..inference.stored_probabilities import stored_problem
from ..plan import Plan
from ..run_folder import RunFolder

LOG = logging.getLogger("autoseg")


def problems(run: RunFolder, keys: Sequence[str], plan: Plan, workers: int) -> dict[str, str]:
    """Validation cases that must be predicted again, and why (nothing where they never were). Reads all files."""
    look = partial(_problem, run=run, plan=plan)
    return {key: found for key, found in zip(keys, ordered_map(look, keys, workers)) if found is not None}


def _problem(key: str, *, run: RunFolder, plan: Plan) -> str | None:
    return stored_problem(run.kept(key), files_in(run.validation, key, plan.file_ending, plan.labels))


def is_scored(run: RunFolder, keys: Sequence[str]) -> bool:
    """Whether there are scores of exactly these cases."""
    if not run.scores.exists():
        return False
    try:
        found = set(read_json(run.scores, Summary).cases)
    except RecordError as error:
        LOG.warning("%s; the cases are scored anew", error)
        return False
    if found != set(keys):
        LOG.warning("%s is of other cases than those of %s; the cases are scored anew", run.scores, run.root.name)
    return found == set(keys)


def is_validated(run: RunFolder, keys: Sequence[str], plan: Plan, workers: int) -> bool:
    """Whether nothing is left to be done."""
    return is_scored(run, keys) and not problems(run, keys, plan, workers)
