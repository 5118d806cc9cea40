"""A converter that is data: names of files say which case, channel and label they are."""

from __future__ import annotations

import csv
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ..core.files import regular_file
from ..core.names import short
from ..errors import DatasetError
from .conversion import ConversionOptions, Found, FoundCase, ImageFile, LabelMap, label_source, numbered
from .expressions import expression, pattern, refuse_slow

LOG = logging.getLogger("autoseg")
LARGEST_TABLE = 1 << 20  # bytes
Files = Mapping[str, list[str]]
"""Case to its files, relative to the source."""


@dataclass(frozen=True)
class Patterns:
    """Patterns are those of a shell, for the path below the source, with ``/``; ``*`` also stands for a ``/``."""

    description: str
    case: str
    """Regular expression whose match in a file's name, or else in its path, is the case; where it has groups, these
    joined by ``_``."""
    channels: dict[str, str]
    """Name of a channel to the pattern of its images."""
    label: tuple[str, ...] = ()
    """Patterns of label maps; the first of which there are files counts."""
    labels: LabelMap = field(default_factory=dict)
    """Labels to keep; all other values become background. Empty: label maps are taken over as they are."""
    table: str | None = None
    """Pattern of a table (TSV) with the columns ``index`` and ``name`` that names the values."""
    named: str | None = None
    """Regular expression whose first group, in the name of a label map of 0 and 1, is the name of the label."""
    not_images: tuple[str, ...] = ()
    """Patterns of what is never an image, such as somebody's results."""

    def __post_init__(self) -> None:
        for text in (self.case, self.named):
            expression(text or "")
        for text in (*self.channels.values(), *self.label, self.table or "", *self.not_images):
            pattern(text)

    def find(self, source: Path, wanted: ConversionOptions) -> Found:
        """Every case of ``source``. Raises DatasetError when no file fits a pattern."""
        files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        files = [name for name in files if not any(part.startswith(".") for part in name.split("/"))]
        for text in filter(None, (self.case, self.named)):
            refuse_slow(text, files)
        images = [name for name in files if not _fits(name, self.not_images)]
        patterns = wanted.channels or self.channels
        channels: dict[str, Files] = {
            name: self._by_case(fnmatch_all(images, pattern)) for name, pattern in patterns.items()
        }
        labelled = self._labelled(files, wanted.label)
        channels = channels if wanted.channels else _common(channels, labelled)
        if not any(channels.values()):
            raise DatasetError(f"{source}: no image fits {short(' or '.join(map(repr, patterns.values())), 500)}")
        labels = wanted.labels or self.labels
        keys = sorted({key for by_case in channels.values() for key in by_case} | set(labelled))
        problems = {key: problem for key in keys if (problem := _problem(key, channels, labelled))}
        cases = tuple(
            FoundCase(
                key,
                tuple(ImageFile(source / by_case[key][0], wanted.keep_headers) for by_case in channels.values()),
                label_source(source / labelled[key][0], labels, wanted) if key in labelled else None,
                {"image": next(iter(channels.values()))[key][0]},
            )
            for key in keys
            if key not in problems
        )
        named = numbered(labels) or self._names(source, files, labelled)
        return Found(tuple(channels), cases, tuple(problems.values()), named)

    def _labelled(self, files: list[str], pattern: str | None) -> dict[str, list[str]]:
        for candidate in (pattern,) if pattern is not None else self.label:
            if found := fnmatch_all(files, candidate):
                return self._by_case(found)
        if pattern is not None:
            raise DatasetError(f"no file fits the pattern of the label maps, {pattern!r}")
        return {}

    def _by_case(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Files whose name says no case are no case's."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in names:
            match = re.search(self.case, name.rpartition("/")[2]) or re.search(self.case, name)
            key = "" if match is None else "_".join(filter(None, match.groups())) or match.group()
            if key:
                found[key].append(name)
        return dict(found)

    def _names(self, source: Path, files: list[str], labelled: Files) -> dict[str, int]:
        """Names of the values, from a table or from the files' own names; empty where neither tells."""
        tables = fnmatch_all(files, self.table) if self.table else []
        if tables:
            return _read_table(source / tables[0])
        if self.named is None:
            return {}
        found = {match[1] for names in labelled.values() for n in names if (match := re.search(self.named, n))}
        return {"background": 0, found.pop(): 1} if len(found) == 1 else {}


def fnmatch_all(names: Iterable[str], pattern: str) -> list[str]:
    """The names that fit a shell's pattern, in their order."""
    return [name for name in names if fnmatchcase(name, pattern)]


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _common(channels: Mapping[str, Files], labelled: Files) -> dict[str, Files]:
    """The channels that every labelled case has (every case, where none is labelled)."""
    needed = set(labelled) or {key for by_case in channels.values() for key in by_case}
    kept = {name: by_case for name, by_case in channels.items() if needed <= set(by_case)}
    for name, by_case in channels.items():
        if by_case and name not in kept:
            count = len(needed & set(by_case))
            LOG.warning("%s is there for %d of %d cases and is left out; --channel takes it", name, count, len(needed))
    return kept


def _problem(key: str, channels: Mapping[str, Files], labelled: Files) -> str | None:
    missing = [name for name, by_case in channels.items() if key not in by_case]
    if missing:
        return f"{key}: has no {short(', '.join(missing), 300)}"
    several = [
        (name, by_case[key])
        for name, by_case in (*channels.items(), ("label", labelled))
        if len(by_case.get(key, ())) > 1
    ]
    if several:
        name, files = several[0]
        option = "--label" if name == "label" else f"--channel {name}="
        return f"{key}: {len(files)} files for {name}: {short(', '.join(files[:3]), 300)}; choose with {option}PATTERN"
    return None


def _read_table(path: Path) -> dict[str, int]:
    """BIDS: ``index`` and ``name``; the background need not be in it."""
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise ValueError("it is too large")
        with regular_file(path) as file:
            rows = list(csv.DictReader(file.read().decode("utf-8-sig").splitlines(), delimiter="\t"))
        named = {row["name"].strip(): int(row["index"]) for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, ValueError, AttributeError, csv.Error) as error:
        raise DatasetError(
            f"{path}: expected the columns index (whole numbers) and name ({short(repr(error))})"
        ) from None
    return {"background": 0} | {name: value for name, value in named.items() if value != 0}
