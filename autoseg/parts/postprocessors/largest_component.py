"""Keeps the largest connected component: for structures of which a body has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.components import without


@dataclass(frozen=True)
class Spec:
    """No settings."""

    whole_foreground: ClassVar[bool] = True

    @classmethod
    def candidates(cls) -> tuple[Spec, ...]:
        return (cls(),)

    def apply(self, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Several components of the same, largest size all stay, as in nnU-Net: which one would be chance."""
        return without(mask, lambda sizes: sizes < sizes.max())
