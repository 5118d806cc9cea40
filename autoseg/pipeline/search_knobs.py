"""What `autoseg search` tries: values around those that the planner chose, as changes of its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import log
from typing import Any

from ..changes import changed
from ..configuration import LOSSES, OPTIMIZERS, Configuration
from ..core.records import to_json
from ..plan import Plan

LOSS_NAMES = ("dice_ce", "focal", "top_k", "tversky", "generalized_dice")
OPTIMIZER_NAMES = ("muon", "sgd", "adamw")
FACTORS: dict[str, tuple[float, ...]] = {
    "width": (0.5, 0.7, 1.0, 1.4),
    "patch": (0.7, 1.0, 1.3),
    "batch": (0.5, 1.0, 2.0),
    "learning_rate": (0.3, 1.0, 3.0),
    "augmentation": (0.5, 1.0, 1.5),
}
"""Knob to what the planner's value is multiplied by; 1 is the planner's own. Of the augmentation it is every
probability."""
AS_PLANNED = "as planned"
FEWEST_FEATURES = 4
Knobs = Mapping[str, Any]
"""Knob to its value: a name, or one of its ``FACTORS``."""


def choices(networks: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    """Knob to the values that are tried; the first of names, and factor 1, are the planner's own."""
    losses, optimizers = (tuple(dict.fromkeys([AS_PLANNED, *names])) for names in (LOSS_NAMES, OPTIMIZER_NAMES))
    return {"network": networks, **FACTORS, "loss": losses, "optimizer": optimizers}


def as_planned(networks: tuple[str, ...]) -> dict[str, Any]:
    """What the planner would do."""
    return {name: 1.0 if name in FACTORS else values[0] if values else "" for name, values in choices(networks).items()}


@dataclass(frozen=True)
class Turned:
    """A configuration after the knobs were turned."""

    plan: Plan
    """With this configuration as its only one."""
    changes: tuple[str, ...]
    """As ``--set`` takes them."""


def effective(plan: Plan, knobs: Knobs, trusted: tuple[str, ...] = ()) -> dict[str, str]:
    """Those knobs that change something of ``plan``, whose network is the chosen one already."""
    neutral = as_planned(())
    alone = {name: {**neutral, name: value} for name, value in knobs.items() if name != "network"}
    return {name: str(knobs[name]) for name, each in alone.items() if turned(plan, each, trusted).changes}


def turned(plan: Plan, knobs: Knobs, trusted: tuple[str, ...] = ()) -> Turned:
    """``plan`` has one configuration. Values that come out as they were, are no change.

    Raises RecordError where values do not fit one another.
    """
    base = plan.configurations[plan.default]
    wanted = {
        **_features(base, knobs["width"]),
        **_patch(base, knobs["patch"]),
        "batch_size": max(1, round(base.batch_size * knobs["batch"])),
        **_named("loss", LOSSES.name_of(base.loss), knobs["loss"]),
        **_named("optimizer", OPTIMIZERS.name_of(base.optimizer), knobs["optimizer"]),
    }
    before = to_json(base)
    changes = [f"{field}={_text(value)}" for field, value in wanted.items() if before.get(field) != value]
    between = changed(plan, changes, trusted)
    after = between.configurations[between.default]
    for field, value in (*_rate(after, knobs["learning_rate"]), *_augmented(after, knobs["augmentation"])):
        changes.append(f"{field}={_text(value)}")
    return Turned(changed(plan, changes, trusted), tuple(changes))


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _features(base: Configuration, factor: float) -> dict[str, Any]:
    """Of networks that have them, in steps of 4 maps."""
    found = getattr(base.network, "features", None)
    if factor == 1 or not isinstance(found, tuple) or "features" not in vars(base.network):
        return {}
    scaled = [max(FEWEST_FEATURES, FEWEST_FEATURES * round(count * factor / FEWEST_FEATURES)) for count in found]
    return {"network.features": scaled}


def _patch(base: Configuration, factor: float) -> dict[str, Any]:
    """Edges that the network can halve as often as it does, each a step longer or shorter at most: those whose voxels
    come nearest to so many times as many, and of these the ones most in proportion."""
    if factor == 1:
        return {}
    divisor, before = base.network.divisor, base.patch_size
    edges = [[each for each in (size - step, size, size + step) if each > 0] for size, step in zip(before, divisor)]

    def apart(patch: tuple[int, ...]) -> tuple[float, float]:
        shares = [log(new / old) for new, old in zip(patch, before)]
        return round(abs(sum(shares) - log(factor)), 9), max(shares) - min(shares)

    nearest = min(product(*edges), key=apart)
    return {} if nearest == tuple(before) else {"patch_size": list(nearest)}


def _named(field: str, before: str, name: str) -> dict[str, Any]:
    return {} if name in (AS_PLANNED, before) else {field: name}


def _rate(configuration: Configuration, factor: float) -> list[tuple[str, Any]]:
    rate = getattr(configuration.optimizer, "learning_rate", None)
    if factor == 1 or rate is None:
        return []
    return [("optimizer.learning_rate", float(f"{rate * factor:.3g}"))]


def _augmented(configuration: Configuration, factor: float) -> list[tuple[str, Any]]:
    """Probabilities of changes; mirroring, which the orientation allows or forbids, stays."""
    if factor == 1:
        return []
    names = [
        name for name in vars(configuration.augmentation) if name.endswith("_probability") and "mirror" not in name
    ]
    found = ((name, float(getattr(configuration.augmentation, name))) for name in names if "channel" not in name)
    return [(f"augmentation.{name}", round(min(1.0, value * factor), 4)) for name, value in found]
