"""Decisions that the user takes instead of the planner: ``patch_size=40,56,40`` replaces one value of a plan.

A change is made in the plan's JSON form, and the whole plan is read again as strictly as from a file.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .configuration import NETWORKS, Configuration
from .core.family import Family
from .core.json_text import parse_json
from .core.names import short
from .core.records import from_json, to_json
from .errors import RecordError, UsageError
from .plan import Plan

SETTABLE = ("mirror_axes", "file_ending", "default")
"""Fields of the plan itself that may be changed; the others say what the data are, or follow from one another."""
TOLD = ("reasons", "cost")
"""Fields of a configuration that are no decisions."""
PARTS: dict[str, Family] = {
    field.name: field.metadata["family"] for field in dataclasses.fields(Configuration) if "family" in field.metadata
}


def changed(plan: Plan, changes: Sequence[str], trusted: tuple[str, ...] = ()) -> Plan:
    """``plan`` with every change made, in order, then checked as a whole.

    A change is ``FIELD=VALUE``. FIELD is dotted: a field of the plan, or of a configuration (``optimizer.momentum``),
    which may be named in front (``2d.batch_size``); otherwise all configurations of ``plan`` change, but a patch of
    three numbers only those in 3-D. VALUE is JSON, a list with commas, or a word. Raises UsageError for a field that
    does not exist, RecordError for a value that does not fit.
    """
    if not changes:
        return plan
    record = to_json(plan)
    for change in changes:
        field, equals, text = change.partition("=")
        path = _path(field.strip(), plan.configurations)
        if not equals or not all(path):
            raise UsageError(f"{short(change)!r} is no change; write FIELD=VALUE, for example batch_size=4")
        _refuse_other_network(plan, path, value_of(text), trusted)
        if path[0] in SETTABLE:
            record = _Change(value_of(text)).within(record, path)
        else:
            record["configurations"] = _configurations(record["configurations"], path, text.strip(), trusted)
    checked: Plan = from_json(Plan, record, where="plan", trusted=trusted)
    return checked


def _refuse_other_network(plan: Plan, path: Sequence[str], value: Any, trusted: tuple[str, ...]) -> None:
    """Raises UsageError for a change of the network that would leave all that was planned for the one before."""
    name = path[0]
    planned: Collection[Configuration] = plan.configurations.values()
    if name in plan.configurations and len(path) > 1:
        planned, path = [plan.configurations[name]], path[1:]
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    if list(path) not in (["network"], ["network", "name"]) or not isinstance(value, str):
        return
    there = {NETWORKS.name_of(configuration.network) for configuration in planned}
    if {value} != ({plan.network.partition(":")[0]} if plan.draft and plan.network else there):
        NETWORKS.load(value, trusted)  # where there is none, this is what has to be said
        raise UsageError(
            f"network={short(value)} would leave patch, batch and length as they were planned for another network; "
            f"run `autoseg plan {plan.dataset} --network {short(value)}`, which plans them for this one"
        )


def _path(field: str, configurations: Iterable[str]) -> list[str]:
    """The steps of a dotted field; the name of a configuration in front, which may hold a dot, is one of them."""
    for name in configurations:
        if field.startswith(f"{name}."):
            return [name, *field.removeprefix(f"{name}.").split(".")]
    return field.split(".")


def _configurations(
    configurations: dict[str, dict[str, Any]], path: list[str], text: str, trusted: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """The configuration named first in ``path``, or all of them, changed; each notes the change among its reasons."""
    named = path[0] in configurations and len(path) > 1
    names, path = ([path[0]], path[1:]) if named else (list(configurations), path)
    fields = next(iter(configurations.values()))
    known = [name for name in fields if name not in TOLD]
    if path[0] not in known:
        raise _unknown(path[0], [*known, *SETTABLE, *(f"{name}.FIELD" for name in configurations)])
    change = _Change(value_of(text), PARTS.get(path[0]), trusted)
    if not named and path == ["patch_size"] and isinstance(change.value, list):
        alike = [name for name in names if len(configurations[name]["patch_size"]) == len(change.value)]
        names = alike or names
    found = dict(configurations)
    for name in names:
        reasons = [*configurations[name]["reasons"], f"by hand: {'.'.join(path)} = {text}"]
        found[name] = change.within(configurations[name], path, name) | {"reasons": reasons, "cost": None}
    return found


@dataclass(frozen=True)
class _Change:
    """A new value on its way to its place."""

    value: Any
    family: Family | None = None
    """Of the part in which the place lies."""
    trusted: tuple[str, ...] = ()

    def within(self, old: Any, path: Sequence[str], where: str = "") -> Any:
        """A copy of ``old`` in which the value at ``path`` is replaced. Every step must be there already."""
        if not path:
            return self._instead_of(old, self.value)
        step, rest, here = path[0], path[1:], f"{where}.{path[0]}" if where else path[0]
        if isinstance(old, list):
            places = [str(index) for index in range(len(old))]
            if step not in places:
                raise _unknown(step, places, where)
            return [self.within(item, rest, here) if place == step else item for place, item in zip(places, old)]
        if not isinstance(old, dict):
            what = "null" if old is None else "a single value"
            raise UsageError(f"{where} is {what}, it has no field {short(step)!r}")
        if step not in old:
            raise _unknown(step, old, where)
        if self.family is not None and list(path) == ["name"]:
            return self._instead_of(old, self.value)
        return old | {step: self.within(old[step], rest, here)}

    def _instead_of(self, old: Any, new: Any) -> Any:
        if isinstance(old, list):
            items = new if isinstance(new, list) else [] if new == "" else [new]
            like = [*old, *[old[-1] if old else None] * len(items)]
            return [self._instead_of(before, item) for before, item in zip(like, items)]
        if self.family is not None and isinstance(old, dict) and isinstance(new, str):
            return self._other_part(old, self.family, new)
        return new

    def _other_part(self, old: dict[str, Any], family: Family, name: str) -> dict[str, Any]:
        """The part called ``name``, with those values of ``old`` that somebody chose, where it has such a field.

        What was only a default stays behind: the rate that suits one optimizer does not suit another.
        """
        defaults = _defaults(family.load(name, self.trusted))
        before = _defaults(family.load(old["name"], self.trusted))
        chosen = {key: value for key, value in old.items() if key in defaults and value != before.get(key)}
        return {"name": name} | defaults | chosen


def _defaults(spec: Any) -> dict[str, Any]:
    """Field to its default as JSON; None where it has none."""
    return {field.name: to_json(_default(field)) for field in dataclasses.fields(spec)}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _unknown(field: str, known: Iterable[str], where: str = "") -> UsageError:
    """What there is instead, and what was probably meant."""
    known = [name for name in known if name != "name"]
    field = short(field)
    near = difflib.get_close_matches(field, known, n=1)
    if not known:
        return UsageError(f"{where} is empty, it has no field {field!r} to set")
    meant = f"; did you mean {near[0]}?" if near else "."
    return UsageError(
        f"{where or 'a plan'} has no field {field!r} to set{meant} Known are {short(', '.join(known), 1000)}"
    )


def value_of(text: str) -> Any:
    """JSON where it is JSON that a file may hold, else a list where there are commas, else the text."""
    text = text.strip()
    try:
        return parse_json(text.encode("utf-8", "surrogatepass"), "a change")
    except RecordError:
        return [value_of(item) for item in text.split(",") if item.strip()] if "," in text else text
