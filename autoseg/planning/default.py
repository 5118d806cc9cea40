"""Which configuration is trained unless the user names one: the finest that the time is enough for.

What the steps of a training see is counted in whole images (slices in 2-D): 800 steps whose patches hold a tenth of an
image are 80. Where 3d_fullres sees too few because the time cuts its patches, a coarser grid is taken, or, if slices
lie far apart, whole slices: 2-D networks lose little there, and a coarser grid loses what the slices show.

Hearts of 10 x 1.5 x 1.5 mm, 15 minutes on two slow cores, Dice of 40 volumes of other patients: 0.67 for 3d_fullres (80
images), 0.72 for a grid of 2.5 mm (230), 0.78 for 2d (some 900 slices); 0.86 for 3d_fullres on cores four times as
quick.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..configuration import Configuration
from ..plan import Plan
from .patch import coverage
from .rules import ANISOTROPY

ENOUGH = 200.0  # images


def images_seen(configuration: Configuration) -> float:
    """Whole images, or slices in 2-D, that the patches of a training make up, one patch per step."""
    share = coverage(configuration.patch_size, configuration.median_shape[-configuration.dimensions :])
    return configuration.training.epochs * configuration.training.iterations_per_epoch * share


def default_configuration(plan: Plan, limits: Mapping[str, str], *, grid_is_wished: bool) -> tuple[str, str]:
    """Its name and why. ``limits`` tells of each configuration what limits its patch: memory, time or data.

    A grid that the user asked for is not left for a coarser one.
    """
    name, first = plan.configuration()
    if limits[name] != "time":
        return name, f"default: {name}: the time does not cut its patches"
    apart = _apart(first)
    others = ["2d"] if apart > ANISOTROPY else []
    others += [] if grid_is_wished else ["3d_lowres"]
    seen = {other: images_seen(plan.configurations[other]) for other in (name, *others) if other in plan.configurations}
    enough = [other for other in seen if seen[other] >= ENOUGH]
    chosen = enough[0] if enough else max(seen, key=lambda other: seen[other])
    counted = ", ".join(f"{count:.0f} for {other}" for other, count in seen.items())
    return chosen, (
        f"default: {chosen}: the finest for which the time is enough: the patches of a training make up so many whole "
        f"images (slices in 2d): {counted}; {ENOUGH:.0f} are asked for. 2d is among them where slices lie more than "
        f"{ANISOTROPY:g} times as far apart as voxels within them, here {apart:.3g} times"
    )


def _apart(configuration: Configuration) -> float:
    z, y, x = configuration.spacing
    return math.inf if z is None else z / max(y, x)
