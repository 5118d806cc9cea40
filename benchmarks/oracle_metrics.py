"""Makes tests/parts/metrics/monai_scores.npz: mask pairs and what MONAI 1.6.1 measures on them.

Run in an environment with MONAI: python benchmarks/oracle_metrics.py tests/parts/metrics/monai_scores.npz
"""

import sys

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)
from scipy.ndimage import gaussian_filter

GRIDS = [((9, 20, 22), (3.0, 1.0, 1.0)), ((14, 15, 16), (1.0, 1.0, 1.0)), ((8, 17, 13), (2.5, 0.7, 0.9))]
PAIRS_PER_GRID = 4
TOLERANCE = 1.0


def masks(generator, shape):
    """Two related random blobs; they touch the image's border, where definitions of a surface may differ."""
    field = gaussian_filter(generator.standard_normal(shape), 2)
    other = field + 0.6 * gaussian_filter(generator.standard_normal(shape), 2)
    return field > np.quantile(field, 0.7), other > np.quantile(other, 0.75)


def measure(reference, prediction, spacing):
    """dice, iou, hd95, assd, nsd."""
    y, p = (torch.from_numpy(array)[None, None].float() for array in (reference, prediction))
    options = {"include_background": True, "spacing": list(spacing)}
    scores = (
        compute_dice(p, y),
        compute_iou(p, y),
        compute_hausdorff_distance(p, y, percentile=95, **options),
        compute_average_surface_distance(p, y, symmetric=True, **options),
        compute_surface_dice(p, y, class_thresholds=[TOLERANCE], **options),
    )
    return [float(score) for score in scores]


def main(path):
    generator = np.random.default_rng(20240501)
    stored = {}
    for grid, (shape, spacing) in enumerate(GRIDS):
        pairs = [masks(generator, shape) for _ in range(PAIRS_PER_GRID)]
        stored[f"masks_{grid}"] = np.array(pairs)
        stored[f"spacing_{grid}"] = np.array(spacing)
        stored[f"scores_{grid}"] = np.array([measure(*pair, spacing) for pair in pairs])
    np.savez_compressed(path, **stored)


if __name__ == "__main__":
    main(sys.argv[1])
