"""SimpleITK's filters on arrays, in one thread: cases are spread over threads already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core.names import short
from ...errors import DatasetError


def as_image(array: np.ndarray, spacing: Sequence[float]) -> Any:
    """A SimpleITK image of an array (z, y, x) with ``spacing`` in mm along these axes; 2-D where it is one slice."""
    import SimpleITK

    flat = array.shape[0] == 1
    image = SimpleITK.GetImageFromArray(array[0] if flat else array)
    image.SetSpacing([float(edge) for edge in spacing[::-1][: image.GetDimension()]])
    return image


def as_array(image: Any) -> np.ndarray:
    """(z, y, x) float32."""
    import SimpleITK

    array = SimpleITK.GetArrayFromImage(image).astype(np.float32, copy=False)
    found: np.ndarray = array[None] if array.ndim == 2 else array
    return found


def run(made: Any, what: str, *images: Any) -> Any:
    """What the SimpleITK filter ``made`` gives. Raises DatasetError, beginning with ``what``, where it gives up."""
    made.SetNumberOfThreads(1)
    return said(lambda: made.Execute(*images), what)


def said(work: Callable[[], Any], what: str) -> Any:
    """ITK's exceptions, whose first lines name its source files, as one sentence."""
    try:
        return work()
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise DatasetError(f"{what} failed: {short(lines[-1].strip() if lines else 'no reason was given')}") from None
