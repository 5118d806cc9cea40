"""A file from an https address, whose server may be slow, lie about sizes or send us elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from ipaddress import ip_address
from pathlib import Path
from queue import Empty, Full, Queue
from socket import getaddrinfo
from typing import IO, Any, Union
from urllib.error import HTTPError
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..core.names import short
from ..core.progress import progress
from ..errors import ModelError
from .bundle import BLOCK

PATIENCE = 60.0  # seconds in each of which ``SLOWEST`` bytes must come on average
SLOWEST = 1000
LONGEST_ADDRESS = 2000  # characters; servers take no more
FAULTS = (OSError, HTTPException, ValueError, LookupError)  # what urllib raises for a server that does it wrong
OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


def download(address: str, target: Path, limit: int, patience: float = PATIENCE) -> None:
    """Writes what lies behind ``address`` to ``target``, at most ``limit`` bytes.

    Raises ModelError for an address that is none or unsafe, a server that does not answer or sends too much or too
    little, and one that within ``patience`` seconds sends less than ``SLOWEST`` bytes a second.
    """
    shown = _shown(address)
    _refuse_unsafe(address, own_machine=True)
    sender = _Sender(Request(address), patience)
    threading.Thread(target=sender.run, daemon=True, name="download").start()
    try:
        arriving = sender.arriving(shown)
        expected = _announced(next(arriving))
        if (expected or 0) > limit:
            raise ModelError(
                f"{shown} has {short(expected, 30)} bytes, more than the {limit} that are downloaded at most"
            )
        size = 0
        with target.open("wb") as file:
            blocks = _in_blocks(arriving, expected)
            for block in progress(blocks, -(-expected // BLOCK) if expected else 0, "downloading (MB)"):
                size += len(block)
                if size > limit:
                    raise ModelError(f"{shown} sends more than the {limit} bytes that are downloaded at most")
                file.write(block)
    finally:
        sender.stopped.set()
    if expected is not None and size != expected:
        raise ModelError(f"{shown}: the connection ended after {size} of {expected} bytes; try again")


@dataclass
class _Sender:
    """Mutable: asks a server in a thread of its own, since nothing else ends a wait for it in time."""

    request: Request
    patience: float
    pieces: Queue[Union[HTTPMessage, bytes, BaseException]] = field(default_factory=lambda: Queue(4))
    """The head of the answer, pieces of its body, b"" at the end; an error instead of any of them."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """What the thread does."""
        try:
            opener = build_opener(_SafeRedirects)
            with opener.open(self.request, timeout=self.patience) as answer:
                self._put(answer.headers)
                while not self.stopped.is_set() and (piece := answer.read1(BLOCK)):
                    self._put(piece)
            self._put(b"")
        except BaseException as error:  # told to the thread that waits
            self._put(error)

    def _put(self, piece: Any) -> None:
        while not self.stopped.is_set():
            try:
                return self.pieces.put(piece, timeout=1.0)
            except Full:
                pass

    def arriving(self, shown: str) -> Iterator[Any]:
        """What ``run`` puts, until the end; ModelError for whatever a server may have done wrong."""
        arrived, until = 0, time.monotonic() + self.patience
        while True:
            try:
                piece = self.pieces.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                if arrived < SLOWEST * self.patience:
                    raise ModelError(
                        f"{shown} sent {arrived} bytes in {self.patience:g} seconds, which is too slow; try again later"
                    ) from None
                arrived, until = 0, time.monotonic() + self.patience
                continue
            if isinstance(piece, ModelError):
                raise piece
            if isinstance(piece, FAULTS):
                raise ModelError(f"{shown} could not be downloaded: {_reason(piece)}") from None
            if isinstance(piece, BaseException):
                raise piece
            if piece == b"":
                return
            arrived += len(piece) if isinstance(piece, bytes) else 0
            yield piece


class _SafeRedirects(HTTPRedirectHandler):
    """Follows a redirection only where the address itself would have been followed, and from elsewhere never to what
    only this machine reaches."""

    def http_error_302(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage) -> Any:
        fp.close()  # urllib would read to its end what comes with a redirection, however much that is
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        own_machine, sent = urlsplit(req.full_url).hostname in OWN_MACHINE, _shown(req.full_url)
        try:
            host = _refuse_unsafe(newurl, own_machine).hostname
        except ModelError as error:
            raise ModelError(f"{sent} sends us elsewhere: {error}") from None
        if not own_machine and _is_near(host or ""):
            raise ModelError(f"{sent} sends us to {_shown(newurl)}, which only this machine reaches; it is not asked")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_near(host: str) -> bool:
    """Whether a name or number, in any spelling, is this machine or what lies right beside it."""
    try:
        found = [ip_address(str(each[4][0]).partition("%")[0]) for each in getaddrinfo(host, None)]
    except (OSError, ValueError):  # nobody knows it here; a proxy may
        return False
    plain = [getattr(each, "ipv4_mapped", None) or each for each in found]
    return any(each.is_loopback or each.is_unspecified or each.is_link_local for each in plain)


def _refuse_unsafe(address: str, own_machine: bool) -> SplitResult:
    """The parts of an address that may be asked. Raises ModelError."""
    shown = _shown(address)
    if len(address) > LONGEST_ADDRESS:
        raise ModelError(f"{shown} has {len(address)} characters, which is no address")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
        if "[" in parts.netloc:
            ip_address(host or "")  # Python 3.10 takes anything in brackets
    except ValueError as error:  # of a port, of brackets, of letters
        raise ModelError(f"{shown} is no address ({short(str(error))})") from None
    if not (parts.scheme == "https" or (parts.scheme == "http" and own_machine and host in OWN_MACHINE)):
        raise ModelError(f"{shown}: models are downloaded by https only")
    if not host or not address.isascii() or not address.isprintable() or " " in address:
        raise ModelError(f"{shown} is no address: it names no host, or holds letters that are to be written as %XX")
    if "@" in parts.netloc:
        raise ModelError(f"{shown} holds a user name, which is not sent; download the file and install that")
    return parts


def _shown(address: str) -> str:
    """For messages: short, printable, without what may be a password."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    text = short(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}", 300)
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _announced(head: HTTPMessage) -> int | None:
    """How many bytes the server says that it sends; None where it does not say so."""
    coding = head.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        raise ModelError(
            f"the server sends the file as {short(coding, 30)!r}, which nobody asked for; download it by hand"
        )
    announced = head.get("Content-Length", "").strip()
    return int(announced) if announced.isdecimal() and announced.isascii() and len(announced) < 40 else None


def _in_blocks(pieces: Iterator[bytes], expected: int | None) -> Iterator[bytes]:
    """The pieces in blocks of ``BLOCK`` bytes, until as many came as the server announced, or it ends."""
    waiting, left = bytearray(), expected
    while left is None or left > 0:
        piece = next(pieces, b"")
        if not piece:
            break
        piece = piece if left is None else piece[:left]
        left = None if left is None else left - len(piece)
        waiting += piece
        while len(waiting) >= BLOCK:
            yield bytes(waiting[:BLOCK])
            del waiting[:BLOCK]
    if waiting:
        yield bytes(waiting)


def _reason(error: BaseException) -> str:
    if isinstance(error, HTTPError):
        error.close()
        said = f"the server answers {error.code} {error.reason}"
    elif isinstance(getattr(error, "reason", error), TimeoutError):
        said = "the server says nothing more, which is too slow"
    else:
        said = str(getattr(error, "reason", error)) or type(error).__name__
    return short(" ".join("".join(letter if letter.isprintable() else " " for letter in said).split()), 300)
