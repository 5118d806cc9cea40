"""Laws of optimizers and schedules."""

import pytest
import torch

from autoseg.plan import OPTIMIZERS, SCHEDULES


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_decreases_a_square(name):
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    spec = OPTIMIZERS.load(name)()
    optimizer = spec.build([weight])
    assert optimizer.param_groups[0]["lr"] == spec.learning_rate
    for _ in range(50):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 2.99


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_starts_full_and_ends_at_zero(name):
    spec = SCHEDULES.load(name)()
    factors = [spec.factor(i / 10, i) for i in range(11)]
    assert factors[0] == 1 and factors[-1] == pytest.approx(0) and factors == sorted(factors, reverse=True)
    assert spec.factor(1.2, 12) == pytest.approx(0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_climbs_from_nearly_nothing(name):
    spec = SCHEDULES.load(name)(warmup_iterations=10)
    assert spec.factor(0, 0) == pytest.approx(0.1)
    assert spec.factor(0, 9) == spec.factor(0, 100) == 1


def test_polynomial_is_nnunets():
    assert SCHEDULES.load("polynomial")().factor(0.5, 500) == pytest.approx(0.5**0.9)


def test_cosine_is_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    spec = SCHEDULES.load("cosine")()
    for iteration in range(40):
        assert spec.factor(iteration / 40, iteration) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_adamw_is_torchs():
    spec = OPTIMIZERS.load("adamw")(learning_rate=0.01, weight_decay=0.1)
    ours, theirs = (torch.nn.Parameter(torch.tensor([3.0, -1.0])) for _ in range(2))
    steps = spec.build([ours]), torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.999), weight_decay=0.1)
    for _ in range(5):
        for weight, optimizer in zip((ours, theirs), steps):
            optimizer.zero_grad()
            weight.pow(4).sum().backward()
            optimizer.step()
    assert torch.equal(ours, theirs)
