"""What is odd about a case only beside the others: other units, empty or copied channels, labels that nobody has.

Nothing here is absolute: voxels of a micrometre are fine where all images have them. What may be meant so is a note;
an error is only what cannot be right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ..core.geometry import Geometry
from ..core.labels import Labels, names_of
from ..core.masks import MaskLabels
from ..core.names import short
from ..data.fingerprint import CaseFingerprint, ChannelFingerprint, Fingerprint
from ..data.folds import Folds
from .problem import Problem

ALL = "all cases"
FAR = 20.0  # times larger or smaller than usual, voxels and field of view alike: of bodies, finger and trunk are closer
UNUSUAL = 10.0  # slices of 0.5 mm among those of 5 mm are usual
GAP = 5.0  # times as far off as all that are not: where sizes of every kind occur, none is wrong
RANGE = 100.0  # times the usual range of values: scanners differ by less, units do not
RARE = 20  # of so many cases, one may have another range; more are a kind of their own
FEW_VALUES, MANY_VALUES = 8, 64  # of the values that are looked at in an image: a mask, and an image
FEWEST = 3  # cases that show what is usual
AIR, TISSUE = 800.0, 700.0  # Hounsfield units: how much higher an image lies from which 1024 was not subtracted

_UNITS = "Correct the spacing in these files if it is not that in mm (micrometres? metres?), or leave these cases out."
_SIZES = "Fine if these images are meant to be so; otherwise correct the spacing in the files."
_EMPTY = "Fine where a channel was filled because it is missing; otherwise export the image again."
_KIND = "Look at these images: is it the right file, the right kind of image, the right unit?"
_COPY = "Fine where a missing channel was filled with another; otherwise one of the files is the wrong one."
_COPIES = "Remove the copies, or keep them in one fold with --group; otherwise the scores will be too good."
_LABELS = "Fine if you know it; otherwise correct the labels in dataset.json, or use --stratify labels for the folds."


def unusual_grids(geometries: Mapping[str, Geometry]) -> list[Problem]:
    """Cases whose voxels or fields of view are not of the others' order of magnitude, however they lie."""
    problems = []
    for dimensions in (2, 3):
        found = {key: each for key, each in geometries.items() if each.dimensions == dimensions}
        if len(found) > 1:
            problems += _unusual_grids(found, dimensions)
    return problems


def _unusual_grids(geometries: Mapping[str, Geometry], dimensions: int) -> list[Problem]:
    spacing = np.array([each.spacing[-dimensions:] for each in geometries.values()])
    extent = spacing * [each.shape[-dimensions:] for each in geometries.values()]
    sizes = np.log10(np.sort([spacing, extent], axis=2))  # files lie in any orientation
    off = sizes - (np.median(sizes, axis=1, keepdims=True) if len(geometries) >= FEWEST else sizes[:, ::-1])
    both = np.maximum(
        off.min(axis=0).max(axis=1), (-off).min(axis=0).max(axis=1)
    )  # larger, or smaller, in both respects
    far = both >= np.log10(FAR)
    if far.any() and not far.all():
        far &= both >= np.log10(GAP) + both[~far].max()
    unusual = (np.abs(off) >= np.log10(UNUSUAL)).any(axis=(0, 2))
    odd = far | unusual
    problems = []
    for index in np.flatnonzero(odd):
        others, other = _beside(int(index), off, odd)
        what = (
            f"voxels of {_lengths(spacing[index])} mm, {_lengths(extent[index])} mm in all; "
            f"{others} {_lengths(spacing[other])} and {_lengths(extent[other])}"
        )
        wrong = bool(far[index])
        key = list(geometries)[index]
        problems.append(Problem(key, "", what, _UNITS if wrong else _SIZES, "error" if wrong else "note"))
    return problems


def _beside(index: int, off: np.ndarray, odd: np.ndarray) -> tuple[str, int]:
    """The case to compare with, and what it is: a median of its own may be that of no case."""
    if odd.all():  # as many are large as small, and nobody knows which are right
        apart = np.abs(off - off[:, index : index + 1]).sum(axis=(0, 2))
        return ("the other has" if len(odd) == 2 else "others have"), int(apart.argmax())
    return "usual are", int(np.where(odd, np.inf, np.abs(off).sum(axis=(0, 2))).argmin())


def unusual_values(cases: Mapping[str, CaseFingerprint], channels: Sequence[str]) -> list[Problem]:
    """Channels that are constant, or whose values are of another kind than those of the same channel elsewhere."""
    problems = []
    for channel, name in enumerate(channels):
        measured = {key: case.channels[channel] for key, case in cases.items() if len(case.channels) == len(channels)}
        found = {key: each for key, each in measured.items() if each is not None}
        called = f"channel {channel} ({short(name, 40)})"
        varied = {key: each for key, each in found.items() if each.maximum > each.minimum}
        problems += [
            Problem(key, "", f"{called} is {each.minimum:g} everywhere", _EMPTY, "note")
            for key, each in found.items()
            if key not in varied
        ]
        odd = _odd(varied, name.casefold() == "ct") if len(varied) >= FEWEST else {}
        problems += [Problem(key, "", f"{called} {what}", _KIND, "note") for key, what in odd.items()]
    return problems


def _odd(found: Mapping[str, ChannelFingerprint], hounsfield: bool) -> dict[str, str]:
    """Case to how its values differ from what is usual."""
    # Where almost all is background, all of the sample may be: then the whole range counts a little.
    spread = np.log10([max(each.high - each.low, 1e-6 * (each.maximum - each.minimum)) for each in found.values()])
    off = np.abs(spread - np.median(spread))
    far = off >= np.log10(RANGE)
    if far.any() and not far.all():
        far &= off >= np.log10(GAP) + off[~far].max()
    if far.sum() > max(1, len(found) // RARE):
        far[:] = False  # another scanner, and none of its images is odd
    low, middle, values = (
        float(np.median([getattr(each, name) for each in found.values()])) for name in ("minimum", "median", "distinct")
    )
    odd = {}
    for (key, each), differs in zip(found.items(), far):
        if each.distinct <= FEW_VALUES and values >= MANY_VALUES:
            odd[key] = f"looks like a mask: {each.distinct} different values, usual are {values:.0f} and more"
        elif hounsfield and each.minimum > low + AIR and each.median > middle + TISSUE:
            odd[key] = f"begins at {each.minimum:g} with a median of {each.median:g}, usual are {low:g} and {middle:g}"
        elif differs:
            usual = 10 ** float(np.median(spread))
            odd[key] = f"has values from {each.low:.3g} to {each.high:.3g}, the usual range is {usual:.3g} wide"
    return odd


def copies(cases: Mapping[str, CaseFingerprint]) -> list[Problem]:
    """Images, or single channels, whose voxels another case has, too.

    A note and no error: two readers' labels of one image are a legitimate dataset. It must be seen all the same, since
    one of them in training and the other in validation makes the scores too good.
    """
    whole: dict[tuple[tuple[int, str], ...], str] = {}
    single: dict[str, tuple[str, int]] = {}
    problems = []
    for key, case in cases.items():
        channels = {number: each for number, each in enumerate(case.channels) if each is not None}
        if all(each.maximum <= each.minimum for each in channels.values()):
            continue  # constant images are alike; that they are constant is said
        first = whole.setdefault(tuple((number, each.voxels) for number, each in channels.items()), key)
        if first != key:
            problems.append(Problem(key, "", f"has the same images as {first}", _COPIES, "note"))
            continue
        told: set[str] = set()
        for channel, each in channels.items():
            other, number = single.setdefault(each.voxels, (key, channel))
            if other not in (key, *told) and each.maximum > each.minimum:
                told.add(other)
                what = f"channel {channel} holds the same voxels as channel {number} of {other}"
                problems.append(Problem(key, "", what, _COPY, "note"))
    return problems


def absent_labels(fingerprint: Fingerprint, labels: Labels) -> list[Problem]:
    """Labels that are named and that no case has."""
    known = [case.labels for case in fingerprint.cases.values() if case.labels is not None]
    there = _names(known, labels)
    return [
        Problem(ALL, "", f"no case has any voxel of {_called(name, values, labels)}", _LABELS, "note")
        for name, values in labels.foreground.items()
        if known and there and name not in there
    ]


def untrained_labels(fingerprint: Fingerprint, labels: Labels, folds: Folds) -> list[Problem]:
    """Labels that some case has, but none of those on which a fold trains."""
    there = _names([case.labels or () for case in fingerprint.cases.values()], labels)
    missing: dict[int, list[str]] = {}
    for number, fold in enumerate(folds.folds):
        cases = [fingerprint.cases[key].labels or () for key in fold.train if key in fingerprint.cases]
        trained = _names(cases, labels)
        missing[number] = [name for name in labels.foreground if name in there and name not in trained]
    return [
        Problem(
            ALL, "", f"fold {number} trains on no case with label {', '.join(map(short, names[:10]))}", _LABELS, "note"
        )
        for number, names in missing.items()
        if names
    ]


def _names(cases: Sequence[Sequence[int]], labels: Labels) -> set[str]:
    """Of what any case holds."""
    return set(names_of(labels, {number for case in cases for number in case}))


def _called(name: str, values: Sequence[int], labels: Labels) -> str:
    if isinstance(labels, MaskLabels):
        return f"mask {short(name)!r}"
    return f"label {short(name)!r} (value {', '.join(map(str, values[:10]))})"


def _lengths(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values.tolist())


def alike_names(keys: Sequence[str]) -> list[Problem]:
    """Cases whose names are one name on systems that do not tell upper from lower case."""
    lower = Counter(key.casefold() for key in keys)
    cure = "Rename them before these files are copied to Windows, macOS or a USB stick."
    return [
        Problem(key, "", "differs from another case in upper and lower case only", cure, "note")
        for key in keys
        if lower[key.casefold()] > 1
    ]
