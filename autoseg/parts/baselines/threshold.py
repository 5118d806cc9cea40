"""Thresholds by Otsu's method, one or several (Otsu 1979; Liao, Chen and Chung 2001 for several).

Each image gets thresholds of its own, which make the classes of intensities as uniform as can be. Which class is which
label, and how many classes there are, is learned. It knows no place: everything as bright as a label is the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...core.bounds import bounded
from ...core.evidence import Hints, LabelledImage
from ._classes import counts, labels_of
from ._settings import candidates, refuse_impossible

MOST_CLASSES = 5  # thresholds between more take hours: each combination of them is tried


@dataclass(frozen=True)
class Spec:
    """Of one channel, in 3-D."""

    largest: ClassVar[int | None] = None
    slice_by_slice: ClassVar[bool] = False
    one_channel: ClassVar[bool] = True

    classes: int | None = None
    """None: 2, 3 and 4 are tried."""
    labels: tuple[int, ...] = field(default=(), metadata={"learned": True})
    """Number of the label of each class, from dark to bright; learned."""

    def __post_init__(self) -> None:
        refuse_impossible(self)
        if self.classes is not None:
            bounded(self, "classes", most=MOST_CLASSES)

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, classes=(2, 3, 4))

    def fitted(self, cases: Sequence[LabelledImage]) -> Spec:
        pairs = ((self._classes(case.image), case.truth) for case in cases)
        assert self.classes is not None
        return replace(self, labels=labels_of(counts(pairs, self.classes, cases[0].labels)))

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        return np.array(self.labels, np.int32)[self._classes(image)]

    def _classes(self, image: np.ndarray) -> np.ndarray:
        """An image of fewer values than classes is all dark."""
        from skimage.filters import threshold_multiotsu

        try:
            limits = threshold_multiotsu(image[0], self.classes)
        except ValueError:
            return np.zeros(image.shape[1:], np.int64)
        found: np.ndarray = np.digitize(image[0], limits)
        return found
