"""K-means of the intensities of all channels (Lloyd 1982): every voxel belongs to the nearest of a few centres.

The centres of all training cases are where those of each image begin, so that a class means the same in each. Which
class is which label is learned. It knows no place. Channels that a case lacks count as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._class_spec import ROUNDS, ClassSpec
from ._classes import in_blocks, sample


@dataclass(frozen=True)
class Spec(ClassSpec):
    """Of all channels, in 3-D."""

    def classes_of(self, image: np.ndarray) -> np.ndarray:
        """See ``ClassSpec``."""
        from scipy.cluster.vq import vq

        from ._mixture import k_means

        centres = k_means(sample([image]), np.array(self.centres), ROUNDS)
        found = np.empty(image[0].size, np.int64)
        for part, points in in_blocks(image):
            found[part] = vq(points, centres)[0]
        return found.reshape(image.shape[1:])
