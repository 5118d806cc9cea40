"""Whether mirroring pays: validation cases predicted again without it."""

from __future__ import annotations

from ..bundle.manifest import MirroringTest
from ..inference.options import PredictOptions
from .predicted_again import LEAST_GAIN, Validated


def measure_mirroring(validated: Validated) -> MirroringTest:
    """Compares predictions without mirroring with those that validation made with it.

    Raises ModelError when a case cannot be predicted.
    """
    found = validated.again("without mirroring", lambda model: model, PredictOptions(tta="none"))
    compared = found.compared
    return MirroringTest(
        pays=bool(found.gain >= LEAST_GAIN),
        dice_with=found.dice(found.before),
        dice_without=found.dice(found.after),
        difference=compared.difference,
        p=compared.p,
        passes=2 ** len(validated.task.mirrored),
    )
