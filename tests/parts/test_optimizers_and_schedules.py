"""Laws of optimizers and schedules."""

import pytest
import torch

from autoseg.configuration import OPTIMIZERS, SCHEDULES
from autoseg.parts.optimizers._muon import orthogonal


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


def trained(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer, steps: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("rows", [8, 400])  # fewer and more than columns
def test_muon_updates_a_kernel_as_torchs_does_a_matrix(rows):
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch has had Muon since 2.9")
    start = torch.randn((rows, 5, 3, 3, 3), generator=torch.Generator().manual_seed(1))
    kernel, matrix = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.flatten(1).clone())
    spec = OPTIMIZERS.load("muon")(learning_rate=0.01, momentum=0.9, weight_decay=0.1)
    theirs = torch.optim.Muon([matrix], 0.01, 0.1, 0.9, adjust_lr_fn="match_rms_adamw")
    ours, expected = trained(kernel, spec.build([kernel])).flatten(1), trained(matrix, theirs)
    moved = (expected - start.flatten(1)).norm()
    assert (ours - expected).norm() < 0.02 * moved  # theirs computes in bfloat16


def test_muon_makes_the_rows_of_each_matrix_orthogonal():
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(shape, generator=generator) for shape in ((8, 27), (8, 200), (60, 8), (64, 300))]
    for matrix, found in zip(matrices, orthogonal(matrices)):
        u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
        left, right = u.T @ found, vt.T
        seen = left @ right
        assert seen.diagonal().min() > 0.65 and seen.diagonal().max() < 1.25
        assert (seen - seen.diagonal().diag()).abs().max() < 1e-3


def test_muon_leaves_what_is_no_kernel_to_adamw():
    start = torch.randn((6, 4, 1, 1, 1))
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    spec = OPTIMIZERS.load("muon")(learning_rate=0.01, weight_decay=0.1)
    adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.999), weight_decay=0.1)
    assert torch.equal(trained(ours, spec.build([ours])), trained(theirs, adamw))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_what_was_saved(name):
    start = [torch.randn((6, 4, 3, 3, 3)), torch.randn(6)]
    once, broken = ([torch.nn.Parameter(one.clone()) for one in start] for _ in range(2))
    spec = OPTIMIZERS.load(name)()
    optimizers = spec.build(once), spec.build(broken)

    def step(weights: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()

    for seed in range(3):
        step(once, optimizers[0], seed)
        step(broken, optimizers[1], seed)
    resumed = spec.build(broken)
    resumed.load_state_dict(optimizers[1].state_dict())
    for seed in range(3, 6):
        step(once, optimizers[0], seed)
        step(broken, resumed, seed)
    assert all(torch.equal(one, other) for one, other in zip(once, broken))
