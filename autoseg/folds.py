"""Who validates when: seeded folds, by patient where the user names the group."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .errors import DatasetError, UsageError

SEED = 12345  # nnU-Net's: with it and without groups, the folds are nnU-Net's folds (sklearn's shuffled KFold)
COUNT = 5


@dataclass(frozen=True)
class Fold:
    """Case keys of one fold."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True)
class Folds:
    """All folds of a dataset."""

    folds: tuple[Fold, ...]
    group: str | None = None
    """Regular expression whose match in the case key names the patient; cases of a patient stay together."""

    def __getitem__(self, index: int) -> Fold:
        if not 0 <= index < len(self.folds):
            last = len(self.folds) - 1
            raise UsageError(f"there is no fold {index}: this dataset has folds 0-{last}, `all` and `cv`")
        return self.folds[index]


def make_folds(keys: Iterable[str], group: str | None = None, count: int = COUNT, seed: int = SEED) -> Folds:
    """Splits the cases into at most ``count`` folds; with fewer patients than that, every patient is a fold.

    Raises UsageError when ``group`` is no regular expression, does not match a case or leaves a single patient.
    """
    patients = _patients(sorted(keys), group)
    names = list(patients)
    if len(names) < 2:
        raise UsageError(f"cross-validation needs at least two patients, found {len(names)}; train with fold `all`")
    count = min(count, len(names))
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    parts = np.array_split(order, count)
    folds = []
    for part in parts:
        held_out = {names[index] for index in part}
        folds.append(
            Fold(
                train=tuple(key for name in names if name not in held_out for key in patients[name]),
                validation=tuple(key for name in names if name in held_out for key in patients[name]),
            )
        )
    return Folds(tuple(folds), group)


def given_folds(splits: Iterable[tuple[Iterable[str], Iterable[str]]], keys: Iterable[str], source: str) -> Folds:
    """Folds that someone else decided, as (train, validation) case keys in the order given.

    Cases may be left out. Raises DatasetError, naming ``source``, for a case that is not among ``keys`` or that trains
    and validates in one fold, and for a fold with nothing to train on.
    """
    known, folds = set(keys), []
    for number, (train, validation) in enumerate(splits):
        fold = Fold(tuple(train), tuple(validation))
        both = sorted(set(fold.train) & set(fold.validation))
        unknown = sorted({*fold.train, *fold.validation} - known)
        if unknown:
            raise DatasetError(f"{source}: fold {number} names {unknown[0]!r}, which is no case of this dataset")
        if both:
            raise DatasetError(f"{source}: {both[0]!r} trains and validates in fold {number}; it must do one of them")
        if not fold.train:
            raise DatasetError(f"{source}: fold {number} has no training cases")
        folds.append(fold)
    return Folds(tuple(folds))


def likely_group(keys: Iterable[str]) -> str | None:
    """A pattern that would join cases which look like several scans of one patient, or None.

    Looks for a first number in the key (``patient001_frame01``) that several, but not all, cases share.
    """
    pattern = r"^\D*\d+"
    found = [re.match(pattern, key) for key in keys]
    if not all(found):
        return None
    names = {match.group() for match in found if match}
    return pattern if 1 < len(names) <= len(found) / 2 else None


def _patients(keys: list[str], group: str | None) -> dict[str, list[str]]:
    """Patient name to case keys, both sorted."""
    if group is None:
        return {key: [key] for key in keys}
    try:
        expression = re.compile(group)
    except re.error as error:
        raise UsageError(f"--group {group!r} is not a regular expression: {error}") from None
    patients: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        match = expression.search(key)
        if match is None:
            raise UsageError(f"--group {group!r} does not match case {key!r}; it must name the patient of every case")
        patients[match.group(1) if expression.groups else match.group()].append(key)
    return dict(sorted(patients.items()))
