"""A network that can be named in a plan, and not be planned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spec:
    """One layer."""

    features: tuple[int, ...] = (4,)
    divisor: tuple[int, ...] = (1, 1, 1)

    def build(self, inputs: Any, heads: int) -> Any:
        raise NotImplementedError
