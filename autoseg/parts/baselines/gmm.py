"""A mixture of Gaussians of the intensities of all channels, found by expectation maximisation (Dempster et al. 1977).

As k_means, but classes have widths and shapes of their own. The centres of all training cases are where those of each
image begin. Which class is which label is learned. It knows no place. Channels that a case lacks count as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...core.evidence import Hints, LabelledImage
from ._classes import counts, first_centres, in_blocks, labels_of, sample
from ._settings import candidates, refuse_impossible

ROUNDS = 50


@dataclass(frozen=True)
class Spec:
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

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, classes=(3, 2, 4, 5))

    def fitted(self, cases: Sequence[LabelledImage]) -> Spec:
        from ._mixture import Mixture, k_means

        assert self.classes is not None
        points = sample([case.image for case in cases])
        centres = k_means(points, first_centres(points, self.classes), ROUNDS)
        means = Mixture.around(points, centres).fitted(points, ROUNDS).means
        begun = replace(self, centres=tuple(map(tuple, means.tolist())))
        pairs = ((begun._classes(case.image), case.truth) for case in cases)
        return replace(begun, labels=labels_of(counts(pairs, self.classes, cases[0].labels)))

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        return np.array(self.labels, np.int32)[self._classes(image)]

    def _classes(self, image: np.ndarray) -> np.ndarray:
        from ._mixture import Mixture

        points = sample([image])
        mixture = Mixture.around(points, np.array(self.centres)).fitted(points, ROUNDS)
        found = np.empty(image[0].size, np.int64)
        for part, some in in_blocks(image):
            found[part] = mixture.log_densities(some).argmax(1)
        return found.reshape(image.shape[1:])
