"""Convolution in blocks is convolution, and only prediction in float32 on a processor takes it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import conv3d

from autoseg.parts.networks import _convolution
from autoseg.parts.networks._convolution import LONGEST, Conv3d, in_blocks


def drawn(depth: int, *, channels: int = 8, outputs: int = 8, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(depth)
    shapes = (batch, channels, depth, 6, 5), (outputs, channels, 3, 3, 3), (outputs,)
    maps, weight, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    return maps, weight / (27 * channels) ** 0.5, bias


@pytest.mark.slow
@given(st.integers(1, 3 * LONGEST), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.booleans())
@settings(max_examples=30)
def test_blocks_of_planes_are_the_convolution(depth, channels, outputs, batch, last):
    maps, weight, bias = drawn(depth, channels=channels, outputs=outputs, batch=batch)
    if last:
        maps = maps.contiguous(memory_format=torch.channels_last_3d)
    exact = conv3d(maps.double(), weight.double(), bias.double(), padding=1)
    with torch.no_grad():
        torch.testing.assert_close(in_blocks(maps, weight, bias).double(), exact, rtol=0, atol=5e-4)
        without = in_blocks(maps, weight, None).double()
    torch.testing.assert_close(without, exact - bias.double()[:, None, None, None], rtol=0, atol=5e-4)


def test_errors_of_the_longest_block_are_a_hundredth_of_a_rounding_to_bfloat16():
    maps, weight, bias = drawn(4 * LONGEST, channels=64)
    exact = conv3d(maps.double(), weight.double(), bias.double(), padding=1)
    error = (in_blocks(maps, weight, bias) - exact).square().mean().sqrt()
    assert error < 0.01 * (maps.bfloat16() - maps).square().mean().sqrt()


def test_how_many_blocks_are_computed_together_changes_little(monkeypatch):
    maps, weight, bias = drawn(35)
    together = in_blocks(maps, weight, bias)
    monkeypatch.setattr(_convolution, "CHUNK_BYTES", 1)
    torch.testing.assert_close(in_blocks(maps, weight, bias), together, rtol=0, atol=5e-4)


@pytest.mark.parametrize(
    ("predicts", "dtype", "threads"),
    [(True, None, 4), (False, None, 4), (True, torch.bfloat16, 4), (True, None, 5)],
    ids=["prediction", "training", "half precision", "many threads"],
)
def test_only_prediction_in_float32_with_few_threads_takes_it(monkeypatch, predicts, dtype, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    layer, maps = Conv3d(8, 8, 3, padding=1), torch.randn(2, 8, 20, 6, 5)
    taken = []
    monkeypatch.setattr(_convolution, "in_blocks", lambda *given: taken.append(1) or in_blocks(*given))
    with torch.set_grad_enabled(not predicts), torch.autocast("cpu", dtype, enabled=dtype is not None):
        assert layer(maps).dtype == (dtype or torch.float32)
    assert bool(taken) == (predicts and dtype is None and threads == 4)


@pytest.mark.parametrize(
    "layer",
    [Conv3d(8, 8, 3, 2, 1), Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1)), Conv3d(8, 8, 1), Conv3d(1, 8, 3, padding=1)],
    ids=["stride", "flat kernel", "one voxel", "one channel"],
)
def test_other_layers_are_torchs(layer):
    maps = torch.randn(2, layer.in_channels, 20, 8, 8)
    with torch.no_grad():
        assert torch.equal(layer(maps), torch.nn.Conv3d.forward(layer, maps))


def test_a_convolution_without_values_leaves_none_for_the_next() -> None:
    """Where memory is counted, tensors have shapes only."""
    maps, weight, bias = drawn(7)
    _convolution._combinations.cache_clear()
    with torch.no_grad():
        with FakeTensorMode(allow_non_fake_inputs=True):
            in_blocks(torch.empty_like(maps), weight, bias)
        exact = conv3d(maps, weight, bias, padding=1)
        torch.testing.assert_close(in_blocks(maps, weight, bias), exact, rtol=0, atol=5e-4)
