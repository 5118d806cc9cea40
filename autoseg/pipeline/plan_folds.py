"""Who validates when, decided while planning, written to folds.json and shown."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.files import regular_file
from ..core.labels import names_of
from ..core.names import short
from ..core.records import write_json
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..data.folds import FoldRules, Folds, Traits, fold_table, likely_group, make_folds, named_patients
from ..errors import DatasetError, UsageError
from ..interop.nnunet_splits import NAME as SPLITS
from ..interop.nnunet_splits import read_splits
from ..workspace import DatasetFolder

LOG = logging.getLogger("autoseg")


def decide_folds(
    files: DatasetFolder, dataset: Dataset, measured: Fingerprint, rules: FoldRules | None, plans: Path | None = None
) -> Folds:
    """``rules`` None keeps those of before, and the folds too if no case changed. Nothing is written.

    Where nobody has named rules, a ``splits_final.json`` says who validates when: in the dataset's folder, or else
    beside nnU-Net's ``plans``, from which one has planned. Raises UsageError for rules that do not fit the cases,
    DatasetError for a file that does not.
    """
    rules = rules and _wherever(rules)
    before = files.read_folds() if files.folds.exists() else None
    given = _given(dataset, rules or (before.rules if before else FoldRules()), plans)
    if given is not None:
        return given
    if rules is None and before is not None and _covers(before, dataset):
        return before
    return _made(dataset, label_presence(dataset, measured), rules or (before.rules if before else FoldRules()))


def write_folds(files: DatasetFolder, dataset: Dataset, measured: Fingerprint, folds: Folds) -> None:
    """Keeps those of before, if they were others, and shows the new ones."""
    before = files.read_folds() if files.folds.exists() else None
    if before is not None and before != folds:
        LOG.warning(
            "the folds have changed; runs trained on the old ones, kept as %s, no longer validate on unseen cases",
            files.old_folds,
        )
        write_json(files.old_folds, before)
    likely = likely_group(dataset.keys)
    if likely and not folds.patients:
        LOG.warning("several cases seem to belong to one patient; to keep them in one fold: --group '%s'", likely)
    write_json(files.folds, folds)
    if folds.folds:
        present = label_presence(dataset, measured)
        LOG.info("folds, and how many validation cases of each have a label:\n%s", fold_table(folds, present))


def _wherever(rules: FoldRules) -> FoldRules:
    """The rules with absolute paths: new cases may be planned from another folder."""
    tables = {"group_file": rules.group_file, "stratify": None if rules.stratify == "labels" else rules.stratify}
    return replace(rules, **{name: str(Path(table).absolute()) for name, table in tables.items() if table})


def _given(dataset: Dataset, rules: FoldRules, plans: Path | None) -> Folds | None:
    """The folds that lie beside the images or the plans, unless there are rules."""
    folders = [Path(dataset.folder), *([] if plans is None else [plans.absolute().parent])]
    path = next((folder / SPLITS for folder in folders if (folder / SPLITS).is_file()), None)
    if path is None:
        return None
    if rules != FoldRules():
        LOG.warning("%s is not used, since --group, --group-file or --stratify say how to make the folds", path)
        return None
    try:
        folds = read_splits(path, dataset.keys)
    except DatasetError as error:
        if path.parent == folders[0]:
            raise
        LOG.warning("not used, since these plans may be another dataset's: %s", error)
        return None
    LOG.info("the %d folds are those of %s", len(folds.folds), path)
    return folds


def _covers(folds: Folds, dataset: Dataset) -> bool:
    return {key for fold in folds.folds for key in fold.validation} == set(dataset.keys)


def _made(dataset: Dataset, present: Traits, rules: FoldRules) -> Folds:
    if len(dataset.cases) < 2:
        LOG.warning("one case only: there is nothing to validate on; train with fold `all`")
        return Folds(())
    patients, traits = patients_of(dataset.keys, rules), None
    if rules.stratify == "labels":
        if not present:
            raise UsageError("--stratify labels: it is not known who has which label; run `autoseg fingerprint` again")
        traits = present
    elif rules.stratify is not None:
        traits = {key: (value,) for key, value in read_column(rules.stratify, dataset.keys, "--stratify").items()}
    return make_folds(dataset.keys, patients, traits, rules)


def patients_of(keys: Sequence[str], rules: FoldRules) -> Mapping[str, str] | None:
    """Case key to patient; None where the rules name none. Raises UsageError where they do not name every one."""
    if rules.group_file is not None:
        return read_column(rules.group_file, keys, "--group-file")
    return None if rules.group is None else named_patients(keys, rules.group)


def label_presence(dataset: Dataset, measured: Fingerprint) -> Traits:
    """Case key to the names of the labels, or regions, that it has; empty where an old fingerprint does not tell."""
    found = {}
    for key, case in measured.cases.items():
        if case.labels is None:
            return {}
        found[key] = names_of(dataset.labels, case.labels)
    return found


def read_column(source: str, keys: Sequence[str], flag: str) -> Mapping[str, str]:
    """Case key to its entry in ``source``, ``FILE.csv`` or ``FILE.csv:COLUMN``.

    Cases stand in the column ``case``, or else the first one; COLUMN defaults to the first other one. Raises UsageError
    for a file or column that is not there, and for cases without an entry.
    """
    match = re.fullmatch(r"(.+\.[cCtT][sS][vV])(?::(.+))?", source)
    if match is None:
        raise UsageError(f"{flag} {source!r} is no table; give FILE.csv or FILE.csv:COLUMN")
    path, column = Path(match[1]), match[2]
    try:
        with regular_file(path) as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{flag}: {path} cannot be read ({error})") from None
    header = text.split("\n", 1)[0]
    rows = csv.reader(text.splitlines(), delimiter=max(",;\t", key=header.count))
    try:
        names, *listed = [[cell.strip() for cell in row] for row in rows if row] or [[""]]
    except csv.Error as error:
        raise UsageError(f"{flag}: {path} is no table ({error})") from None
    cases = names.index("case") if "case" in names else 0
    others = [name for place, name in enumerate(names) if place != cases]
    column = column or (others[0] if others else "")
    if column not in others:
        there = short(", ".join(names), 500)
        raise UsageError(f"{flag}: {path} has no column {column!r} beside {short(names[cases])!r}; it has {there}")
    place = next(place for place, name in enumerate(names) if name == column and place != cases)
    entries = {row[cases]: row[place] for row in listed if len(row) > max(cases, place)}
    missing = [key for key in keys if not entries.get(key)]
    if missing:
        raise UsageError(f"{flag}: {path} has no {column} for {len(missing)} cases, {missing[0]!r} among them")
    return {key: entries[key] for key in keys}
