"""One way to see a dataset and to learn from it: what the planner decides for each network that can be trained.

Axes are those of the network: (z, y, x) after ``Plan.axis_order`` was applied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from .core.bounds import LARGEST_SIZE, LONGEST, bounded
from .core.family import Family
from .core.geometry import LARGEST_SPACING, SMALLEST_SPACING
from .core.missing import MissingChannels
from .core.names import path_name, short, shown_name
from .core.samples import COMPLETE, STREAMS
from .parts.contracts import (
    Augmentation,
    Filter,
    Input,
    Loss,
    Network,
    Normalizer,
    Objective,
    Optimizer,
    Resampler,
    Schedule,
)
from .parts.objectives import supervised

NORMALIZER_DEFAULTS: dict[str, Any] = {"mask": False}
NETWORK_DEFAULTS: dict[str, Any] = {
    "blocks": 0,
    "held_beside": 0,
    "ladder": staticmethod(lambda spacing, patch_size: ()),
    "with_fields": lambda self, **fields: replace(self, **fields),
    "check_inputs": lambda self, inputs: None,
}
"""What a part has that leaves out one of these."""
FILTERS = Family("autoseg.parts.filters", "Spec")
NORMALIZERS = Family("autoseg.parts.normalizers", "Spec", NORMALIZER_DEFAULTS)
RESAMPLERS = Family("autoseg.parts.resamplers", "Spec")
NETWORKS = Family("autoseg.parts.networks", "Spec", NETWORK_DEFAULTS)
LOSSES = Family("autoseg.parts.losses", "Spec")
OBJECTIVES = Family("autoseg.parts.objectives", "Spec")
AUGMENTATIONS = Family("autoseg.parts.augmentations", "Spec")
OPTIMIZERS = Family("autoseg.parts.optimizers", "Spec")
SCHEDULES = Family("autoseg.parts.schedules", "Spec")
INPUTS = Family("autoseg.parts.inputs", "Spec")
MOST_SLICES = 999
MOST_FILTERS = 8  # of one channel
NO_MISTAKES = {"change_probability": 0.0, "removal_probability": 0.0}


@dataclass(frozen=True)
class TrainingRules:
    """How long and on what a configuration trains."""

    epochs: int
    iterations_per_epoch: int = 250
    oversampling: float = 0.33
    """Share of a batch's patches that are centred on a foreground voxel (nnU-Net: oversample_foreground_percent)."""
    balance: float = 0.5
    """Share of those for which a label is drawn first, all alike, and then one of the cases that hold it: labels that
    few cases hold are seen, and empty cases cost no foreground. The others take the cases in turn and a label of the
    case, as nnU-Net does for all; so a label of one case only cannot fill the training with it."""
    components: float = 0.25
    """Share of those for which a connected part of the label is drawn first and then a voxel of it: small lesions
    beside large ones are seen. The others draw from all voxels of the label, as nnU-Net does for all; so specks
    that were labelled by mistake stay rare."""
    deep_supervision: float = 0.5
    """Weight of the loss at each coarser scale of the network's decoder, beside that of the scale before; the coarsest
    has none. 0: the finest alone."""
    gradient_clip: float = 12.0
    """Largest norm of the gradient over all weights."""
    ema_decay: float = 0.0
    """Above 0: predict with the moving average of the weights, which keeps this share of itself in every iteration."""
    patience: int = 0
    """Epochs without a better Dice on whole validation volumes after which training is brought to its end; 0: never."""

    def __post_init__(self) -> None:
        bounded(self, "epochs", "iterations_per_epoch", least=1, most=LONGEST)
        bounded(self, "oversampling", "balance", "components", "deep_supervision", least=0, most=1)
        bounded(self, "gradient_clip", above=0)
        bounded(self, "ema_decay", least=0, below=1)
        bounded(self, "patience", least=0, most=LONGEST)

    @staticmethod
    def of_before(value: dict[str, Any]) -> dict[str, Any]:
        """``oversampling`` was called ``foreground``."""
        return {"oversampling" if name == "foreground" else name: item for name, item in value.items()}


@dataclass(frozen=True)
class InitialWeights:
    """Weights of another model that a training began with (fine-tuning)."""

    source: str
    """Name of that model."""
    digest: str
    """SHA-256 of the file with its weights."""
    encoder_rate: float = 1.0
    """Share of the learning rate at which the encoder's weights learn that were taken; 0: not at all."""
    fresh: tuple[str, ...] = ()
    """Weights of the network that had no counterpart and began at random."""

    def __post_init__(self) -> None:
        shown_name(self.source, "source")
        bounded(self, "encoder_rate", least=0, most=1)


@dataclass(frozen=True)
class StepMemory:
    """Bytes that one training step holds, counted."""

    weights: int
    optimizer: int
    """Its state (a momentum, for instance), the moving average of the weights, and what the objective keeps (a
    teacher)."""
    batch: int
    """Patches as read, those read ahead on a CPU, and what the network gets of them."""
    activations: int
    """Kept from the forward pass for the backward pass; what two operations keep counts once."""
    peak: int
    """The most at any moment: all of the above, gradients, and what an operation needs while it runs."""

    def __post_init__(self) -> None:
        bounded(self, *vars(self), least=0)

    @property
    def fixed(self) -> int:
        """What does not depend on patch and batch, gradients included."""
        return 2 * self.weights + self.optimizer


@dataclass(frozen=True)
class StepCost:
    """What a training costs on the machine it was planned for. Sizes in bytes."""

    target: str
    """That machine."""
    counted: StepMemory
    memory: int
    """Of the whole training: the step, gaps between its blocks, interpreter and libraries."""
    allowed: int
    """What it may take."""
    seconds: float
    """Per step."""
    memory_measured: int | None = None
    """The same by a real step; None: none was run."""
    timed: bool = False
    """Whether ``seconds`` comes from real steps, and not from the machine's speed in its data sheet."""

    def __post_init__(self) -> None:
        bounded(self, "memory", "memory_measured", "seconds", least=0)
        bounded(self, "allowed", above=0)


@dataclass(frozen=True)
class Configuration:
    """One way to see the dataset: ``2d``, ``2.5d``, ``3d_fullres``, ``3d_lowres``, ``3d_cascade_fullres``."""

    spacing: tuple[float | None, float, float]
    """Target spacing in mm; None: keep each case's own slice distance (2-D)."""
    median_shape: tuple[int, int, int]
    """Median shape of the training cases at that spacing, voxels."""
    patch_size: tuple[int, ...]
    """Voxels; two entries for 2-D configurations."""
    batch_size: int
    normalizers: tuple[Normalizer, ...] = field(metadata={"family": NORMALIZERS})
    """One per channel."""
    resampler: Resampler = field(metadata={"family": RESAMPLERS})
    network: Network = field(metadata={"family": NETWORKS})
    loss: Loss = field(metadata={"family": LOSSES})
    augmentation: Augmentation = field(metadata={"family": AUGMENTATIONS})
    optimizer: Optimizer = field(metadata={"family": OPTIMIZERS})
    schedule: Schedule = field(metadata={"family": SCHEDULES})
    training: TrainingRules
    objective: Objective = field(default=supervised.Spec(), metadata={"family": OBJECTIVES})
    """What a training step makes small, with ``loss`` as its measure of labelled patches."""
    filters: tuple[tuple[Filter, ...], ...] = field(default=(), metadata={"family": FILTERS})
    """For each channel, what is done to its voxels before it is normalised, first to last; empty: nothing to any."""
    inputs: tuple[Input, ...] = field(default=(), metadata={"family": INPUTS})
    """What the network sees beside the image."""
    slices: int = 1
    """2-D: neighbouring slices that come in as channels, the middle one is predicted. Odd."""
    missing: MissingChannels | None = None
    """Channels that a case may lack, and how training withholds them; None: every case has all."""
    channels: tuple[int, ...] | None = None
    """Of the images, counted from 0, those that the network sees and needs; None: all. Cases are prepared with all."""
    initial: InitialWeights | None = None
    """What the training began with; None: random weights."""
    cost: StepCost | None = None
    """None: it was not asked for, or a value was changed since."""
    reasons: tuple[str, ...] = ()
    """Why this was decided: ``subject: sentence with numbers``."""

    def __post_init__(self) -> None:
        bounded(self, "spacing", above=0)
        bounded(self, "spacing", least=SMALLEST_SPACING, most=LARGEST_SPACING)
        bounded(self, "median_shape", "patch_size", "batch_size", least=1, most=LARGEST_SIZE)
        if self.dimensions not in (2, 3):
            raise ValueError(f"patch_size must be 2 or 3 numbers of voxels, found {self.dimensions}")
        if self.batch_size * math.prod(self.patch_size) > LARGEST_SIZE:
            raise ValueError(f"batch_size and patch_size ask for more than {LARGEST_SIZE:.1g} voxels at a time")
        if self.slices < 1 or self.slices % 2 == 0 or self.slices > MOST_SLICES:
            raise ValueError(
                f"slices must be odd, so that one is in the middle, and at most {MOST_SLICES}; found {self.slices}"
            )
        if self.slices > 1 and (self.dimensions == 3 or self.inputs):
            raise ValueError(f"slices are for 2-D configurations without further inputs, found {self.slices}")
        if max(map(len, self.filters), default=0) > MOST_FILTERS:
            raise ValueError(f"filters: a channel may have {MOST_FILTERS}, found {max(map(len, self.filters))}")
        if self.channels is not None and not 0 < len(self.channels) == len(set(self.channels)):
            raise ValueError(f"channels must be some of the images' channels, each once, found {short(self.channels)}")
        if self.previous is not None:
            path_name(self.previous, "previous configuration")
        if len([part for part in self.inputs if part.previous is not None]) > 1:
            raise ValueError("inputs: at most one may come from an earlier stage")
        _refuse_unfit_patch(self.patch_size, self.network)
        unknown = sorted(set(self.objective.streams) - set(STREAMS))
        if unknown:
            raise ValueError(
                f"objective {OBJECTIVES.name_of(self.objective)} learns from samples that training cannot draw: "
                f"{short(', '.join(unknown))}; it can draw {', '.join(STREAMS)}"
            )
        if COMPLETE in self.objective.streams and self.missing is None:
            raise ValueError(
                f"objective {OBJECTIVES.name_of(self.objective)} learns from what is withheld, but no channel may be "
                "missing; plan with --missing-channels"
            )

    @property
    def dimensions(self) -> int:
        return len(self.patch_size)

    @property
    def previous(self) -> str | None:
        """The configuration whose prediction is among the inputs (cascade)."""
        return next((part.previous for part in self.inputs if part.previous is not None), None)

    @staticmethod
    def of_before(value: dict[str, Any]) -> dict[str, Any]:
        """JSON in which ``previous`` stood for ``inputs``, and mistakes in its prediction among the augmentation."""
        if "previous" not in value or "inputs" in value:
            return value
        value = dict(value)
        previous, augmentation = value.pop("previous"), value.get("augmentation")
        mistakes: Any = NO_MISTAKES
        if isinstance(augmentation, dict) and augmentation.get("name") in ("standard", "batchgenerators"):
            mistakes = augmentation.get("mistakes", {})
            value["augmentation"] = {key: item for key, item in augmentation.items() if key != "mistakes"}
        prior = {"name": "prior", "previous": previous, "mistakes": mistakes}
        return value | {"inputs": [] if previous is None else [prior]}


def _refuse_unfit_patch(patch_size: tuple[int, ...], network: Network) -> None:
    """Raises ValueError that names the nearest patches that fit."""
    divisor = network.divisor
    if len(divisor) != len(patch_size):
        raise ValueError(f"patch_size has {len(patch_size)} entries, but the network has {len(divisor)} dimensions")
    if any(edge % step for edge, step in zip(patch_size, divisor)):
        up = tuple(math.ceil(edge / step) * step for edge, step in zip(patch_size, divisor))
        down = tuple(edge // step * step or step for edge, step in zip(patch_size, divisor))
        nearest = " or ".join(dict.fromkeys(",".join(map(str, patch)) for patch in (down, up)))
        raise ValueError(
            f"patch_size {','.join(map(str, patch_size))} must be a multiple of {','.join(map(str, divisor))}, "
            f"the product of the network's strides; the nearest that fit are {nearest}"
        )
