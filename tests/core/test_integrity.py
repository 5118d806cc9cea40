"""A file that is not what was written is found, whatever has become of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.integrity import Mark, damage


@given(content=st.binary(min_size=1, max_size=300), data=st.data())
def test_every_changed_byte_and_every_cut_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "file"
    path.write_bytes(content)
    mark = Mark.of(path)
    assert mark.size == len(content) and damage(path, mark) is None
    place, change = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
    assert "content" in (damage(path, mark) or "")
    path.write_bytes(content[:place])
    assert f"{place} bytes" in (damage(path, mark) or "")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    mark = Mark.of(tmp_path / "file")
    assert damage(tmp_path / "absent", mark) == "is missing"
    assert damage(tmp_path, mark) == "is no file"
    assert damage(tmp_path / "file" / "inside", mark) is not None


def test_a_file_that_stays_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    mark = Mark.of(path)
    assert damage(path, mark) is None
    monkeypatch.setattr(Mark, "of", None)
    assert damage(path, mark) is None
    monkeypatch.undo()
    times = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # a copy that keeps times: the change of these is seen
    assert damage(path, mark) is not None
    assert damage(path, Mark.of(path)) is None
    assert damage(path, mark) is not None
