"""How torch computes while a network is trained: threads, determinism, compilation."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..core.progress import duration
from ..errors import TrainingError
from ..settings import Resolved, RunSettings

LOG = logging.getLogger("autoseg")
Forward = Callable[[Tensor], Sequence[Tensor]]
"""A network as it is called: itself, or compiled, or one of several that train together."""

COMPILED_FOR = ("cuda",)  # devices for which `auto` considers compiling
PROBES = 5  # timed steps of each kind
GAIN = 1.05  # compiled steps must be this much faster to be kept
WORTH_COMPILING = 1200.0  # seconds of training left; compiling may take one or two hundred


@contextmanager
def arithmetic(settings: RunSettings, resolved: Resolved) -> Iterator[None]:
    """Torch's global switches, for the block. Raises TrainingError for what cannot be computed deterministically."""
    torch.set_num_threads(settings.threads)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if settings.deterministic:
        torch.use_deterministic_algorithms(True)
    if resolved.device.type == "cuda":  # patches are all alike: worth looking for the fastest convolutions
        torch.backends.cudnn.benchmark = not settings.deterministic
    try:
        yield
    except RuntimeError as error:
        if settings.deterministic and "deterministic" in str(error):
            first = str(error).strip().splitlines()[0]
            raise TrainingError(f"--deterministic is not possible on {resolved.device}: {first}") from None
        raise
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def autocast(resolved: Resolved) -> torch.autocast:
    """Convolutions in the resolved precision."""
    return torch.autocast(resolved.device.type, resolved.dtype, enabled=resolved.dtype is not None)


def chosen_forward(
    network: nn.Module,
    shape: Sequence[int],
    settings: RunSettings,
    resolved: Resolved,
    seconds_left: Callable[[float], float],
) -> Forward:
    """``network``, or ``network`` compiled, as ``RunSettings.compile`` says.

    ``shape`` is that of a batch of images, ``seconds_left`` the length of the training for seconds per iteration.
    ``auto`` never compiles for a processor: there a compiled step of a 3-D U-Net was 3 to 7 % faster and compiling took
    60 to 200 s (torch 2.13, two busy cores, ``benchmarks/torch_compile.py``), as much as thousands of iterations gain;
    and a choice by the clock would make two trainings with one seed differ.
    """
    auto = settings.compile == "auto"
    if settings.compile == "off" or (auto and (resolved.device.type not in COMPILED_FOR or settings.deterministic)):
        return network
    probe = _Probe(network, torch.zeros(tuple(shape), device=resolved.device), resolved)
    try:
        eager = probe.seconds(network) if auto else 0.0
        if auto and seconds_left(eager) < WORTH_COMPILING:
            return network
        began = time.monotonic()
        compiled: Forward = torch.compile(network)
        faster = probe.seconds(compiled) * GAIN < eager if auto else probe.seconds(compiled, 1) >= 0
        took = duration(time.monotonic() - began)
    except Exception as error:  # whatever a compiler may fail with: training does not depend on it
        LOG.warning("torch.compile does not work here, going on without it: %s", str(error).strip().splitlines()[0])
        return network
    if faster:
        LOG.info("the network was compiled in %s", took)
        return compiled
    LOG.info("the network was compiled in %s but is not faster so; going on without", took)
    return network


class _Probe:
    """Times steps without learning anything from them."""

    def __init__(self, network: nn.Module, images: Tensor, resolved: Resolved) -> None:
        self.network, self.images, self.resolved = network, images, resolved

    def seconds(self, forward: Forward, times: int = PROBES) -> float:
        """The median of forward and backward, after two that are not timed. Weights and buffers stay as they are."""
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        try:
            return statistics.median([self._once(forward) for _ in range(times + 2)][2:])
        finally:
            self.network.zero_grad(set_to_none=True)
            for buffer, value in buffers:
                buffer.copy_(value)

    def _once(self, forward: Forward) -> float:
        began = time.monotonic()
        with autocast(self.resolved):
            scales = forward(self.images)
        torch.stack([logits.float().mean() for logits in scales]).sum().backward()
        if self.resolved.device.type == "cuda":
            torch.cuda.synchronize(self.resolved.device)
        return time.monotonic() - began
