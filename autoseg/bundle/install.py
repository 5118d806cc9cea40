"""Installing a model that somebody else made, from a file or an address."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.digests import file_digest
from ..core.files import remove_unfinished, unfinished
from ..core.names import short
from ..errors import AutosegError, ModelError
from .bundle import read_bundle
from .download import PATIENCE, download
from .source import MOST_BYTES
from .write import copy_bundle


def install(
    source: str,
    into: Path,
    *,
    sha256: str | None = None,
    limit: int = MOST_BYTES,
    patience: float = PATIENCE,
    trusted: tuple[str, ...] = (),
) -> Path:
    """Checks the bundle in a file or behind an https address and puts it into ``into/<name>``; returns that folder.

    ``sha256`` is that of the whole zip, as its author published it; ``limit`` the most bytes that are downloaded,
    ``patience`` the seconds in which a server must send something worth waiting for. Raises ModelError, having written
    nothing, for an archive that is not exactly a bundle, for a wrong checksum, and when the name is taken.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        remove_unfinished(into)
        with _local(source, into, limit, patience) as path:
            return _installed(path, source, into, sha256, trusted)
    except OSError as error:
        raise ModelError(f"{short(source, 300)} cannot be installed into {into}: {error.strerror or error}") from None


def _installed(path: Path, source: str, into: Path, sha256: str | None, trusted: tuple[str, ...]) -> Path:
    if sha256 is not None and not os.path.isfile(path):
        raise ModelError(f"{source} is no file; --sha256 belongs to a zip")
    if sha256 is not None and (found := file_digest(path)) != sha256.strip().lower():
        raise ModelError(f"{source} is not installed: its SHA-256 is {found}, expected {sha256.strip().lower()}")
    bundle = read_bundle(path, trusted)
    target = into / bundle.manifest.name
    if taken := [name for name in os.listdir(into) if name.casefold() == target.name.casefold()]:
        raise ModelError(f"{into / taken[0]} exists already; remove it first, or choose another folder with --into")
    free = shutil.disk_usage(into).free
    if bundle.size > free:
        raise ModelError(f"the model needs {bundle.size / 1e9:.1f} GB, {into} has {free / 1e9:.1f} GB left")
    copy_bundle(bundle, target)
    return target


@contextmanager
def _local(source: str, into: Path, limit: int, patience: float) -> Iterator[Path]:
    """The bundle as a path; a download lies there only as long as it is needed."""
    if "://" not in source:
        yield Path(source)
        return
    temporary = unfinished(into / "download.zip")
    try:
        download(source, temporary, limit, patience)
        yield temporary
    except AutosegError as error:  # says what is wrong with the address, not with a file that nobody knows
        address = short(source, 300)
        raise type(error)(str(error).replace(str(temporary), address).replace(temporary.name, address)) from None
    finally:
        temporary.unlink(missing_ok=True)
