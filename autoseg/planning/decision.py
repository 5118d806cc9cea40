"""Fusion at the decision: configurations that see one modality, or some, whose probabilities are combined later.

They look at the cases that were prepared for the configuration that sees all. Where cases may lack channels, each
learns from those that have all of its own, which it needs, and what else a case may lack is none of its business.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..configuration import Configuration
from ..core.fusion import DECISION, Fusion
from ..core.missing import MissingChannels
from ..errors import UsageError
from ..parts.inputs import presence
from ..plan import Plan

FORBIDDEN = re.compile(r"[^\w+-]+")  # in the name of a configuration: whatever some system does not take


def with_subsets(plan: Plan, fusion: Fusion | None) -> Plan:
    """``plan`` with its default once more for every subset of the channels: ``3d_fullres_T1`` and so on.

    Raises UsageError for subsets, or a network, that cannot be.
    """
    if fusion is None or fusion.level != DECISION:
        return plan
    name, whole = plan.configuration()
    found = subsets(fusion, plan.channels, plan.beside)
    seeing = {f"{name}_{subset}": _seeing(whole, name, of, plan) for subset, of in found.items()}
    there = {other.casefold() for other in plan.configurations}
    if taken := [other for other in seeing if other.casefold() in there]:
        raise UsageError(
            f"--fusion {DECISION}: the plan has a configuration {taken[0]} already; rename the channels, or put them "
            "together otherwise (--groups)"
        )
    try:
        return replace(plan, configurations=plan.configurations | seeing, fusion=fusion)
    except ValueError as error:
        raise UsageError(f"--fusion {DECISION}: {error}") from None


def subsets(
    fusion: Fusion | None, channels: Sequence[str], beside: Sequence[Fusion] = ()
) -> dict[str, tuple[int, ...]]:
    """Names of subsets to the channels, from 0, of each; nothing where fusion is elsewhere.

    Those ``beside`` have taken their names. Raises UsageError.
    """
    if fusion is None or fusion.level != DECISION:
        return {}
    if len(channels) == 1:
        raise UsageError(f"--fusion {DECISION}: there is a network for each modality, but images have one channel only")
    groups = fusion.numbered(channels) or tuple((channel,) for channel in range(len(channels)))
    for group in groups:
        if len(set(group)) < len(group) or len(group) == len(channels):
            raise UsageError(f"--fusion {DECISION}: a group must be some of the channels, not all, and each once")
    if len({frozenset(group) for group in groups}) < len(groups):
        raise UsageError(f"--fusion {DECISION}: two groups hold the same channels")
    names = ["+".join(FORBIDDEN.sub("-", channels[channel]) for channel in group) for group in groups]
    taken = [other.suffix for other in beside]
    if len({name.casefold() for name in (*names, *taken)}) < len(names) + len(taken):
        # channels differ in what no file may be called, or one is called as a fusion is
        names = ["+".join(map(str, group)) for group in groups]
    return dict(zip(names, groups))


def _seeing(whole: Configuration, name: str, channels: tuple[int, ...], plan: Plan) -> Configuration:
    augmentation: Any = whole.augmentation
    if masked := augmentation.masked_channels:  # they are counted among the channels that are seen
        there = tuple(place for place, channel in enumerate(channels) if channel in masked)
        augmentation = replace(augmentation, masked_channels=there)
    names = [plan.channels[channel] for channel in channels]
    others = tuple(other for other in (whole.missing.rates if whole.missing else ()) if other not in names)
    shares = "whose cases it shares and which takes hardly more memory"
    why = f"channels: {' and '.join(names)} only; all else as in {name}, {shares}"
    return replace(
        whole,
        channels=channels,
        inputs=tuple(part for part in whole.inputs if not isinstance(part, presence.Spec)),
        missing=MissingChannels(dict.fromkeys(others, 0.0), validate=False) if others else None,
        augmentation=augmentation,
        cost=None,
        reasons=(why, *whole.reasons),
    )
