"""Inputs of the network, one batch after the other; a GPU's are made while it still works on those before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch

from ..core.mishaps import out_of_memory
from .batches import Batch
from .step import Inputs


class Prefetch:
    """Mutable: where the batches come from, and what was made of the next.

    A GPU computes what it was told of before; told in time of the next augmentation, which is many small operations, it
    never waits for it. It runs on a stream of its own, since it looks at what it computed and would wait for the step.
    """

    def __init__(
        self, source: Iterator[Batch], augmented: Callable[[Batch, int], Inputs], first: int, device: torch.device
    ) -> None:
        """``first`` is the iteration that the first of ``source`` belongs to."""
        self._source, self._augmented, self._iteration = source, augmented, first
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._next: Inputs | None = None
        self._read: Batch | None = None
        self.waited = 0.0
        """Seconds that went by until the batch of the inputs that were made last had been read."""

    def take(self) -> Inputs:
        """Those of the next iteration, to be used on the current stream."""
        inputs, self._next = self._next or self._made(), None
        if self._stream is not None:
            current = torch.cuda.current_stream(self._stream.device)
            current.wait_stream(self._stream)
            for tensor in inputs.tensors:
                tensor.record_stream(current)  # so that its memory is not used again before that stream is done
        return inputs

    def prepare(self) -> None:
        """Has those after them made, if a GPU is at work meanwhile and has memory for it; else ``take`` makes them."""
        if self._stream is None or self._next is not None:
            return
        try:
            self._next = self._made()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise

    def _made(self) -> Inputs:
        began = time.monotonic()
        self._read = self._read or next(self._source)
        self.waited = time.monotonic() - began
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            inputs = self._augmented(self._read, self._iteration)
        self._iteration, self._read = self._iteration + 1, None
        return inputs
