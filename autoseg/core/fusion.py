"""How the modalities of a case are combined, where they do not simply enter one network side by side.

The field's surveys name three levels: at the input (channels of one image, the default, for which nothing stands in a
plan), in the middle (feature maps of several encoders), and at the decision (probabilities of several networks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .names import short

INPUT, MIDDLE, DECISION = "input", "middle", "decision"
METHODS = ("concatenation", "mean_maximum", "attention")
"""Of fusion in the middle; the first is the default."""
LEVELS = (INPUT, MIDDLE, *(f"{MIDDLE}:{method}" for method in METHODS), DECISION)
"""As a user writes them."""


@dataclass(frozen=True)
class Fusion:
    """Of the feature maps of several encoders, or of the probabilities of several networks."""

    level: str
    """``middle`` or ``decision``."""
    method: str | None = METHODS[0]
    """How feature maps are joined; None at the decision, where probabilities are averaged."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Names of the channels that each encoder, or each network, sees; empty: one channel each."""

    def __post_init__(self) -> None:
        if self.level not in (MIDDLE, DECISION):
            raise ValueError(f"fusion.level must be {MIDDLE} or {DECISION}, found {short(self.level)!r}")
        if not all(self.groups):
            raise ValueError("fusion.groups: a group holds no channel")
        methods: tuple[str | None, ...] = METHODS if self.level == MIDDLE else (None,)
        if self.method not in methods:
            raise ValueError(
                f"fusion.method at {self.level} must be one of {', '.join(map(str, methods))}, found "
                f"{short(str(self.method))!r}"
            )

    @classmethod
    def read(cls, text: str | None, groups: str | Sequence[Sequence[str]] = ()) -> Fusion | None:
        """What ``middle:attention`` means, with groups ``T1,T1ce;FLAIR``; None for ``input`` or nothing.

        Raises ValueError.
        """
        text = text or INPUT
        if isinstance(groups, str):
            groups = [[name.strip() for name in group.split(",")] for group in groups.split(";")]
        if not all(name for group in groups for name in group):
            raise ValueError("groups of channels are written as T1,T1ce;FLAIR; one of these names is empty")
        if text not in LEVELS:
            raise ValueError(f"fusion {short(text)!r} is unknown; choose one of {', '.join(LEVELS)}")
        if text == INPUT:
            if groups:
                raise ValueError(
                    f"groups of channels have an encoder or a network each: ask for fusion {MIDDLE} or {DECISION}, too"
                )
            return None
        level, _, method = text.partition(":")
        joined = method or METHODS[0] if level == MIDDLE else None
        return cls(level, joined, tuple(tuple(group) for group in groups))

    def numbered(self, channels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """The groups with the channels' numbers from 0. Raises ValueError for a channel that is none of them.

        A channel may also be named by its number.
        """
        known = {str(number): number for number in range(len(channels))}
        known |= {channel.casefold(): number for number, channel in enumerate(channels)}
        for name in (name for group in self.groups for name in group if name.casefold() not in known):
            raise ValueError(f"there is no channel {short(name)!r}; the channels are {short(', '.join(channels), 500)}")
        return tuple(tuple(known[name.casefold()] for name in group) for group in self.groups)
