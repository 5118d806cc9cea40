"""What a loss measures, part by part: a backward pass computes each part again, so none of what it takes is kept.

Probabilities and masks of all labels at all voxels take several times the memory of the logits. Of a part at a time
they take little, and on a processor they stay in its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

WHOLE = 1 << 23  # entries up to which all is one part: the memory is little, and nothing is computed twice
PART = 1 << 20  # entries of each part of more: what an operation makes of it stays in a processor's cache
MOST_PARTS = 16  # bounds how many operations a step takes

Part = tuple[slice, ...]
Measure = Callable[..., Sequence[Tensor]]


def parts_along(tensor: Tensor, axis: int) -> list[Part]:
    """Slices of ``tensor`` along ``axis``, one after the other, that make up all of it."""
    edge = tensor.shape[axis]
    count = 1 if tensor.numel() <= WHOLE else min(edge, MOST_PARTS, tensor.numel() // PART)
    step = -(-edge // count)
    before = (slice(None),) * axis
    return [(*before, slice(start, start + step)) for start in range(0, edge, step)]


def recomputed(measure: Measure, parts: Sequence[Part], learned: Tensor, *others: Tensor) -> list[list[Tensor]]:
    """``measure(learned[part], *(other[part] for other in others))``, a list of tensors, for each of ``parts``.

    Of a single part what it takes is kept: to compute it again would take longer, and at the most as much memory.

    ``parts`` have no entry in common and together all of them. ``measure`` must give the same tensors whenever it is
    called, and each must depend on what it is given of ``learned``.
    """
    if len(parts) == 1:
        return [list(measure(learned, *others))]
    flat: tuple[Tensor, ...] = _Recomputed.apply(measure, parts, learned, *others)
    each = len(flat) // len(parts)
    return [list(flat[start : start + each]) for start in range(0, len(flat), each)]


def unkept(measure: Measure, *tensors: Tensor) -> tuple[Tensor, ...]:
    """``measure(*tensors)``, of which nothing but ``tensors`` is kept. (``torch.utils.checkpoint`` does the same, and
    loads the compiler for it, which takes seconds.)"""
    found: tuple[Tensor, ...] = _Recomputed.apply(measure, [()], *tensors)
    return found


class _Recomputed(Function):
    @staticmethod
    def forward(ctx: Any, measure: Measure, parts: Sequence[Part], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.measure, ctx.parts = measure, parts
        ctx.save_for_backward(*tensors)
        return tuple(found for part in parts for found in measure(*(tensor[part] for tensor in tensors)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tensors, wanted, given = ctx.saved_tensors, ctx.needs_input_grad[2:], iter(gradients)
        results = [torch.empty_like(tensor) if learned else None for tensor, learned in zip(tensors, wanted)]
        for part in ctx.parts:
            with torch.enable_grad():
                pieces = [tensor[part].detach().requires_grad_(learned) for tensor, learned in zip(tensors, wanted)]
                found = ctx.measure(*pieces)
            of_found = [next(given) for _ in found]
            slopes = iter(torch.autograd.grad(found, [piece for piece in pieces if piece.requires_grad], of_found))
            for result in results:
                if result is not None:
                    result[part] = next(slopes)
        return None, None, *results
