"""What is wrong with a dataset, said for all cases at once, and the repair of what is only rounding.

Headers are compared with that of the case's first image. Differences that float rounding explains are no problem;
those of a header written with few digits are notes, since voxels are paired by index; all others are errors
(tolerances in voxels: ``autoseg.parts.readers._grid``).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.parallel import ordered_map
from ..dataset import Case, Dataset
from ..errors import ImageFileError
from ..parts.readers import Header, copy_grid, differences, read_header

TABLE_WIDTH = 100


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one case."""

    case: str
    file: str
    """File name; empty when it concerns the whole case."""
    what: str
    cure: str
    severity: str = "error"
    """``error``: must be cured before planning. ``note``: worth knowing, nothing stops."""
    fixable: bool = False
    """Whether ``fix`` repairs it."""


def check_headers(dataset: Dataset, workers: int) -> list[Problem]:
    """Everything that headers show, of every case, without reading voxels."""
    read = list(ordered_map(_read, dataset.cases, workers))
    found = [_problems(case, len(dataset.channels), *one) for case, one in zip(dataset.cases, read)]
    return [problem for problems in found for problem in problems] + _two_kinds(dataset.cases, read)


_Read = tuple[dict[Path, Header], list[Problem]]
"""Headers of a case's files, and what is wrong with those that cannot be read."""


def _read(case: Case) -> _Read:
    headers: dict[Path, Header] = {}
    problems = []
    for path in case.files:
        try:
            headers[path] = read_header(path)
        except ImageFileError as error:
            problems.append(unreadable(case, path, error))
    return headers, problems


def _two_kinds(cases: Sequence[Case], read: Sequence[_Read]) -> list[Problem]:
    """Images without a third axis among volumes, or the reverse: whichever are fewer."""
    kinds: dict[int, list[Case]] = {}
    for case, (headers, problems) in zip(cases, read):
        if not problems:
            kinds.setdefault(headers[Path(case.images[0])].geometry.dimensions, []).append(case)
    if len(kinds) < 2:
        return []
    few, many = sorted(kinds, key=lambda kind: len(kinds[kind]))
    cure = "Make a dataset of each kind, or save 2-D images as volumes of one slice with its true thickness."
    what = f"is {few}-D, but {len(kinds[many])} other cases are {many}-D"
    return [Problem(case.key, Path(case.images[0]).name, what, cure) for case in kinds[few]]


def check_case(case: Case, channels: int) -> list[Problem]:
    """Unreadable files, missing channels and differing grids of one case."""
    return _problems(case, channels, *_read(case))


def _problems(case: Case, channels: int, headers: dict[Path, Header], problems: list[Problem]) -> list[Problem]:
    if problems:
        return problems
    images = [Path(image) for image in case.images]
    if sum(headers[image].channels for image in images) != channels:
        problems.append(_wrong_channels(case, [headers[image].channels for image in images], channels))
    for path in case.files[1:]:
        problems += _grid_problems(case, path, headers[images[0]], headers[path])
    return problems


def unreadable(case: Case, path: Path, error: Exception) -> Problem:
    """The problem of a file that could not be read."""
    what = str(error).removeprefix(f"{path}: ")
    return Problem(case.key, path.name, what, "Copy or export the file again, or remove the case.")


def _wrong_channels(case: Case, found: list[int], expected: int) -> Problem:
    names = [Path(image).name for image in case.images]
    numbers = {int(match[1]) for name in names if (match := re.search(r"_(\d{4})\.", name))}
    missing = sorted(set(range(expected)) - numbers) if numbers and set(found) == {1} else []
    detail = f"; {', '.join(f'_{number:04d}' for number in missing)} is missing" if missing else ""
    return Problem(
        case.key,
        "",
        f"{sum(found)} channels in {', '.join(names)}, but the dataset has {expected}{detail}",
        "Give every case the same channels in the same order, or correct channel_names in dataset.json.",
    )


def _grid_problems(case: Case, path: Path, first: Header, other: Header) -> list[Problem]:
    wrong = differences(first.geometry, other.geometry)
    if not wrong:
        return []
    what = "; ".join(difference.what for difference in wrong)
    if all(difference.rounding for difference in wrong):
        cure = "Rounding in the header; harmless here. `autoseg check DATASET --fix` copies the first image's header."
        return [Problem(case.key, path.name, what, cure, severity="note", fixable=True)]
    cure = "Resample the file to the grid of the case's first image (nearest neighbour for labels), or remove the case."
    return [Problem(case.key, path.name, what, cure)]


def table(problems: Sequence[Problem]) -> str:
    """The problems as aligned text, at most 100 columns wide where names allow it, then what to do."""
    if not problems:
        return "no problems"
    width = min(max(len(problem.case) for problem in problems), 40)
    indent = " " * (len("error") + 2 + width + 2)
    lines = []
    for problem in sorted(problems, key=lambda problem: (problem.severity, problem.case)):
        text = f"{problem.file}: {problem.what}" if problem.file else problem.what
        start = f"{problem.severity:<5}  {problem.case:<{width}}  "
        lines += textwrap.wrap(
            text,
            TABLE_WIDTH,
            initial_indent=start,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    cures = dict.fromkeys(problem.cure for problem in sorted(problems, key=lambda problem: problem.severity))
    for cure in cures:
        lines += textwrap.wrap(cure, TABLE_WIDTH, initial_indent="-> ", subsequent_indent="   ")
    return "\n".join(lines)


def fix(dataset: Dataset) -> list[str]:
    """Copies the grid of each case's first image to the files whose header differs from it by rounding only.

    Voxels stay bit-identical; each file is replaced at once or not at all. Returns what was done, a line per file.
    """
    done = []
    for case in dataset.cases:
        if not any(problem.fixable for problem in check_case(case, len(dataset.channels))):
            continue
        first = read_header(case.files[0]).geometry
        for path in case.files[1:]:
            wrong = differences(first, read_header(path).geometry)
            if wrong and all(difference.rounding for difference in wrong):
                copy_grid(case.files[0], path)
                done.append(f"{case.key}: {path}: was {'; '.join(difference.what for difference in wrong)}")
    return done
