"""Device and precision are decided once, and impossible wishes are refused in words."""

import pytest
import torch

from autoseg.errors import UsageError
from autoseg.settings import RunSettings, resolve


def test_named_precision_is_obeyed():
    assert resolve(RunSettings(device="cpu", precision="float32")).dtype is None
    assert resolve(RunSettings(device="cpu", precision="bfloat16")).dtype is torch.bfloat16


def test_auto_device_exists():
    device = resolve(RunSettings()).device
    assert torch.zeros(1, device=device).sum().item() == 0


def test_auto_precision_on_a_processor_without_bfloat16_is_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert resolve(RunSettings(device="cpu")).dtype is None


def test_auto_precision_on_a_processor_with_bfloat16_is_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert resolve(RunSettings(device="cpu")).dtype is torch.bfloat16


def test_auto_precision_predicts_in_float32_on_a_processor(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert resolve(RunSettings(device="cpu"), predicting=True).dtype is None
    assert resolve(RunSettings(device="cpu", precision="bfloat16"), predicting=True).dtype is torch.bfloat16


@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
def test_an_impossible_device_is_named(device):
    with pytest.raises(UsageError, match=device):
        resolve(RunSettings(device=device))


def test_an_unknown_precision_lists_the_choices():
    with pytest.raises(UsageError, match="bfloat16, float16, float32"):
        resolve(RunSettings(device="cpu", precision="float8"))
