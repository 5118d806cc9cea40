"""Bytes as people write them."""

from __future__ import annotations

import re

from ..errors import UsageError
from .names import short

UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

MOST = 2.0**60  # bytes, more than any machine has


def read_bytes(text: str) -> int:
    """``8GB``, ``500 mb``, ``7.5GiB`` or ``24G``. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?B?)", text.strip().upper(), re.ASCII)
    size = float(match[1]) * UNITS[match[2].removesuffix("B") + "B"] if match else 0.0
    if not 1 <= size < MOST:
        raise UsageError(f"{short(text)!r} is no amount of memory; write for example 8GB, 500MB or 7.5GiB")
    return int(size)


def bytes_text(size: float) -> str:
    """``850 MB``, ``7.6 GB``, ``2 TB``"""
    if size >= 1e12:
        return f"{size / 1e12:.3g} TB"
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
