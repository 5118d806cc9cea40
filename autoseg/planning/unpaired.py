"""Unpaired modalities: what is said, and decided, where each case has exactly one of the channels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..core.fusion import UNPAIRED
from ..core.missing import MissingChannels, subset_name
from ..core.names import short
from ..data.fingerprint import Fingerprint
from ..errors import UsageError
from ..plan import Plan
from .constraints import UNPAIRED_UNET

SUBJECT = "missing channels: "


def with_unpaired(plan: Plan, fingerprint: Fingerprint, asked: str | None) -> Plan:
    """``plan`` for cases that have one of the channels each, if ``asked`` is the network for them; otherwise with a
    word about it, where all cases are such.

    Raises UsageError where it is asked for and a case has several channels.
    """
    if len(plan.channels) == 1:
        return plan
    counted = Counter(case.absent for case in fingerprint.cases.values())
    several = [absent for absent in counted if len(absent) < len(plan.channels) - 1]
    if several and asked == UNPAIRED_UNET:
        key = next(key for key, case in fingerprint.cases.items() if case.absent == several[0])
        raise UsageError(
            f"--fusion {UNPAIRED}: case {short(key)} has {subset_name(plan.channels, several[0])}, but each case must "
            "have exactly one channel; --fusion input or middle combines those of a case"
        )
    if several:
        return plan
    held = [sum(number not in absent for absent in counted.elements()) for number in range(len(plan.channels))]
    found = ", ".join(f"{name} ({count} cases)" for name, count in zip(plan.channels, held))
    told = f"{SUBJECT}each case has one of the channels: {short(found, 500)}; none is ever withheld"
    if asked != UNPAIRED_UNET:
        told += (
            f". --fusion {UNPAIRED} lets them share the kernels of a network of one channel, with a scale and shift of "
            "its norms for each"
        )
    reasons = tuple(reason for reason in plan.reasons if not reason.startswith(SUBJECT))
    plan = replace(plan, reasons=(*reasons, told))
    if asked != UNPAIRED_UNET:
        return plan
    only = {name: replace(one, missing=_exclusive(one.missing)) for name, one in plan.configurations.items()}
    return replace(plan, configurations=only)


def _exclusive(missing: MissingChannels | None) -> MissingChannels | None:
    return None if missing is None else replace(missing, rates=dict.fromkeys(missing.rates, 0.0), exclusive=True)
