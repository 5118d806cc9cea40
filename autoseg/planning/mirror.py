"""Along which axes images may be mirrored: not along one that turns a label into its counterpart on the other side.

A network that has learned from mirrored images cannot tell a left kidney from a right one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ..core.geometry import FILE_AXES, axis_along
from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..data.fingerprint import Fingerprint, Structure

_LEFTS_AND_RIGHTS = (
    ("left l lt lft", "right r rt rgt"),
    ("lh", "rh"),  # FreeSurfer's hemispheres
    ("links linke linker linkes li", "rechts rechte rechter rechtes re"),
    ("gauche gauches", "droit droite droits droites"),
    ("izquierdo izquierda izq", "derecho derecha der"),
    ("esquerdo esquerda esq", "direito direita dir"),
    ("sinistro sinistra sx sinister sinistrum sin", "destro destra dx dexter dextra dextrum dext dex"),
    ("\u5de6", "\u53f3"),  # Chinese and Japanese: 左 and 右
)
SIDES = tuple(
    (left, right) for lefts, rights in _LEFTS_AND_RIGHTS for left in lefts.split() for right in rights.split()
)
"""Words of label names. A pair of labels is one only where nothing but these words differs."""
_ALONE = "\u5de6\u53f3"  # words that stand among others without spaces
USUAL_LEFT_RIGHT = 2  # x, where the files do not say: scanners write axial slices this way

# Measured, pairs against all others: thalamus, caudate, putamen, pallidum (7 brains) and kidneys (8 abdomens) lie upon
# each other by 0.96 or more when mirrored and by 0.16 or less when not. The nearest others are right ventricle and
# myocardium (40 hearts), 0.92 and 0.66, and of labels that lie apart, pallidum and the other side's putamen, 0.84.
MIRRORED_OVERLAP = 0.9
OVERLAP = 0.4
OFF_CENTRE = 0.1  # of the image: how far the plane between the two labels may lie from the middle
SIZES = 1.5  # the larger may have this many times the voxels of the smaller
FEWEST_CASES = 3  # in fewer, any two lesions may happen to look like a pair
SMALLEST_SPREAD = 0.01  # of the image: below this, standard deviations say more about voxels than about structures


@dataclass(frozen=True)
class MirrorImages:
    """Two labels that mirroring the images along ``axis`` of the files would exchange."""

    first: str
    second: str
    axis: int
    why: str


def mirror_axes(
    labels: Labels,
    fingerprint: Fingerprint,
    *,
    planned: bool = True,
    wish: tuple[int, ...] | None = None,
    orientation: str | None = None,
) -> tuple[tuple[int, ...], str]:
    """Axes of the files along which images may be mirrored, and why; of the turned images, where there is an
    ``orientation`` to which all are turned.

    ``planned`` False is a planner that mirrors along no axis; ``wish`` comes before it and before the rule.
    """
    pairs = mirror_images(labels, fingerprint, orientation)
    taken = {pair.axis for pair in pairs}
    by_rule = tuple(axis for axis in range(3) if axis not in taken and planned)
    axes = by_rule if wish is None else wish
    along = f"along the {', '.join(FILE_AXES[axis] for axis in axes)} of the files" if axes else "along no axis"
    told = "; ".join(_told(axis, [pair for pair in pairs if pair.axis == axis]) for axis in sorted(taken))
    if wish is not None or not planned:
        why = "this planner never mirrors" if wish is None else "as you asked"
        return axes, f"{along}, {why}" + (f"; otherwise it would be {told}" if told else "")
    how = "" if fingerprint.structures else " by their names (where they lie was not measured)"
    return axes, f"{along}, {told}" if told else f"{along}, no two labels are each other's mirror image{how}"


def _told(axis: int, pairs: Sequence[MirrorImages]) -> str:
    first, more = pairs[0], len(pairs) - 1
    others = f", and {more} more {'pair' if more == 1 else 'pairs'}" if more else ""
    return f"not along the {FILE_AXES[axis]}: {first.first} and {first.second} are mirror images {first.why}{others}"


def mirror_images(labels: Labels, fingerprint: Fingerprint, orientation: str | None = None) -> list[MirrorImages]:
    """Pairs of labels that are each other's mirror image: by their names, or by where their voxels lie.

    Files may lie differently: a pair comes once for every axis that would exchange its labels in any case.
    """
    found = _by_name(labels, fingerprint, orientation)
    told = {(frozenset((pair.first, pair.second)), pair.axis) for pair in found}
    by_place = [
        each
        for pair in _by_place(labels, fingerprint.structures)
        for each in _everywhere(pair, fingerprint, orientation)
    ]
    return found + [pair for pair in by_place if (frozenset((pair.first, pair.second)), pair.axis) not in told]


def _by_name(labels: Labels, fingerprint: Fingerprint, orientation: str | None) -> list[MirrorImages]:
    """Names that differ in one word, which says left in one and right in the other."""
    by_words = {_words(name): name for name in labels.foreground}
    axes = _left_right(fingerprint, orientation)
    found = []
    for words, name in by_words.items():
        for place, word in enumerate(words):
            rights = (right for left, right in SIDES if left == word)
            others = (by_words.get((*words[:place], right, *words[place + 1 :])) for right in rights)
            pairs = [(name, other) for other in others if other is not None]
            found += [MirrorImages(*pair, axis, why) for pair in pairs for axis, why in axes.items()]
    return found


def _left_right(fingerprint: Fingerprint, orientation: str | None) -> dict[int, str]:
    """Every axis that is the patient's left-right in any case, the most frequent first, and how that is known."""
    if orientation is not None:
        directions = Counter([axis_along(orientation, "L")])
    else:
        directions = Counter(case.left_right for case in fingerprint.cases.values() if case.left_right is not None)
    if not directions:
        return {
            USUAL_LEFT_RIGHT: f"by their names (the {FILE_AXES[USUAL_LEFT_RIGHT]} is taken as the patient's left-right)"
        }
    cases = sum(directions.values())
    return {
        axis: f"by their names (the {FILE_AXES[axis]} is the patient's left-right{_in_some(count, cases)})"
        for axis, count in directions.most_common()
    }


def _everywhere(pair: MirrorImages, fingerprint: Fingerprint, orientation: str | None) -> list[MirrorImages]:
    """A pair that was found in files of the usual orientation, for every axis that is the same axis of the patient."""
    usual = fingerprint.orientation
    if usual is None:
        return [pair]
    letter = usual[2 - pair.axis]
    if orientation is not None:
        return [replace(pair, axis=axis_along(orientation, letter))]
    cases = [case.orientation or usual for case in fingerprint.cases.values()]
    axes = Counter(axis_along(each, letter) for each in cases)
    return [replace(pair, axis=axis, why=pair.why + _in_some(axes[axis], len(cases))) for axis in sorted(axes)]


def _in_some(count: int, cases: int) -> str:
    return "" if count == cases else f" in {count} of {cases} cases"


def _words(name: str) -> tuple[str, ...]:
    """``LeftKidney``, ``left_kidney`` and ``left kidney`` are the same two words, ``kidney1L`` is ``kidney1 L``."""
    spaced = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=\d)(?=[LR](?![^\W\d_]))", " ", name)
    spaced = re.sub(f"([{_ALONE}])", r" \1 ", spaced)
    return tuple(re.split(r"[\W_]+", spaced.casefold().strip()))


def _by_place(labels: Labels, structures: Sequence[Structure | None]) -> list[MirrorImages]:
    """Labels that lie apart, and upon each other once one of them is mirrored at the plane between them."""
    if isinstance(labels, MaskLabels):
        names = list(labels.masks)
    else:
        by_value = {values[0]: name for name, values in labels.foreground.items() if len(values) == 1}
        names = [by_value.get(value, f"value {value}") for value in labels.values[1:]]
    present = [
        (name, structure)
        for name, structure in zip(names, structures)
        if structure is not None and structure.cases >= FEWEST_CASES
    ]
    found = []
    for (first, one), (second, other) in combinations(present, 2):
        if max(one.share, other.share) > SIZES * min(one.share, other.share):
            continue
        unmirrored = overlap(one, other)
        for axis in range(3):
            if unmirrored > OVERLAP or abs((one.centre[axis] + other.centre[axis]) / 2 - 0.5) > OFF_CENTRE:
                continue
            mirrored = overlap(_mirrored(one, other, axis), other)
            if mirrored >= MIRRORED_OVERLAP:
                why = f"by where they lie (overlap {mirrored:.2f} when mirrored, else {unmirrored:.2f})"
                found.append(MirrorImages(first, second, axis, why))
    return found


def _mirrored(one: Structure, other: Structure, axis: int) -> Structure:
    """``one`` at the other side of the plane halfway between the two."""
    z, y, x = (other.centre[i] if i == axis else edge for i, edge in enumerate(one.centre))
    zz, yy, xx, zy, zx, yx = one.covariance
    signs = [-1 if axis in pair else 1 for pair in ((0, 1), (0, 2), (1, 2))]
    covariance = (zz, yy, xx, signs[0] * zy, signs[1] * zx, signs[2] * yx)
    return Structure(one.cases, one.share, (z, y, x), covariance)


def overlap(one: Structure, other: Structure) -> float:
    """Bhattacharyya's coefficient of two normal distributions: 1 for equal ones, 0 for those that never meet."""
    first, second = _covariance(one), _covariance(other)
    mean = (first + second) / 2
    offset = np.subtract(one.centre, other.centre)
    volumes = math.sqrt(np.linalg.det(first) * np.linalg.det(second)) / np.linalg.det(mean)
    return float(math.sqrt(volumes) * math.exp(-offset @ np.linalg.solve(mean, offset) / 8))


def _covariance(structure: Structure) -> np.ndarray:
    zz, yy, xx, zy, zx, yx = structure.covariance
    return np.array([[zz, zy, zx], [zy, yy, yx], [zx, yx, xx]]) + SMALLEST_SPREAD**2 * np.eye(3)
