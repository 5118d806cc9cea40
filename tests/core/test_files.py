"""A written file or folder is complete or absent."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from autoseg.core import files
from autoseg.core.digests import content_hash
from autoseg.core.files import (
    atomic_file,
    atomic_folder,
    refuse_unwritable,
    regular_file,
    remove_unfinished,
    unfinished,
)
from autoseg.errors import WorkspaceError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_keeps_the_ending(tmp_path) -> None:
    with atomic_file(tmp_path / "case.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.touch()


def test_a_folder_replaces_the_old_one_whole(tmp_path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "case.json").touch()
    (folder / "old").touch()
    with atomic_folder(folder, mark="case.json") as temporary:
        (temporary / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("years of work")
    (tmp_path / "link").symlink_to(thesis)
    (tmp_path / "file").touch()
    for path in (thesis, tmp_path / "link", tmp_path / "file"):
        with pytest.raises(WorkspaceError, match="not made by autoseg"), atomic_folder(path, mark="case.json"):
            pytest.fail("nothing should be written")
    assert (thesis / "chapter1.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "thesis"]


def test_a_mark_is_more_than_the_name_of_a_file(tmp_path) -> None:
    for content, ours in (('{"patient": 7}', False), ('{"content": "x", "record": 1}', True)):
        (tmp_path / "case").mkdir(exist_ok=True)
        (tmp_path / "case" / "case.json").write_text(content)
        with (
            nullcontext() if ours else pytest.raises(WorkspaceError, match="not made by autoseg"),
            atomic_folder(tmp_path / "case", "case.json", ('"content"', '"record"')),
        ):
            assert ours
    assert list((tmp_path / "case").iterdir()) == []


def test_only_a_file_is_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path / "pipe", "pipe"), (Path("/dev/zero"), "device"), (tmp_path, "[Dd]irectory")):
        with pytest.raises(OSError, match=said):
            regular_file(path)


def test_an_empty_folder_is_nobodys(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out", mark="case.json") as temporary:
        (temporary / "case.json").touch()
    assert (tmp_path / "out" / "case.json").exists()


def test_what_a_killed_run_left_is_removed(tmp_path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f".writing-{dead.pid}-0123abcd-case").mkdir()
    (tmp_path / f".writing-{dead.pid}-0123abcd-plan.json").touch()
    (tmp_path / "plan.json").touch()
    (tmp_path / ".writing-my-thesis").touch()
    mine = unfinished(tmp_path / "other.json")
    mine.touch()
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json", ".writing-my-thesis", mine.name}


def test_the_hash_tells_contents_and_their_borders_apart(tmp_path) -> None:
    for name, text in {"a": "xy", "b": "z", "c": "x", "d": "yz"}.items():
        (tmp_path / name).write_text(text)
    first = content_hash(tmp_path / "a", tmp_path / "b")
    assert first != content_hash(tmp_path / "c", tmp_path / "d")
    assert first == content_hash(tmp_path / "a", tmp_path / "b")


def test_what_an_earlier_process_of_the_same_number_left_is_removed(tmp_path) -> None:
    left, mine = unfinished(tmp_path / "case"), unfinished(tmp_path / "plan.json")
    left.mkdir()
    mine.touch()
    os.utime(left, (0, 0))
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_what_an_earlier_process_of_the_same_number_has_just_left_is_removed(tmp_path, monkeypatch) -> None:
    """In a container every run may be process 1, and the next one may follow at once."""
    (tmp_path / f".writing-{os.getpid()}-0123abcd-case").touch()  # of a version before
    monkeypatch.setattr(files, "_PROCESS", "0000")
    unfinished(tmp_path / "case").touch()
    monkeypatch.setattr(files, "_PROCESS", "ffff")
    mine = unfinished(tmp_path / "plan.json")
    mine.touch()
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_what_another_machine_writes_stays_as_long_as_it_grows(tmp_path, monkeypatch) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    monkeypatch.setattr(files, "_machine", lambda: "0000")
    monkeypatch.setattr("os.getpid", lambda: dead.pid)
    growing, quiet = (unfinished(tmp_path / name) for name in ("case.nii.gz", "other.nii.gz"))
    bundle, left = (unfinished(tmp_path / name) for name in ("model", "old"))
    for folder in (bundle, left):
        (folder / "folds").mkdir(parents=True)
        (folder / "folds" / "weights").touch()
    for path in (growing, quiet):
        path.touch()
    for path in (quiet, bundle, bundle / "folds", left / "folds" / "weights", left / "folds", left):
        os.utime(path, (0, 0))
    monkeypatch.undo()
    remove_unfinished(tmp_path)
    assert {*tmp_path.iterdir()} == {growing, bundle}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["python", "torch", "safetensors", "blosc2"])
def test_a_full_disk_is_an_error_of_the_file_whatever_library_writes_it(library: str, tmp_path) -> None:
    path = tmp_path / f"weights.{library}"
    code = FULL.format(library=library)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    name, number, filename = done.stdout.split()[-3:]
    assert (name, filename) == ("OSError", str(path))
    assert int(number) in (errno.EFBIG, errno.EIO)
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
from autoseg.core.files import (
    atomic_file,
    atomic_folder,
    refuse_unwritable,
    remove_unfinished,
    unfinished,
)
import numpy as np, torch, blosc2
from safetensors.torch import save_file

def python(path): path.write_bytes(bytes(10**6))
def torch_(path): torch.save(torch.rand(10**6), path)
def safetensors(path): save_file({{"x": torch.rand(10**6)}}, path)
def blosc2_(path): blosc2.asarray(np.random.rand(10**6), urlpath=str(path), mode="w")

write = {{"python": python, "torch": torch_, "safetensors": safetensors, "blosc2": blosc2_}}["{library}"]
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with atomic_file(Path(sys.argv[1])) as temporary:
        write(temporary)
except Exception as error:
    print(type(error).__name__, getattr(error, "errno", None), getattr(error, "filename", None))
"""


def test_what_cannot_be_written_to_is_said_with_what_stands_in_the_way(tmp_path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper" / "still"):
        with pytest.raises(NotADirectoryError) as refused:
            refuse_unwritable(folder)
        assert refused.value.filename == str(tmp_path / "file")
    refuse_unwritable(tmp_path / "new" / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_processes_that_replace_one_folder_at_the_same_moment_all_succeed(tmp_path) -> None:
    code = """
import sys
from pathlib import Path
from autoseg.core.files import (
    atomic_file,
    atomic_folder,
    refuse_unwritable,
    remove_unfinished,
    unfinished,
)
for _ in range(100):
    with atomic_folder(Path(sys.argv[1]), mark="case.json") as folder:
        (folder / "case.json").touch()
        (folder / "image").touch()
"""
    words = [sys.executable, "-c", code, str(tmp_path / "case")]
    started = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in started] == [""] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["case"]
    assert sorted(path.name for path in (tmp_path / "case").iterdir()) == ["case.json", "image"]
