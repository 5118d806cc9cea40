"""Frozen dataclass to JSON and back, strictly: a missing, unknown or mistyped field is an error that names it.

A field whose metadata holds a ``family`` is a part: ``{"name": "plain_unet", ...}`` in JSON, the part's ``Spec`` in
memory. A union of dataclasses is told apart by their ``KIND``, written as ``"kind"``. A dataclass's ``of_before``
brings JSON of an earlier version to its fields.

A file that only autoseg writes is sealed: it ends with a checksum of all its values, and where that is another than
theirs, reading is an error.
"""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
import types
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import MistypedError, RecordError, UnknownPartError
from .family import Family
from .files import atomic_file
from .json_text import LARGEST_NUMBER, read_json_value
from .names import short

Record = TypeVar("Record")
LONGEST_PLACE = 300  # characters of the place that a message names
CHECKSUM = "checksum"
PLAIN = frozenset((str, int, float, bool))


def to_json(value: Any) -> Any:
    """A record (or a tuple, dict, number, string or None) as plain JSON values."""
    if value is None or type(value) in PLAIN:  # as most are: a fingerprint has thousands of numbers
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind: str | None = getattr(value, "KIND", None)
        return ({} if kind is None else {"kind": kind}) | {
            field.name: _field_to_json(field, getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def _field_to_json(field: dataclasses.Field[Any], value: Any) -> Any:
    family: Family | None = field.metadata.get("family")
    if family is None:
        return to_json(value)
    return _parts_to_json(family, value)


def _parts_to_json(family: Family, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_parts_to_json(family, part) for part in value]
    return {"name": family.name_of(value)} | to_json(value)


def sealed_json(record: Any) -> dict[str, Any]:
    """A record as plain JSON values, with their checksum."""
    value = to_json(record)
    return {**value, CHECKSUM: _checksum(value)}


def write_json(path: Path, record: Any, *, durable: bool = True, sealed: bool = False) -> None:
    """Writes a record, atomically, indented, UTF-8; for ``durable`` see ``atomic_file``.

    ``sealed``: with a checksum of its values. For what nobody is meant to edit.
    """
    value = sealed_json(record) if sealed else to_json(record)
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with atomic_file(path, durable=durable) as temporary:
        # A file name that is no Unicode holds lone surrogates: their escapes in Python are those of JSON.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path, kind: type[Record], trusted: tuple[str, ...] = ()) -> Record:
    """Reads a record, sealed or not. Raises RecordError naming the file and the field."""
    value = _unsealed(read_json_value(path), str(path))
    record: Record = from_json(kind, value, where=path.name, trusted=trusted)
    return record


def from_json(kind: Any, value: Any, where: str = "", trusted: tuple[str, ...] = ()) -> Any:
    """The record of type ``kind`` that ``value`` describes; ``where`` starts the message of a RecordError."""
    where = where or getattr(kind, "__name__", str(kind))
    return _Reader(trusted).read(kind, _unsealed(value, where), where)


def _unsealed(value: Any, where: str) -> Any:
    """``value`` without its checksum, if it has one. Raises RecordError where that is wrong."""
    if not isinstance(value, dict) or CHECKSUM not in value:
        return value
    rest = {key: item for key, item in value.items() if key != CHECKSUM}
    if value[CHECKSUM] != _checksum(rest):
        raise RecordError(
            f"{where} is not what was written: it is damaged, or was edited (then remove its line {CHECKSUM!r})"
        )
    return rest


def _checksum(value: dict[str, Any]) -> str:
    """The same for the same values, however they are written."""
    return f"{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"


@dataclass(frozen=True)
class _Reader:
    trusted: tuple[str, ...]

    def read(self, kind: Any, value: Any, where: str) -> Any:
        origin = get_origin(kind)
        if kind is Any:
            return value
        if origin in (Union, types.UnionType):
            return self._union(get_args(kind), value, where)
        if origin is tuple:
            return self._tuple(get_args(kind), value, where)
        if origin is dict:
            return {
                key: self.read(get_args(kind)[1], item, _step(where, key))
                for key, item in _object(value, where).items()
            }
        if dataclasses.is_dataclass(kind):
            return self.record(kind, value, where)
        return _scalar(kind, value, where)

    def record(self, kind: Any, value: Any, where: str) -> Any:
        value = {key: item for key, item in _object(value, where).items() if key != "kind" or not hasattr(kind, "KIND")}
        if hasattr(kind, "of_before"):
            value = kind.of_before(value)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        _refuse_other_version(fields, value, where)
        required = {
            name
            for name, field in fields.items()
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        wrong = sorted((set(value) - set(fields)) | (required - set(value)))
        if wrong:
            raise RecordError(f"{where}: missing or unknown {short(repr(wrong), 300)}; known are {sorted(fields)}")
        hints = _hints(kind)
        read = {
            name: self._parts(fields[name].metadata["family"], hints[name], item, f"{where}.{name}")
            if "family" in fields[name].metadata
            else self.read(hints[name], item, f"{where}.{name}")
            for name, item in value.items()
        }
        try:
            return kind(**read)
        except ValueError as error:
            raise RecordError(f"{where}: {error}") from None

    def _parts(self, family: Family, kind: Any, value: Any, where: str) -> Any:
        """One part, or several where the field is a tuple, which may hold tuples."""
        if get_origin(kind) is not tuple:
            return self._part(family, value, where)
        if not isinstance(value, list):
            raise _unexpected("a list", value, where)
        of_each = get_args(kind)[0]
        return tuple(self._parts(family, of_each, item, f"{where}[{index}]") for index, item in enumerate(value))

    def _part(self, family: Family, value: Any, where: str) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise _unexpected("an object with a name", value, where)
        try:
            spec = family.load(value["name"], self.trusted)
        except UnknownPartError as error:
            raise UnknownPartError(f"{where}: {error}") from None
        if not dataclasses.is_dataclass(spec):
            raise UnknownPartError(f"{where}: {family.attribute} of {short(value['name'])!r} must be a dataclass")
        return self.record(spec, {key: item for key, item in value.items() if key != "name"}, where)

    def _union(self, kinds: tuple[Any, ...], value: Any, where: str) -> Any:
        if value is None and type(None) in kinds:
            return None
        kinds = tuple(kind for kind in kinds if kind is not type(None))
        tagged = {kind.KIND: kind for kind in kinds if hasattr(kind, "KIND")}
        if tagged:
            name = value.get("kind") if isinstance(value, dict) else None
            if not isinstance(name, str) or name not in tagged:
                raise _unexpected(f"one of {sorted(tagged)}", name, f"{where}.kind")
            return self.record(tagged[name], value, where)
        for kind in kinds:
            try:
                return self.read(kind, value, where)
            except RecordError as error:
                problem = error
        raise problem

    def _tuple(self, kinds: tuple[Any, ...], value: Any, where: str) -> Any:
        if not isinstance(value, list | tuple):
            raise _unexpected("a list", value, where)
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        if len(kinds) != len(value):
            raise RecordError(f"{where}: expected {len(kinds)} entries, found {len(value)}")
        return tuple(self.read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value)))


@lru_cache(maxsize=256)
def _hints(kind: Any) -> dict[str, Any]:
    """Looked up once per kind of record: a fingerprint has as many records as cases."""
    return get_type_hints(kind)


def _refuse_other_version(fields: dict[str, dataclasses.Field[Any]], value: dict[str, Any], where: str) -> None:
    """Before the fields are compared: a record of another version may have others, and that is no mistake in it."""
    if "version" not in fields or not isinstance(value.get("version", 0), int):
        return
    known = fields["version"].default
    found = value.get("version", known)
    if found != known:
        raise RecordError(
            f"{where}: it has version {short(str(found), 30)}, this autoseg knows {known}; update autoseg, or make the "
            "file anew with this one"
        )


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unexpected("an object", value, where)
    return value


def _scalar(kind: Any, value: Any, where: str) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and not -LARGEST_NUMBER <= value < LARGEST_NUMBER:
        raise MistypedError(f"{where}: the number is beyond 64 bits")
    if kind is float and whole:
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _unexpected(kind.__name__, value, where)
    if kind is float and not math.isfinite(value):
        raise _unexpected("a finite number", value, where)
    return value


def _step(where: str, key: str) -> str:
    """A place within a table, whose names somebody chose."""
    return short(f"{where}.{key if key.isprintable() else repr(key)}", LONGEST_PLACE)


def _unexpected(kind: str, value: Any, where: str) -> MistypedError:
    found = reprlib.repr(value) if isinstance(value, list | dict) else repr(value)  # never of millions of values
    return MistypedError(f"{where}: expected {kind}, found {short(found)}")
