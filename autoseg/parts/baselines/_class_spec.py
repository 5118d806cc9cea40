"""Methods whose classes have centres in the intensities of all channels: what k_means and gmm share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

import numpy as np

from ...core.evidence import Hints, LabelledImage
from ._classes import counts, first_centres, labels_of, sample
from ._settings import candidates, refuse_impossible

ROUNDS = 50

Classes = TypeVar("Classes", bound="ClassSpec")


@dataclass(frozen=True)
class ClassSpec:
    """Of all channels, in 3-D."""

    largest: ClassVar[int | None] = None
    slice_by_slice: ClassVar[bool] = False
    one_channel: ClassVar[bool] = False

    classes: int | None = None
    """None: 2 to 5 are tried."""
    centres: tuple[tuple[float, ...], ...] = field(default=(), metadata={"learned": True})
    """Scaled intensities (classes, channels) where those of an image begin; learned."""
    labels: tuple[int, ...] = field(default=(), metadata={"learned": True})
    """Number of the label of each class; learned."""

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def candidates(self: Classes) -> tuple[Classes, ...]:
        return candidates(self, classes=(3, 2, 4, 5))

    def fitted(self: Classes, cases: Sequence[LabelledImage]) -> Classes:
        from ._mixture import k_means

        assert self.classes is not None
        points = sample([case.image for case in cases])
        centres = self.refined(points, k_means(points, first_centres(points, self.classes), ROUNDS))
        begun = replace(self, centres=tuple(map(tuple, centres.tolist())))
        pairs = ((begun.classes_of(case.image), case.truth) for case in cases)
        return replace(begun, labels=labels_of(counts(pairs, self.classes, cases[0].labels)))

    def refined(self, points: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """What the method makes of the centres that k-means has found in the training cases."""
        return centres

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        return np.array(self.labels, np.int32)[self.classes_of(image)]

    def classes_of(self, image: np.ndarray) -> np.ndarray:
        """Number of the class of each voxel of (channels, z, y, x)."""
        raise NotImplementedError
