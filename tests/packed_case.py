"""A case packed for the viewer of a page, of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoseg.core.geometry import Image
from autoseg.core.labels import Labels
from autoseg.reporting.packed import Volume
from autoseg.reporting.pictures import drawing_of
from autoseg.reporting.volumes import pack


def packed_case(
    case: str,
    image: Image,
    channels: Sequence[str],
    labels: Labels,
    *,
    reference: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    most: int,
) -> Volume | None:
    """With its reference, its prediction, or both and the errors; label maps hold the user's values, as in the file."""
    seen = prediction if reference is None else reference
    assert seen is not None
    drawing = drawing_of(image, seen, None if reference is None else prediction, labels)
    return pack(case, image, drawing, channels, most=most, first="prediction" if reference is None else "reference")
