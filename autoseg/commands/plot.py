"""`autoseg plot`."""

from __future__ import annotations

import argparse
import math
from argparse import ArgumentParser, Namespace

from ..core.names import short
from . import _flags

HELP = "draw images with their labels in three planes, in one slice or in all, as PNG or SVG"
EXAMPLES = (
    "autoseg plot scan_0000.nii.gz --labels results/scan.nii.gz -o scan.png",
    "autoseg plot t1.nii flair.nii --labels scan.nii --reference own.nii -o p.svg",
    "autoseg plot ct.nii --labels out.nii --sheet --window=-160,240 -o slices.png",
)
PLANES = ("axial", "coronal", "sagittal")
MOST = 10**6  # slices, channels
TINT = 0.3


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "image", nargs="+", type=_flags.path, metavar="IMAGE", help="one image, or several on one grid: a row each"
    )
    command.add_argument(
        "-o", "--output", type=_flags.path, required=True, metavar="FILE", help="ends in .png or .svg (vector outlines)"
    )
    command.add_argument(
        "--labels",
        type=_flags.path,
        metavar="FILE",
        help="label map to draw on them; dataset.json beside it, as predict writes it, or one folder above names its "
        "labels",
    )
    command.add_argument("--reference", type=_flags.path, metavar="FILE", help="another label map, as a dotted line")
    command.add_argument(
        "--plane",
        choices=PLANES,
        help="axial (seen from the feet), coronal (from the front) or sagittal (from the left); default: all three, "
        "and axial with --slice or --sheet",
    )
    command.add_argument(
        "--slice",
        type=_flags.whole(1, MOST),
        metavar="N",
        help="counted from 1, from the feet, the front or the right (default: the slice with most labelled voxels)",
    )
    command.add_argument("--sheet", action="store_true", help="all slices of the plane, side by side")
    command.add_argument(
        "--window",
        type=window,
        metavar="LOW,HIGH",
        help="values drawn black and white, e.g. --window=-160,240 (default: the 0.5th and 99.5th percentile)",
    )
    command.add_argument(
        "--opacity",
        type=_flags.number(0, 1),
        default=TINT,
        metavar="X",
        help=f"of the labels' colours, 0: outlines only (default: {TINT:g})",
    )
    command.add_argument("--no-contours", action="store_true", help="draw no outlines of labels")
    command.add_argument(
        "--channel",
        type=_flags.whole(0, MOST),
        metavar="N",
        help="of images that hold several, counted from 0 (default: the first; of a colour picture its colours)",
    )


def window(text: str) -> tuple[float, float]:
    """``-160,240``."""
    try:
        low, high = (float(value) for value in text.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise argparse.ArgumentTypeError(f"{short(text)!r} should be LOW,HIGH: two values, the lower one first")
    return low, high


def run(options: Namespace) -> None:
    from ..reporting.plot import Wish, plot

    wish = Wish(
        plane=options.plane,
        slice=options.slice,
        sheet=options.sheet,
        window=options.window,
        opacity=options.opacity,
        contours=not options.no_contours,
        channel=options.channel,
    )
    path = plot(options.image, options.output, labels=options.labels, reference=options.reference, wish=wish)
    options.console.result(f"{path}", file=path)
