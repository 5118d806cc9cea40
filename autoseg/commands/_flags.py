"""Flags that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from ..core.amounts import read_bytes
from ..core.names import path_name
from ..errors import UsageError
from ..planning.constraints import MOST_SLICES
from ..settings import DEVICE, MOST_THREADS, PRECISIONS
from ._intensities import add_intensities

LONGEST = 10 * 365 * 24 * 3600.0  # seconds
MOST = 10**6  # epochs
MOST_SEED = 2**63 - 1
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


def add_planning(command: argparse.ArgumentParser) -> None:
    """What the user may decide before the planner does.

    ``_options.request`` fills each field of ``PlanConstraints`` from the flag of its name.
    """
    decided = command.add_mutually_exclusive_group()
    decided.add_argument("--planner", type=word, metavar="NAME", help="a file of planners/ (default: measured)")
    decided.add_argument(
        "--from", type=path, dest="plans", metavar="FILE", help="take nnU-Net's decisions: nnUNetPlans.json"
    )
    _add_folding(command)
    command.add_argument(
        "--mirror", type=axes, metavar="AXES", help="mirror along these axes of the files only: z,y,x letters, or none"
    )
    command.add_argument(
        "--spacing", type=lengths, metavar="Z,Y,X", help="resample to these mm along the files' axes (default: median)"
    )
    command.add_argument(
        "--slices",
        type=whole(1, MOST_SLICES),
        metavar="N",
        help="also plan 2.5d: a 2-D network that sees N slices (1: never)",
    )
    command.add_argument(
        "--network", type=word, metavar="NAME", help="plan this network, a part's name, instead of the planner's own"
    )
    add_intensities(command)
    command.add_argument(
        "--memory",
        type=_bytes_or_auto,
        dest="training_memory",
        metavar="SIZE",
        help="that a training may take: 8GB, or auto: what this machine has (default)",
    )
    command.add_argument(
        "--time",
        type=_seconds_or_auto,
        dest="training_time",
        metavar="T",
        help="that a training may take: 20m, 12h, or auto: on a processor 20m (default)",
    )
    command.add_argument(
        "--target",
        type=word,
        metavar="MACHINE",
        help="plan for another machine: a100-40g, or memory=24GB,bandwidth=936GB/s",
    )
    add_changes(command)


def add_patients(command: argparse.ArgumentParser) -> None:
    patients = command.add_mutually_exclusive_group()
    patients.add_argument(
        "--group", type=word, metavar="PATTERN", help="regular expression naming the patient in a case name"
    )
    patients.add_argument(
        "--group-file", type=word, metavar="FILE.csv[:COLUMN]", help="table naming the patient of every case"
    )


def _add_folding(command: argparse.ArgumentParser) -> None:
    add_patients(command)
    command.add_argument(
        "--stratify",
        type=word,
        metavar="BY",
        help="spread evenly over the folds: `labels` (who has which), or FILE.csv[:COLUMN] with each case's site, ...",
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


def axes(text: str) -> tuple[int, ...]:
    """``z,y`` or ``zy`` as positions in (z, y, x); ``none`` is no axis."""
    letters = text.strip().lower().replace(",", "")
    if letters == "none":
        return ()
    if not letters or not set(letters) <= set("zyx") or len(set(letters)) != len(letters):
        raise argparse.ArgumentTypeError(f"{text!r} names no axes; write some of z,y,x, or none")
    return tuple(sorted("zyx".index(letter) for letter in letters))


def lengths(text: str) -> tuple[float, float, float]:
    """``3,1,1``: three millimetres."""
    try:
        z, y, x = (float(length) for length in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no spacing; write z,y,x in mm, for example 3,1,1") from None
    return z, y, x


def bytes_(text: str) -> int:
    """See ``read_bytes``."""
    try:
        return read_bytes(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _bytes_or_auto(text: str) -> int | None:
    return None if text.strip().casefold() == "auto" else bytes_(text)


def _seconds_or_auto(text: str) -> float | None:
    return None if text.strip().casefold() == "auto" else seconds(text)


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
