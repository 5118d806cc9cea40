"""How the modalities of a case are combined, where they do not simply enter one network side by side.

The field's surveys name three levels: at the input (channels of one image, the default, for which nothing stands in a
plan), in the middle (feature maps of several encoders), and at the decision (probabilities of several networks). Where
each case has one modality only, there is nothing to fuse: they share a network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

from .channels import channel_numbers
from .names import short

INPUT, MIDDLE, DECISION, UNPAIRED = "input", "middle", "decision", "unpaired"
METHODS = ("concatenation", "mean_maximum", "attention")
"""Of fusion in the middle; the first is the default."""
MEAN, STAPLE = COMBINED = ("mean", "staple")
"""How the networks of an ensemble are combined: the mean of their probabilities, or STAPLE of what they decide."""
LEVELS = (INPUT, MIDDLE, *(f"{MIDDLE}:{method}" for method in METHODS), DECISION, UNPAIRED)
"""As a user writes them."""


@dataclass(frozen=True)
class Fusion:
    """Of the feature maps of several encoders, or of the probabilities of several networks; or none, of unpaired
    modalities."""

    level: str
    """``middle``, ``decision`` or ``unpaired``."""
    method: str | None = METHODS[0]
    """How feature maps are joined; None at the decision, where ``select`` finds what is best, one of ``COMBINED``, and
    where nothing is fused."""
    groups: tuple[tuple[str, ...], ...] = ()
    """Names of the channels that each encoder, or each network, sees; empty: one channel each."""

    def __post_init__(self) -> None:
        if self.level not in (MIDDLE, DECISION, UNPAIRED):
            raise ValueError(f"fusion.level must be {MIDDLE}, {DECISION} or {UNPAIRED}, found {short(self.level)!r}")
        if self.level == UNPAIRED and self.groups:
            raise ValueError(f"fusion {UNPAIRED} takes no groups of channels: each is a modality")
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

    @property
    def written(self) -> str:
        """As a user writes it, and as ``read`` reads it: ``middle``, ``middle:attention``, ``decision``."""
        return self.level if self.method in (None, METHODS[0]) else f"{self.level}:{self.method}"

    @property
    def suffix(self) -> str:
        """What a configuration of its own is called by beside others: the last part of ``3d_fullres_middle``."""
        return self.written.replace(":", "_")

    def numbered(self, channels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """The groups with the channels' numbers from 0. Raises UsageError as ``channel_number`` does."""
        found = iter(channel_numbers(chain.from_iterable(self.groups), channels, "--groups"))
        return tuple(tuple(islice(found, len(group))) for group in self.groups)


def read_levels(
    levels: str | Sequence[str] | None, groups: str | Sequence[Sequence[str]] = ()
) -> tuple[Fusion | None, tuple[Fusion, ...]]:
    """What ``input,middle,decision`` means: how the configurations of a plan combine channels, as ``Fusion.read`` says,
    and which fusions in the middle have one of their own beside them.

    Of several levels, the configurations are those of ``input``, named or not: at the decision networks are made of
    these. Raises ValueError for a level that there is not, for one that is named twice and for one that stands alone.
    """
    given = INPUT if levels is None else levels
    texts = [text.strip() for text in given.split(",")] if isinstance(given, str) else given
    if not isinstance(texts, list | tuple) or not texts:
        raise ValueError(f"fusion {short(texts)} is unknown; choose among {', '.join(LEVELS)}")
    for text in texts:
        if text not in LEVELS:
            raise ValueError(f"fusion {short(text)!r} is unknown; choose among {', '.join(LEVELS)}")
    if len(texts) == 1:
        return Fusion.read(texts[0], groups), ()
    if UNPAIRED in texts:
        raise ValueError(f"fusion {UNPAIRED} stands alone: no other level is for cases of one channel each")
    read = {text: None if text == INPUT else Fusion.read(text, groups) for text in dict.fromkeys(texts)}
    count = Counter(read[text] for text in texts)
    if twice := [text for text in texts if count[read[text]] > 1]:
        raise ValueError(f"fusion {twice[0]} is named twice in {short(','.join(texts))}; name each level once")
    decision = next((fusion for fusion in count if fusion is not None and fusion.level == DECISION), None)
    return decision, tuple(fusion for fusion in count if fusion is not None and fusion.level == MIDDLE)


def written_levels(fusion: Fusion | None, beside: Sequence[Fusion]) -> tuple[str, str]:
    """Levels and groups that ``read_levels`` reads as just these; the second is empty where there are no groups."""
    those = [each for each in (*beside, fusion) if each is not None]
    levels = [*([INPUT] if beside or fusion is None else []), *(each.written for each in those)]
    groups = next((each.groups for each in those), ())
    return ",".join(levels), ";".join(map(",".join, groups))


def weights_of_those(weights: Sequence[Sequence[float]], there: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """``weights`` of members for each head, summing to 1 for each, as they are for the members that are ``there``.

    A head that only others had a say in is decided by the mean weights of those.
    """
    rows = [tuple(weights[member]) for member in there]
    means = [sum(row) / len(row) for row in rows]
    heads = []
    for column in zip(*rows):
        known = column if sum(column) > 0 else means
        heads.append([weight / sum(known) for weight in known])
    return tuple(zip(*heads))
