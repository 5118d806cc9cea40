"""Which files make up a case: ``CASE.nii.gz`` with all channels, or ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``, ...

The number is the channel, so a gap is a channel that the case lacks and never the next one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ...core.channels import ChannelSource
from ...core.names import first_of, path_name, short
from ...errors import DatasetError, ImageFileError
from ...parts.readers import read_header
from ..dataset import Case, ImageSource
from .folders import images_in, nothing_in, others_in, stem
from .label_endings import label_ending_in, without_ending

Sources = tuple[ImageSource | None, ...]
"""One per channel; None: the case lacks it."""
Files = tuple[str, list[Path], Path]
"""The key of a case, its image files sorted by name, and its label file."""
Masks = tuple[Path | None, ...]
"""A file per mask of the dataset; None for one of which the case has nothing."""
CHANNEL = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)


def channel_number(path: Path, key: str) -> int | None:
    """The channel of case ``key`` that the file's name says it is; None where it says nothing."""
    match = CHANNEL.fullmatch(stem(path))
    return int(match[2]) if match and match[1] == key else None


def misnumbered(key: str, files: Sequence[Path], channels: int | None = None) -> str | None:
    """What is wrong with the channel numbers in the file names of one case; None where nothing is.

    ``channels`` is how many there should be, None where that is not known.
    """
    numbers = [channel_number(path, key) for path in files]
    known = [number for number in numbers if number is not None]
    if not known:
        return None
    whole = [path.name for path, number in zip(files, numbers) if number is None]
    if whole:
        rule = f"one file {short(key)} with all channels, or {short(key)}_0000, {short(key)}_0001, ..."
        return f"{whole[0]} stands beside {_names(files, 1)}; a case is {rule}"
    twice = sorted(number for number, count in Counter(known).items() if count > 1)
    if twice:
        there = [path.name for path, number in zip(files, numbers) if number == twice[0]]
        return f"{', '.join(there)} are both channel {twice[0]}; keep one"
    expected = max(known) + 1 if channels is None else channels
    missing = [f"_{number:04d}" for number in sorted(set(range(expected)) - set(known))]
    beyond = [f"_{number:04d}" for number in known if number >= expected]
    if len(known) == 1 and known == [0]:
        return None  # it may hold all channels
    if not missing and not beyond:
        return None
    said = [f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
    last = f"_{expected - 1:04d}"
    said += (
        [f"{_listed(beyond)} {'is' if len(beyond) == 1 else 'are'} beyond the last channel, {last}"] if beyond else []
    )
    return f"found {_names(files)}; {' and '.join(said)}"


def grouped(paths: Iterable[Path], is_case: Callable[[str], bool], whole: Iterable[str] = ()) -> dict[str, list[Path]]:
    """Case key to files in channel order; ``CASE_0001`` is a channel of CASE if that is a case, else its own case."""
    names, groups = set(whole), defaultdict(list)
    for path in paths:
        name = stem(path)
        channel = CHANNEL.fullmatch(name)
        key = channel[1] if channel and name not in names and is_case(channel[1]) else name
        groups[key].append(path)
    return {key: sorted(files, key=stem) for key, files in groups.items()}


def by_number(key: str, files: Sequence[Path], channels: int) -> Sources:
    """Where the ``channels`` of case ``key`` are: the number in a file's name is the channel.

    A case lacks the channel for which there is no file, unless the first of its files holds several. Files whose names
    say something else are taken in their order.
    """
    numbers = [channel_number(path, key) for path in files]
    named = {number: ImageSource(str(path)) for path, number in zip(files, numbers) if number is not None}
    if len(named) < len(files) or max(named) >= channels or (len(files) < channels and channels_in(files[0]) != 1):
        return in_order(files, channels)
    return tuple(map(named.get, range(channels)))


def by_source(key: str, files: Sequence[Path], sources: Sequence[ChannelSource]) -> Sources:
    """Where the channels of case ``key`` are, of which ``sources`` say in which file, and which volume of it.

    A case lacks the channels whose file it does not have. Raises DatasetError where these are all.
    """
    numbered = {channel_number(path, key) or 0: path for path in files}
    return chosen(key, numbered, sources)


def chosen(key: str, files: Mapping[int, Path | None], sources: Sequence[ChannelSource]) -> Sources:
    """``by_source`` of files by their number."""
    found = tuple(
        ImageSource(str(path), source.volume) if (path := files.get(source.file)) else None for source in sources
    )
    if not any(found):
        wanted = ", ".join(f"{short(key)}_{number:04d}" for number in sorted({source.file for source in sources}))
        raise DatasetError(f"case {short(key)}: there is none of the files {short(wanted, 300)}")
    return found


def in_order(files: Sequence[Path | None], channels: int) -> Sources:
    """Where the ``channels`` of a case are in files that have no numbers; None for a channel that it lacks.

    One file holds all channels; several that are too few hold some each. Where they do not add up to ``channels``, more
    or fewer are returned: checking says what is wrong.
    """
    if len(files) >= channels:
        return tuple(None if path is None else ImageSource(str(path)) for path in files)
    counts = [channels] if len(files) == 1 else [(path and channels_in(path)) or 1 for path in files]
    sources = (ImageSource.all_of(path, count) if path else (None,) for path, count in zip(files, counts))
    return tuple(source for each in sources for source in each)


def channels_in(path: Path) -> int | None:
    """None for a file that cannot be read."""
    try:
        return read_header(path).channels
    except (ImageFileError, OSError):
        return None


def paired(images: list[Path], labels_folder: Path, endings: bool = False) -> list[Files]:
    """Cases from image files and label files, matched by name whatever their endings. Raises DatasetError.

    With ``endings``, an ending such as ``_seg`` that the names of all label files share, and of no image, is no part of
    a case's name.
    """
    labels: dict[str, Path] = {}
    wrong = []
    for path in images_in(labels_folder) or nothing_in(labels_folder):
        if stem(path) in labels:
            wrong.append(f"case {stem(path)}: two label files, {labels[stem(path)].name} and {path.name}; keep one")
        labels[stem(path)] = path
    labels = without_ending(images, labels, labels_folder) if endings else labels
    unlabelled = {stem(path) for path in images} - set(labels)
    groups = grouped(images, lambda name: name in labels or f"{name}_0000" in unlabelled, whole=labels)
    for key, files in groups.items():
        names = [stem(path) for path in files]
        if len(set(names)) < len(names):
            wrong.append(f"case {key}: several files of one name, {_names(files)}; keep one")
    wrong += [f"case {key}: no label in {labels_folder}" for key in groups if key not in labels]
    without = [key for key in labels if key not in groups]
    unread = [path.name for path in others_in(images[0].parent)] if without else []
    for key in without:
        near = next((name for name in unread if name.startswith((f"{key}.", f"{key}_"))), None)
        hint = f" ({short(near)} is not read)" if near else ""
        if ending := label_ending_in(key, groups):
            hint = f" (leave {short(ending)} out of its name)"
        wrong.append(f"case {key}: {labels[key].name} has no image beside it{hint}")
    if wrong:
        rule = "CASE_0000.nii.gz (or CASE.nii.gz) is labelled by CASE.nii.gz; add what is missing or remove the rest"
        told = first_of(sorted(short(line, 300) for line in wrong))
        raise DatasetError(f"images and labels do not match ({len(wrong)}). {rule}:\n{told}")
    return [(key, files, labels[key]) for key, files in groups.items()]


def cases_of(found: Iterable[tuple[str, Sources, Path | Masks | None]]) -> list[Case]:
    """Key, images and label, or masks, of every case, as records. Raises DatasetError for every key that cannot be a
    file name."""
    cases, wrong = [], []
    for key, images, labels in found:
        masks = tuple(None if each is None else str(each) for each in labels) if isinstance(labels, tuple) else ()
        try:
            path_name(key, "case")
            cases.append(Case(key, images, None if labels is None or masks else str(labels), masks))
        except ValueError as error:
            file = next(source.file for source in images if source)
            wrong.append(f"{short(repr(file), 150)}: {error}")
    if wrong:
        raise DatasetError(f"{len(wrong)} files need another name:\n{first_of(wrong, 10)}")
    return cases


def _names(files: Sequence[Path], first: int = 0) -> str:
    return _listed([path.name for path in files[first:]])


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(short(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
