"""What is wrong with a dataset, said for all cases at once, and the repair of what is only rounding.

Headers are compared with that of the image on whose grid the case is seen, its first one unless channels are aligned.
Differences that float rounding explains are no problem;
those of a header written with few digits are notes, since voxels are paired by index; all others are errors
(tolerances in voxels: ``autoseg.parts.readers._grid``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..core.geometry import Geometry
from ..core.names import short
from ..core.parallel import ordered_map
from ..data.dataset import Case, Dataset
from ..data.layouts.folders import not_a_file, stem
from ..data.layouts.grouping import CHANNEL, misnumbered
from ..errors import ImageFileError
from ..parts.readers import Header, copy_grid, differences, read_header
from .alignments import RESAMPLE, Headers, grid_problems, resampled_channels, unusual_channels
from .outliers import ALL, alike_names, unusual_grids
from .problem import Problem

__all__ = ["Problem", "check_case", "check_headers", "fix", "read_headers", "unfit", "unreadable"]
LISTED = "listed"
_LACKING = "Fine if it was never taken: training goes on without it. Otherwise put the file beside the others."
_NOT_TAKEN = (
    "Where voxels are of the size that these files state, write it into CASE.json beside each of them, "
    '{"spacing": [z, y, x]} in mm.'
)


def read_headers(dataset: Dataset, workers: int) -> Headers:
    """Those of all files of every case."""
    read = partial(_read, dataset=dataset)
    return dict(zip(dataset.keys, ordered_map(read, dataset.cases, workers)))


def check_headers(dataset: Dataset, workers: int, headers: Headers | None = None) -> list[Problem]:
    """Everything that names and headers show, of every case, without reading voxels.

    ``headers`` may have been read before.
    """
    problems: list[Problem] = []
    grids: dict[str, Geometry] = {}
    headers = read_headers(dataset, workers) if headers is None else headers
    for case in dataset.cases:
        found, unread = headers[case.key]
        problems += _problems(case, dataset, found, unread)
        if not unread:
            grids[case.key] = found[case.grid_file(dataset.alignment)].geometry
    problems += resampled_channels(dataset, headers)
    problems += _in_no_case(dataset)
    problems += _two_kinds(dataset.cases, grids)
    problems += unusual_grids(grids) + unusual_channels(dataset, headers)
    problems += alike_names(dataset.keys)
    return problems + (_listed(dataset) if dataset.layout == LISTED else [])


def _read(case: Case, dataset: Dataset) -> tuple[dict[Path, Header], list[Problem]]:
    headers: dict[Path, Header] = {}
    problems = _surplus(case, dataset)
    if problems:
        return headers, problems
    for path in case.files:
        found = not_a_file(path)
        if found is not None:
            problems.append(Problem(case.key, path.name, found, "Put the file there, or remove the case."))
            continue
        try:
            headers[path] = read_header(path)
        except (ImageFileError, OSError) as error:
            problems.append(unreadable(case, path, error))
    return headers, problems


def _two_kinds(cases: Sequence[Case], grids: Mapping[str, Geometry]) -> list[Problem]:
    """Images without a third axis among volumes, or the reverse: whichever are fewer."""
    kinds = Counter(grid.dimensions for grid in grids.values())
    if len(kinds) < 2:
        return []
    few, many = sorted(kinds, key=lambda kind: kinds[kind])
    cure = "Make a dataset of each kind, or save 2-D images as volumes of one slice with its true thickness."
    what = f"is {few}-D, but {kinds[many]} other cases are {many}-D"
    wrong = [case for case in cases if case.key in grids and grids[case.key].dimensions == few]
    return [Problem(case.key, case.image_files[0].name, what, cure) for case in wrong]


def _in_no_case(dataset: Dataset) -> list[Problem]:
    """Channels that dataset.json names and that all cases lack."""
    lacking = [set(case.absent) for case in dataset.cases]
    cure = "Correct channel_names in dataset.json, or put the files of this channel beside the others."
    return [
        Problem(ALL, "", f"no case has channel {number} ({short(dataset.channels[number], 40)})", cure)
        for number in sorted(set.intersection(*lacking))
    ]


def _listed(dataset: Dataset) -> list[Problem]:
    """What a list of files in dataset.json says and the names of the files do not: the list decides."""
    orders = {case.key: order for case in dataset.cases if (order := _numbers(case))}
    cure = "The list in dataset.json decides which file is which channel: correct it, or leave it if it is right."
    usual = Counter(orders.values()).most_common(1)[0][0] if orders else ()
    problems = [
        Problem(key, "", f"lists {_as_written(order)}, but most cases list {_as_written(usual)}", cure, "note")
        for key, order in orders.items()
        if order != usual
    ]
    if usual != tuple(range(len(usual))):
        channels = ", ".join(short(name, 30) for name in dataset.channels)
        problems.append(Problem(ALL, "", f"the channels {channels} are the files {_as_written(usual)}", cure, "note"))
    first: dict[str, str] = {}
    for case in dataset.cases:
        others = {first.setdefault(str(file), case.key) for file in case.label_files if file}
        for other in sorted(others - {case.key}):
            cure = "Fine if both images show the same; otherwise correct the list in dataset.json."
            problems.append(Problem(case.key, "", f"has the same label file as {short(other)}", cure, "note"))
    return problems


def _numbers(case: Case) -> tuple[int, ...]:
    """The channels that the names of the files speak of; nothing where they are no channels of one case."""
    matches = [CHANNEL.fullmatch(stem(path)) for path in case.image_files]
    names = {match and match[1] for match in matches}
    numbers = tuple(int(match[2]) for match in matches if match)
    of_one = len(names) == 1 and None not in names and len(set(numbers)) == len(numbers)
    return numbers if of_one and (len(numbers) > 1 or names == {case.key}) else ()


def _as_written(numbers: Sequence[int]) -> str:
    return ", ".join(f"_{number:04d}" for number in numbers)


def check_case(case: Case, dataset: Dataset) -> list[Problem]:
    """Unreadable files, missing channels and differing grids of one case."""
    return _problems(case, dataset, *_read(case, dataset))


def unfit(case: Case, dataset: Dataset) -> list[Problem]:
    """What headers show that makes it useless to read voxels, however many there are: files without a channel, and
    label maps of another shape than their image. What cannot be read is not among them."""
    headers, problems = _read(case, dataset)
    if problems:
        return _surplus(case, dataset)
    shape = headers[case.grid_file(dataset.alignment)].geometry.shape
    return [
        Problem(case.key, path.name, f"shape {header.geometry.shape}, but the image has {shape}", RESAMPLE)
        for path, header in headers.items()
        if header.geometry.shape != shape and (dataset.alignment is None or path in case.label_files)
    ]


def _surplus(case: Case, dataset: Dataset) -> list[Problem]:
    """More files than channels, whatever they hold: they are not opened, there may be thousands."""
    count = len(_image_files(case))
    return _channel_problems(case, dataset, [1] * count) if count > len(dataset.channels) else []


def _problems(case: Case, dataset: Dataset, headers: dict[Path, Header], problems: list[Problem]) -> list[Problem]:
    if problems:
        return problems
    images = _image_files(case)
    look = _chosen_problems if dataset.channel_sources else _channel_problems
    problems = look(case, dataset, [headers[image].channels for image in images])
    if headers[images[0]].note:
        problems.append(Problem(case.key, images[0].name, headers[images[0]].note, _NOT_TAKEN, severity="note"))
    first = case.grid_file(dataset.alignment)
    for path in case.files:
        if path != first:
            problems += grid_problems(case, path, headers[first], headers[path], dataset.alignment)
    return problems


def _image_files(case: Case) -> list[Path]:
    """In the order of the channels; one that stands for several channels as often as it does."""
    entries = [
        (source.file, number if source.channel is None else None)
        for number, source in enumerate(case.images)
        if source is not None
    ]
    return [Path(file) for file, _ in dict.fromkeys(entries)]


def unreadable(case: Case, path: Path, error: Exception) -> Problem:
    """The problem of a file that could not be read."""
    what = str(error).removeprefix(f"{path}: ")
    return Problem(case.key, path.name, what, "Copy or export the file again, or remove the case.")


def _channel_problems(case: Case, dataset: Dataset, found: list[int]) -> list[Problem]:
    """Channels that are missing, too many, or in a place that the names of the files deny."""
    files, expected = _image_files(case), len(dataset.channels)
    listed = dataset.layout == LISTED
    if case.absent and len(case.images) == expected and sum(found) == expected - len(case.absent):
        return [] if dataset.unpaired else [_lacking(case, dataset.channels)]
    numbers = None if listed else misnumbered(case.key, files, expected if set(found) == {1} else len(files))
    if sum(found) == expected and numbers is None:
        return []
    names = ", ".join(short(path.name) for path in files[:5])
    what = f"{sum(found)} channel{'s' * (sum(found) != 1)} in {names}, but the dataset has {expected}"
    cure = (
        "CASE_0000 is the first channel of CASE, CASE_0001 the second, and so on: give every case the same channels, "
        "or correct channel_names in dataset.json."
    )
    if sum(found) == expected:
        what = str(numbers)
    elif numbers is not None:
        what += f"; {numbers}"
    elif set(found) == {1} and len(files) < expected and not listed:
        missing = ", ".join(f"_{number:04d}" for number in range(len(files), expected))
        what += f"; {missing} {'is' if len(files) + 1 == expected else 'are'} missing"
        cure += " Where each case has one of them, say which: --modality-file FILE.csv."
    return [Problem(case.key, "", what, cure)]


def _chosen_problems(case: Case, dataset: Dataset, found: list[int]) -> list[Problem]:
    """Volumes that were chosen of files which do not hold them."""
    problems, held = [], dict(zip(map(str, case.image_files), found))
    cure = "Correct file and volume of this channel in dataset.json; both are counted from 0."
    for number, (name, source) in enumerate(zip(dataset.channels, case.images)):
        count = 0 if source is None else held[source.file]
        if source is None or (source.channel or 0) < count <= (1 if source.channel is None else count):
            continue
        wanted = "says no volume" if source.channel is None else f"is volume {source.channel}"
        what = f"holds {count} volume{'s' * (count > 1)}, but channel {number} ({short(name, 40)}) {wanted}"
        problems.append(Problem(case.key, Path(source.file).name, what, cure))
    return problems or ([_lacking(case, dataset.channels)] if case.absent else [])


def _lacking(case: Case, channels: Sequence[str]) -> Problem:
    names = ", ".join(f"{number} ({short(channels[number], 40)})" for number in case.absent)
    found = ", ".join(short(path.name) for path in case.image_files[:5])
    what = f"lacks channel{'s' * (len(case.absent) > 1)} {names}; found {found}"
    return Problem(case.key, "", what, _LACKING, severity="note")


def fix(dataset: Dataset) -> list[str]:
    """Copies the grid of each case's first image to the files whose header differs from it by rounding only.

    Voxels stay bit-identical; each file is replaced at once or not at all. Returns what was done, a line per file.
    """
    done = []
    for case in dataset.cases:
        if not any(problem.fixable for problem in check_case(case, dataset)):
            continue
        image = case.grid_file(dataset.alignment)
        first = read_header(image).geometry
        for path in case.files:
            wrong = [] if path == image else differences(first, read_header(path).geometry)
            if wrong and all(difference.rounding for difference in wrong):
                copy_grid(image, path)
                done.append(f"{case.key}: {path}: was {'; '.join(difference.what for difference in wrong)}")
    return done
