"""Which files of a folder `predict` wrote, so that it replaces these and nobody else's.

<folder>/
    predicted.jsonl     a line of JSON for every file before it is written, and another one after: with what it must be
    dataset.json        one of these files: names of labels and channels

A line is added in one step, with its own checksum, and never changed: a killed run leaves a record of whatever it
wrote, and several runs may write into one folder. Whether a file is still what was written is told by its size and
checksum, so a label map that somebody corrected by hand is theirs from then on.
"""

from __future__ import annotations

import errno
import json
import os
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.files import regular_file
from ..core.integrity import Mark, damage
from ..core.json_text import read_json_value
from ..core.mishaps import explained
from ..core.records import to_json, write_json
from ..errors import AutosegError
from ..parts.readers import ENDINGS, ending_of, read_header, read_image, read_labels, unlike

RECORD, NAMES = "predicted.jsonl", "dataset.json"
LARGEST = 1 << 28  # bytes of a record
MARKED, CHECK = ("size", "crc32"), "check"


@dataclass(frozen=True)
class Results:
    """The record of one folder."""

    folder: Path
    _marks: dict[str, Mark | None] = field(default_factory=dict)
    """Name within the folder to what the file must be; None while it is written."""

    @classmethod
    def read(cls, folder: Path) -> Results:
        """What can be read of it: a line that was cut off, damaged or edited speaks of no file.

        It may have been the end of a file that was begun: of the one it names where a power cut left its beginning,
        otherwise of any. What was begun before it is somebody else's from then on.

        Raises OSError where the record is no file.
        """
        path = folder / RECORD
        if not os.path.lexists(path):
            return cls(folder)
        with regular_file(path) as file:
            lines = file.read(LARGEST).splitlines()
        marks: dict[str, Mark | None] = {}
        for line in filter(None, lines):
            if told := _read(line):
                marks[told[0]] = told[1]
            else:
                ended = _named(line) if not line.endswith(b"}") else marks.keys()
                marks = {name: mark for name, mark in marks.items() if mark is not None or name not in ended}
        return cls(folder, marks)

    def is_noted(self, path: Path) -> bool:
        """Whether `predict` has written a file there, which may be another one now."""
        return self._name(path) in self._marks

    def is_own(self, path: Path) -> bool:
        """Whether ``path`` is what `predict` wrote there, or was writing when it was killed."""
        if not self.is_noted(path) or path.is_symlink() or not path.is_file():
            return False
        mark = self._marks[self._name(path)]
        return mark is None or damage(path, mark) is None

    def problem(self, path: Path, image: Path, masks: int = 1) -> str | None:
        """Why an earlier result cannot be kept for ``image``; None where it can. ``masks`` are channels of one file."""
        if not path.name.lower().endswith(ENDINGS):
            whole = self._marks.get(self._name(path)) is not None and self.is_own(path)
            return None if whole else f"{path} is not what `autoseg predict` wrote there"
        try:
            header, expected = read_header(path), read_header(image).geometry
            found = header.geometry
            same = [ending_of(each).lower().removesuffix(".gz") for each in (path, image)]
            apart = unlike(expected, found)
            if found.shape != expected.shape or (apart and len({*same}) == 1):  # pictures know no millimetres
                return f"{path} does not lie on the grid of the image ({'; '.join(apart)})"
            if self._marks.get(self._name(path)) is None or not self.is_own(path):
                read_image([path]) if header.channels == masks > 1 else read_labels(path)
        except Exception as error:
            said = explained(error)
            if said is None:
                raise
            return said
        return None

    def write_names(self, described: dict[str, Any]) -> None:
        """Writes ``dataset.json``, which names the labels for whoever evaluates, unless somebody's lies there."""
        path = self.folder / NAMES
        if os.path.lexists(path):
            with suppress(AutosegError):
                if not self.is_own(path) or read_json_value(path) == described:
                    return
        self.begin(path)
        write_json(path, described)
        self.end(path)

    def begin(self, path: Path) -> None:
        """Notes that ``path`` is written from now on."""
        self._note(path, None)

    def end(self, path: Path) -> None:
        """Notes that ``path`` has been written, and what it is."""
        self._note(path, Mark.of(path))

    def _note(self, path: Path, mark: Mark | None) -> None:
        told = {"file": self._name(path)} | (to_json(mark) if mark else {})
        line = json.dumps(told | {CHECK: _checksum(told)}).encode() + b"\n"
        with (self.folder / RECORD).open("a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                line = b"\n" + line  # what a power cut left of the last line must not take this one along
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / RECORD))
            os.fsync(file.fileno())

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _named(line: bytes) -> set[str]:
    """The file that the beginning of a line names, if it is long enough for that."""
    found = re.match(rb'\{"file": ("(?:[^"\\]|\\.)*")', line)
    with suppress(ValueError):
        return {json.loads(found[1])} if found else set()
    return set()


def _checksum(told: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(told, sort_keys=True).encode())


def _read(line: bytes) -> tuple[str, Mark | None] | None:
    try:
        found = json.loads(line)
        check = found.pop(CHECK, None)  # lines of earlier versions have none
        if not {"file"} <= found.keys() <= {"file", *MARKED} or check not in (None, _checksum(found)):
            return None
        mark = Mark(*(int(found[name]) for name in MARKED)) if len(found) > 1 else None
        return str(found["file"]), mark
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
