"""Which channels a case may lack, from what the training cases lack and from what the user asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..configuration import Configuration
from ..core.channels import channel_number
from ..core.missing import MissingChannels, listed
from ..core.names import short
from ..data.fingerprint import Fingerprint
from ..errors import UsageError
from ..parts.inputs import presence
from ..plan import Plan
from .constraints import PlanConstraints

LARGEST_RATE = 0.5  # of a channel that few cases have: withheld more often, it would hardly be learned from
UNIFORM = 0.5  # of patches lose something where any combination may be missing; the other half keeps the full set good


def with_missing_channels(plan: Plan, fingerprint: Fingerprint, constraints: PlanConstraints) -> Plan:
    """``plan`` for cases that lack channels; as it is where no training case does and nobody asked for it.

    Raises UsageError for wishes that contradict the training cases or each other.
    """
    required = _required(plan.channels, fingerprint, constraints)
    absent = Counter(plan.channels[number] for case in fingerprint.cases.values() for number in case.absent)
    lacking = {name: absent[name] for name in plan.channels}
    named = [name for name in plan.channels if name not in required]
    optional = named if constraints.missing_channels else [name for name in named if lacking[name]]
    if not optional:
        if constraints.require:
            raise UsageError(
                "--require: no training case lacks a channel, so every channel is required; add --missing-channels for "
                "a model that does without some"
            )
        return plan
    if twice := [name for name, count in Counter(plan.channels).items() if count > 1]:
        raise UsageError(
            f"channels that a case may lack are told apart by their names, but several are called {short(twice[0])!r}: "
            "give each its own in channel_names of dataset.json"
        )
    cases = len(fingerprint.cases)
    rates = {name: min(LARGEST_RATE, round(lacking[name] / cases, 4)) for name in optional}
    missing = MissingChannels(rates, UNIFORM if constraints.missing_channels else 0.0)
    return replace(
        plan,
        configurations={name: _without_some(one, missing) for name, one in plan.configurations.items()},
        reasons=(*plan.reasons, _reason(missing, lacking, plan, cases)),
    )


def required_channels(channels: Sequence[str], constraints: PlanConstraints) -> tuple[str, ...]:
    """Names of the channels that no case may lack. Raises UsageError for one that there is not."""
    numbers = {channel_number(name, channels, "--require") for name in constraints.require}
    return tuple(channels[number] for number in sorted(numbers))


def _required(channels: Sequence[str], fingerprint: Fingerprint, constraints: PlanConstraints) -> tuple[str, ...]:
    if constraints.missing_channels and len(channels) == 1:
        raise UsageError("--missing-channels: the images have one channel, which cannot be missing")
    required = required_channels(channels, constraints)
    if set(required) == set(channels):
        raise UsageError("--require names every channel, so that none may be missing; leave it out, or name some")
    for key, case in fingerprint.cases.items():
        lacks = [channels[number] for number in case.absent if channels[number] in required]
        if lacks:
            raise UsageError(
                f"--require {listed(lacks)}: case {short(key)} lacks it; remove the case or do not require the channel"
            )
    return required


def _without_some(configuration: Configuration, missing: MissingChannels) -> Configuration:
    """A network that sees neighbouring slices takes no further inputs: to it an absent channel is just 0."""
    inputs = configuration.inputs if configuration.slices > 1 else (*configuration.inputs, presence.Spec())
    return replace(configuration, inputs=inputs, missing=missing)


def _reason(missing: MissingChannels, lacking: dict[str, int], plan: Plan, cases: int) -> str:
    told = "; ".join(
        f"{short(name, 40)} (lacking in {lacking[name]} of {cases} cases, withheld from {rate:.0%} of the patches)"
        for name, rate in missing.rates.items()
    )
    also = f"; from {missing.uniform:.0%} of the patches any combination is withheld" if missing.uniform else ""
    untold = ", ".join(name for name, one in plan.configurations.items() if one.slices > 1)
    seen = "the network is told which channels are there" + (f", but not that of {untold}" if untold else "")
    return f"missing channels: a case may lack {told}{also}; {seen}"
