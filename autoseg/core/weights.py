"""Weights files: safetensors that hold a checksum of themselves, so that a changed byte is seen wherever one is read.

The checksum (CRC-32) lies among the metadata and covers everything else: names, types, shapes, the other metadata and
every tensor. Files without one, of other programs or older versions, are taken as long as their parts fit together.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError, RecordError
from .json_text import parse_json
from .records import CHECKSUM

ABOUT = "__metadata__"
RUN = "run"
LENGTH = 8  # bytes before the header, that say how long it is
LONGEST_HEADER = 100 << 20  # bytes; as safetensors itself


def sealed(content: bytes, about: Mapping[str, str]) -> bytes:
    """The safetensors ``content`` with ``about`` and its checksum as metadata."""
    header, start = _header(content, "")
    header[ABOUT] = dict(about)
    header[ABOUT][CHECKSUM] = _checksum(header, memoryview(content)[start:])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)  # tensors begin at a multiple of 8 bytes
    return b"".join((len(text).to_bytes(LENGTH, "little"), text, memoryview(content)[start:]))


def read_weights(path: Path, run: str, cure: str) -> bytes:
    """The safetensors in ``path``. Raises ModelError, with the ``cure``, where they are damaged or not of ``run``.

    That is the configuration and fold they were trained in, ``3d_fullres/fold_0``, where it was noted with them.
    """
    try:
        content = path.read_bytes()
        header, start = _header(content, str(path))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}); {cure}") from None
    except ModelError as error:
        raise ModelError(f"{error}; {cure}") from None
    told = header.get(ABOUT, {}).get(CHECKSUM)
    if told is not None and told != _checksum(header, memoryview(content)[start:]):
        raise ModelError(f"{path} is damaged: its content is not what was written; {cure}")
    if (trained := header.get(ABOUT, {}).get(RUN, run)) != run:
        raise ModelError(f"{path} holds the weights of {trained}, not those of {run}; {cure}")
    return content


def metadata(path: Path) -> dict[str, str]:
    """What was noted with the weights; the checksum is not looked at. Raises ModelError where a part is missing."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(LENGTH)
            length = int.from_bytes(first, "little")
            header, _ = _header(first + file.read(min(length, LONGEST_HEADER)), str(path), size)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error})") from None
    return {name: value for name, value in header.get(ABOUT, {}).items() if name != CHECKSUM}


def is_whole(path: Path) -> bool:
    """Whether all parts are there, by header and length alone: as cheap for a large file as for a small one."""
    try:
        metadata(path)
    except ModelError:
        return False
    return True


def _header(content: bytes, where: str, size: int | None = None) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin. ``size`` is that of the file, whose first bytes ``content`` is."""
    size = len(content) if size is None else size
    start = LENGTH + int.from_bytes(content[:LENGTH], "little")
    try:
        if not LENGTH < start <= min(len(content), LENGTH + LONGEST_HEADER):
            raise ValueError("it is cut")
        header = parse_json(content[LENGTH:start], where)
        ends = [value["data_offsets"][1] for name, value in header.items() if name != ABOUT]
        if not ends or start + max(ends) != size:
            raise ValueError("it is cut, or has grown")
        if not all(isinstance(text, str) for text in header.get(ABOUT, {}).values()):
            raise ValueError("its header is no such header")
    except RecordError:
        raise ModelError(f"{where} is damaged: its header is not readable") from None
    except ValueError as error:
        raise ModelError(f"{where} is damaged: {error}") from None
    except (AttributeError, TypeError, KeyError, IndexError):
        raise ModelError(f"{where} is damaged: its header is no such header") from None
    return header, start


def _checksum(header: dict[str, Any], tensors: memoryview) -> str:
    about = {name: value for name, value in header.get(ABOUT, {}).items() if name != CHECKSUM}
    text = json.dumps({**header, ABOUT: about}, sort_keys=True).encode()
    return f"{zlib.crc32(tensors, zlib.crc32(text)):08x}"
