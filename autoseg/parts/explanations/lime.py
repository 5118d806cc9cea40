"""LIME (Ribeiro et al. 2016, arXiv 1602.04938): a linear model of the score, of which supervoxels are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ...core.scene import Scene

AT_ONCE = 4  # patches
WIDTH = 0.25  # of the kernel that weighs samples by how alike they are to the whole patch (as the authors' programs)
RIDGE = 1.0
LEAST = 0.1  # of the size of an average supervoxel: smaller ones are joined to others, and lesions are small
COMPACT = 0.1  # of supervoxels: normalised intensities against places


@dataclass(frozen=True)
class Spec:
    """Supervoxels (SLIC: Achanta et al. 2012) are hidden at random, each in half of the samples; what is hidden is 0.

    The map holds the weight of each supervoxel in a ridge regression.
    """

    supervoxels: int = 64
    """About so many in a patch."""
    samples: int = 256

    def __post_init__(self) -> None:
        bounded(self, "supervoxels", least=2, most=2000)
        bounded(self, "samples", least=16, most=100_000)

    @property
    def unit(self) -> str:
        """See ``explanation_contract.Explanation``."""
        return "what a supervoxel adds to the label's mean logit"

    def passes(self, scene: Scene) -> int:
        """See ``explanation_contract.Explanation``."""
        return self.samples

    def explain(self, scene: Scene, advance: Callable[[int], None]) -> Tensor:
        """See ``explanation_contract.Explanation``."""
        import numpy as np
        import torch

        numbers = self._supervoxels(scene)
        count = int(numbers.max()) + 1
        there = np.random.default_rng(scene.seed).random((self.samples, count)) < 0.5
        there[0] = True
        kept = torch.from_numpy(there)
        places = torch.from_numpy(numbers)
        scores: list[float] = []
        with torch.inference_mode():
            for some in kept.split(AT_ONCE):
                seen = some[:, places].unsqueeze(1).to(scene.patch)
                scores += scene.score(scene.patch * seen).tolist()
                advance(len(some))
        weights = _ridge(there.astype(float), np.array(scores))
        return torch.from_numpy(weights.astype(np.float32))[places]

    def _supervoxels(self, scene: Scene) -> np.ndarray:
        """(*patch) numbers from 0."""
        import numpy as np
        from skimage.segmentation import slic

        array = np.moveaxis(scene.patch[0].cpu().numpy().astype(float), 0, -1)
        found: np.ndarray = slic(
            array,
            self.supervoxels,
            COMPACT,
            spacing=[*scene.spacing] if array.ndim == 4 else None,
            channel_axis=-1,
            start_label=0,
            min_size_factor=LEAST,
        )
        return np.unique(found, return_inverse=True)[1].reshape(found.shape)


def _ridge(there: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Weights of the columns of ``there``; a constant is not shrunk."""
    import numpy as np

    distance = 1 - np.sqrt(there.mean(1))  # of cosines, between a sample and the whole
    share = np.exp(-(distance**2) / WIDTH**2)
    centre, level = np.average(there, axis=0, weights=share), np.average(scores, weights=share)
    columns, values = there - centre, scores - level
    normal = (columns * share[:, None]).T @ columns + RIDGE * np.eye(there.shape[1])
    found: np.ndarray = np.linalg.solve(normal, (columns * share[:, None]).T @ values)
    return found
