"""Installing a model that somebody else made, from a file or an address."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..core.files import file_digest, remove_unfinished, unfinished
from ..core.progress import progress
from ..errors import ModelError
from .bundle import BLOCK, read_bundle
from .source import MOST_BYTES
from .write import copy_bundle

LOG = logging.getLogger("autoseg")
TIMEOUT = 60.0  # seconds without a byte
OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


def install(
    source: str, into: Path, *, sha256: str | None = None, limit: int = MOST_BYTES, trusted: tuple[str, ...] = ()
) -> Path:
    """Checks the bundle in a file or behind an https address and puts it into ``into/<name>``; returns that folder.

    ``sha256`` is that of the whole zip, as its author published it; ``limit`` the most bytes that are downloaded.
    Raises ModelError, having written nothing, for an archive that is not exactly a bundle, for a wrong checksum, and
    when the name is taken.
    """
    into.mkdir(parents=True, exist_ok=True)
    remove_unfinished(into)
    with _local(source, into, limit) as path:
        if sha256 is not None and not path.is_file():
            raise ModelError(f"{source} is no file; --sha256 belongs to a zip")
        if sha256 is not None and (found := file_digest(path)) != sha256.strip().lower():
            raise ModelError(f"{source} is not installed: its SHA-256 is {found}, expected {sha256.strip().lower()}")
        bundle = read_bundle(path, trusted)
        target = into / bundle.manifest.name
        if target.exists():
            raise ModelError(f"{target} exists already; remove it first, or choose another folder with --into")
        free = shutil.disk_usage(into).free
        if bundle.size > free:
            raise ModelError(f"the model needs {bundle.size / 1e9:.1f} GB, {into} has {free / 1e9:.1f} GB left")
        copy_bundle(bundle, target)
    return target


@contextmanager
def _local(source: str, into: Path, limit: int) -> Iterator[Path]:
    """The bundle as a path; a download lies there only as long as it is needed."""
    if "://" not in source:
        yield Path(source)
        return
    temporary = unfinished(into / "download.zip")
    try:
        _download(source, temporary, limit)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _download(address: str, target: Path, limit: int) -> None:
    _refuse_unsafe(address)
    try:
        with build_opener(_SafeRedirects).open(Request(address), timeout=TIMEOUT) as answer, target.open("wb") as file:
            announced = answer.headers.get("Content-Length", "")
            expected = int(announced) if announced.isdecimal() else None
            if (expected or 0) > limit:
                raise ModelError(f"{address} has {expected} bytes, more than the {limit} that are downloaded at most")
            blocks = -(-expected // BLOCK) if expected else 0
            size = 0
            for block in progress(_blocks(answer), blocks, "downloading (MB)"):
                size += len(block)
                if size > limit:
                    raise ModelError(f"{address} sends more than the {limit} bytes that are downloaded at most")
                file.write(block)
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"{address} could not be downloaded: {reason}") from None
    if expected is not None and size != expected:
        raise ModelError(f"{address}: the connection ended after {size} of {expected} bytes; try again")


def _blocks(answer: IO[bytes]) -> Iterator[bytes]:
    while block := answer.read(BLOCK):
        yield block


class _SafeRedirects(HTTPRedirectHandler):
    """Follows a redirection only where the address itself would have been followed."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        _refuse_unsafe(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refuse_unsafe(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in OWN_MACHINE):
        return
    raise ModelError(f"{address}: models are downloaded by https only")
