"""What is decided of the intensities of single channels beside the planner's rules: filters and normalizers that the
user asks for, and what the fingerprint suggests. Nothing is filtered that was not asked for."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..configuration import FILTERS, NORMALIZERS, Configuration
from ..core.channels import channel_number
from ..core.missing import listed
from ..core.names import short
from ..data.fingerprint import Fingerprint, is_quantitative
from ..errors import PlanningError, UsageError
from ..parts.normalizers import histogram
from ..plan import Plan
from . import rules
from .constraints import PlanConstraints

ALL = "all"
BIAS_CORRECTION = "n4"


@dataclass(frozen=True)
class ChannelWishes:
    """What the user asks for, by the number of each channel: parts by their names, which exist."""

    filters: dict[int, tuple[str, ...]]
    normalizers: dict[int, str]


def read_wishes(constraints: PlanConstraints, channels: Sequence[str], trusted: tuple[str, ...] = ()) -> ChannelWishes:
    """Raises UsageError for a channel that there is not, UnknownPartError for a part."""
    filters: dict[int, list[str]] = {}
    for number in _corrected(constraints.bias_correction, channels):
        filters.setdefault(number, []).append(BIAS_CORRECTION)
    for channel, name in constraints.filters:
        filters.setdefault(channel_number(channel, channels, "--filter"), []).append(name)
    normalizers: dict[int, str] = {}
    for channel, name in constraints.normalizers:
        number = channel_number(channel, channels, "--normalizer")
        if normalizers.setdefault(number, name) != name:
            raise UsageError(f"--normalizer: two are asked for {channels[number]}: {normalizers[number]} and {name}")
    for names in filters.values():
        for name in names:
            FILTERS.load(name, trusted)
    for name in normalizers.values():
        NORMALIZERS.load(name, trusted)
    return ChannelWishes({number: tuple(dict.fromkeys(names)) for number, names in filters.items()}, normalizers)


def decide_intensities(
    plan: Plan, constraints: PlanConstraints, fingerprint: Fingerprint, trusted: tuple[str, ...] = ()
) -> Plan:
    """``plan`` with the filters and normalizers that are asked for, and reasons for these and what else would help.

    Raises UsageError and UnknownPartError as ``read_wishes``, PlanningError where too little was measured.
    """
    wishes = read_wishes(constraints, plan.channels, trusted)
    normalizers = {
        number: _normalizer(name, number, plan.channels[number], fingerprint, trusted)
        for number, name in wishes.normalizers.items()
    }
    filters = tuple(
        tuple(_made(FILTERS.load(name, trusted), name) for name in wishes.filters.get(number, ()))
        for number in range(len(plan.channels))
    )
    told = list(plan.reasons)
    for number, channel in enumerate(plan.channels):
        subject = f"channel {channel}: "
        if number in normalizers:
            told = [reason for reason in told if not reason.startswith(subject)]
            told.append(f"{subject}{normalizers[number][1]}, as you asked")
        if filters[number]:
            told.append(f"{subject}filtered before it is normalised, as you asked: {', '.join(wishes.filters[number])}")
        if varies := _variation(fingerprint, number, channel, BIAS_CORRECTION in wishes.filters.get(number, ())):
            told.append(subject + varies)
    parts = {number: part for number, (part, _) in normalizers.items()}
    configurations = {
        name: _with_parts(configuration, filters if any(filters) else None, parts)
        for name, configuration in plan.configurations.items()
    }
    return replace(plan, configurations=configurations, reasons=tuple(told))


def _with_parts(
    configuration: Configuration, filters: tuple[tuple[Any, ...], ...] | None, normalizers: dict[int, Any]
) -> Configuration:
    """Where normalizers change, so do the channels of which the augmentation leaves zeros alone."""
    if filters is not None:
        configuration = replace(configuration, filters=filters)
    if not normalizers:
        return configuration
    parts = tuple(normalizers.get(number, part) for number, part in enumerate(configuration.normalizers))
    augmentation: Any = configuration.augmentation
    if "masked_channels" in {field.name for field in dataclasses.fields(augmentation)}:
        masked = tuple(number for number, part in enumerate(parts) if part.mask)
        augmentation = replace(augmentation, masked_channels=masked)
    return replace(configuration, normalizers=parts, augmentation=augmentation)


def _variation(fingerprint: Fingerprint, number: int, channel: str, corrected: bool) -> str:
    """What is to be said of a channel's bias field; nothing where it is small or not known."""
    varies = fingerprint.large_variation(number)
    if varies is None:
        return ""
    by = "N4 corrects" if corrected else f"--bias-correction {shlex.quote(channel)} corrects"
    return f"brightness {varies}; {by} the field" + ("" if corrected else " (N4)")


def _normalizer(
    name: str, number: int, channel: str, fingerprint: Fingerprint, trusted: tuple[str, ...]
) -> tuple[Any, str]:
    """The part with what it needs of the training cases, and what it does."""
    if name == "ct":
        return rules.window(channel, fingerprint.intensities[number])
    if name == "zscore":
        return rules.z_score(fingerprint)
    if name == "histogram":
        return _histogram(number, channel, fingerprint)
    return _made(NORMALIZERS.load(name, trusted), name), f"normalised by {name}"


def _histogram(number: int, channel: str, fingerprint: Fingerprint) -> tuple[histogram.Spec, str]:
    masked = rules.is_masked(fingerprint)
    found = [case.channels[number] for case in fingerprint.cases.values() if number < len(case.channels)]
    images = [each.landmarks if masked else each.bright_landmarks for each in found if each is not None]
    try:
        part = histogram.learned(images, mask=masked)
    except ValueError as error:
        raise PlanningError(
            f"channel {channel!r} cannot be normalised by histogram: {error} among the training cases, or an earlier "
            "version measured them; run `autoseg fingerprint` again"
        ) from None
    where = "the nonzero region" if masked else "the voxels above the mean"
    return (
        part,
        f"histogram standardisation: percentiles of {where} go where those of {len(images)} cases lie on average",
    )


def _made(spec: Any, name: str) -> Any:
    try:
        return spec()
    except TypeError:
        raise UsageError(
            f"{short(name)} has settings without a default: write it with them into the plan, by --set or by hand"
        ) from None


def _corrected(names: Sequence[str], channels: Sequence[str]) -> list[int]:
    """Channels of which the bias field is to be corrected."""
    if [name.casefold() for name in names] == [ALL] and ALL not in channels:
        found = [number for number, channel in enumerate(channels) if not is_quantitative(channel)]
        if not found:
            raise UsageError(
                f"--bias-correction {ALL}: no channel is of a kind that has a bias field ({listed(channels)})"
            )
        return found
    found = [channel_number(name, channels, "--bias-correction") for name in names]
    for number in found:
        if channels[number].casefold() == "ct":
            raise UsageError("--bias-correction CT: Hounsfield units have no bias field; N4 is for MR")
    return found
