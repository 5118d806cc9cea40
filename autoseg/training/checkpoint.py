"""Checkpoints as they lie on disk: read only when every byte and every entry is what it should be.

Behind the archive that torch writes stand 14 bytes with the checksum of all before them. The archive's own checksums
leave out what it says about its entries: one that is changed into a folder is taken for whatever lies in memory.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.files import atomic_file
from ..core.integrity import Mark


class DamagedError(Exception):
    """A checkpoint that cannot be used."""


_NUMBER, _NUMBER_OR_NONE = (int, float), (int, float, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "network": (dict,),
    "optimizer": (dict,),
    "scaler": (dict,),
    "seed": (int,),
    "iteration": (int,),
    "seconds_trained": _NUMBER,
    "losses": (list,),
    "smooth_dice": _NUMBER_OR_NONE,
    "best_dice": _NUMBER_OR_NONE,
    "average": (dict, type(None)),
    "volumes_dice": _NUMBER_OR_NONE,
    "volumes_iteration": (int,),
    "final": (tuple, type(None)),
}
_LATER: dict[str, tuple[type, ...]] = {"parts": (int,), "objective": (dict,)}
"""What a checkpoint holds; ``_LATER``, ``ended`` and ``run`` are not in those of older versions."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What the checkpoint holds. Raises DamagedError where something is missing, or is not what it should be."""
    if not _intact(path):
        raise DamagedError("its bytes are not those that were written")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a changed byte made of a header
        raise DamagedError(first_line(error)) from None
    if not isinstance(content, dict):
        raise DamagedError("it is no checkpoint")
    kinds = _KINDS | {name: kinds for name, kinds in _LATER.items() if name in content}
    wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name, ...), kind)]
    if not wrong:
        numbers = [content["seconds_trained"], *content["losses"], *(content["final"] or (0, 0, 1))]
        sound = all(isinstance(number, _NUMBER) and math.isfinite(number) for number in numbers)
        final = content["final"]
        sound = sound and content.get("parts", 1) >= 1
        wrong = [] if sound and (not final or (len(final) == 3 and final[2] > 0)) else ["its numbers"]
    if wrong:
        raise DamagedError(f"{', '.join(wrong)} cannot be used")
    if content.get("run", run_of(path.parent)) != run_of(path.parent):
        raise DamagedError(f"it is of {content['run']}")
    _refuse_broken(content["network"])
    _refuse_broken(content["average"] or {})
    return content


def _refuse_broken(weights: dict[str, Any]) -> None:
    for name, value in weights.items():
        if not isinstance(value, Tensor) or (value.is_floating_point() and not bool(value.isfinite().all())):
            raise DamagedError(f"{name} holds what is no number")


def run_of(inside: Path) -> str:
    """Configuration and fold of the training that a file or folder ``inside`` its folder belongs to."""
    return "/".join(inside.absolute().parts[-3:-1])


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """All or nothing."""
    with atomic_file(path) as temporary:
        torch.save(content, temporary)
        seal = _seal(Mark.of(temporary).crc32)
        with temporary.open("ab") as file:
            file.write(seal)


def _seal(crc32: int) -> bytes:
    return b"crc32:%08x" % crc32


def _intact(path: Path) -> bool:
    """Whether all bytes are those that were written; of older versions, what the archive itself has checksums of."""
    length = len(_seal(0))
    try:
        with path.open("rb") as file:
            file.seek(-length, os.SEEK_END)
            if (seal := file.read()).startswith(_seal(0)[:6]):
                return seal == _seal(Mark.of(path, without=length).crc32)
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # whatever a changed byte made of a header: no two are alike
        return False


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
