"""The command line: chooses a command and turns errors into messages.

Nothing heavy is imported before a command has been chosen: ``autoseg --help`` must answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from . import commands
from .core.console import Console
from .core.environment import (
    OWN_THREADS,
    REPEATABLE,
    SHORT_WAITS,
    WORKSPACE,
    WORKSPACE_VARIABLE,
    ask_for,
    default_workspace,
)
from .core.files import lend_for_temporary_files
from .core.imports import find_trusted
from .core.mishaps import explained, printable
from .core.progress import DISPLAY
from .errors import StoppedError

LOG = logging.getLogger("autoseg")
LONGEST_PACKAGE = 200  # characters
MOST_SAID = 1700  # bytes of a message
STOPPED = 130
JSON = "--json"
EXAMPLES = "examples:"
SECONDS_UNTIL_AGAIN = 0.02
NOBODY_READS = 128 + getattr(signal, "SIGPIPE", 13)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 done, 1 some cases failed, 2 a message to the user, 130 interrupted (143 by SIGTERM, 129 by SIGHUP), 141 nobody
    reads what it writes.
    """
    words = sys.argv[1:] if arguments is None else arguments
    with _streams(), _asked_to_end() as asked:
        console = Console(programs=sys.stdout if JSON in words else None)
        try:
            return _run(words, console)
        except BaseException as error:
            code, said = _told(error, " ".join(["autoseg", *words[:1]]), asked)
            _say_last(console, code, said)
            if code is None:
                raise
            return code


def _run(words: list[str], console: Console) -> int:
    options = _parsed(words, console)
    options.arguments, options.console = words, console  # the words: for a command that starts itself again
    console.quiet, console.programs = options.quiet, sys.stdout if options.json else None
    find_trusted(tuple(options.trust))
    ask_for(SHORT_WAITS, OWN_THREADS, REPEATABLE if getattr(options, "deterministic", False) else {})
    DISPLAY.bars = not (options.quiet or options.json)
    LOG.handlers[:] = [console.handler(sys.stderr)]
    LOG.setLevel(logging.INFO)
    lend_for_temporary_files(Path(options.workspace))
    with redirect_stdout(sys.stderr) if options.json else nullcontext():  # what a library prints is no JSON
        code = int(options.run(options) or 0)
    console.line("result", command=options.command, **console.fields, exit_code=code)
    sys.stdout.flush()  # here, where it can be told that nobody reads or that the disk is full
    return code


def _parsed(words: list[str], console: Console) -> argparse.Namespace:
    """What is wrong with the words is a line for programs, too."""
    said = io.StringIO()
    try:
        with redirect_stderr(said) if console.programs else nullcontext():
            return parser().parse_args(words)
    except SystemExit as ended:
        if ended.code:
            console.line("error", text=said.getvalue().strip(), exit_code=ended.code)
        raise


def _told(error: BaseException, command: str, asked: list[int]) -> tuple[int | None, str]:
    """The exit code, None where a traceback tells the rest, and what is said, if anything."""
    if isinstance(error, StoppedError):
        return STOPPED, f"{command}: {error}"
    if asked or isinstance(error, KeyboardInterrupt):  # some libraries raise another error when they are interrupted
        return 128 + (asked[0] if asked else signal.SIGINT), "interrupted; run the same command again to continue"
    if isinstance(error, SystemExit):
        return None, ""
    if isinstance(error, BrokenPipeError):
        return NOBODY_READS, ""
    said = explained(error)
    if said is None:
        return None, f"{command}: {type(error).__name__}: {error}"
    return 2, f"{command}: {said}"


def _say_last(console: Console, code: int | None, said: str) -> None:
    if console.programs is None:
        if said and code is not None:
            _say(said)
    elif said:
        with suppress(OSError, ValueError):
            console.line("error", text=said, exit_code=1 if code is None else code)


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # a stream that is closed, or full
        sys.stderr.write(printable(text, MOST_SAID) + "\n")
        sys.stderr.flush()


@contextmanager
def _streams() -> Iterator[None]:
    """Whatever the terminal's encoding lacks is written as an escape; a stream that is closed takes everything."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                _forget_unwritten(stream)
            sys.stdout, sys.stderr = before


def _forget_unwritten(stream: TextIO) -> None:
    """What cannot be written must not be tried again when Python ends, which would print a traceback of its own."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def _asked_to_end() -> Iterator[list[int]]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: what is half written is removed. Yields those that came.

    What the one who started this process wants to be ignored (``nohup``) stays so.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        if number not in AGAIN:
            asked.append(number)
        raise _Asked(*asked[-1:])

    by_default: tuple[Any, ...] = (signal.SIG_DFL, signal.default_int_handler)
    heard = [number for number in _there("SIGINT", "SIGTERM", "SIGHUP") if signal.getsignal(number) in by_default]
    changed = {number: signal.signal(number, end) for number in (*heard, *AGAIN)}
    before, sys.unraisablehook = sys.unraisablehook, _asked_again
    try:
        yield asked
    finally:
        sys.unraisablehook = before
        for number, old in changed.items():
            signal.signal(number, old)


class _Asked(KeyboardInterrupt):
    """Its argument is the signal. Not KeyboardInterrupt itself: Python ends where that comes up inside of ``exec``."""


def _there(*names: str) -> tuple[signal.Signals, ...]:
    """Windows has neither SIGHUP nor SIGALRM."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


AGAIN = _there("SIGALRM")


def _asked_again(lost: Any) -> None:
    """A signal that comes while a weak reference or a lock is cleaned up would be printed and forgotten: it is sent on.

    So it must not be raised from here, but a moment later.
    """
    if not issubclass(lost.exc_type, _Asked):
        sys.__unraisablehook__(lost)
    elif AGAIN:
        signal.setitimer(signal.ITIMER_REAL, SECONDS_UNTIL_AGAIN)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Short also where a value is long."""
        self.exit(2, f"{self.prog}: {printable(message, MOST_SAID)}\n`{self.prog} --help` names every flag\n")


class _Help(argparse.HelpFormatter):
    """Examples keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLES) else super()._fill_text(text, width, indent)


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    return _parser(default_workspace())


@cache
def _parser(workspace: str) -> argparse.ArgumentParser:
    """Built once where several commands are run by one process, as tests and notebooks do."""
    top = _Parser(
        prog="autoseg",
        description="Self-configuring segmentation of medical images: one folder in, one model out.",
        epilog="DATASET is a folder, a full name (Dataset004_Hippocampus), a bare name (Hippocampus) or a number (4).",
    )
    steps = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands.NAMES:
        module = importlib.import_module(f"{commands.__name__}.{name}")
        command = steps.add_parser(
            name.rstrip("_"),
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog="\n  ".join([EXAMPLES, *module.EXAMPLES]),
            formatter_class=_Help,
        )
        command.set_defaults(run=module.run, parser=top)
        _add_to_all(command, workspace)
        module.add_flags(command)
    return top


def _add_to_all(command: argparse.ArgumentParser, workspace: str) -> None:
    command.add_argument(
        "--workspace",
        default=workspace,
        metavar="FOLDER",
        help=f"where everything is written (default: ${WORKSPACE_VARIABLE}, else ./{WORKSPACE})",
    )
    command.add_argument(
        "--trust", action="append", default=[], type=package, metavar="PACKAGE", help="allow parts of this package"
    )
    command.add_argument("--quiet", action="store_true", help="show warnings, errors and what was asked for, only")
    command.add_argument(
        JSON, action="store_true", help="write one JSON object a line: progress, message, and last result or error"
    )


def package(text: str) -> str:
    """``mylab``, or ``mylab.losses``."""
    if len(text) > LONGEST_PACKAGE or not all(name.isidentifier() for name in text.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is no package of Python")
    return text
