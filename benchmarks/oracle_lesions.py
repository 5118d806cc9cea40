"""Makes tests/parts/metrics/lesion_scores.npz: mask pairs and what other programs measure on them.

Surface Dice and HD95 by area are those of DeepMind's package. Lesion scores follow the definition of the BraTS 2023
challenges (https://www.synapse.org/Synapse:syn51156910/discussion/threadId=10357) step by step: SciPy grows masks and
numbers components, DeepMind's package measures distances, scikit-learn the area under the curve.

Run in an environment of its own: pip install surface-distance-based-measures scipy scikit-learn, then
python benchmarks/oracle_lesions.py tests/parts/metrics/lesion_scores.npz
"""

import sys

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, generate_binary_structure, label
from sklearn.metrics import roc_auc_score
from surface_distance import compute_robust_hausdorff, compute_surface_dice_at_tolerance, compute_surface_distances

GRIDS = [((20, 24, 22), (1.0, 1.0, 1.0)), ((9, 20, 22), (3.0, 1.0, 1.0)), ((12, 17, 13), (2.5, 0.7, 0.9))]
FLAT = [((40, 44), (1.0, 1.0)), ((36, 50), (0.6, 1.3))]
PAIRS = 4
TOLERANCE = 1.0
CHALLENGES = ((3, 50), (1, 50), (1, 2))  # mm and mm³, on voxels of 1 mm
FARTHEST = 374.0


def masks(generator, shape, width):
    """Related random blobs, some at the image's border; where ``width`` is small there are many."""
    field = gaussian_filter(generator.standard_normal(shape), width)
    other = field + 0.7 * gaussian_filter(generator.standard_normal(shape), width)
    return field > np.quantile(field, 0.9), other > np.quantile(other, 0.9)


def surfaces(reference, prediction, spacing):
    """Surface Dice and HD95 by area."""
    distances = compute_surface_distances(reference, prediction, spacing)
    return compute_surface_dice_at_tolerance(distances, TOLERANCE), compute_robust_hausdorff(distances, 95)


def lesions(reference, prediction, grow, smallest):
    """lesion_dice, lesion_hd95_mm, found, missed, false positives; voxels of 1 mm."""
    around, everywhere = generate_binary_structure(3, 2), np.ones((3, 3, 3))
    grown = label(binary_dilation(reference, around, iterations=grow), everywhere)[0]
    parts, count = label(prediction, everywhere)
    dice, distances, used, missed = [], [], set(), 0
    for number in range(1, grown.max() + 1):
        lesion = reference & (grown == number)
        reached = set(np.unique(parts[binary_dilation(lesion, around, iterations=grow)])) - {0}
        used |= reached
        if lesion.sum() <= smallest:
            continue
        matched = np.isin(parts, list(reached))
        dice.append(2 * (matched & lesion).sum() / (matched.sum() + lesion.sum()))
        distances.append(surfaces(lesion, matched, (1.0, 1.0, 1.0))[1] if reached else FARTHEST)
        missed += not reached
    wrong = count - len(used)
    found, everything = len(dice) - missed, len(dice) + wrong
    return sum(dice) / everything, (sum(distances) + FARTHEST * wrong) / everything, found, missed, wrong


def main(path):
    generator = np.random.default_rng(20250701)
    stored = {}
    for grid, (shape, spacing) in enumerate([*GRIDS, *FLAT]):
        pairs = [masks(generator, shape, 2) for _ in range(PAIRS)]
        stored[f"masks_{grid}"] = np.array(pairs)
        stored[f"spacing_{grid}"] = np.array(spacing)
        stored[f"surfaces_{grid}"] = np.array([surfaces(*pair, spacing) for pair in pairs])
    pairs = [masks(generator, (28, 30, 26), width) for width in (1, 1.3, 1.6, 2)]
    stored["lesion_masks"] = np.array(pairs)
    stored["challenges"] = np.array(CHALLENGES)
    stored["lesions"] = np.array([[lesions(*pair, *each) for each in CHALLENGES] for pair in pairs])
    codes = generator.integers(0, 256, (3, 5000)).astype(np.uint8)
    truth = generator.random(codes.shape) < 0.1 + 0.8 * (codes / 255.0) ** np.array([[0], [1], [3]])
    stored["codes"], stored["truth"] = codes, truth
    stored["auc"] = np.array([roc_auc_score(*each) for each in zip(truth, codes)])
    np.savez_compressed(path, **stored)


if __name__ == "__main__":
    main(sys.argv[1])
