"""A written file or folder is complete or absent."""

from __future__ import annotations

import pytest

from autoseg.core.files import atomic_file, atomic_folder, content_hash, remove_unfinished


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
    (folder / "old").touch()
    with atomic_folder(folder) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_what_a_killed_run_left_is_removed(tmp_path) -> None:
    (tmp_path / ".writing-1234-case").mkdir()
    (tmp_path / ".writing-1234-plan.json").touch()
    (tmp_path / "plan.json").touch()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_the_hash_tells_contents_and_their_borders_apart(tmp_path) -> None:
    for name, text in {"a": "xy", "b": "z", "c": "x", "d": "yz"}.items():
        (tmp_path / name).write_text(text)
    first = content_hash(tmp_path / "a", tmp_path / "b")
    assert first != content_hash(tmp_path / "c", tmp_path / "d")
    assert first == content_hash(tmp_path / "a", tmp_path / "b")
