"""Who validates when: seeded folds, by patient where the user names them, balanced where the user says by what."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..core.names import short
from ..core.patience import at_most
from ..errors import DatasetError, UsageError

MATCHING = 3.0  # seconds for the pattern that names patients
SEED = 12345  # nnU-Net's: with it and without rules, the folds are nnU-Net's folds (sklearn's shuffled KFold)
COUNT = 5
COLUMNS = 8  # of a table of folds: more labels than these are not all shown


@dataclass(frozen=True)
class FoldRules:
    """What the user says about the folds, besides leaving them to chance."""

    group: str | None = None
    """Regular expression whose match in the case key (or its first group) names the patient."""
    group_file: str | None = None
    """``FILE.csv`` or ``FILE.csv:COLUMN``, a table that names the patient of every case."""
    stratify: str | None = None
    """``labels``: every fold validates its share of the cases that have a label; or a table such as that of
    ``group_file``: its share of the cases of every site, scanner, ... that the column names."""


@dataclass(frozen=True)
class Fold:
    """Case keys of one fold."""

    train: tuple[str, ...]
    validation: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("there are no training cases")
        for name in ("train", "validation"):
            twice = [key for key, count in Counter(getattr(self, name)).items() if count > 1]
            if twice:
                raise ValueError(f"{name} names {short(twice[0])!r} twice")
        both = sorted(set(self.train) & set(self.validation))
        if both:
            raise ValueError(f"{short(both[0])!r} trains and validates; it must do one of them")


@dataclass(frozen=True)
class Folds:
    """All folds of a dataset."""

    folds: tuple[Fold, ...]
    group: str | None = None
    group_file: str | None = None
    stratify: str | None = None
    """These three: the ``FoldRules`` by which the folds were made."""
    patients: dict[str, str] = field(default_factory=dict)
    """Case key to patient; empty where every case is a patient. Cases of a patient stay together."""

    def __post_init__(self) -> None:
        for number, fold in enumerate(self.folds if self.patients else ()):
            unnamed = [key for key in (*fold.train, *fold.validation) if key not in self.patients]
            if unnamed:
                raise ValueError(f"folds[{number}] names {short(unnamed[0])!r}, which has no entry in patients")
            both = {self.patients[key] for key in fold.train} & {self.patients[key] for key in fold.validation}
            if both:
                raise ValueError(
                    f"the patient {short(min(both))!r} trains and validates in folds[{number}]; move all cases of a "
                    "patient, or empty `patients`"
                )

    @property
    def rules(self) -> FoldRules:
        return FoldRules(self.group, self.group_file, self.stratify)

    def __getitem__(self, index: int) -> Fold:
        if not self.folds:
            raise UsageError("this dataset has no folds to validate on; train with fold `all`")
        if not 0 <= index < len(self.folds):
            last = len(self.folds) - 1
            raise UsageError(f"there is no fold {short(index)}: this dataset has folds 0-{last}, `all` and `cv`")
        return self.folds[index]

    def named(self, name: str) -> Fold:
        """The fold of a number as it is typed. Raises UsageError."""
        if not re.fullmatch("0|[1-9][0-9]{0,8}", name):  # the name of its folder, too: no other digits, no 00
            raise UsageError(f"fold {short(name)!r} is unknown; give a number, `all` or `cv`")
        return self[int(name)]

    def refuse_unknown(self, keys: Iterable[str], source: object) -> None:
        """Raises DatasetError, beginning with ``source``, for a case that is not among ``keys``."""
        known = set(keys)
        for number, fold in enumerate(self.folds):
            unknown = sorted({*fold.train, *fold.validation} - known)
            if unknown:
                raise DatasetError(
                    f"{source}: fold {number} names {len(unknown)} cases that are not in this dataset: "
                    f"{short(unknown[0])!r}{', ...' if len(unknown) > 1 else ''}"
                )


Traits = Mapping[str, Collection[str]]
"""Case key to what is to be spread evenly: the labels that the case has, or its site."""


def make_folds(
    keys: Iterable[str],
    patients: Mapping[str, str] | None = None,
    traits: Traits | None = None,
    rules: FoldRules = FoldRules(),
    *,
    count: int = COUNT,
    seed: int = SEED,
) -> Folds:
    """Splits the cases into at most ``count`` folds; with fewer patients than that, every patient is a fold.

    ``patients`` maps every case to its patient, None: each case is one. ``traits`` None leaves it to chance who comes
    together, otherwise each trait is spread evenly. ``rules`` are only noted. Raises UsageError for a single patient.
    """
    cases: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys):
        cases[key if patients is None else patients[key]].append(key)
    names = sorted(cases)
    if len(names) < 2:
        raise UsageError(f"cross-validation needs at least two patients, found {len(names)}; train with fold `all`")
    count = min(count, len(names))
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    if traits is None:
        parts = [[names[index] for index in part] for part in np.array_split(order, count)]
    else:
        parts = _spread([names[index] for index in order], cases, traits, count)
    folds = []
    for part in parts:
        held_out = set(part)
        folds.append(
            Fold(
                train=tuple(key for name in names if name not in held_out for key in cases[name]),
                validation=tuple(key for name in names if name in held_out for key in cases[name]),
            )
        )
    named = {} if patients is None else {key: patients[key] for key in sorted(patients) if patients[key] in cases}
    return Folds(tuple(folds), rules.group, rules.group_file, rules.stratify, named)


def _spread(patients: Sequence[str], cases: Mapping[str, Sequence[str]], traits: Traits, count: int) -> list[list[str]]:
    """Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), a patient at a time.

    The trait that the fewest patients still have is dealt out first, each patient to the fold that lacks most of it,
    and among these to the one that lacks most cases.
    """
    has = {name: Counter(trait for key in cases[name] for trait in traits.get(key, ())) for name in patients}
    lacks = [{trait: total / count for trait, total in _total(has.values()).items()} for _ in range(count)]
    room = [sum(len(cases[name]) for name in patients) / count] * count
    parts: list[list[str]] = [[] for _ in range(count)]
    left = list(patients)
    while left:
        common = Counter(trait for name in left for trait in has[name])
        rarest = min(common, key=lambda trait: (common[trait], trait)) if common else None
        dealt = [name for name in left if rarest is None or rarest in has[name]]
        for name in sorted(dealt, key=lambda name: -has[name][rarest] if rarest else 0):  # the largest first
            fold = max(range(count), key=lambda n: (lacks[n][rarest] if rarest else 0.0, room[n], -n))
            parts[fold].append(name)
            room[fold] -= len(cases[name])
            for trait, number in has[name].items():
                lacks[fold][trait] -= number
        left = [name for name in left if name not in dealt]
    return parts  # none is empty: a fold without patients lacks the most of everything


def _total(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total += counter
    return total


def given_folds(splits: Iterable[tuple[Iterable[str], Iterable[str]]], keys: Iterable[str], source: str) -> Folds:
    """Folds that someone else decided, as (train, validation) case keys in the order given.

    Cases may be left out. Raises DatasetError, naming ``source``, for a case that is not among ``keys``, that a fold
    names twice or that trains and validates in it, and for a fold with nothing to train on.
    """
    folds = []
    for number, (train, validation) in enumerate(splits):
        try:
            folds.append(Fold(tuple(train), tuple(validation)))
        except ValueError as error:
            raise DatasetError(f"{source}: fold {number}: {error}") from None
    found = Folds(tuple(folds))
    found.refuse_unknown(keys, source)
    return found


def named_patients(keys: Iterable[str], group: str) -> dict[str, str]:
    """Case key to patient by the regular expression ``group``. Raises UsageError where it cannot name every patient."""
    try:
        expression = re.compile(group)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"--group {short(group)!r} is not a regular expression: {error}") from None
    patients = {}
    slow = UsageError(f"--group {short(group)!r} takes too long on these names: it repeats what repeats itself")
    with at_most(MATCHING, slow):
        for key in keys:
            match = expression.search(key)
            patient = None if match is None else match.group(1) if expression.groups else match.group()
            if patient is None:
                raise UsageError(
                    f"--group {short(group)!r} does not match case {key!r}; it must name the patient of every case"
                )
            patients[key] = patient
    return patients


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


def fold_table(folds: Folds, traits: Traits) -> str:
    """What each fold validates on, as aligned text: cases, patients, cases with each trait (the rarest if many)."""
    totals = _total(Counter(set(found)) for found in traits.values())
    shown = sorted(totals) if len(totals) <= COLUMNS else sorted(totals, key=lambda trait: totals[trait])[:COLUMNS]
    patients = ["patients"] if folds.patients else []
    rows = [["fold", "validates on", *patients, *shown]]
    for number, fold in enumerate(folds.folds):
        counts = _total(Counter(set(traits.get(key, ()))) for key in fold.validation)
        named = [str(len({folds.patients[key] for key in fold.validation}))] if folds.patients else []
        rows.append([str(number), str(len(fold.validation)), *named, *(str(counts[trait]) for trait in shown)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    text = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)
    return text if len(shown) == len(totals) else f"{text}\n(the rarest {len(shown)} of {len(totals)})"
