"""Records survive the way to JSON and back; anything else is an error that names the field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.family import Family
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.records import from_json, read_json, to_json, write_json
from autoseg.errors import RecordError, UnknownPartError

SCHEDULES = Family("autoseg.parts.schedules", "Spec")


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int]
    ratio: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    table: dict[str, tuple[float, ...]]
    flag: bool = False

    def __post_init__(self) -> None:
        if self.name == "forbidden":
            raise ValueError("name must not be forbidden")


@dataclass(frozen=True)
class WithPart:
    schedule: Any = field(metadata={"family": SCHEDULES})


@dataclass(frozen=True)
class WithLabels:
    labels: Labels


whole = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
outers = st.builds(
    Outer,
    name=st.text().filter(lambda text: text != "forbidden"),
    inner=st.builds(Inner, size=st.tuples(whole, whole), ratio=st.none() | numbers),
    table=st.dictionaries(st.text(), st.lists(numbers).map(tuple)),
    flag=st.booleans(),
)


@given(outers)
def test_a_record_survives_json(record: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(record)))) == record


def test_a_part_is_written_with_its_name_and_found_by_it() -> None:
    record = WithPart(SCHEDULES.load("polynomial")(power=0.5))
    written = to_json(record)
    assert written["schedule"]["name"] == "polynomial"
    assert from_json(WithPart, written) == record


@pytest.mark.parametrize(
    "labels",
    [
        ExclusiveLabels({"background": 0, "organ": 205}, ignore=255),
        RegionLabels({"whole": (1, 2), "core": (2,)}, class_order=(1, 2)),
    ],
)
def test_kinds_of_labels_are_told_apart(labels: Labels) -> None:
    assert from_json(WithLabels, json.loads(json.dumps(to_json(WithLabels(labels))))) == WithLabels(labels)


GOOD = {"name": "a", "inner": {"size": [1, 2]}, "table": {}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"nam": "x"}, "nam"),
        ({"inner": {"size": [1]}}, "inner.size"),
        ({"inner": {"size": [1, "2"]}}, r"inner.size\[1\]"),
        ({"inner": {"size": [1, True]}}, r"inner.size\[1\]"),
        ({"inner": 3}, "inner"),
        ({"table": {"row": 1}}, "table.row"),
        ({"name": "forbidden"}, "must not be forbidden"),
        ({"flag": "yes"}, "flag"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(RecordError, match=named):
        from_json(Outer, GOOD | change)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RecordError, match="inner"):
        from_json(Outer, {"name": "a", "table": {}})


def test_an_unknown_part_lists_the_choices() -> None:
    with pytest.raises(UnknownPartError, match="polynomial"):
        from_json(WithPart, {"schedule": {"name": "no_such_schedule"}})


def test_a_foreign_module_is_refused_unless_trusted() -> None:
    with pytest.raises(UnknownPartError, match="--trust os"):
        from_json(WithPart, {"schedule": {"name": "os.path"}})


def test_a_written_file_reads_back(tmp_path) -> None:
    record = Outer("a", Inner((1, 2), 0.5), {"row": (1.0, 2.0)})
    write_json(tmp_path / "record.json", record)
    assert read_json(tmp_path / "record.json", Outer) == record
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_file_that_is_no_json_is_named(tmp_path) -> None:
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(RecordError, match=r"plan\.json"):
        read_json(tmp_path / "plan.json", Outer)


@given(outers, st.data())
def test_a_sealed_record_comes_back_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, record: Outer, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    try:
        write_json(path, record, sealed=True)
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    try:
        assert read_json(path, Outer) == record
    except RecordError as error:  # a number beyond 64 bits
        assert "readable" in str(error)
        return
    content = path.read_bytes()
    place, change = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
    try:
        assert read_json(path, Outer) == record  # a blank for another
    except RecordError as error:
        assert str(path) in str(error) or path.name in str(error)


def test_what_was_edited_is_refused_until_its_checksum_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "sealed.json"
    write_json(path, Outer("a", Inner((1, 2)), {}), sealed=True)
    value = json.loads(path.read_text())
    value["name"] = "b"
    path.write_text(json.dumps(value))
    with pytest.raises(RecordError, match=r"sealed\.json is not what was written.*remove its line 'checksum'"):
        read_json(path, Outer)
    with pytest.raises(RecordError, match="not what was written"):
        from_json(Outer, value)
    del value["checksum"]
    path.write_text(json.dumps(value, indent=8, sort_keys=True))
    assert read_json(path, Outer).name == "b"
