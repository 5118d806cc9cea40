"""A mixture of Gaussians of the intensities of all channels, found by expectation maximisation (Dempster et al. 1977).

As k_means, but classes have widths and shapes of their own. The centres of all training cases are where those of each
image begin. Which class is which label is learned. It knows no place. Channels that a case lacks count as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._class_spec import ROUNDS, ClassSpec
from ._classes import in_blocks, sample


@dataclass(frozen=True)
class Spec(ClassSpec):
    """Of all channels, in 3-D."""

    def refined(self, points: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """The means of the mixture that begins around the centres."""
        from ._mixture import Mixture

        return Mixture.around(points, centres).fitted(points, ROUNDS).means

    def classes_of(self, image: np.ndarray) -> np.ndarray:
        """See ``ClassSpec``."""
        from ._mixture import Mixture

        points = sample([image])
        mixture = Mixture.around(points, np.array(self.centres)).fitted(points, ROUNDS)
        found = np.empty(image[0].size, np.int64)
        for part, some in in_blocks(image):
            found[part] = mixture.log_densities(some).argmax(1)
        return found.reshape(image.shape[1:])
