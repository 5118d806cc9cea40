"""Whether a plan can predict at all: what a stranger may have written into it that no planner writes."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.labels import RegionLabels
from ..core.names import short
from ..corrections import Correction
from ..plan import Plan


def refuse_unusable(plan: Plan, postprocessing: Sequence[Correction]) -> None:
    """Raises ValueError that says what is wrong."""
    from ..parts.readers import ENDINGS

    if plan.file_ending.lower() not in ENDINGS:
        raise ValueError(f"file_ending {short(plan.file_ending)!r} is none of {', '.join(ENDINGS)}")
    if not plan.channels:
        raise ValueError("the plan names no channels")
    labels = plan.labels
    if isinstance(labels, RegionLabels):
        if not labels.regions:
            raise ValueError("the plan names no labels")
    elif "background" not in labels.names:
        raise ValueError("labels lack the background")
    known = labels.foreground
    for step in postprocessing:
        if step.label is not None and step.label not in known:
            raise ValueError(f"postprocessing corrects {short(step.label)!r}, which is no label of the plan")
