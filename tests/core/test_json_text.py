"""Whatever bytes come as JSON: a value, or one sentence that names the file."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.json_text import parse_json, read_json_value
from autoseg.errors import RecordError

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_ordinary_json_is_read_as_by_the_standard_library(value):
    text = json.dumps(value).encode()
    assert parse_json(text, "x.json") == json.loads(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_sentence(content):
    try:
        parse_json(content, "x.json")
    except RecordError as error:
        assert str(error).startswith("x.json: ") and len(str(error)) < 600


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[" * 100_000, "nested"),
        (b"[" * 200 + b"]" * 200, "nested"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested"),
        (b"1" * 400, "beyond 64 bits"),
        (b"-" + b"9" * 5000, "beyond 64 bits"),
        (b"1e400", "too large"),
        (b"NaN", "no number"),
        (b"-Infinity", "no number"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"", "JSON"),
        (b"{", "JSON"),
    ],
)
def test_what_no_program_should_take_is_refused(content, what):
    with pytest.raises(RecordError, match=what) as caught:
        parse_json(content, "x.json")
    assert len(str(caught.value)) < 600


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "plan.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json_value(tmp_path / "plan.json") == {"a": 1}


def test_a_folder_or_nothing_in_place_of_a_file_is_said(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        read_json_value(tmp_path)
    with pytest.raises(RecordError, match="no such file"):
        read_json_value(tmp_path / "x.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(RecordError, match="pipe"):
        read_json_value(tmp_path / "pipe.json")
