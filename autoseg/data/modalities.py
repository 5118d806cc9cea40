"""Which of a dataset's channels a case has, where it has one of several modalities and its files do not say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..core.channels import channel_number
from ..core.names import first_of, short
from ..errors import DatasetError
from .dataset import Dataset, ImageSource


def only(number: int, path: Path | str, channels: int) -> tuple[ImageSource | None, ...]:
    """The images of a case of which the file ``path`` holds channel ``number``, and which lacks all others."""
    return tuple(ImageSource(str(path)) if each == number else None for each in range(channels))


def with_modalities(dataset: Dataset, modalities: Mapping[str, str], where: str) -> Dataset:
    """``dataset``, of which each case's one file is the channel that ``modalities`` names, by its name or number.

    A dataset without a dataset.json gets these names as its channels. Raises DatasetError, beginning with ``where``,
    for cases of several files, UsageError for a modality that is no channel.
    """
    if dataset.channel_sources:
        raise DatasetError(f"{where}: dataset.json says already which file and volume each channel is")
    several = [
        f"case {short(case.key)}: {len(case.image_files)} files" for case in dataset.cases if len(case.image_files) > 1
    ]
    if several:
        told = first_of(several, 5)
        raise DatasetError(
            f"{where}: a case that has a modality has one image file, but {len(several)} do not:\n{told}"
        )
    channels = dataset.channels
    if dataset.layout == "plain" and len(channels) == 1:
        channels = tuple(sorted({modalities[case.key] for case in dataset.cases}))
    numbers = {case.key: channel_number(modalities[case.key], channels, where) for case in dataset.cases}
    cases = (
        replace(case, images=only(numbers[case.key], case.image_files[0], len(channels))) for case in dataset.cases
    )
    return replace(dataset, channels=channels, cases=tuple(cases))
