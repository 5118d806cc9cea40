"""A network as the user names it: ``plain_unet``, or with fields of its own, ``modular_unet:block=dense``."""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import TYPE_CHECKING, get_type_hints

from ..core.names import short
from ..core.records import from_json
from ..errors import RecordError, UsageError

if TYPE_CHECKING:
    from ..parts.contracts import Network

Values = tuple[tuple[str, object], ...]
DECIDED = frozenset(("dimensions", "features", "kernels", "strides", "grid", "patch_size"))
"""Fields that follow from the patch, also where a network has a default for them."""
_FIELD = re.compile(r",(?=[^,=]*=)")  # the comma before a field; those of a list have no equals sign behind them
HOW = "write NAME:FIELD=VALUE,FIELD=VALUE, for example modular_unet:block=dense,norm=group"


def part_of(text: str) -> str:
    """The name of the part."""
    return text.partition(":")[0].strip()


def fields_of(text: str) -> dict[str, str]:
    """Its fields as they are written. Raises UsageError."""
    _, colon, rest = text.partition(":")
    found: dict[str, str] = {}
    for written in _FIELD.split(rest) if colon else ():
        field, equals, value = (each.strip() for each in written.partition("="))
        if not (field and equals and value) or "" in value.split(","):
            raise UsageError(f"--network {short(text)!r}: {short(written.strip())!r} is no field with a value; {HOW}")
        if field in found:
            raise UsageError(f"--network {short(text)!r}: {short(field)} is given twice")
        found[field] = value
    return found


def values_of(text: str, kind: type[Network]) -> Values:
    """The fields with their values. What the patch decides of a network, its ladder, cannot be given.

    Raises UsageError for a field that the network has not, and for a value that is none.
    """
    from ..changes import value_of  # it knows all of a plan, and commands read flags before they need one

    hints, found = get_type_hints(kind), []
    known = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING and field.name not in DECIDED
    ]
    for field, written in fields_of(text).items():
        if field not in known:
            raise UsageError(
                f"--network {part_of(text)} has no field {short(field)!r} to choose{_instead(field, known)}"
            )
        try:
            found.append((field, from_json(hints[field], value_of(written), f"--network {part_of(text)}: {field}")))
        except RecordError as error:
            raise UsageError(str(error)) from None
    return tuple(found)


def _instead(field: str, known: list[str]) -> str:
    near = difflib.get_close_matches(field, known, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    return f"{meant} Known are {', '.join(known)}" if known else ": the patch decides all of them"
