"""Channels of numbers on the file's grid, in main memory or in a file beside what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.scratch import Scratch
from ...parts.readers import write_channels
from . import OutputContext


@dataclass(frozen=True)
class Channels:
    """What is stored times ``scale`` is what is meant."""

    names: tuple[str, ...]
    stored: np.ndarray
    """(channels, z, y, x)."""
    scale: float = 1.0
    scratch: Scratch | None = None
    """The file that holds ``stored``; None: main memory."""

    @classmethod
    def empty(
        cls, names: Sequence[str], shape: tuple[int, int, int], kind: str, step: float, folder: Path | None
    ) -> Channels:
        """Zeros, in a file in ``folder`` or in main memory; ``step`` is what 1 stands for, where numbers are whole."""
        whole, dtype = (len(names), *shape), np.dtype(kind)
        scratch = Scratch(whole, dtype, folder) if folder else None
        scale = step if dtype.kind == "u" else 1.0
        return cls(tuple(names), scratch.array if scratch else np.zeros(whole, dtype), scale, scratch)

    @property
    def values(self) -> np.ndarray:
        """What is meant, (channels, z, y, x) in float32."""
        return self.stored if self.stored.dtype.kind == "f" else self.stored * np.float32(self.scale)

    def __getitem__(self, name: str) -> np.ndarray:
        """One channel's values (z, y, x) in float32."""
        channel = self.stored[self.names.index(name)]
        return channel if channel.dtype.kind == "f" else channel * np.float32(self.scale)

    def coded(self, values: np.ndarray) -> np.ndarray:
        """What to store for ``values``."""
        if self.stored.dtype.kind == "f":
            return values
        most = np.iinfo(self.stored.dtype).max
        return np.rint(values / np.float32(self.scale)).clip(0, most).astype(self.stored.dtype)

    def release(self) -> None:
        """Lets go of the main memory that a stored file occupies for now."""
        if self.scratch:
            self.scratch.release()

    def write(self, context: OutputContext, path: Path) -> None:
        write_channels(self.stored, context.geometry, path, self.scale, like=context.image)
