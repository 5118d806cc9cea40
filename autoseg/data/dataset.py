"""What we were given: cases, channels, labels. How folders become a ``Dataset`` is in ``layouts.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..alignment.record import Alignment, Registration
from ..core.bounds import bounded
from ..core.channels import ChannelSource, refuse_contradictory
from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..core.names import path_name, short, shown_name
from ..parts.readers import label_ending

LabelFiles = tuple[Path | None, ...]
"""Of one case: its label map; or a file per mask, None for a mask of which the case has nothing; or one file with all
masks as channels."""


@dataclass(frozen=True)
class ImageSource:
    """Where the voxels of one channel of a case are."""

    file: str
    """Absolute path."""
    channel: int | None = None
    """Of the file, counted from 0; None: its only one."""

    def __post_init__(self) -> None:
        if not self.file.strip() or "\0" in self.file:
            raise ValueError(f"the file {short(repr(self.file))} of an image is no path")
        bounded(self, "channel", least=0)

    @classmethod
    def all_of(cls, file: Path, channels: int) -> tuple[ImageSource, ...]:
        """The channels of a file that holds so many."""
        return tuple(cls(str(file), number if channels > 1 else None) for number in range(channels))


@dataclass(frozen=True)
class Case:
    """One examination: its channels and its label file."""

    key: str
    images: tuple[ImageSource | None, ...]
    """One per channel of the dataset, in its order; None: the case lacks it. Empty: only its measures are known."""
    label: str | None = None
    """Absolute path; None for a case to be predicted, and where each mask is a file of its own."""
    masks: tuple[str | None, ...] = ()
    """Where each mask is a file: absolute paths, one per mask of the dataset; None: the case has nothing of it."""
    registrations: tuple[Registration | None, ...] = ()
    """How its channels were registered, one per channel; empty: they were not, or will be when they are read."""

    def __post_init__(self) -> None:
        path_name(self.key, "case")
        if self.images and not any(self.images):
            raise ValueError(f"case {short(self.key)} has no image")
        if len(self.registrations) not in (0, len(self.images)):
            found = f"{len(self.registrations)} entries for {len(self.images)} channels"
            raise ValueError(f"case {short(self.key)}: registrations: {found}")

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
        return (*self.image_files, *filter(None, self.label_files))

    @property
    def label_files(self) -> LabelFiles:
        """The label map, or one file per mask; empty for a case to be predicted."""
        files = self.masks if self.label is None else (self.label,)
        return tuple(None if file is None else Path(file) for file in files)

    @property
    def picked(self) -> str:
        """What is taken of which file, where that is not all of each in its order: it tells apart cases of the same
        files. Empty for most cases."""
        files = list(dict.fromkeys(source.file for source in self.images if source))
        sources = [(files.index(source.file), source.channel or 0) if source else None for source in self.images]
        in_order = [(number, place) for number in range(len(files)) for place in range(_count(sources, number))]
        masks = [mask is not None for mask in self.masks]
        return "" if sources == in_order and all(masks) else repr((sources, masks))

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


def _count(sources: list[tuple[int, int] | None], number: int) -> int:
    """Channels that come from file ``number``."""
    return sum(source is not None and source[0] == number for source in sources)


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
    channel_sources: tuple[ChannelSource, ...] = ()
    """Of which of a case's files each channel is which volume, where that is chosen; empty: files hold all channels."""
    alignment: Alignment | None = None
    """How the channels of a case come onto one grid; None: they lie on one."""

    def __post_init__(self) -> None:
        path_name(self.name, "dataset")
        if not self.channels:
            raise ValueError("there are no channels")
        for channel in self.channels:
            shown_name(channel, "channel")
        refuse_contradictory(self.channel_sources, len(self.channels))
        label_ending(self.file_ending)
        count = len(self.channels)
        if self.alignment is not None and self.alignment.reference >= count:
            raise ValueError(f"alignment.reference: {self.alignment.reference}, but there are {count} channels")
        for case in self.cases:
            self._refuse_other_masks(case)
        twice = [key for key, count in Counter(self.keys).items() if count > 1]
        if twice:
            raise ValueError(f"there are two cases {short(twice[0])!r}")

    def _refuse_other_masks(self, case: Case) -> None:
        """Raises ValueError for a case whose files are not those of this dataset's masks."""
        labels = self.labels
        expected = len(labels.masks) if isinstance(labels, MaskLabels) and not labels.in_channels else 0
        if case.label is not None and (case.masks or expected):
            raise ValueError(f"case {short(case.key)} has one label map, but each mask is a file of its own")
        if (case.masks or case.images) and len(case.masks) != expected:
            found = len(case.masks)
            raise ValueError(f"case {short(case.key)} has files for {found} masks, the dataset has {expected}")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(case.key for case in self.cases)

    @cached_property
    def unpaired(self) -> bool:
        """Whether each case has exactly one of several channels, its modality."""
        absent = {case.absent for case in self.cases}
        return len(absent) > 1 and all(len(each) == len(self.channels) - 1 for each in absent)

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
