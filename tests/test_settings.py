"""Device and precision are decided once, and impossible wishes are refused in words."""

import pytest
import torch

from autoseg import settings
from autoseg.errors import UsageError
from autoseg.settings import RunSettings, computes, resolve


@pytest.fixture
def processor(monkeypatch):
    """Pretends a kind of processor: with bfloat16 instructions or without."""

    def pretend(capability: str, bfloat16: bool) -> None:
        monkeypatch.setattr(settings.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_amx_fp16_supported", lambda: False)
        settings._instead_of.cache_clear()

    return pretend


def test_named_precision_is_obeyed(processor):
    processor("AVX512", bfloat16=True)
    assert resolve(RunSettings(device="cpu", precision="float32")).dtype is None
    assert resolve(RunSettings(device="cpu", precision="bfloat16")).dtype is torch.bfloat16


@pytest.mark.parametrize(("capability", "bfloat16"), [("AVX2", False), ("AVX512", False), ("AVX2", True)])
@pytest.mark.parametrize("predicting", [False, True])
def test_what_a_processor_would_only_emulate_is_float32_and_said_once(
    processor, caplog, capability, bfloat16, predicting
):
    processor(capability, bfloat16)
    for _ in range(3):
        assert resolve(RunSettings(device="cpu", precision="bfloat16"), predicting=predicting).dtype is None
        assert resolve(RunSettings(device="cpu"), predicting=predicting).dtype is None
    assert len(caplog.records) == 1 and "no instructions for bfloat16" in caplog.text


def test_other_processors_are_believed_to_have_what_is_asked_for(processor, monkeypatch):
    processor("DEFAULT", bfloat16=False)
    monkeypatch.setattr(settings.platform, "machine", lambda: "aarch64")
    assert resolve(RunSettings(device="cpu", precision="bfloat16")).dtype is torch.bfloat16
    assert resolve(RunSettings(device="cpu")).dtype is None


def test_what_is_said_of_this_machine_agrees_with_what_it_takes():
    asked = resolve(RunSettings(device="cpu", precision="bfloat16")).dtype
    assert asked is (torch.bfloat16 if computes(torch.bfloat16) else None)


def test_auto_device_exists():
    device = resolve(RunSettings()).device
    assert torch.zeros(1, device=device).sum().item() == 0


def test_auto_precision_on_a_processor_with_bfloat16_is_bfloat16(processor):
    processor("AVX512", bfloat16=True)
    assert resolve(RunSettings(device="cpu")).dtype is torch.bfloat16


def test_auto_precision_predicts_in_float32_on_a_processor(processor):
    processor("AVX512", bfloat16=True)
    assert resolve(RunSettings(device="cpu"), predicting=True).dtype is None
    assert resolve(RunSettings(device="cpu", precision="bfloat16"), predicting=True).dtype is torch.bfloat16


@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
def test_an_impossible_device_is_named(device):
    with pytest.raises(UsageError, match=device):
        resolve(RunSettings(device=device))


def test_an_unknown_precision_lists_the_choices():
    with pytest.raises(UsageError, match="bfloat16, float16, float32"):
        resolve(RunSettings(device="cpu", precision="float8"))
