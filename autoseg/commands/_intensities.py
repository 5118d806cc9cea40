"""Flags about the intensities of single channels: bias correction, filters, normalizers."""

from __future__ import annotations

import argparse

from ._flags import words


def add_intensities(command: argparse.ArgumentParser) -> None:
    """CHANNEL is a name or a number, from 0."""
    command.add_argument(
        "--bias-correction",
        type=words,
        default=(),
        metavar="CHANNEL[,...]",
        help="correct the bias field of these channels first (N4; slow), or `all`: of those of MR",
    )
    for flag, example in (("--filter", "T1=median"), ("--normalizer", "FLAIR=histogram")):
        command.add_argument(
            flag,
            action="append",
            default=[],
            type=of_channel,
            dest=f"{flag.removeprefix('--')}s",
            metavar="CHANNEL=NAME",
            help=f"a part for this channel, e.g. {example}; repeatable",
        )


def of_channel(text: str) -> tuple[str, str]:
    """``CHANNEL=NAME``: the name of a part has no ``=``, that of a channel may have one."""
    channel, equals, part = (each.strip() for each in text.rpartition("="))
    if not (channel and equals and part):
        raise argparse.ArgumentTypeError(f"{text!r} names no part for a channel; write CHANNEL=NAME, say T1=median")
    return channel, part
