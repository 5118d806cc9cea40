"""Instance normalisation in prediction is exact, wherever the mean lies and however many voxels there are."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import instance_norm

from autoseg.parts.networks._normalisation import EPSILON, InstanceNorm

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def drawn(shape: tuple[int, ...], mean: float, spread: float) -> tuple[InstanceNorm, Tensor]:
    generator = torch.Generator().manual_seed(0)
    norm = InstanceNorm(shape[1])
    with torch.no_grad():
        norm.weight.copy_(torch.rand(shape[1], generator=generator) + 0.5)
        norm.bias.copy_(torch.randn(shape[1], generator=generator))
    maps = mean + spread * torch.randn(shape, generator=generator)
    return norm, maps.contiguous(memory_format=LAST[len(shape)])


@pytest.mark.parametrize("shape", [(2, 16, 40, 56, 40), (1, 8, 7, 9, 5), (2, 8, 192, 112), (1, 4, 1, 64, 64)])
@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (3.0, 0.03), (0.5, 0.0)])
def test_prediction_normalises_exactly(shape: tuple[int, ...], mean: float, spread: float) -> None:
    norm, maps = drawn(shape, mean, spread)
    expected = instance_norm(maps.double(), weight=norm.weight.double(), bias=norm.bias.double(), eps=EPSILON)
    with torch.inference_mode():
        found = norm(maps)
    assert found.is_contiguous(memory_format=LAST[len(shape)])
    assert (found.double() - expected).abs().max() < 5e-6


def test_training_has_gradients_and_the_same_formula() -> None:
    norm, maps = drawn((2, 8, 12, 16, 16), 0.0, 1.0)
    trained = norm(maps)
    assert trained.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(norm(maps), trained, rtol=0, atol=1e-4)
