"""`autoseg convert`."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser, Namespace

from ..errors import UsageError
from . import _flags, _options

HELP = "make a dataset of a Decathlon task, a BIDS folder or DICOM series"
EXAMPLES = (
    "autoseg convert msd Task04_Hippocampus raw/Dataset004_Hippocampus",
    "autoseg convert dicom scans raw/Dataset011_Liver --channel 'CT=*portal*'",
    "autoseg convert bids study Dataset012_A --channel 'T1=*T1w*' --label '*dseg*'",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("kind", metavar="KIND", help="msd, bids, dicom, or a JSON file that says how files are named")
    command.add_argument("source", type=_flags.path, metavar="SOURCE", help="folder to read")
    command.add_argument("target", type=_flags.path, metavar="DATASET", help="folder to write, in nnU-Net's raw layout")
    command.add_argument(
        "--channel",
        action="append",
        default=[],
        type=channel,
        metavar="NAME=PATTERN",
        help="a channel and the pattern of its files (dicom: of its series' description); repeatable, in order",
    )
    command.add_argument(
        "--label",
        metavar="PATTERN",
        help="of the label maps (dicom: a path with {case}, the patient or else folder, in it)",
    )
    command.add_argument(
        "--keep",
        action="append",
        default=[],
        type=label,
        metavar="NAME=VALUE[,VALUE]",
        help="keep this label; all values without one become background; repeatable",
    )
    command.add_argument(
        "--series",
        action="append",
        default=[],
        type=_flags.word,
        metavar="NUMBER_OR_UID",
        help="dicom: take this series where several fit; repeatable",
    )
    command.add_argument(
        "--newest", action="store_true", help="dicom: take the series that was acquired last where several fit"
    )
    command.add_argument("--leave-out", action="store_true", help="go on without the cases that cannot be converted")
    command.add_argument(
        "--keep-names",
        action="store_true",
        help="dicom: call cases by their patients (default: names that say nothing)",
    )
    command.add_argument("--table", type=_flags.path, metavar="FILE", help="also write here which case is which: CSV")
    command.add_argument(
        "--keep-headers",
        action="store_true",
        help="copy NIfTI files with the texts in their headers (default: voxels and grid only)",
    )
    _flags.add_machine(command)


def assignment(text: str) -> tuple[str, str]:
    """``T1=*_T1w.nii.gz``."""
    name, equals, pattern = text.partition("=")
    if not (name and equals and pattern):
        raise argparse.ArgumentTypeError(f"{text!r} should be NAME=PATTERN")
    return name, pattern


def channel(text: str) -> tuple[str, str]:
    """``T1=*_T1w.nii.gz``, whose pattern can be understood."""
    from ..interop.expressions import pattern

    name, wanted = assignment(text)
    try:
        return name, pattern(wanted)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def label(text: str) -> tuple[str, tuple[int, ...]]:
    """``hippocampus=17,53``."""
    name, values = assignment(text)
    if not re.fullmatch(r"\s*-?[0-9]{1,9}\s*(,\s*-?[0-9]{1,9}\s*)*", values):
        raise argparse.ArgumentTypeError(f"{text!r} should be NAME=VALUE, a whole number or several")
    return name, tuple(int(value) for value in values.split(","))


def run(options: Namespace) -> None:
    from ..core.files import refuse_unwritable
    from ..core.names import counted
    from ..interop.conversion import ConversionOptions
    from ..pipeline import convert as story

    refuse_unwritable(options.target)
    for flag, given in (("--channel", options.channel), ("--keep", options.keep)):
        if len(dict(given)) < len(given):
            raise UsageError(f"{flag} names {', '.join(name for name, _ in given)}: every name once")
    labelled, unlabelled = story.convert(
        options.kind,
        options.source,
        options.target,
        wanted=ConversionOptions(
            dict(options.channel),
            options.label,
            dict(options.keep),
            options.keep_names,
            options.keep_headers,
            tuple(options.series),
            options.newest,
        ),
        leave_out=options.leave_out,
        table=options.table,
        settings=_options.settings(options),
        trusted=tuple(options.trust),
    )
    options.console.result(
        f"{options.target}: {counted(labelled, 'labelled case')}, {unlabelled} without labels (imagesTs)",
        folder=options.target,
        labelled=labelled,
        unlabelled=unlabelled,
    )
