"""From other people's folders to a dataset in nnU-Net's raw layout."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ..core.digests import file_digest
from ..core.family import Family
from ..core.files import atomic_file, regular_file, remove_unfinished
from ..core.labels import MOST_LABELS
from ..core.locks import alone
from ..core.names import first_of, path_name, short, shown_name
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.records import read_json, write_json
from ..errors import AutosegError, DatasetError
from ..interop.conversion import ENDING, Conversion, ConversionOptions, Found, FoundCase, Source
from ..interop.patterns import Patterns
from ..parts.readers import read_labels
from ..settings import RunSettings
from .found_grids import grid_problem, shown

LOG = logging.getLogger("autoseg")
CONVERSIONS = Family("autoseg.interop.conversions", "CONVERSION")
MOST_LISTED, LONGEST_PROBLEM, LONGEST_LIST = 20, 500, 1500  # lines, characters of a line, of all
MARK, LOCK = ".converting", ".convert.lock"  # of a conversion that has not ended
LONGEST_NAME = 100  # characters of a case's name, before _0000.nii.gz
COMPUTED = tuple("=+-@\t\r")  # begins a formula in a spreadsheet


def convert(
    kind: str,
    source: Path,
    target: Path,
    *,
    wanted: ConversionOptions | None = None,
    leave_out: bool = False,
    table: Path | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> tuple[int, int]:
    """Writes ``source`` as the dataset ``target``; returns how many labelled and how many unlabelled cases it has.

    ``kind`` is a file of ``interop/conversions`` or a JSON file with ``Patterns``; ``table`` is a file to write that
    says where every case comes from. Raises DatasetError listing every case that cannot be converted, unless these are
    to be left out: nothing has been written then but, where only voxels are damaged, the other cases. What an
    interrupted conversion has written is kept.
    """
    settings = settings or RunSettings()
    if not source.is_dir():
        raise DatasetError(f"{source}: there is no such folder")
    _refuse_dataset(target)
    wanted = wanted or ConversionOptions()
    found = _conversion(kind, trusted).find(source.absolute(), wanted)
    _refuse_names(found)
    cases, problems = _sound(found, settings.threads)
    _report(problems, leave_out, len(cases))
    if table is not None:
        _write_table(cases, table)
    with _only_of(_digest(kind, source, wanted, found), target):
        failed = _write_all(cases, len(found.channels), target, settings.threads)
        cases = [case for case in cases if case.key not in failed]
        _report(list(failed.values()), leave_out, len(cases))
        labelled = [case for case in cases if case.label is not None]
        if labelled:
            write_json(target / "dataset.json", _described(found, target, len(labelled)))
    return len(labelled), len(cases) - len(labelled)


def _refuse_dataset(target: Path) -> None:
    if (target / "dataset.json").exists():
        raise DatasetError(f"{target} is a dataset already; remove it, or choose another folder")


def _digest(kind: str, source: Path, wanted: ConversionOptions, found: Found) -> str:
    """Of all that decides what a file of the dataset is made from."""
    of_file = file_digest(Path(kind)) if kind.endswith(".json") else ""
    decided = [kind, of_file, str(source.absolute()), asdict(wanted), found.channels, found.labels]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()


@contextmanager
def _only_of(digest: str, target: Path) -> Iterator[None]:
    """Nobody else converts into ``target``, and what lies there was begun by the same conversion.

    What an interrupted one has written is kept, so that of another one would be taken for cases of this one.
    """
    mark, lock = target / MARK, target / LOCK
    try:
        with alone(lock, "convert"):
            try:
                _refuse_dataset(target)
            except DatasetError:  # it was made while this one waited
                _take_away(lock)
                raise
            if mark.is_file() and mark.read_text(encoding="utf-8", errors="replace") != digest:
                raise DatasetError(
                    f"{target} holds what another conversion has left unfinished: give the same command again as then, "
                    "remove the folder, or choose another one"
                )
            with atomic_file(mark) as temporary:
                temporary.write_text(digest, encoding="utf-8")
            yield
            mark.unlink(missing_ok=True)
            _take_away(lock)  # who waits for it finds a dataset
    except OSError as error:
        raise DatasetError(f"{target}: cannot be written ({error.strerror or error})") from None


def _take_away(lock: Path) -> None:
    with suppress(OSError):  # Windows keeps it
        lock.unlink()


def _write_all(cases: list[FoundCase], channels: int, target: Path, workers: int) -> dict[str, str]:
    """What is wrong with the cases that could not be written; nothing of them stays."""
    files = [(case.key, *file) for case in cases for file in _files(case, channels, target)]
    try:
        for folder in {target, *(paths[0].parent for _, paths, _ in files)}:
            folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(folder)
    except OSError as error:
        raise DatasetError(f"{target}: cannot be written ({error.strerror or error})") from None
    failed: dict[str, str] = {}
    for key, problem in progress(ordered_map(_write, files, workers), len(files), "converting"):
        if problem is not None:
            failed.setdefault(key, problem)
    for key, paths, _ in files:
        for path in paths if key in failed else ():
            path.unlink(missing_ok=True)
    return failed


def _write_table(cases: list[FoundCase], table: Path) -> None:
    """CSV; a value that a spreadsheet would compute is quoted for it."""
    columns = ["case", *dict.fromkeys(name for case in cases for name in case.origin)]
    rows = [{"case": _safe(case.key)} | case.origin for case in cases]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows({name: f"'{text}" if text[:1] in COMPUTED else text for name, text in row.items()} for row in rows)
    content = file.getvalue().encode(errors="replace")
    try:
        remove_unfinished(table.absolute().parent)
        if os.path.lexists(table):
            _refuse_other(table, content)
            return
        with atomic_file(table) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise DatasetError(f"{table}: cannot be written ({error.strerror or error})") from None


def _refuse_other(table: Path, content: bytes) -> None:
    """Raises DatasetError unless ``table`` is what an interrupted conversion of the same cases has written."""
    with regular_file(table) as file:
        if file.read(len(content) + 1) != content:
            raise DatasetError(f"{table} exists already; move it away, or give --table another name")


def _conversion(kind: str, trusted: tuple[str, ...]) -> Conversion:
    if kind.endswith(".json"):
        return read_json(Path(kind), Patterns)
    chosen: Conversion = CONVERSIONS.load(kind, trusted)
    return chosen


def _refuse_names(found: Found) -> None:
    try:
        for channel in found.channels:
            shown_name(channel, "channel")
        for label in found.labels:
            shown_name(label, "label")
    except ValueError as error:
        raise DatasetError(str(error)) from None
    if len(set(found.labels.values())) < len(found.labels):
        raise DatasetError(f"two labels have one value: {short(found.labels, 300)}")


def _sound(found: Found, workers: int) -> tuple[list[FoundCase], list[str]]:
    """The cases that can be a dataset's, and what is wrong with the others."""
    cases, problems, apart = [], list(found.problems), 0
    checked = ordered_map(partial(grid_problem, channels=len(found.channels)), found.cases, workers)
    for case, (problem, grids) in progress(zip(found.cases, checked), len(found.cases), "checking grids"):
        if problem is None:
            cases.append(case)
            apart += grids > 1
        else:
            problems.append(problem)
    if apart:
        LOG.info(
            "channels lie on different grids in %d cases and are written as they are: `autoseg plan_and_preprocess` "
            "resamples them onto one by what their headers say",
            apart,
        )
    counts = Counter(_safe(case.key) for case in cases)
    problems += [f"{key}: {count} cases have this name" for key, count in counts.items() if count > 1]
    return [case for case in cases if counts[_safe(case.key)] == 1], problems


def _report(problems: list[str], leave_out: bool, left: int) -> None:
    if not problems and left:
        return
    shown = [short(problem, LONGEST_PROBLEM) for problem in problems]
    fitting = [text for text, end in zip(shown, accumulate(map(len, shown))) if end < LONGEST_LIST][:MOST_LISTED]
    listed = first_of(shown, max(1, len(fitting)))
    if not left:
        raise DatasetError(f"no case can be converted:\n{listed}")
    if not leave_out:
        raise DatasetError(f"{len(problems)} cases cannot be converted; --leave-out goes on without them:\n{listed}")
    LOG.warning("%d cases are left out:\n%s", len(problems), listed)


def _files(case: FoundCase, channels: int, target: Path) -> Iterable[tuple[list[Path], Source]]:
    """The files of every source."""
    part, key = "Ts" if case.label is None else "Tr", _safe(case.key)
    paths = [target / f"images{part}" / f"{key}_{number:04d}{ENDING}" for number in range(channels)]
    each = channels // len(case.images)
    for number, image in enumerate(case.images):
        yield paths[number * each : (number + 1) * each], image
    if case.label is not None:
        yield [target / f"labels{part}" / f"{key}{ENDING}"], case.label


def _write(file: tuple[str, list[Path], Source]) -> tuple[str, str | None]:
    """The case and what is wrong with it, if anything is."""
    key, paths, source = file
    try:
        if not all(path.exists() for path in paths):
            source.write(paths)
    except AutosegError as error:
        return key, f"{shown(key)}: {error}"
    except OSError as error:
        raise DatasetError(f"{paths[0]}: cannot be written ({error.strerror or error})") from None
    return key, None


def _safe(key: str) -> str:
    """What may stand in a file's name on any system."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", key)[:LONGEST_NAME].strip("_.") or "case"
    try:
        return path_name(name, "case")
    except ValueError:  # of a device, on Windows
        return f"case_{name}"


def _described(found: Found, target: Path, count: int) -> dict[str, Any]:
    labels = found.labels or _values(target / "labelsTr")
    channels = {str(number): name for number, name in enumerate(found.channels)}
    named = {"channel_names": channels, "labels": labels, "numTraining": count, "file_ending": ENDING}
    return named | {"name": target.name} | found.about


def _values(folder: Path) -> dict[str, int]:
    """A label for every value that occurs besides 0."""
    values = {int(value) for path in folder.glob(f"*{ENDING}") for value in np.unique(read_labels(path)[0])}
    if len(values) > MOST_LABELS:
        raise DatasetError(f"{folder}: there are {len(values)} values, too many for labels; are these label maps?")
    return {"background": 0} | {f"label_{value}": value for value in sorted(values - {0})}
