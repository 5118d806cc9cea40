"""Which modality an image has that comes alone and is not said to be one: by its values."""

from __future__ import annotations

import logging

import numpy as np

from ..core.geometry import Image
from ..core.missing import listed
from ..core.modality_guess import guess_modality, named_modality
from ..core.names import short
from ..errors import ModelError
from ..task import Task

LOG = logging.getLogger("autoseg")


def placed(image: Image, task: Task, what: str) -> Image:
    """``image`` as the channel that it looks like, and the others absent, where the network takes one modality and it
    has one channel; any other image as it is. The choice is told; ``what`` is how the image is called.

    Raises ModelError where it looks like none of the modalities, or like several.
    """
    channels = task.channels
    if not task.exclusive or len(image.array) != 1:
        return image
    kind = guess_modality(image.array[0])
    alike = [number for number, name in enumerate(channels) if kind is not None and named_modality(name) == kind]
    values = f"its values, {image.array.min():.4g} to {image.array.max():.4g},"
    if len(alike) != 1:
        looks = f"look like {kind}" if kind else "are like those of no modality that is known"
        fits = f", which {listed([channels[number] for number in alike])} are" if alike else ""
        raise ModelError(
            f"is it {listed(channels)}? {values} {looks}{fits}. Say which one: --modality NAME, or the number of the "
            f"channel at the end of the file's name; in Python, None for every other channel"
        )
    (number,) = alike
    LOG.info("%s: taken as %s, since %s look like it; --modality says otherwise", short(what), channels[number], values)
    whole = np.zeros((len(channels), *image.array.shape[1:]), np.float32)
    whole[number] = image.array[0]
    return Image(whole, image.geometry, tuple(other for other in range(len(channels)) if other != number))
