"""The cases to predict, and which channels they have: as their files' names say, or as the user does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.channels import channel_number
from ..core.fusion import UNPAIRED
from ..core.missing import listed, subset_name
from ..core.names import short
from ..data.dataset import Case
from ..data.layouts import find_images
from ..data.modalities import only
from ..errors import UsageError
from ..inference.predictor import Predictor
from .missing import tell_missing


def images_to_predict(
    model: Predictor[Any], paths: Sequence[Path], modality: str | None = None
) -> tuple[Sequence[Case], dict[str, str]]:
    """The cases to predict in files and folders, and what is wrong with others; says which channels they lack.

    ``modality``, of a model that takes one per case, is the channel that files are whose names do not say it; None:
    these are told apart by their values when they are read. Raises DatasetError and UsageError.
    """
    task = model.task
    if modality is not None and not task.exclusive:
        raise UsageError(
            f"--modality {short(modality)}: this model takes {listed(task.channels)} of each case; it was not planned "
            f"with --fusion {UNPAIRED}"
        )
    number = None if modality is None else channel_number(modality, task.channels, "--modality")
    cases, refused = find_images(
        paths, len(task.channels), model.problem_without, sources=task.channel_sources, exclusive=task.exclusive
    )
    if number is not None:
        cases = tuple(_as(case, number, task.channels) for case in cases)
    tell_missing(model, cases)
    return cases, refused


def _as(case: Case, number: int, channels: Sequence[str]) -> Case:
    """``case`` as channel ``number``, unless the name of its file says that it is another."""
    if len(case.images) == len(channels) and case.images[number] is None:
        said = subset_name(channels, case.absent)
        raise UsageError(
            f"--modality {channels[number]}: case {short(case.key)} is {said} by the number in the name of its file; "
            "predict such cases without --modality"
        )
    return replace(case, images=only(number, case.image_files[0], len(channels)))
