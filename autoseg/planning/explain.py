"""Plans for reading: what was decided and why, and two planners' decisions side by side."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from ..configuration import Configuration
from ..core.amounts import bytes_text
from ..core.records import to_json
from ..plan import Plan

WIDTH = 100
DIFFERENT = "*"
ABSENT = "-"
_IN_DETAIL = re.compile(r"/(loss|augmentation|resampler|normalizers\.\d+)\.")


def explanation(plan: Plan) -> str:
    """Every decision with its reasons: first what holds for all configurations, then each of them."""
    parts = [_section(f"{plan.dataset}, planned by {plan.planner}", plan.reasons)]
    for name, configuration in plan.configurations.items():
        default = " (taken unless you name another with -c)" if name == plan.default else ""
        parts.append(_section(f"{name}{default}", configuration.reasons))
    return "\n\n".join(parts)


def summary(configuration: Configuration) -> str:
    """One line."""
    training, patch = configuration.training, " x ".join(map(str, configuration.patch_size))
    length = f"{training.epochs} epochs of {training.iterations_per_epoch} iterations"
    return f"patch {patch}, batch {configuration.batch_size}, {length}"


def _section(title: str, reasons: Sequence[str]) -> str:
    told = [reason.partition(": ") for reason in reasons]
    width = max((len(subject) for subject, _, _ in told), default=0)
    lines = [title]
    for subject, _, sentence in told:
        start = f"  {subject:<{width}}  "
        lines += textwrap.wrap(sentence, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
    return "\n".join(lines)


def comparison(plans: Sequence[Plan]) -> str:
    """Decisions of several plans for the same data in one table: a row that differs is marked in front.

    Of losses, augmentations, normalizers and resamplers only those fields are shown in which the plans differ.
    """
    tables = [_decisions(plan) for plan in plans]
    rows = {name: [table.get(name, ABSENT) for table in tables] for name in _merged(tables)}
    rows = {name: cells for name, cells in rows.items() if not _IN_DETAIL.search(name) or _worth_showing(cells)}
    first = max(len(name.rpartition("/")[2]) for name in rows)
    widths = [max(len(plan.planner), *(len(cells[i]) for cells in rows.values())) for i, plan in enumerate(plans)]
    lines, section = [_row("", "", [plan.planner for plan in plans], first, widths)], ""
    for name, cells in rows.items():
        here, _, field = name.rpartition("/")
        if here != section:
            section = here
            lines += ["", here]
        lines.append(_row(DIFFERENT if len(set(cells)) > 1 else "", field, cells, first, widths))
    return "\n".join(lines)


def _merged(tables: Sequence[dict[str, str]]) -> list[str]:
    """The names of all, each after the one that it follows in its own table."""
    names: list[str] = []
    for table in tables:
        place = 0
        for name in table:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return names


def _worth_showing(cells: Sequence[str]) -> bool:
    return len(set(cells)) > 1 and ABSENT not in cells


def _row(mark: str, name: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    aligned = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths))
    return f"{mark:<1} {name:<{first}}  {aligned}".rstrip()


def _decisions(plan: Plan) -> dict[str, str]:
    """``3d_fullres/network.features`` and the like, with values as ``--set`` takes them."""
    record = to_json(plan)
    found = {name: _text(record[name]) for name in ("axis_order", "mirror_axes", "default")}
    for name, configuration in record["configurations"].items():
        for field, value in configuration.items():
            if field not in ("reasons", "cost") and not (field == "filters" and not value):
                found |= {f"{name}/{path}": _text(leaf) for path, leaf in _leaves(field, value)}
        cost = plan.configurations[name].cost
        if cost is not None:
            found |= {f"{name}/memory": bytes_text(cost.memory), f"{name}/seconds_per_step": _text(cost.seconds)}
    return found


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(item, dict) or (path == "filters" and item) for item in value):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        yield path, value
        return
    for key, item in value.items():
        yield from _leaves(path if key == "name" else f"{path}.{key}", item)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return (" " if value and isinstance(value[0], list) else ",").join(map(_text, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
