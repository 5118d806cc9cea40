"""`quality.csv`: what was written is read, what a kill has cut off is left out, and what is another's is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.errors import RecordError
from autoseg.evaluation.quality_table import Quality, add_case, read_quality, write_quality

TABLE = {
    'b, "c"': {"organ": Quality(0.5, 0.25, 1.0), "a,b": Quality(None)},
    "a\u00e9": {"organ": Quality(0.123457, None, None), "a,b": Quality(1.0)},
}
HEAD = "case,label,agreement,fold_dice,predicted_dice\r\n"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    write_quality(path, TABLE)
    assert read_quality(path) == TABLE
    assert path.read_bytes().decode().startswith(HEAD + "a\u00e9,organ,0.123457,,\r\n")  # by case


def test_the_last_rows_of_a_case_count_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    write_quality(path, {})
    add_case(path, "one", {"organ": Quality(0.5)})
    add_case(path, "two", {"organ": Quality(0.75)})
    add_case(path, "one", {"organ": Quality(0.25)})
    assert read_quality(path) == {"one": {"organ": Quality(0.25)}, "two": {"organ": Quality(0.75)}}
    whole = path.read_bytes()
    first = whole.index(b"two")
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        found = read_quality(path, unfinished=True)
        assert found["one"] == {"organ": Quality(0.5)} and ("two" in found) == (cut >= whole.index(b"one", first))
    path.write_bytes(whole[:-3])
    assert read_quality(path, unfinished=True)["one"]["organ"].agreement == 0.5
    path.write_bytes(whole[:5])
    assert read_quality(path, unfinished=True) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found nothing"),
        ("case,dice\r\na,1\r\n", "its columns must be case, label"),
        (HEAD + "a,organ,0.5\r\n", "line 2 has 3 entries"),
        (HEAD + "a,organ,0.5,,\r\nb,organ,high,,\r\n", "line 3 holds 'high'"),
        (HEAD + "a,organ,1.5,,\r\n", "from 0 to 1"),
        (HEAD + "a,organ,nan,,\r\n", "from 0 to 1"),
        (HEAD + 'a,"organ,0.5,,\r\n', "not readable as a table"),
        ("\xff\xfe", "its columns must be"),
        ("\x00", "quality.csv"),  # its reason depends on the version of Python
    ],
)
def test_a_stranger_s_or_damaged_table_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "quality.csv"
    path.write_bytes(text.encode())
    with pytest.raises(RecordError, match=r"quality\.csv") as caught:
        read_quality(path)
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    path.write_bytes(b"\xff\xfe\x00case")
    with pytest.raises(RecordError, match="not readable as a table"):
        read_quality(path)
    with pytest.raises(RecordError, match="cannot be read"):
        read_quality(tmp_path / "nothing.csv")
