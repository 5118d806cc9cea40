"""Flags of planning, which `plan`, `plan_and_preprocess` and others share, and how their values are read."""

from __future__ import annotations

import argparse

from ..alignment.record import METHODS
from ..core import fusion
from ..planning.constraints import MOST_SLICES
from ._flags import add_changes, add_patients, bytes_, path, seconds, whole, word, words
from ._intensities import add_intensities


def add_planning(command: argparse.ArgumentParser) -> None:
    """What the user may decide before the planner does.

    ``_options.request`` fills each field of ``PlanConstraints`` from the flag of its name.
    """
    decided = command.add_mutually_exclusive_group()
    decided.add_argument("--planner", type=word, metavar="NAME", help="a file of planners/ (default: measured)")
    decided.add_argument(
        "--from",
        type=path,
        dest="plans",
        metavar="FILE|MODEL",
        help="take the decisions of nnU-Net, nnUNetPlans.json, or of a trained model",
    )
    _add_folding(command)
    command.add_argument(
        "--mirror",
        type=axes,
        metavar="AXES",
        help="mirror along these axes of the files only: z (the third), y, x (the first), or none",
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
    _add_network(command)
    add_intensities(command)
    _add_missing(command)
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


def _add_missing(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--missing-channels", action="store_true", help="cases to be predicted may lack channels, even if these do not"
    )
    command.add_argument("--require", type=words, default=(), metavar="CHANNEL,...", help="that no case may lack")


def _add_network(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--network",
        type=word,
        metavar="NAME[:FIELD=VALUE,...]",
        help="plan this network, a part's name, instead of the planner's own; with values of its fields, as in "
        "modular_unet:block=dense,norm=group",
    )
    command.add_argument(
        "--fusion",
        type=word,
        metavar="LEVEL,...",
        help="where channels are combined: input (default), middle (an encoder each), middle: with "
        f"{', '.join(fusion.METHODS)}, decision (a network each), or unpaired (each case has one of them); several are "
        "planned side by side",
    )
    command.add_argument(
        "--groups", type=word, metavar="A,B;C", help="with --fusion: channels that share an encoder or a network"
    )


def add_names(command: argparse.ArgumentParser) -> None:
    """Read back by ``_options.names``."""
    where = "of a folder without dataset.json"
    command.add_argument(
        "--channels", type=words, default=(), metavar="NAME,...", help=f"names of the channels {where}: T1,T2 or CT"
    )
    command.add_argument(
        "--labels",
        type=words,
        default=(),
        metavar="NAME,...",
        help=f"names of the labels {where}, in the order of their values, without the background: CSF,GM,WM",
    )


def add_modality_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--modality-file",
        type=word,
        metavar="FILE.csv[:COLUMN]",
        help="table naming the one channel that each case has (CT or MR, say)",
    )


def add_alignment(command: argparse.ArgumentParser) -> None:
    """Read back by ``_options.alignment``."""
    command.add_argument(
        "--align",
        choices=METHODS,
        metavar="METHOD",
        help="register channels to each other: rigid or affine (default: as before, at first header: they lie where "
        "their headers say)",
    )
    command.add_argument(
        "--reference",
        type=word,
        metavar="CHANNEL",
        help="bring channels onto the grid of this one, its name or number (default: that of the label maps)",
    )


def _add_folding(command: argparse.ArgumentParser) -> None:
    add_patients(command)
    command.add_argument(
        "--stratify",
        type=word,
        metavar="BY",
        help="spread evenly over the folds: `labels` (who has which), or FILE.csv[:COLUMN] with each case's site, ...",
    )


def _bytes_or_auto(text: str) -> int | None:
    return None if text.strip().casefold() == "auto" else bytes_(text)


def _seconds_or_auto(text: str) -> float | None:
    return None if text.strip().casefold() == "auto" else seconds(text)


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
