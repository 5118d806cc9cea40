"""What the page of a folder of predictions is made of: what `predict` left there, and what is measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..core.mishaps import explained
from ..core.records import read_json
from ..errors import AutosegError, RecordError, WorkspaceError
from ..evaluation.quality_table import QUALITY, QualityTable, read_quality
from ..pipeline.predictions import PREDICTIONS, Predictions
from ..pipeline.results import RECORD
from .room import MOST_PICTURES, MOST_VOLUMES
from .source import without_folders


@dataclass
class PredictionsSource:
    """Mutable: the room that is left for pictures and volumes."""

    folder: Path
    record: Predictions
    quality: QualityTable
    """Empty: it was not measured."""
    pictures: bool = True
    threads: int = 1
    room: int = MOST_PICTURES
    room_of_volumes: int = MOST_VOLUMES
    damaged: list[str] = field(default_factory=list)
    """What could not be read."""

    def told(self, error: Exception) -> str:
        """The message of an error without the folders of this machine."""
        own = {self.folder} | {path.parent for case in self.record.cases for path in case.image_files}
        folders = sorted((str(folder) for folder in own if folder.name), key=len, reverse=True)
        return without_folders(explained(error) or str(error), folders)


def predictions_at(path: Path) -> Path | None:
    """The folder, if `predict` has written there. Raises WorkspaceError where what it left is of an earlier version."""
    if not path.is_dir() or not any((path / name).is_file() for name in (PREDICTIONS, RECORD)):
        return None
    if not (path / PREDICTIONS).is_file():
        if (path / "imagesTr").is_dir():
            return None  # a dataset, into whose folder somebody has predicted
        raise WorkspaceError(
            f"{path} was predicted by an earlier autoseg, which did not note what a report needs; run the same "
            "`autoseg predict` again with --continue, which keeps its label maps"
        )
    return path


def open_predictions(folder: Path, *, pictures: bool = True, threads: int = 1) -> PredictionsSource:
    """Raises RecordError where not even the record can be read; a damaged table of quality is told on the page."""
    path = folder / QUALITY
    source = PredictionsSource(folder, _record(folder / PREDICTIONS), {}, pictures, threads)
    if path.exists():
        try:
            source.quality = read_quality(path)
        except AutosegError as error:
            source.damaged.append(source.told(error))
    return source


def _record(path: Path) -> Predictions:
    try:
        return read_json(path, Predictions)
    except RecordError as error:
        raise RecordError(
            f"{error}. Remove {path} and run the same `autoseg predict` again with --continue, which writes it anew"
        ) from None
