"""``model.json``: everything about a bundle that is not a plan and not a weight."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .. import __version__
from ..core.estimate import Estimate
from ..corrections import Correction

FORMAT = 1
MANIFEST, PLAN = "model.json", "plan.json"

# They become names of files and folders on any system.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # Windows


@dataclass(frozen=True)
class StoredFile:
    """What a file must be."""

    size: int
    """Bytes."""
    sha256: str
    """64 hexadecimal digits."""


@dataclass(frozen=True)
class MirroringTest:
    """Validation cases of one configuration, predicted with mirroring and without."""

    pays: bool
    dice_with: Estimate
    dice_without: Estimate
    difference: Estimate
    """Of the Dice of a case, with minus without."""
    p: float | None
    """Wilcoxon's signed-rank test of the differences, two-sided; None where no case differs."""
    passes: int
    """Times that a network sees a patch with mirroring."""


@dataclass(frozen=True)
class CrossValidation:
    """Scores of cases that the network which predicted them had not seen."""

    overall: dict[str, Estimate]
    """Metric to its mean over labels."""
    labels: dict[str, dict[str, Estimate]]
    """Label to metric to its mean over cases."""
    folds: tuple[str, ...]
    """Whose validation cases these are."""


@dataclass(frozen=True)
class Manifest:
    """What ``model.json`` says."""

    name: str
    """Of the model: the folder it is installed in, e.g. ``Dataset004_Hippocampus``."""
    configurations: dict[str, tuple[str, ...]]
    """Configuration to the folds whose weights are here; their logits are averaged."""
    ensemble: dict[str, float]
    """Configurations whose probabilities are averaged, with their weights, which sum to 1. A configuration that is
    not among them serves another one as its previous stage."""
    postprocessing: tuple[Correction, ...] = ()
    """In the order in which they are made."""
    mirroring: dict[str, MirroringTest] = field(default_factory=dict)
    """Configuration to whether mirroring pays; without an entry nobody has measured it."""
    scores: CrossValidation | None = None
    """Of the ensemble, postprocessing included; None where nothing has been validated."""
    licence: str = ""
    """Under which the weights may be used."""
    citation: str = ""
    """What to cite when using them."""
    source: str = ""
    """Where the model comes from, if not from a training of autoseg."""
    exact: bool = False
    """Whether a processor computes in float32, unless told otherwise: bfloat16 is faster, but moves about one voxel in
    ten thousand, and the model stands for what another program predicts."""
    files: dict[str, StoredFile] = field(default_factory=dict)
    autoseg: str = __version__
    """The version that wrote this."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        folds = [fold for named in self.configurations.values() for fold in named]
        for name in (self.name, *self.configurations, *folds):
            check_name(name)
        if not self.configurations or not all(self.configurations.values()):
            raise ValueError("every configuration needs at least one fold")
        unknown = sorted(set(self.ensemble) - set(self.configurations))
        if unknown or not self.ensemble:
            raise ValueError(f"ensemble must name some of {list(self.configurations)}, found {list(self.ensemble)}")
        weights = self.ensemble.values()
        if not (all(0 < weight <= 1 for weight in weights) and abs(sum(weights) - 1) < 1e-6):  # NaN is refused as well
            raise ValueError(f"the weights of the ensemble must be above 0 and sum to 1, found {self.ensemble}")
        if self.files and set(self.files) != set(self.file_names):
            odd = sorted(set(self.files) ^ set(self.file_names))
            raise ValueError(f"files must be {PLAN} and one weight file per fold; too many or missing: {odd}")

    @property
    def file_names(self) -> tuple[str, ...]:
        """Every file of the bundle but ``model.json``, as paths with ``/``."""
        weights = (weights_name(name, fold) for name, folds in self.configurations.items() for fold in folds)
        return (PLAN, *weights)


def weights_name(configuration: str, fold: str) -> str:
    return f"{configuration}/fold_{fold}.safetensors"


def check_name(name: str) -> None:
    """Raises ValueError for a name that is no name of a file on every system."""
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be the name of a model, configuration or fold; use up to 100 letters, digits, - _ ."
        )
