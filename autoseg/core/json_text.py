"""JSON from strangers: what is too deep, too large or ambiguous is refused with a sentence instead of a traceback."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..errors import RecordError
from .files import regular_file
from .names import short

LARGEST = 64 << 20  # bytes; a dataset.json with 100 000 cases has 40 MB
MOST_VALUES = 5_000_000  # a fingerprint.json with 100 000 cases has half of them; as objects, all take 0.4 GB
DEEPEST = 50  # a plan has 8
LARGEST_NUMBER = 2**63  # beyond it, neither a voxel nor a byte can be counted


def read_json_value(path: Path) -> Any:
    """The value in a file, with or without a byte order mark. Raises RecordError naming the file."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise RecordError(f"{path}: {size / 1e6:.0f} MB are too many for such a file; is it the right one?")
        with regular_file(path) as file:
            text = file.read()
    except FileNotFoundError:
        raise RecordError(f"{path}: there is no such file") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error})") from None
    return parse_json(text, str(path))


def parse_json(text: bytes, where: str) -> Any:
    """The value in ``text`` (UTF-8); ``where`` starts the message of a RecordError.

    Refused are: more than ``MOST_VALUES``, nesting deeper than ``DEEPEST``, numbers beyond 64 bits, NaN and infinity, a
    name that stands twice in one object, and text that is no Unicode.
    """
    if text.count(b",") > MOST_VALUES:
        raise RecordError(f"{where}: more than {MOST_VALUES} values are too many for such a file; is it the right one?")
    try:
        value = json.loads(
            text.decode("utf-8-sig"),
            parse_int=_whole,
            parse_float=_real,
            parse_constant=_no_number,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise RecordError(f"{where}: not readable as JSON, it is not in UTF-8; save it again as UTF-8") from None
    except RecursionError:
        raise RecordError(f"{where}: not readable as JSON, it is nested too deep") from None
    except ValueError as error:
        raise RecordError(f"{where}: not readable as JSON ({short(str(error), 200)})") from None
    _refuse_deep(value, where)
    return value


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -LARGEST_NUMBER <= int(digits) < LARGEST_NUMBER:
        raise ValueError(f"the number {short(digits, 30)} is beyond 64 bits")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {short(digits, 30)} is too large")
    return number


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{short(twice)!r} stands there twice")
    return found


def _refuse_deep(value: Any, where: str) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecordError(f"{where}: nested deeper than {DEEPEST} levels; is it the right file?")
