"""How much a file may announce. What it asks for is judged before anything is allocated or unpacked."""

from __future__ import annotations

from ..errors import AutosegError, ImageFileError
from .amounts import bytes_text
from .machine import memory_bytes

GRANTED = 1 << 26
"""Bytes that nobody is refused: any machine has them, and asking what it has takes longer than small files do."""
DENSEST = 1032
"""Bytes that deflate packs into one, at most (zlib's technical details). No image is as empty as that."""


def refuse_larger(
    needed: int, where: object, *, held: int | None = None, error: type[AutosegError] = ImageFileError
) -> None:
    """Raises ``error`` where ``needed`` bytes are more than the file can hold or than the machine has.

    ``where`` names the file. ``held`` is the most that its bytes can unpack to (their number where they are not
    packed); None where nobody knows.
    """
    if needed <= GRANTED:
        return
    asked = bytes_text(min(needed, 10**30))  # a number of any length may stand in a file
    if held is not None and needed > held:
        raise error(
            f"{where}: announces {asked}, but its content is at most {bytes_text(held)}; it is damaged, "
            "incomplete or no such file. Copy or export it again"
        )
    available = memory_bytes()
    if needed > available:
        raise error(
            f"{where}: takes {asked} of memory, but this machine has {bytes_text(available)}; crop it or "
            "resample it to larger voxels, or use a machine with more"
        )
