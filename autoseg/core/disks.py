"""What kind of disk a folder lies on: over the network, solid-state or rotating. Asked of Linux without writing."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
DEVICES = Path("/sys/dev/block")
OVER_THE_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "9p", "beegfs")
VIRTUAL = ("vd", "xvd", "nbd", "rbd", "loop", "dm-")  # which say that they rotate, or nothing that can be believed
IN_MEMORY = ("tmpfs", "ramfs")


def file_system(folder: Path) -> str | None:
    """``ext4``, ``nfs4``, ...; None where that is not known."""
    place, best, found = os.path.realpath(folder), -1, None
    for line in _content(MOUNTS).splitlines():
        fields, _, source = line.partition(" - ")  # proc(5): the mount point is the fifth field, then come options
        mounted = fields.split()[4].replace("\\040", " ") if len(fields.split()) > 4 else ""
        inside = place == mounted or place.startswith(mounted.rstrip("/") + "/")
        if mounted and inside and len(mounted) >= best and source.split():
            best, found = len(mounted), source.split()[0]
    return found


def kind_of_disk(folder: Path) -> str | None:
    """``network drive``, ``memory``, ``solid-state disk`` or ``rotating disk``; None where that is not known."""
    system = file_system(folder)
    if system in OVER_THE_NETWORK:
        return "network drive"
    if system in IN_MEMORY:
        return "memory"
    try:
        device = os.stat(folder).st_dev
        numbers = f"{os.major(device)}:{os.minor(device)}"
    except (OSError, AttributeError):  # Windows
        return None
    disk = DEVICES / numbers
    if os.path.basename(os.path.realpath(disk)).startswith(VIRTUAL):
        return None
    for place in (disk, disk / ".."):  # a partition has no queue of its own, its disk has
        if text := _content(place / "queue" / "rotational"):
            return "rotating disk" if text == "1" else "solid-state disk"
    return None


def _content(path: Path) -> str:
    try:
        return Path(os.path.realpath(path)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
