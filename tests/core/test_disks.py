"""What Linux says of a folder's disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoseg.core import disks

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / {folder}/far\\040away rw - nfs4 server:/x rw
31 22 0:41 / {folder}/memory rw - tmpfs tmpfs rw
32 22 0:42 / {folder}/mem rw - cifs //server/x rw
broken
"""


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mounts").write_text(MOUNTS.format(folder=os.path.realpath(tmp_path)))
    monkeypatch.setattr(disks, "MOUNTS", tmp_path / "mounts")
    for name in ("far away", "memory", "memories", "mem"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_the_nearest_mount_counts_and_not_a_name_that_begins_alike(mounted: Path) -> None:
    found = {name: disks.file_system(mounted / name) for name in ("far away", "memory", "memories", "mem")}
    assert found == {"far away": "nfs4", "memory": "tmpfs", "memories": "ext4", "mem": "cifs"}
    assert disks.kind_of_disk(mounted / "far away") == disks.kind_of_disk(mounted / "mem") == "network drive"
    assert disks.kind_of_disk(mounted / "memory") == "memory"


@pytest.mark.skipif(not hasattr(os, "major"), reason="no numbers of devices")
@pytest.mark.parametrize(
    ("disk", "says", "expected"),
    [("sda", "1", "rotating disk"), ("nvme0n1", "0", "solid-state disk"), ("vda", "1", None), ("sdb", "", None)],
)
@pytest.mark.parametrize("partition", [True, False])
def test_a_disk_says_whether_it_rotates_unless_it_is_virtual(
    disk: str, says: str, expected: str | None, partition: bool, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = os.stat(mounted).st_dev
    real = mounted / "devices" / disk
    (real / "queue").mkdir(parents=True)
    (real / "queue" / "rotational").write_text(says + "\n")
    (real / f"{disk}1").mkdir()
    (mounted / "block").mkdir()
    (mounted / "block" / f"{os.major(device)}:{os.minor(device)}").symlink_to(real / f"{disk}1" if partition else real)
    monkeypatch.setattr(disks, "DEVICES", mounted / "block")
    assert disks.kind_of_disk(mounted) == expected


def test_where_nothing_is_known_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "MOUNTS", tmp_path / "none")
    monkeypatch.setattr(disks, "DEVICES", tmp_path / "none")
    assert disks.file_system(tmp_path) is None and disks.kind_of_disk(tmp_path) is None
    assert disks.kind_of_disk(tmp_path / "gone") is None
