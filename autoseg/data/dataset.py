"""What we were given: cases, channels, labels. How folders become a ``Dataset`` is in ``layouts.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..alignment.record import Alignment, Registration
from ..core.labels import Labels
from ..core.names import path_name, short, shown_name
from ..parts.readers import label_ending


@dataclass(frozen=True)
class ImageSource:
    """Where the voxels of one channel of a case are."""

    file: str
    """Absolute path."""
    channel: int | None = None
    """Of the file, counted from 0; None: its only one."""


@dataclass(frozen=True)
class Case:
    """One examination: its channels and its label file."""

    key: str
    images: tuple[ImageSource | None, ...]
    """One per channel of the dataset, in its order; None: the case lacks it."""
    label: str | None = None
    """Absolute path; None for a case to be predicted."""
    registrations: tuple[Registration | None, ...] = ()
    """How its channels were registered, one per channel; empty: they were not, or will be when they are read."""

    def __post_init__(self) -> None:
        path_name(self.key, "case")
        if not any(self.images):
            raise ValueError(f"case {short(self.key)} has no image")

    @classmethod
    def of_files(cls, key: str, files: Iterable[str], label: str | None = None) -> Case:
        """With a file for each channel."""
        return cls(key, tuple(map(ImageSource, files)), label)

    @property
    def image_files(self) -> tuple[Path, ...]:
        """Each once, in the order of the channels."""
        return tuple(Path(name) for name in dict.fromkeys(source.file for source in self.images if source))

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the case, images first."""
        return (*self.image_files, *(() if self.label is None else (Path(self.label),)))

    @property
    def absent(self) -> tuple[int, ...]:
        """Channels that the case lacks, counted from 0."""
        return tuple(number for number, source in enumerate(self.images) if source is None)

    def reference(self, alignment: Alignment | None) -> int:
        """The channel on whose grid the case is seen: that of ``alignment``, or the first that the case has."""
        there = [number for number, source in enumerate(self.images) if source]
        return alignment.reference if alignment and alignment.reference in there else there[0]

    def grid_file(self, alignment: Alignment | None) -> Path:
        """The file of that channel. Its header judges the case, and what is predicted takes over its grid."""
        source = self.images[self.reference(alignment)]
        assert source is not None
        return Path(source.file)


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
    alignment: Alignment | None = None
    """How the channels of a case come onto one grid; None: they lie on one."""

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

    @staticmethod
    def of_before(value: dict[str, Any]) -> dict[str, Any]:
        """Images of a case were paths; one for all channels, or one for each."""
        channels = value.get("channels")
        count = len(channels) if isinstance(channels, list) else 0

        def sources(case: Any) -> Any:
            images = case.get("images") if isinstance(case, dict) else None
            if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
                return case
            several = len(images) == 1 < count
            files = images * count if several else images
            found = [{"file": file, "channel": number if several else None} for number, file in enumerate(files)]
            return case | {"images": found}

        cases = value.get("cases")
        return value | {"cases": [*map(sources, cases)]} if isinstance(cases, list) else value
