"""Flags that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ..core.amounts import read_bytes
from ..errors import UsageError


def add_machine(command: argparse.ArgumentParser, seed: bool = False) -> None:
    """Where and how to compute; read back by ``_options.settings``."""
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    command.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (default: all this process may use)"
    )
    command.add_argument("--precision", default="auto", help="auto, bfloat16, float16, float32 (default: auto)")
    if seed:
        command.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
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
    """What the user may decide before the planner does."""
    decided = command.add_mutually_exclusive_group()
    decided.add_argument("--planner", metavar="NAME", help="a file of planners/ (default: measured)")
    decided.add_argument(
        "--from", type=Path, dest="plans", metavar="FILE", help="take nnU-Net's decisions: nnUNetPlans.json"
    )
    patients = command.add_mutually_exclusive_group()
    patients.add_argument("--group", metavar="PATTERN", help="regular expression naming the patient in a case name")
    patients.add_argument("--group-file", metavar="FILE.csv[:COLUMN]", help="table naming the patient of every case")
    command.add_argument(
        "--stratify",
        metavar="BY",
        help="spread evenly over the folds: `labels` (who has which), or FILE.csv[:COLUMN] with each case's site, ...",
    )
    command.add_argument(
        "--mirror", type=axes, metavar="AXES", help="mirror along these axes of the files only: z,y,x letters, or none"
    )
    command.add_argument(
        "--spacing", type=lengths, metavar="Z,Y,X", help="resample to these mm along the files' axes (default: median)"
    )
    command.add_argument(
        "--slices", type=int, metavar="N", help="also plan 2.5d: a 2-D network that sees N slices (1: never)"
    )
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
        "--target", metavar="MACHINE", help="plan for another machine: a100-40g, or memory=24GB,bandwidth=936GB/s"
    )
    add_changes(command)


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
    command.add_argument("-c", "--configuration", action="append", metavar="NAME", help="only this one; repeatable")


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
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip().lower())
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        duration = 60 * float(text)
    elif match and any(match.groups()):
        hours, minutes, rest = (float(group or 0) for group in match.groups())
        duration = 3600 * hours + 60 * minutes + rest
    else:
        duration = 0.0
    if duration <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 90s, 20m, 12h or 1h30m")
    return duration
