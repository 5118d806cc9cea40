"""Networks from small to large, each with its recipe and the number of iterations it takes to be worth its size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ..core.fusion import UNPAIRED, Fusion
from ..core.inputs import InputSpec
from ..errors import UsageError
from ..parts.contracts import Network
from ..task import Task
from .constraints import UNPAIRED_UNET
from .named_network import Values, part_of, values_of
from .planner import Planner
from .sizes import NamedSizes

USUAL_SPACING, USUAL_PATCH = (1.0, 1.0, 1.0), (128, 128, 128)  # mm, voxels
MEMBERS = ("__dataclass_fields__", "divisor", "features", "build")  # that every network must have
WHERE = "see Network in autoseg/parts/contracts.py"


@dataclass(frozen=True)
class Rung:
    """Networks with their recipe, and how long they must be trained to be worth it."""

    planner: Planner
    """Its budgets are the patches and batches that the iterations are meant for."""
    iterations: int

    @property
    def by_name(self) -> bool:
        """Whether the user has named the network."""
        return isinstance(self.planner.unet_3d, NamedSizes)


def count_sizes(name: str, kind: type[Network]) -> int:
    """Raises UsageError where there is none to plan, or it is no network."""
    sizes = _usual(kind)
    if not sizes:
        raise UsageError(
            f"--network {name}: this network says nothing of its sizes, so it cannot be planned; give its Spec a "
            f"ladder ({WHERE})"
        )
    if missing := [member for member in MEMBERS if not hasattr(sizes[0], member)]:
        raise UsageError(f"--network {name}: this is no network, its Spec lacks {', '.join(missing)} ({WHERE})")
    return len(sizes)


def _usual(kind: type[Network]) -> Sequence[Network]:
    sizes: Sequence[Network] = ()
    for dimensions in (3, 2):
        with suppress(ValueError):  # a network may be for slices only
            sizes = sizes or kind.ladder(USUAL_SPACING[-dimensions:], USUAL_PATCH[-dimensions:])
    return sizes


def chosen(name: str, kind: type[Network], channels: Sequence[str], fusion: Fusion | None) -> Values:
    """Fields of the network that its ``name`` brings along, and those that ``fusion`` decides.

    Raises UsageError for fields that cannot be, and where it is not for images of these channels.
    """
    values = values_of(name, kind)
    try:
        if fusion is not None:
            values = (*values, ("fusion", fusion.method), ("groups", fusion.numbered(channels)))
        _usual(kind)[0].with_fields(**dict(values)).check_inputs(InputSpec.of_image(len(channels)))
    except ValueError as error:
        asked = f"--network {name}" if fusion is None else f"--fusion {fusion.level}"
        raise UsageError(f"{f'--fusion {UNPAIRED}' if part_of(name) == UNPAIRED_UNET else asked}: {error}") from None
    return values


def rungs_of(
    name: str, kind: type[Network], rungs: Sequence[Rung], task: Task, fusion: Fusion | None = None
) -> tuple[Rung, ...]:
    """The ladder of a network that the user has named, with the recipes of ``rungs``; ``task`` is any of the dataset.

    The first size is trained as the first rung is, and so on. Where there are more sizes than rungs, those that are
    left share the last recipe; where there are fewer, the last size is trained by the recipes that are left. Raises
    UsageError for a network without sizes, or one that is not for these images.
    """
    sizes, found = count_sizes(name, kind), []
    values = chosen(name, kind, task.channels, fusion)
    for place in range(max(sizes, len(rungs))):
        rung = rungs[min(place, len(rungs) - 1)]
        named = NamedSizes(name, kind, min(place, sizes - 1), sizes, task, values)
        found.append(replace(rung, planner=replace(rung.planner, unet_2d=named, unet_3d=named)))
    return tuple(found)
