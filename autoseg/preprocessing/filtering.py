"""Filters of the plan on the voxels of a case, as they lie in the file, before anything else is done to them.

Noise and bias field are those of the voxels that were acquired: resampled ones have neither independent noise nor the
spacing that a filter's millimetres mean, and what is found slowly on the file's grid serves every configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..configuration import FILTERS, Configuration
from ..core.components import without_holes
from ..core.geometry import Image
from ..errors import DatasetError
from .estimates import NOT_KEPT, Estimates


def filtered(image: Image, configuration: Configuration, estimates: Estimates = NOT_KEPT) -> Image:
    """A copy of ``image`` with each channel filtered as planned; the image itself where nothing is planned for any.

    What is 0 in all channels around the body (say around a brain that was cut out) stays 0, so that a filter neither
    enlarges the image nor leads normalisation astray. Raises DatasetError where a filter gives other voxels than it
    should.
    """
    if not any(configuration.filters):
        return image
    array = image.array.copy()
    for number, parts in enumerate(configuration.filters):
        if number in image.absent:
            continue
        for part in parts:
            found = estimates.applied(part, array[number], image.geometry.spacing)
            if found.shape != image.geometry.shape or not np.isfinite(found).all():
                raise DatasetError(f"the filter {FILTERS.name_of(part)} of channel {number} gives no finite image")
            array[number] = found
    outside = ~without_holes((image.array != 0).any(axis=0))
    array[:, outside] = 0
    return replace(image, array=array)


def names_of_filters(configuration: Configuration, channels: Sequence[str]) -> str:
    """``n4 of FLAIR; n4, median of T1``; empty where there are none."""
    named = zip(channels, configuration.filters)
    return "; ".join(f"{', '.join(map(FILTERS.name_of, parts))} of {channel}" for channel, parts in named if parts)
