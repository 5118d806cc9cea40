"""The record of what `predict` wrote: damaged in any place it makes nobody else's file autoseg's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from autoseg.core.integrity import Mark
from autoseg.pipeline.results import RECORD, Results

WRITTEN, BEGUN, EDITED, OTHERS = "case1.nii.gz", "case2.nii.gz", "case3.nii.gz", "case5.nii.gz"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """One file that was written, one that was being written when the run was killed, one that somebody corrected
    afterwards, and one that predict never wrote; and the record."""
    folder = tmp_path_factory.mktemp("out")
    for name in (WRITTEN, EDITED, BEGUN):
        results = Results.read(folder)
        results.begin(folder / name)
        (folder / name).write_bytes(name.encode())
        if name != BEGUN:
            results.end(folder / name)
    (folder / EDITED).write_text("corrected by hand")
    (folder / OTHERS).write_text("somebody's")
    return folder, (folder / RECORD).read_bytes()


def own(folder: Path, record: bytes) -> set[str]:
    (folder / RECORD).write_bytes(record)
    results = Results.read(folder)
    return {name for name in (WRITTEN, BEGUN, EDITED, OTHERS) if results.is_own(folder / name)}


def test_whole_it_knows_what_is_own(made: tuple[Path, bytes]) -> None:
    assert own(*made) == {WRITTEN, BEGUN}


@given(data=some.data())
def test_no_damage_makes_a_file_own_that_is_not(made: tuple[Path, bytes], data: some.DataObject) -> None:
    folder, whole = made
    at = data.draw(some.integers(0, len(whole) - 1))
    kind = data.draw(some.sampled_from(["bit", "byte", "cut", "line lost", "zeros"]))
    if kind == "bit":
        damaged = whole[:at] + bytes([whole[at] ^ 1 << data.draw(some.integers(0, 7))]) + whole[at + 1 :]
    elif kind == "byte":
        damaged = whole[:at] + data.draw(some.binary(min_size=1, max_size=3)) + whole[at + 1 :]
    elif kind == "cut":
        damaged = whole[:at]
    elif kind == "zeros":
        damaged = whole[:at] + bytes(len(whole) - at)
    else:
        lines = whole.splitlines(keepends=True)
        lost = data.draw(some.integers(0, len(lines) - 1))
        damaged = b"".join(lines[:lost] + lines[lost + 1 :])
    found = own(folder, damaged)
    may_be_begun = kind in ("cut", "zeros", "line lost")  # a record of a run that was killed earlier looks so, too
    assert found <= {WRITTEN, BEGUN} | ({EDITED} if may_be_begun else set())


def test_a_line_that_a_power_cut_left_takes_no_other_along(made: tuple[Path, bytes]) -> None:
    folder, whole = made
    assert own(folder, whole + b'{"file": "case') == {WRITTEN, BEGUN}
    assert own(folder, whole + f'{{"file": "{BEGUN}", "si'.encode()) == {WRITTEN}  # it was written to its end
    Results.read(folder).begin(folder / BEGUN)
    results = Results.read(folder)
    assert results.is_own(folder / WRITTEN) and results.is_own(folder / BEGUN)


def test_records_of_earlier_versions_are_read(made: tuple[Path, bytes]) -> None:
    folder, _ = made
    mark = Mark.of(folder / WRITTEN)
    lines = [{"file": WRITTEN}, {"file": WRITTEN, "size": mark.size, "crc32": mark.crc32}, {"file": BEGUN}]
    assert own(folder, "\n".join(map(json.dumps, lines)).encode() + b"\n") == {WRITTEN, BEGUN}
    assert own(folder, b'{"file": "case5.nii.gz", "size": 1e999, "crc32": 1}\n') == set()
