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
