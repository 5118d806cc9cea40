"""Hashes of files: of one as others publish it, of several that make up a case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path


def content_hash(*paths: Path) -> str:
    """SHA-256 over the bytes of the files, in order, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of one file as 64 hexadecimal digits, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return digest_of(iter(partial(file.read, 1 << 20), b""))


def digest_of(blocks: Iterable[bytes]) -> str:
    """The same of a file's bytes, piece by piece."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
