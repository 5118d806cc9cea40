"""What we were given: cases, channels, labels. How folders become a ``Dataset`` is in ``layouts.py``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..core.labels import Labels
from ..core.names import path_name, short, shown_name
from ..parts.readers import label_ending


@dataclass(frozen=True)
class Case:
    """One examination: its image files in channel order (a file may hold several channels) and its label file."""

    key: str
    images: tuple[str, ...]
    """Absolute paths."""
    label: str | None = None
    """Absolute path; None for a case to be predicted."""

    def __post_init__(self) -> None:
        path_name(self.key, "case")

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the case, images first."""
        return tuple(Path(path) for path in (*self.images, *(() if self.label is None else (self.label,))))


@dataclass(frozen=True)
class Dataset:
    """All labelled cases of one task."""

    name: str
    """Folder name, e.g. ``Dataset004_Hippocampus``: the name of everything written for it."""
    folder: str
    """Absolute path of the folder the user gave."""
    channels: tuple[str, ...]
    """Channel names in order; a name such as ``CT`` chooses the normalisation."""
    labels: Labels
    cases: tuple[Case, ...]
    file_ending: str
    """Ending for predicted label maps, e.g. ``.nii.gz``: that of the label files."""
    layout: str
    """``nnunet``, ``msd``, ``plain`` or ``listed``: where channels and labels come from; ``plain`` means inferred,
    ``listed`` that dataset.json names every file."""
    licence: str = ""
    """Of the data, as the user's dataset.json says; models that are trained on them carry it on."""
    citation: str = ""
    """What to cite, likewise."""

    def __post_init__(self) -> None:
        path_name(self.name, "dataset")
        if not self.channels:
            raise ValueError("there are no channels")
        for channel in self.channels:
            shown_name(channel, "channel")
        label_ending(self.file_ending)
        twice = [key for key, count in Counter(self.keys).items() if count > 1]
        if twice:
            raise ValueError(f"there are two cases {short(twice[0])!r}")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(case.key for case in self.cases)

    def case(self, key: str) -> Case:
        return next(case for case in self.cases if case.key == key)
