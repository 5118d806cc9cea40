"""Time and memory of losses, forward and backward, with few and many labels: beside torch's cross-entropy, and before.

python benchmarks/losses.py --patch 48 --labels 2 118 -o benchmarks/results/losses.json

Before, cross-entropy was a masked sum over all labels, and log-probabilities, probabilities and masks of all labels at
all voxels were kept for the backward pass; ``before`` below is that formula. Each runs several times in turn; the
shortest counts, as a ratio within one run. Memory is the most that torch's allocator held beyond the logits, which is
the same in every run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from autoseg.core.labels import ExclusiveLabels
from autoseg.parts.losses import ce, dice_ce

SMOOTH = 1e-5


def before(logits: Tensor, target: Tensor, *, dice: bool) -> Tensor:
    """Masks of every label, each map of all labels in one piece."""
    logits = logits.float()
    on = target.long().unsqueeze(1) == torch.arange(logits.shape[1]).view(1, -1, 1, 1, 1)
    log_probability = functional.log_softmax(logits, 1)
    entropy = -torch.where(on, log_probability, 0.0).sum(1, keepdim=True)
    if not dice:
        return entropy.mean()
    probability, truth, axes = log_probability.exp()[:, 1:], on[:, 1:], (2, 3, 4)
    common = torch.where(truth, probability, 0.0).sum(axes)
    whole = probability.sum(axes) + truth.sum(axes).float()
    return entropy.mean() + 1.0 - ((2.0 * common + SMOOTH) / (whole + SMOOTH)).mean()


def losses(labels: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    names = ExclusiveLabels({"background": 0} | {f"label{number}": number for number in range(1, labels)})
    return {
        "ce": ce.Spec().build(names),
        "ce before": lambda logits, target: before(logits, target, dice=False),
        "torch cross_entropy": lambda logits, target: functional.cross_entropy(logits.float(), target.long()),
        "dice_ce": dice_ce.Spec(smooth=SMOOTH).build(names),
        "dice_ce before": lambda logits, target: before(logits, target, dice=True),
    }


def step(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> tuple[float, Tensor]:
    logits.grad = None
    began = time.perf_counter()
    value = loss(logits, target)
    value.backward()
    seconds = time.perf_counter() - began
    assert logits.grad is not None
    return seconds, torch.cat((value.detach().view(1), logits.grad.flatten()[::997].float()))


def peak(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> int:
    """Bytes, the gradient of the logits among them."""
    logits.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        loss(logits, target).backward()
    assert profiled.profiler is not None
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def compared(labels: int, patch: int, kind: torch.dtype, runs: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(1, labels, patch, patch, patch, generator=random).to(kind).requires_grad_()
    target = torch.randint(0, labels, (1, patch, patch, patch), generator=random, dtype=torch.uint8)
    given, found, seconds = losses(labels), dict[str, Tensor](), dict[str, list[float]]()
    for _ in range(runs):
        for name, loss in given.items():
            taken, found[name] = step(loss, logits, target)
            seconds.setdefault(name, []).append(taken)
    for name in ("ce", "dice_ce"):
        torch.testing.assert_close(found[name], found[f"{name} before"], rtol=1e-2 if kind == torch.bfloat16 else 1e-4,
                                   atol=1e-8)  # fmt: skip
    size = logits.numel() * logits.element_size()
    rows = {
        name: {"seconds": round(min(each), 4), "peak_in_logits": round(peak(given[name], logits, target) / size, 2)}
        for name, each in seconds.items()
    }
    ratios = {
        f"{what} of {name} to {other}": round(rows[name][key] / rows[other][key], 2)
        for what, key in (("time", "seconds"), ("memory", "peak_in_logits"))
        for name, other in (("ce", "ce before"), ("ce", "torch cross_entropy"), ("dice_ce", "dice_ce before"))
    }
    return {"labels": labels, "patch": patch, "logits": str(kind).removeprefix("torch."), "each": rows} | ratios


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--labels", type=int, nargs="+", default=[2, 118])
    arguments.add_argument("--patch", type=int, default=48, help="edge of the one patch, voxels")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    kinds = (torch.float32, torch.bfloat16)
    rows = [compared(labels, options.patch, kind, options.runs) for labels in options.labels for kind in kinds]
    text = json.dumps({"threads": options.threads, "torch": torch.__version__, "rows": rows}, indent=1) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
