"""What a page is made of: all that the workspace holds of a dataset, read once; what is not there is None."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..core.mishaps import explained
from ..core.records import read_json
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..data.folds import Folds
from ..errors import AutosegError, RecordError
from ..evaluation.scores import Summary
from ..evaluation.selection import RECORD, Selection
from ..pipeline.status import RunLine, all_runs
from ..plan import Plan
from ..run_folder import RunFolder
from ..workspace import DatasetFolder, Workspace
from .room import MOST_PICTURES, MOST_VOLUMES

if TYPE_CHECKING:
    from .counted import Counted

Found = TypeVar("Found")
_FOLDERS = re.compile(r"(?<![^\s('\"=])(?:[A-Za-z]:)?(?:[/\\][^/\\\s:;,'\"<>]+)+[/\\](?=[^/\\\s])")
BASELINE = "baseline "  # before the name of a method: no configuration is called so
PER_ROW = 250  # characters in tables and plots of one label of a case by a configuration
WITHOUT_PICTURES = 1_500_000  # characters beside those of pictures and volumes
OFTEN_SHOWN = 7  # cases of a configuration


@dataclass
class Source:
    """Mutable: the room that is left for pictures and volumes."""

    files: DatasetFolder
    dataset: Dataset
    configuration: str | None = None
    """Only this one; None: all."""
    fold: str | None = None
    """Only this one; None: all."""
    pictures: bool = True
    threads: int = 1
    room: int = MOST_PICTURES
    room_of_volumes: int = MOST_VOLUMES
    damaged: list[str] = field(default_factory=list)
    """What could not be read."""
    counted: Counted | None = None
    """Of label maps (``reporting.counted``); None: not yet."""
    _summaries: dict[str, tuple[dict[str, Summary], list[str]]] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> Fingerprint | None:
        return self._read(self.files.fingerprint, self.files.read_fingerprint)

    @cached_property
    def folds(self) -> Folds | None:
        return self._read(self.files.folds, self.files.read_folds)

    @cached_property
    def plan(self) -> Plan | None:
        return self._read(self.files.plan, self.files.read_plan)

    @cached_property
    def selection(self) -> Selection | None:
        """What `select` has compared."""
        path = self.files.selection / RECORD
        return self._read(path, lambda: read_json(path, Selection))

    @cached_property
    def lines(self) -> list[RunLine]:
        """What `autoseg status` says of the trainings that are shown."""
        workspace = Workspace(self.files.root.parent, self.files.trusted)
        found = all_runs(workspace, self.files.root.name)
        return [line for line in found if self._is_shown(line.configuration, line.fold)]

    def runs(self) -> dict[str, list[RunFolder]]:
        """Configuration to its folds that were begun."""
        found = {name: self.files.folds_of(name) for name in self.files.trained()}
        shown = {name: [run for run in runs if self._is_shown(name, run.fold)] for name, runs in found.items()}
        return {name: runs for name, runs in shown.items() if runs}

    def scored(self) -> dict[str, list[RunFolder]]:
        """These, and after them classical methods, whose validation cases are scored likewise."""
        methods = {f"{BASELINE}{name}": runs for name, runs in self.files.baselines().items()}
        shown = {name: [run for run in runs if self._is_shown(name, run.fold)] for name, runs in methods.items()}
        return self.runs() | {name: runs for name, runs in shown.items() if runs}

    def run(self, name: str, fold: str) -> RunFolder:
        """Of what was ``scored``."""
        return next(run for run in self.scored()[name] if run.fold == fold)

    def summaries(self, configuration: str) -> tuple[dict[str, Summary], list[str]]:
        """Fold to the scores of its validation cases, and what is wrong with scores that cannot be read."""
        if configuration not in self._summaries:
            self._summaries[configuration] = self._read_summaries(configuration)
        return self._summaries[configuration]

    def _read_summaries(self, configuration: str) -> tuple[dict[str, Summary], list[str]]:
        found, wrong = {}, []
        for run in self.scored().get(configuration, []):
            if run.scores.exists():
                try:
                    found[run.fold] = read_json(run.scores, Summary)
                except RecordError as error:
                    wrong.append(f"fold {run.fold}: {self.told(error)}")
        return found, wrong

    def room_of_one_volume(self) -> int:
        """Characters: each case of each configuration gets as much."""
        share = MOST_VOLUMES // (OFTEN_SHOWN * max(1, len(self.scored())))
        return min(share, self.room_of_volumes, self.room)

    def told(self, error: Exception) -> str:
        """The message of an error without the folders of this machine."""
        return self.without_folders(explained(error) or str(error))

    def without_folders(self, text: str) -> str:
        """``text`` in which files are named without where they lie: who reads the page need not know."""
        return without_folders(text, self._folders)

    @cached_property
    def _folders(self) -> list[str]:
        """In which files of the dataset lie, the longest first."""
        own = {Path(self.dataset.folder), self.files.root, self.files.root.parent}
        own |= {path.parent for case in self.dataset.cases for path in case.files}
        return sorted((str(folder) for folder in own if folder.name), key=len, reverse=True)

    def _read(self, path: Path, read: Callable[[], Found]) -> Found | None:
        if not path.exists():
            return None
        try:
            return read()
        except (AutosegError, OSError) as error:
            self.damaged.append(self.told(error))
            return None

    def _is_shown(self, configuration: str, fold: str) -> bool:
        return self.configuration in (None, configuration) and self.fold in (None, fold)


def without_folders(text: str, folders: Sequence[str]) -> str:
    """``text`` without these ``folders``, the longest first, and without whatever else looks like one."""
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(folder, Path(folder).name)
    return _FOLDERS.sub("", text)


def of_folds(reasons: Mapping[str, str]) -> str:
    """Folds of which something is missing, and why; those with one reason together."""
    folds: dict[str, list[str]] = {}
    for fold, why in reasons.items():
        folds.setdefault(why, []).append(fold)
    return "; ".join(f"fold{'s' * (len(each) > 1)} {', '.join(each)} ({why})" for why, each in folds.items())


def open_source(files: DatasetFolder, **options: object) -> Source:
    """Raises WorkspaceError or RecordError where not even the dataset is known."""
    source = Source(files, files.read_dataset(), **options)  # type: ignore[arg-type]
    rows = len(source.dataset.cases) * len(source.dataset.labels.foreground) * max(1, len(source.scored()))
    source.room = max(0, source.room - max(0, PER_ROW * rows - WITHOUT_PICTURES))
    return source
