"""What a safetensors file says that it holds, read before any of it is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.json_text import parse_json
from ..core.names import short
from ..core.records import from_json
from ..errors import ModelError, RecordError

LARGEST_HEADER = 4 << 20  # bytes; 300 tensors, as many as nnU-Net's largest preset has, take 40 kB


@dataclass(frozen=True)
class Stored:
    """One tensor."""

    dtype: str
    """As safetensors calls it: ``F32``."""
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """Bytes after the header."""


def read_header(blocks: Iterable[bytes], where: str) -> dict[str, Stored]:
    """Name to tensor, of the safetensors file whose bytes begin with ``blocks``; no more of them are taken than needed.

    ``where`` starts the message of a ModelError.
    """
    start, wanted = bytearray(), 8
    for block in blocks:
        start += block
        if len(start) >= 8:
            wanted = 8 + int.from_bytes(start[:8], "little")
        if wanted > 8 + LARGEST_HEADER:
            raise ModelError(f"{where} is damaged, or no safetensors file: its header would have {wanted - 8} bytes")
        if len(start) >= wanted:
            break
    if len(start) < wanted or wanted == 8:
        raise ModelError(f"{where} is damaged, or no safetensors file: it ends within its header")
    try:
        header = parse_json(bytes(start[8:wanted]), where)
        if isinstance(header, dict):
            header.pop("__metadata__", None)
        tensors: dict[str, Stored] = from_json(dict[str, Stored], header, where)
    except RecordError as error:
        raise ModelError(f"{where} is damaged, or no safetensors file: {short(str(error), 500)}") from None
    return tensors
