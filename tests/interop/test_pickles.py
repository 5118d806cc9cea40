"""A pickle is read as data: plain values come back, and whatever would run something is refused and does not run."""

from __future__ import annotations

import builtins
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import ModelError
from autoseg.interop.pickles import Named, read_pickle

KNOWN = {"collections.OrderedDict": lambda *items: dict(*items), "posixpath.join": None}
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
keys = st.integers() | st.text()
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner) | st.sets(keys),
    max_leaves=20,
)


def read(content: bytes) -> Any:
    return read_pickle(io.BytesIO(content), "file.pkl", KNOWN)


@pytest.mark.slow
@given(value=plain, protocol=st.sampled_from([4, 5]))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_is_read(protocol: int) -> None:
    shared = [1, -70000, 2**80, 0.5, "text\n\u00e9"]
    value = {"a": shared, "b": (shared, None, True), "c": [], "d": {}, "e": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))}
    back = read(pickle.dumps(value, protocol))
    assert back == value
    assert back["a"] is back["b"][0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_known_is_made_by_the_stand_in(protocol: int) -> None:
    back = read(pickle.dumps(OrderedDict(a=1, b=2), protocol))
    assert type(back) is dict
    assert back == {"a": 1, "b": 2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_function_is_a_name_and_nothing_else(protocol: int) -> None:
    assert read(pickle.dumps([os.path.join], protocol)) == [Named("posixpath.join")]


class Hostile:
    """Unpickled in the usual way, it makes a file."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_is_refused_by_name_and_nothing_runs(protocol: int, tmp_path: Path) -> None:
    sign = tmp_path / "it_ran"
    content = pickle.dumps({"deep": [1, (Hostile(os.system, f"touch {sign}"),)]}, protocol)
    with pytest.raises(ModelError, match=r"file\.pkl is not loaded: it asks for (posix|nt)\.system"):
        read(content)
    assert not sign.exists()
    pickle.loads(content)  # so that the test is about something
    assert sign.exists()


def test_what_may_be_named_may_not_be_called() -> None:
    with pytest.raises(ModelError, match=r"a call of posixpath\.join"):
        read(pickle.dumps(Hostile(os.path.join, "a", "b")))


ATTACKS = {
    "global": b"cposix\nsystem\n(S'touch x'\ntR.",
    "global in two words": b"cos system\nx\n.",
    "stack_global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x01x\x85R.",
    "inst": b"(S'touch x'\niposix\nsystem\n.",
    "obj": b"(cposix\nsystem\nS'touch x'\no.",
    "newobj": b"\x80\x02cposix\nsystem\n)\x81.",
    "newobj_ex": b"\x80\x04]}}\x92.",
    "eval": b"c__builtin__\neval\n(S'1'\ntR.",
    "getattr": b"cbuiltins\ngetattr\n(cposix\nsystem\nS'x'\ntR.",
    "dotted": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.",
    "extension": b"\x80\x02\x82\x01.",
    "buffer": b"\x80\x05\x97.",
    "kept elsewhere": b"S'x'\nQ.",
    "kept elsewhere, in text": b"Px\n.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_instruction_that_reaches_outside_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was imported")

    monkeypatch.setattr(builtins, "__import__", forbidden)
    with pytest.raises(ModelError, match="asks for"):
        read(ATTACKS[name])


NONSENSE = {
    "a list is called": b"](tR.",
    "a name is called with a list": b"ccollections\nOrderedDict\n]R.",
    "the stack is empty": b"R.",
    "no mark": b"t.",
    "no memo": b"h\x07.",
    "items for a number": b"I1\nI2\na.",
    "a key without a value": b"}(I1\nu.",
    "a list as a key": b"}(]I1\nu.",
    "two values": b"I1\nI2\n.",
    "no value": b".",
    "attributes of nothing": b"}b.",
    "a name of numbers": b"\x80\x04K\x01K\x02\x93.",
    "too many arguments": b"ccollections\nOrderedDict\n(I1\nI2\nI3\ntR.",
    "nothing at all": b"",
    "not a pickle": b"PK\x03\x04 and so on",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_damage(name: str) -> None:
    with pytest.raises(ModelError, match=r"file\.pkl is (damaged|not loaded)"):
        read(NONSENSE[name])


SOUND = pickle.dumps({"a": [1.5, "x", (None, True)], "b": OrderedDict(c=b"bytes"), "d": {1, 2}}, 2)


@given(position=st.integers(0, len(SOUND) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_pickle_is_a_value_or_a_message(position: int, byte: int, cut: bool) -> None:
    content = SOUND[:position] + (b"" if cut else bytes([byte]) + SOUND[position + 1 :])
    try:
        read(content)
    except ModelError as error:
        assert str(error).startswith("file.pkl is ")
