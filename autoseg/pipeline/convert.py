"""From other people's folders to a dataset in nnU-Net's raw layout."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.family import Family
from ..core.files import remove_unfinished
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..core.records import read_json, write_json
from ..errors import AutosegError, DatasetError
from ..interop.conversion import ENDING, Conversion, Found, FoundCase, Source, Wanted
from ..interop.patterns import Patterns
from ..parts.readers import differences, read_labels
from ..settings import RunSettings

LOG = logging.getLogger("autoseg")
CONVERSIONS = Family("autoseg.interop.conversions", "CONVERSION")
MOST_LISTED = 20


def convert(
    kind: str,
    source: Path,
    target: Path,
    *,
    wanted: Wanted | None = None,
    leave_out: bool = False,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> tuple[int, int]:
    """Writes ``source`` as the dataset ``target``; returns how many labelled and how many unlabelled cases it has.

    ``kind`` is a file of ``interop/conversions`` or a JSON file with ``Patterns``. Raises DatasetError listing every
    case that cannot be converted, having written nothing, unless these are to be left out. What an interrupted
    conversion has written is kept.
    """
    settings = settings or RunSettings()
    if not source.is_dir():
        raise DatasetError(f"{source}: there is no such folder")
    if (target / "dataset.json").exists():
        raise DatasetError(f"{target} is a dataset already; remove it, or choose another folder")
    found = _conversion(kind, trusted).find(source.absolute(), wanted or Wanted())
    cases, problems = _sound(found, settings.threads)
    _report(problems, leave_out, len(cases))
    files = [file for case in cases for file in _files(case, len(found.channels), target)]
    for folder in {paths[0].parent for paths, _ in files}:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
    for _ in progress(ordered_map(_write, files, settings.threads), len(files), "converting"):
        pass
    labelled = [case for case in cases if case.label is not None]
    if labelled:
        write_json(target / "dataset.json", _described(found, target, len(labelled)))
    return len(labelled), len(cases) - len(labelled)


def _conversion(kind: str, trusted: tuple[str, ...]) -> Conversion:
    if kind.endswith(".json"):
        return read_json(Path(kind), Patterns)
    chosen: Conversion = CONVERSIONS.load(kind, trusted)
    return chosen


def _sound(found: Found, workers: int) -> tuple[list[FoundCase], list[str]]:
    """The cases whose images lie on one grid, and what is wrong with the others."""
    cases, problems = [], list(found.problems)
    checked = ordered_map(partial(_grid_problem, channels=len(found.channels)), found.cases, workers)
    for case, problem in progress(zip(found.cases, checked), len(found.cases), "checking grids"):
        if problem is None:
            cases.append(case)
        else:
            problems.append(problem)
    counts = Counter(_safe(case.key) for case in cases)
    problems += [f"{key}: {count} cases have this name" for key, count in counts.items() if count > 1]
    return [case for case in cases if counts[_safe(case.key)] == 1], problems


def _grid_problem(case: FoundCase, channels: int) -> str | None:
    sources = [*((f"channel {number}", image) for number, image in enumerate(case.images)), ("label", case.label)]
    try:
        headers = [(what, source.header()) for what, source in sources if source is not None]
    except AutosegError as error:
        return f"{case.key}: {error}"
    first = headers[0][1].geometry
    for what, header in headers[1:]:
        apart = [difference.what for difference in differences(first, header.geometry) if not difference.rounding]
        if apart:
            return f"{case.key}: {what} lies on another grid than channel 0 ({'; '.join(apart)}); resample it first"
    expected = {"label": 1}
    for what, header in headers:
        if header.channels != expected.get(what, channels // len(case.images)):
            return f"{case.key}: {what} holds {header.channels} channels; there should be {channels} in all"
    return None


def _report(problems: list[str], leave_out: bool, left: int) -> None:
    if not problems and left:
        return
    listed = "\n".join(problems[:MOST_LISTED] + (["..."] if len(problems) > MOST_LISTED else []))
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


def _write(file: tuple[list[Path], Source]) -> None:
    paths, source = file
    if not all(path.exists() for path in paths):
        source.write(paths)


def _safe(key: str) -> str:
    """What may stand in a file's name on any system."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", key).strip("_.") or "case"


def _described(found: Found, target: Path, count: int) -> dict[str, Any]:
    labels = found.labels or _values(target / "labelsTr")
    channels = {str(number): name for number, name in enumerate(found.channels)}
    named = {"channel_names": channels, "labels": labels, "numTraining": count, "file_ending": ENDING}
    return named | {"name": target.name} | found.about


def _values(folder: Path) -> dict[str, int]:
    """A label for every value that occurs besides 0."""
    values = {int(value) for path in folder.glob(f"*{ENDING}") for value in np.unique(read_labels(path)[0])}
    return {"background": 0} | {f"label_{value}": value for value in sorted(values - {0})}
