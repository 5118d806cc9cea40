"""The boundary loss needs distances to the true border, which scipy computes on the processor."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ._terms import Term, mean
from ._voxels import Voxels


def boundary() -> Term:
    """Mean of distance to the true border times what is wrong there, over foreground heads."""

    def measure(voxels: Voxels) -> Tensor:
        on = voxels.on[:, voxels.foreground]
        return voxels.sums(signed_distances(on) * (voxels.probability[:, voxels.foreground] - on.float()))

    return Term(measure, mean)


def signed_distances(on: Tensor) -> Tensor:
    """(B, heads, *patch) float32, voxels: positive outside, 0 on the border's inner voxels, negative within.

    0 everywhere for a head that is on nowhere or everywhere in its patch: there is no border.
    """
    maps = on.cpu().numpy()
    distances = np.zeros(maps.shape, np.float32)
    for place in np.ndindex(maps.shape[:2]):
        inside = maps[place]
        if inside.any() and not inside.all():
            outward = distance_transform_edt(~inside)
            distances[place] = np.where(inside, 1.0 - distance_transform_edt(inside), outward)
    return torch.from_numpy(distances).to(on.device)
