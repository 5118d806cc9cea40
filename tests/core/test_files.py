"""A written file or folder is complete or absent."""

from __future__ import annotations

import subprocess

import pytest

from autoseg.core.files import atomic_file, atomic_folder, content_hash, remove_unfinished, unfinished
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
