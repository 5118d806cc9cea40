"""The cases to predict in files and folders."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ...core.channels import ChannelSource
from ...core.names import first_of, path_name, short
from ...errors import DatasetError
from ...parts.readers import ending_of
from ..dataset import Case, ImageSource
from .folders import images_in, nothing_in, stem
from .grouping import (
    CHANNEL,
    Sources,
    by_number,
    by_source,
    cases_of,
    channel_number,
    channels_in,
    grouped,
    misnumbered,
)

LOG = logging.getLogger("autoseg")


Absent = Sequence[int]
"""Channels that a case lacks, counted from 0."""
Problem = Callable[[Absent], "str | None"]
"""What is wrong with a case that lacks them; None where nothing is."""


def find_images(
    source: Path | Sequence[Path],
    channels: int,
    problem_without: Problem | None = None,
    *,
    sources: Sequence[ChannelSource] = (),
    exclusive: bool = False,
) -> tuple[tuple[Case, ...], dict[str, str]]:
    """The cases to predict in a file, a folder or several files, sorted by key, and what is wrong with others.

    ``CASE_0000``, ``CASE_0001``, ... are the channels of CASE. Files that end in other numbers, without a ``_0000``,
    are cases of their own where they hold all channels. Something is wrong with cases whose files do not add up to
    ``channels`` or whose names cannot be those of label maps; raises DatasetError naming them where there is no other
    case. A file that cannot be read is left to prediction, which reports its case. Where ``sources`` say which volume
    of which file each channel is, others are left alone.

    ``problem_without`` is asked of cases whose numbers have gaps; None, or where it finds no channel that a case may
    lack, these do not add up. A file ``CASE_0001`` with one channel is then one of CASE, also without a ``_0000``.

    ``exclusive``: each case has exactly one of the channels. One file without a number is then a case with one image,
    of which nobody has said which channel it is.
    """
    if problem_without is not None and not exclusive and all(problem_without((number,)) for number in range(channels)):
        problem_without = None
    paths: list[Path] = []
    for path in [source] if isinstance(source, Path) else source:
        if path.is_dir():
            paths += images_in(path) or nothing_in(path)
        elif path.is_file():
            ending_of(path)
            paths.append(path.absolute())
        else:
            raise DatasetError(f"{path}: there is no such file or folder")
    numbered = {stem(path) for path in paths}
    if sources:
        places = sorted({each.file for each in sources} | {0})
        groups = grouped(paths, lambda name: any(f"{name}_{place:04d}" in numbered for place in places))
        of_chosen = partial(_problem_of_chosen, sources=sources, problem_without=problem_without)
        wrong = {key: problem for key, files in groups.items() if (problem := of_chosen(key, files))}
    else:
        beheaded = set() if problem_without is None else _without_first(paths, channels)
        groups = grouped(paths, lambda name: f"{name}_0000" in numbered or name in beheaded)
        problem_of = partial(_problem, channels=channels, problem_without=problem_without, exclusive=exclusive)
        wrong = {key: problem for key, files in groups.items() if (problem := problem_of(key, files))}
        wrong |= _channels_alone(groups, channels, wrong)
    wrong |= {key: problem for key in groups if key not in wrong and (problem := _wrong_name(key, groups[key][0]))}
    if len(wrong) == len(groups):
        lines = [f"case {short(key)}: {short(problem, 600)}" for key, problem in sorted(wrong.items())]
        raise DatasetError(first_of(lines, 5 if len(lines[0]) > 200 else 10))
    _tell_collisions(groups)
    found = ((key, files) for key, files in sorted(groups.items()) if key not in wrong)

    def located(key: str, files: list[Path]) -> Sources:
        if exclusive and not sources and _is_unsaid(key, files):
            return ImageSource.all_of(files[0], 1)
        return by_source(key, files, sources) if sources else by_number(key, files, channels)

    return tuple(cases_of((key, located(key, files), None) for key, files in found)), wrong


def _wrong_name(key: str, path: Path) -> str | None:
    try:
        path_name(key, "case")
    except ValueError as error:
        return f"{short(repr(str(path)), 150)} needs another name: {error}"
    return None


def _without_first(paths: Sequence[Path], channels: int) -> set[str]:
    """Cases of which there are files with one channel each, the number of a channel in their names."""
    matches = ((path, CHANNEL.fullmatch(stem(path))) for path in paths)
    return {match[1] for path, match in matches if match and int(match[2]) < channels and channels_in(path) == 1}


def _absent(key: str, files: list[Path], found: Sequence[int | None], channels: int) -> list[int]:
    """Channels for which a case has no file; none where its files do not hold one channel each, by their numbers."""
    numbers = {channel_number(path, key) for path in files}
    if not {*found} <= {1, None} or not numbers <= {*range(channels)}:
        return []
    return [number for number in range(channels) if number not in numbers]


def _is_unsaid(key: str, files: Sequence[Path]) -> bool:
    """Whether a case is one file of one channel, and its name does not say which."""
    return len(files) == 1 and channel_number(files[0], key) is None and channels_in(files[0]) == 1


def _problem(
    key: str, files: list[Path], channels: int, problem_without: Problem | None, exclusive: bool
) -> str | None:
    """What is wrong with the files of one case."""
    stems = Counter(map(stem, files))
    twice = [name for name, count in stems.items() if count > 1]
    if twice:
        there = ", ".join(short(str(path), 150) for path in files if stem(path) == twice[0])
        return f"{twice[0]} is given twice ({there}); rename or leave one out"
    if len(files) > 1 and any(channel_number(path, key) is None for path in files):
        return misnumbered(key, files)
    found = [channels_in(path) for path in files]
    if len(files) == 1 and (None in found or (exclusive and _is_unsaid(key, files))):
        return None
    if len(files) > 1 and (channels == 1 or set(found) == {channels}):
        return _cases_or_channels(key, files, channels)
    if problem_without is not None and (absent := _absent(key, files, found, channels)):
        return problem_without(absent)
    if sum(each or 1 for each in found) == channels:  # what cannot be read has one channel, as far as one can see
        return misnumbered(key, files, len(files)) or (problem_without and problem_without(()))
    detail = misnumbered(key, files, channels) or f"found {_told(files[:5], found)}"
    if len(files) == 1 and channel_number(files[0], key) == 0 and channels > (found[0] or 1):
        missing = ", ".join(f"{key}_{number:04d}" for number in range(1, channels))
        detail += f"; {missing} {'is' if channels == 2 else 'are'} missing"
    return f"the model needs {channels} channel{'s' * (channels > 1)}, {detail}"


def _problem_of_chosen(
    key: str, files: list[Path], sources: Sequence[ChannelSource], problem_without: Problem | None
) -> str | None:
    """What is wrong with the files of one case, of which ``sources`` choose. Only by numbers can one be missing."""
    numbered: dict[int, Path] = {}
    for path in files:
        other = numbered.setdefault(channel_number(path, key) or 0, path)
        if other is not path:
            return f"{path.name} stands beside {other.name}; give one of them"
    places = sorted({source.file for source in sources})
    if missing := [f"{key}_{place:04d}" for place in places if place not in numbered]:
        if problem_without is None or any(channel_number(path, key) is None for path in files):
            several, said = "is" if len(missing) == 1 else "are", short(", ".join(missing), 300)
            return f"{said} {several} missing: the model takes channels from {len(places)} files"
        if problem := problem_without([n for n, source in enumerate(sources) if source.file not in numbered]):
            return problem
    for source in (each for each in sources if each.file in numbered):
        path, volume = numbered[source.file], source.volume or 0
        held = channels_in(path)
        if held is not None and (volume >= held or (source.volume is None and held > 1)):
            wanted = "one volume" if source.volume is None else f"volume {volume}, counted from 0,"
            return f"the model takes {wanted} of {path.name}, which holds {held} volume{'s' * (held > 1)}"
    return None


def _told(files: Sequence[Path], channels: Sequence[int | None]) -> str:
    """Names, and of files that hold several channels how many."""
    holding = [f" (holds {count} channels)" if count not in (None, 1) else "" for count in channels]
    return ", ".join(f"{short(path.name)}{held}" for path, held in zip(files, holding))


def _cases_or_channels(key: str, files: list[Path], channels: int) -> str:
    """For files each of which could be a case."""
    first, second = files[0].name, files[1].name
    apart = f"{key}-{stem(files[1])[len(key) + 1 :]}{ending_of(files[1])}"
    more = f", ... ({len(files)} files)" if len(files) > 2 else ""
    of_it = "one channel" if channels == 1 else f"{channels} channels, which each of these files holds"
    return (
        f"{short(first)}, {short(second)}{more} are by their names the channels 0, 1, ... of one case, but the model "
        f"has {of_it}. If they are channels, give only those that the model was trained on; if each is a case of its "
        f"own, give it a name without _NUMBER at the end, say {short(apart)}"
    )


def _channels_alone(groups: Mapping[str, list[Path]], channels: int, wrong: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with files that end in a number but have no ``_0000`` beside them.

    Where all of several cases end in the same number, that is a channel, and another one than the model was trained on.
    Files of one name with different numbers may be cases, which is said.
    """
    alone: dict[str, list[Path]] = defaultdict(list)
    for key, files in groups.items():
        match = CHANNEL.fullmatch(key)
        if match and channel_number(files[0], match[1]):
            alone[match[1]].append(files[0])
    numbers = {channel_number(path, key) for key, paths in alone.items() for path in paths}
    same = len(alone) > 1 and len(numbers) == 1
    found: dict[str, str] = {}
    for key, paths in alone.items():
        failing = [path for path in paths if stem(path) in wrong]
        beside = f" beside {groups[key][0].name}" if key in groups else ""
        if failing or (same and channels == 1):
            names = ", ".join(path.name for path in paths[:5])
            what = f"found {names}{beside}; {key}_0000 is missing, the first channel"
            found |= {stem(path): what for path in (failing or paths)}
        elif channels == 1:
            LOG.warning(
                "%s%s: taken for a case of this name; a channel of %s needs %s_0000", paths[0].name, beside, key, key
            )
    return found


def _tell_collisions(keys: Mapping[str, list[Path]]) -> None:
    lower = Counter(key.casefold() for key in keys)
    alike = sorted(key for key in keys if lower[key.casefold()] > 1)
    if alike:
        LOG.warning(
            "%s differ only in upper and lower case; some systems take them for one file", ", ".join(alike[:10])
        )
