"""Why a planner decided as it did, in a person's words: ``subject: sentence with numbers``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..alignment.record import Alignment
from ..configuration import Configuration, TrainingRules
from ..core.geometry import FILE_AXES
from ..core.inputs import InputSpec
from ..parts.networks import multi_encoder_unet, unpaired_unet
from .patch import StepBudget, coverage
from .sizes import Layout

CUT = 0.95  # an axis of which a patch sees less is cut, not rounded


def numbers(values: Iterable[float]) -> str:
    """``3 x 0.7812 x 0.7812``"""
    return " x ".join(f"{value:.4g}" for value in values)


def axis_order(order: Sequence[int], spacing: Sequence[float]) -> str:
    """``spacing`` in the files' axes."""
    network = ", ".join(FILE_AXES[axis] for axis in order)
    first = order[0]
    why = "" if tuple(order) == (0, 1, 2) else f": the coarsest, with {spacing[first]:.4g} mm, comes first"
    return f"axis order: {network} of the files{why}"


def anisotropy(spacing: Sequence[float], threshold: float) -> str:
    """``spacing`` in the network's axes, the coarsest first."""
    factor = spacing[0] / max(spacing[1:])
    matters = "coarse slices" if factor > threshold else "none that matters"
    how = f"slices lie {factor:.3g} times as far apart as voxels within them"
    return f"anisotropy: {matters}: {how} (limit {threshold:g})"


def alignment(decided: Alignment, channels: Sequence[str]) -> str:
    reference = channels[decided.reference]
    how = "resampled by their headers" if not decided.registers else f"registered ({decided.method}) and resampled"
    return f"alignment: channels of a case are {how} onto the grid of {reference} where they lie beside it"


def patch(
    topology: Layout,
    spacing: Sequence[float],
    shape: Sequence[float],
    elements: float,
    budget: StepBudget,
    order: Sequence[int],
) -> str:
    """``spacing`` and ``shape`` of the median image; ``order`` are the files' axes as the network sees them."""
    size = topology.patch_size
    axes = [FILE_AXES[axis] for axis in order[-len(size) :]]
    cut = [
        f"{edge} of {whole:g} along the {axis}" for axis, edge, whole in zip(axes, size, shape) if edge < CUT * whole
    ]
    cube = "a cube" if len(size) == 3 else "a square"
    then = f"then cut to {', '.join(cut)} of the files to fit the budget" if cut else "which fits the budget"
    limit = f"{budget.elements * budget.batch / budget.batch_of_patch / 1e6:.1f} million"
    lengths = numbers(edge * step for edge, step in zip(size, spacing))
    return (
        f"patch: {numbers(size)} voxels ({lengths} mm): {cube} in mm, "
        f"clipped to the median image of {numbers(shape)} voxels, {then}; it sees {coverage(size, shape):.0%} of that "
        f"image, is a multiple of {numbers(topology.divisor)} {topology.why_divisor}, and costs "
        f"{elements / 1e6:.1f} of {limit} feature map elements allowed at batch {budget.batch_of_patch}"
    )


def fusion(configuration: Configuration, channels: Sequence[str]) -> list[str]:
    """What each encoder sees, where the network has several; what modalities share, where a case has one of them."""
    network = configuration.network
    if isinstance(network, unpaired_unet.Spec):
        return [
            f"fusion: unpaired: {', '.join(channels)} share all kernels of the network, which sees the one that a case "
            "has; each has its own scale and shift in every normalisation of feature maps"
        ]
    if not isinstance(network, multi_encoder_unet.Spec):
        return []
    groups = network.groups_of(InputSpec.of_image(len(channels)))
    seen = "; ".join(" and ".join(channels[channel] for channel in group) for group in groups)
    own = network.own_features(len(groups))
    return [
        f"fusion: in the middle by {network.fusion.replace('_', ' and ')}: {len(groups)} encoders, which see {seen}, "
        f"each with {own[0]} to {max(own)} feature maps where the decoder has {network.features[0]} to "
        f"{max(network.features)}: together they compute about as much as one encoder of all channels would"
    ]


def training(rules: TrainingRules, batch: int, cases: int) -> str:
    steps = rules.epochs * rules.iterations_per_epoch
    return (
        f"training: {rules.epochs} epochs of {rules.iterations_per_epoch} iterations, the planner's length: "
        f"{steps * batch / cases:.0f} patches of each of {cases} cases"
    )
