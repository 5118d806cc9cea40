"""The update of ``muon``: all kernels with as many feature maps at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # singular values x become ax + bx³ + cx⁵ (Jordan et al.), ...
ITERATIONS = 5  # times: about 1, whatever they were
AS_ADAMW = 0.2  # root mean square of AdamW's steps at a learning rate of 1 (Liu et al.)
SMALLEST = 1e-7


class Muon(optim.AdamW):
    """The first group of parameters, kernels of more than one voxel, follows its momentum; the others AdamW."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        momentum: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for weight in parameters:
            groups[0 if weight.shape[2:].numel() > 1 else 1].append(weight)
        super().__init__([{"params": group} for group in groups], learning_rate, betas, weight_decay=weight_decay)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Updates all parameters that have a gradient; those of kernels are gone afterwards."""
        kernels = self.param_groups[0]
        weights = [weight for weight in kernels["params"] if weight.grad is not None]
        for weight, direction in zip(weights, orthogonal([self._momentum(weight) for weight in weights])):
            size = AS_ADAMW * max(direction.shape) ** 0.5
            weight.mul_(1.0 - kernels["lr"] * kernels["weight_decay"])
            weight.add_(direction.reshape(weight.shape), alpha=-kernels["lr"] * size)
            weight.grad = None
        return super().step(closure)

    def _momentum(self, weight: nn.Parameter) -> Tensor:
        """Of the gradient, as a matrix; looks one step ahead (Nesterov)."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW looks for it in every state that is loaded
        state["momentum"].lerp_(weight.grad, 1.0 - self.momentum)
        return weight.grad.lerp(state["momentum"], self.momentum).flatten(1)


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each matrix with its singular values brought to between 0.7 and 1.2; very small ones stay below.

    The iteration takes place in the small products of the matrices with their transposes, which are stacked by size.
    """
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    wide = [matrix / matrix.norm().clamp(min=SMALLEST) for matrix in wide]
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, matrix in enumerate(wide):
        by_size[len(matrix)].append(index)
    found = list(wide)
    for indices in by_size.values():
        factors = _factors(torch.stack([wide[index] @ wide[index].T for index in indices]))
        for index, factor in zip(indices, factors):
            found[index] = factor @ wide[index]
    return [one if one.shape == matrix.shape else one.T for one, matrix in zip(found, matrices)]


def _factors(squares: Tensor) -> Tensor:
    """By what to multiply matrices X with the products XXᵀ = ``squares``, a stack, to make their rows orthogonal."""
    a, b, c = COEFFICIENTS
    one = torch.eye(squares.shape[-1], dtype=squares.dtype, device=squares.device)
    factors = one.expand_as(squares)
    for _ in range(ITERATIONS):
        change = a * one + b * squares + c * (squares @ squares)
        factors = change @ factors
        squares = change @ squares @ change
    return factors
