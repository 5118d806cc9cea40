"""How torch is told to compute; whatever fails there, training goes on."""

import logging
import time

import pytest
import torch

from autoseg.core.inputs import InputSpec
from autoseg.errors import TrainingError, UsageError
from autoseg.settings import RunSettings, resolve
from autoseg.training import arithmetic as arithmetic_module
from autoseg.training.arithmetic import arithmetic, chosen_forward

CPU = RunSettings(device="cpu", threads=1)
SHAPE = (2, 1, 8, 8, 8)


def forward(plan, settings, seconds=1e6):
    network = plan.configuration()[1].network.build(InputSpec.of_image(1), 2)
    return network, chosen_forward(network, SHAPE, settings, resolve(settings), lambda pace: seconds)


def test_a_processor_runs_the_network_as_it_is(small_plan):
    network, chosen = forward(small_plan, CPU)
    assert chosen is network


def test_a_compiler_that_fails_is_told_and_done_without(small_plan, monkeypatch, caplog):
    def broken(network):
        def fail(images):
            raise RuntimeError("no C compiler\nat all")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level(logging.WARNING, "autoseg"):
        network, chosen = forward(small_plan, RunSettings(device="cpu", compile="on"))
    assert chosen is network
    assert "no C compiler" in caplog.text and "at all" not in caplog.text


def test_compiling_leaves_weights_buffers_and_gradients_alone(small_plan, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network: network)
    settings = RunSettings(device="cpu", compile="on")
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    chosen_forward(network, SHAPE, settings, resolve(settings), lambda pace: 1e6)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


class Slow(torch.nn.Module):
    """A network that takes its time."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        time.sleep(0.05)
        return self.network(images)


@pytest.mark.parametrize("faster", [True, False])
def test_where_compiling_may_pay_the_faster_network_is_taken(small_plan, monkeypatch, faster):
    plain = small_plan.configuration()[1].network.build(InputSpec.of_image(1), 2)
    network, compiled = (Slow(plain), plain) if faster else (plain, Slow(plain))
    monkeypatch.setattr(arithmetic_module, "COMPILED_FOR", ("cpu",))
    monkeypatch.setattr(torch, "compile", lambda network: compiled)
    chosen = chosen_forward(network, SHAPE, CPU, resolve(CPU), lambda pace: 1e6)
    assert chosen is (compiled if faster else network)


def test_a_batch_that_memory_does_not_hold_is_left_to_the_training(small_plan, monkeypatch):
    """Which computes it in parts; timing it to see whether compiling pays must not end it before it has begun."""

    class Vast(torch.nn.Module):
        def forward(self, images):
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(arithmetic_module, "COMPILED_FOR", ("cpu",))
    network = Vast()
    assert chosen_forward(network, SHAPE, CPU, resolve(CPU), lambda pace: 1e6) is network


def test_a_short_training_is_not_compiled_for(small_plan, monkeypatch):
    monkeypatch.setattr(arithmetic_module, "COMPILED_FOR", ("cpu",))
    monkeypatch.setattr(torch, "compile", None)
    network, chosen = forward(small_plan, CPU, seconds=60.0)
    assert chosen is network


def test_determinism_is_asked_of_torch_for_the_training_only():
    settings = RunSettings(device="cpu", deterministic=True)
    with arithmetic(settings, resolve(settings)):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_cannot_be_deterministic_is_said():
    settings = RunSettings(device="cpu", deterministic=True)
    with pytest.raises(TrainingError, match="put_"), arithmetic(settings, resolve(settings)):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))


def test_an_unknown_wish_is_refused():
    with pytest.raises(UsageError, match="auto, on, off"):
        RunSettings(compile="maybe")
