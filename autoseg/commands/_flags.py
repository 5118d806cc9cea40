"""Flags that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from ..core.amounts import read_bytes
from ..core.names import path_name, short
from ..errors import UsageError
from ..settings import DEVICE, MOST_THREADS, PRECISIONS

LONGEST = 10 * 365 * 24 * 3600.0  # seconds
MOST = 10**6  # epochs
MOST_SEED = 2**63 - 1
LONGEST_WATCH = 24 * 3600  # seconds between two looks
LEAST_STEP = 0.01  # of a patch; a smaller one is less than a voxel


def add_machine(command: argparse.ArgumentParser, seed: bool = False) -> None:
    """Where and how to compute; read back by ``_options.settings``."""
    command.add_argument("--device", default="auto", type=device, help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    command.add_argument(
        "--threads",
        type=whole(1, MOST_THREADS),
        metavar="N",
        help="processor threads (default: all this process may use)",
    )
    command.add_argument(
        "--precision", default="auto", choices=PRECISIONS, metavar="P", help="auto, bfloat16, float16, float32"
    )
    if seed:
        command.add_argument(
            "--seed", type=whole(0, MOST_SEED), default=0, metavar="N", help="of everything random (default: 0)"
        )
        command.add_argument(
            "--deterministic", action="store_true", help="the same bits every time, on a GPU too; slower there"
        )
        command.add_argument(
            "--compile",
            choices=("auto", "on", "off"),
            default="auto",
            help="torch.compile (default: auto, on a GPU in a long training if it is seen to be faster)",
        )


def add_memory(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--memory",
        type=bytes_,
        metavar="SIZE",
        help="main memory this may hold, e.g. 4GB (default: three quarters of what is available)",
    )


def add_report(command: argparse.ArgumentParser) -> None:
    """Read back by ``_options.report_at_end``."""
    command.add_argument("--no-report", action="store_true", help="do not write report.html at the end")


def add_watch(command: argparse.ArgumentParser, seconds: int, what: str) -> None:
    """``--watch`` alone: every so many ``seconds``."""
    command.add_argument(
        "--watch",
        nargs="?",
        const=seconds,
        type=whole(1, LONGEST_WATCH),
        metavar="SECONDS",
        help=f"{what} (default: every {seconds} seconds)",
    )


def add_patients(command: argparse.ArgumentParser) -> None:
    patients = command.add_mutually_exclusive_group()
    patients.add_argument(
        "--group", type=word, metavar="PATTERN", help="regular expression naming the patient in a case name"
    )
    patients.add_argument(
        "--group-file", type=word, metavar="FILE.csv[:COLUMN]", help="table naming the patient of every case"
    )


def add_changes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="FIELD=VALUE",
        help="replace a value of the plan, e.g. batch_size=4, 2d.patch_size=64,64 or training.epochs=50; repeatable",
    )


def add_configurations(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-c", "--configuration", action="append", type=name, metavar="NAME", help="only this one; repeatable"
    )


def add_configuration(command: argparse.ArgumentParser, which: str) -> None:
    command.add_argument("-c", "--configuration", type=name, metavar="NAME", help=which)


def add_folds(command: argparse.ArgumentParser, which: str) -> None:
    command.add_argument("-f", "--folds", nargs="+", action=_Folds, type=fold, metavar="FOLD", help=which)


class _Folds(argparse.Action):
    """``-f 0 1`` and ``-f 0 -f 1`` are the same; nothing is named twice."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, values: object, flag: str | None = None
    ) -> None:
        assert isinstance(values, list)
        named = [*(getattr(options, self.dest) or []), *values]
        if len(set(named)) < len(named):
            raise argparse.ArgumentError(self, f"a fold is named twice: {' '.join(named)}")
        setattr(options, self.dest, named)


def fold(text: str) -> str:
    """A number as it stands in the name of a folder, or ``all``."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,3}|all", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no fold; give a number, or `all`")
    return text


def name(text: str) -> str:
    """Of something that is the name of a file or folder, too."""
    try:
        return path_name(text, "the name")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def word(text: str) -> str:
    """Anything but nothing."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the value is empty")
    return text


def words(text: str) -> tuple[str, ...]:
    """Several, between commas."""
    found = tuple(map(str.strip, text.split(",")))
    if not all(found):
        raise argparse.ArgumentTypeError(f"{short(text)!r} must be names with a comma between them")
    return found


def path(text: str) -> Path:
    """An empty one would be the current folder."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError("the name of a file or folder is empty")
    return Path(text)


def device(text: str) -> str:
    if not re.fullmatch(DEVICE, text):
        raise argparse.ArgumentTypeError(f"device {text!r} is unknown; give auto, cpu, cuda, cuda:1 or mps")
    return text


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\s*-?[0-9]{1,20}\s*", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {least} to {most}")
        return int(text)

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """A number from ``least`` to ``most``."""

    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{text!r} must be a number from {least:g} to {most:g}")
        return found

    return read


def bytes_(text: str) -> int:
    """See ``read_bytes``."""
    try:
        return read_bytes(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """``90s``, ``20m``, ``12h`` or ``1h30m`` as seconds; a bare number is minutes."""
    text = text.strip()
    parts = r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
    match = re.fullmatch(parts, text.lower(), re.ASCII)
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        duration = 60 * float(text)
    elif match and any(match.groups()):
        hours, minutes, rest = (float(group or 0) for group in match.groups())
        duration = 3600 * hours + 60 * minutes + rest
    else:
        duration = 0.0
    if duration <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 20m, 12h or 1h30m")
    if duration > LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than ten years")
    return duration
