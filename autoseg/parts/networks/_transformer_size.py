"""What the sizes of a transformer must satisfy, and how many weights it has. No torch."""

from __future__ import annotations

from typing import Protocol

from ...core.bounds import bounded

WIDEST = 1 << 14  # of a token; the largest language models have as many maps
MOST_LAYERS = 100


class Sized(Protocol):
    """A Spec with a transformer."""

    @property
    def layers(self) -> int: ...

    @property
    def attention_heads(self) -> int: ...


def check(spec: Sized, width: int, axes: int) -> None:
    """Raises ValueError naming the field that does not fit tokens of ``width`` on so many ``axes``."""
    bounded(spec, "layers", least=1, most=MOST_LAYERS)
    bounded(spec, "attention_heads", least=1, most=WIDEST)
    if width > WIDEST:
        raise ValueError(f"tokens of {width} maps are wider than {WIDEST}")
    each, left = divmod(width, spec.attention_heads)
    if left or each % 2 or each < 2 * axes:
        raise ValueError(
            f"attention_heads: each of {spec.attention_heads} heads must see an even number of maps, at least "
            f"{2 * axes} in {axes}-D, and they share {width}"
        )


def hidden_maps(width: int) -> int:
    """Of each half of the perceptron: together its matrices have as many weights as two to and from ``4 * width``."""
    return max(1, 8 * width // 3)


def weights(layers: int, width: int) -> int:
    """Roughly, of all matrices."""
    return layers * (4 * width**2 + 3 * width * hidden_maps(width))
