"""Classical methods: each finds a ball in noise, and what they are made of agrees with independent implementations."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.core.evidence import Evidence, LabelledImage, tally
from autoseg.pipeline.baseline import BASELINES

SPACING = (1.5, 1.0, 1.0)
REACHED = {  # Dice of the bright ball, of whose voxels 8 % are taken for others by brightness alone
    "canny_fill": 0.75,
    "fast_marching": 0.85,
    "gmm": 0.75,
    "graph_cut": 0.93,
    "k_means": 0.75,
    "level_set": 0.9,
    "random_walker": 0.9,
    "region_growing": 0.8,
    "threshold": 0.75,
    "watershed": 0.8,
}


def ball(seed: int, shape: tuple[int, ...] = (20, 32, 32)) -> tuple[np.ndarray, np.ndarray]:
    """An image (1, *shape) of noise with a bright ball near its middle, and the ball."""
    random = np.random.default_rng(seed)
    centre = np.array(shape) / 2 + random.uniform(-2, 2, len(shape))
    axes = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    apart = sum(((axis - middle) * edge) ** 2 for axis, middle, edge in zip(axes, centre, SPACING[-len(shape) :]))
    truth = (apart < 9**2).astype(np.int64)
    return (0.3 + 0.4 * truth + random.normal(0, 0.14, shape))[None].astype(np.float32), truth


def evidence_of(seeds: range, shape: tuple[int, ...] = (20, 32, 32)) -> Evidence:
    spacing = SPACING[-len(shape) :]
    return Evidence.of([tally(*ball(seed, shape), spacing, (), None) for seed in seeds])


def hinted(seed: int, known: Evidence, shape: tuple[int, ...] = (20, 32, 32)) -> LabelledImage:
    image, truth = ball(seed, shape)
    spacing = SPACING[-len(shape) :]
    box = tuple(slice(0, size) for size in shape)
    return LabelledImage(image, spacing, truth, 2, known.hints(image, spacing, (), box, shape))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


@pytest.mark.parametrize("shape", [(20, 32, 32), (32, 32)], ids=["3-D", "2-D"])
@pytest.mark.parametrize("name", list(BASELINES))
def test_a_method_finds_a_bright_ball_in_noise(name: str, shape: tuple[int, ...]) -> None:
    known = evidence_of(range(4), shape)
    case = hinted(9, known, shape)
    method = BASELINES.load(name)().candidates()[0].fitted([hinted(seed, known, shape) for seed in range(2)])
    before = case.image.copy()
    found = method.segment(case.image, case.spacing, None if method.largest is None else case.hints)
    assert found.shape == shape and found.dtype.kind == "i" and set(np.unique(found)) <= {0, 1}
    np.testing.assert_array_equal(case.image, before)
    assert dice(found == 1, case.truth == 1) > REACHED[name] - 0.05 * (len(shape) == 2)
