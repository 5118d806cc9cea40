"""The JSON that nnU-Net writes: objects whose entries have one type each, read from anybody's files."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.json_text import read_json_value
from ..core.names import short
from ..errors import RecordError

LARGEST = 4 << 20  # bytes; a plans file has some hundred kB, a dataset.json with 20 000 cases 3 MB

LARGEST_EDGE = 10**6  # voxels
FILE_ENDING = re.compile(r"(?:\.[A-Za-z0-9]{1,10}){1,3}")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file. Raises RecordError naming the file."""
    refuse_large(path, LARGEST)
    value = read_json_value(path)
    if not isinstance(value, dict):
        raise RecordError(f"{path}: expected an object, found a {type(value).__name__}")
    return value


def refuse_large(path: Path, most: int) -> None:
    """Raises RecordError for what is no file, or has more bytes: read as JSON, they can take 30 times as many.

    One that is missing is left to the reader.
    """
    try:
        found = path.stat()
    except OSError:
        return
    size = found.st_size
    if not stat.S_ISREG(found.st_mode):
        raise RecordError(f"{path}: is not a file")
    if size > most:
        raise RecordError(f"{path}: {size / 1e6:.0f} MB are too many for such a file; is it the right one?")


def file_ending(description: Mapping[str, Any], where: Path) -> str:
    """What a dataset.json says of its files, ``.nii.gz`` where it says nothing. Raises RecordError."""
    ending = description.get("file_ending", ".nii.gz")
    if not isinstance(ending, str) or not FILE_ENDING.fullmatch(ending):
        raise RecordError(f"{where}: file_ending must be an ending such as .nii.gz, found {said(ending)}")
    return ending


def typed(mapping: Mapping[str, Any], key: str, where: str, kind: type) -> Any:
    """``mapping[key]``; raises RecordError when it is not there or not of this kind."""
    value = mapping.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise RecordError(f"{where}: {key} must be a {kind.__name__}, found {said(value)}")
    return value


def objects(mapping: Mapping[str, Any], key: str, where: str) -> dict[str, dict[str, Any]]:
    """``mapping[key]``, an object of objects. Raises RecordError."""
    found: dict[str, dict[str, Any]] = typed(mapping, key, where, dict)
    wrong = next((name for name, item in found.items() if not isinstance(item, dict)), None)
    if wrong is not None:
        raise RecordError(f"{where}: {key}.{said(wrong)} must be an object, found {said(found[wrong])}")
    return found


def number(value: Any, what: str, least: float, most: float) -> float:
    """``value``, a number in these bounds; ``what`` it is starts the message of a RecordError."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise RecordError(f"{what} must be a number from {least:g} to {most:g}, found {said(value)}")
    return value


def whole(value: Any, what: str, least: int, most: int) -> int:
    """``value``, a whole number in these bounds; ``what`` it is starts the message of a RecordError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RecordError(f"{what} must be a whole number from {least} to {most}, found {said(value)}")
    return value


def numbers(
    mapping: Mapping[str, Any], key: str, where: str, counts: tuple[int, ...], least: float, most: float
) -> tuple[float, ...]:
    """``mapping[key]``, a list of one of these ``counts`` of numbers in these bounds. Raises RecordError."""
    listed = typed(mapping, key, where, list)
    if len(listed) not in counts:
        raise RecordError(f"{where}: {key} must have {' or '.join(map(str, counts))} entries, found {len(listed)}")
    return tuple(number(item, f"{where}: {key}", least, most) for item in listed)


def said(value: Any) -> str:
    """For messages: as Python has it, in short."""
    return repr(short(value)) if isinstance(value, str) else short(value)
