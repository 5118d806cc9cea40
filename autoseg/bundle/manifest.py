"""``model.json``: everything about a bundle that is not a plan and not a weight."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from .. import __version__
from ..core.dice_line import DiceLine
from ..core.estimate import Estimate
from ..core.fusion import COMBINED, MEAN, STAPLE
from ..core.names import path_name, short
from ..core.temperature import refuse_wrong
from ..corrections import Correction
from ..data.training_ranges import TrainingRanges

FORMAT = 1
MANIFEST, PLAN = "model.json", "plan.json"

MOST_CONFIGURATIONS = 20
MOST_WEIGHTS = 200  # five configurations of ten folds are 50
MOST_CORRECTIONS = 1000  # three of each of 118 labels are 354


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
    """Dice with minus Dice without."""
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
    subsets: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    """Channels that were left, ``FLAIR + T1``, to metric to its mean over labels, all other channels being withheld."""


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
    """Of the ensemble, each case with the postprocessing that was learned without its fold; None where nothing has been
    validated."""
    licence: str = ""
    """Under which the weights may be used."""
    citation: str = ""
    """What to cite when using them."""
    source: str = ""
    """Where the model comes from, if not from a training of autoseg."""
    exact: bool = False
    """Whether a processor computes in float32, unless told otherwise: bfloat16 is faster, but moves about one voxel in
    ten thousand, and the model stands for what another program predicts."""
    label_weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The weights of the ensemble's configurations for each head, where heads differ; for each they sum to 1. Those of
    ``ensemble`` are then their means."""
    combined: str = MEAN
    """How the configurations of the ensemble are combined, one of ``core.fusion.COMBINED``: by the weighted mean of
    their probabilities, or by STAPLE of what they decide, which knows no weights."""
    predicted_dice: dict[str, DiceLine] = field(default_factory=dict)
    """Label to how the Dice of a prediction follows from its agreement with itself; empty: not known."""
    temperatures: dict[str, float] = field(default_factory=dict)
    """Head to the temperature that calibrates its probabilities (``core.temperature``); empty: not known."""
    training: TrainingRanges | None = None
    """What the training cases were like; None: not known."""
    files: dict[str, StoredFile] = field(default_factory=dict)
    autoseg: str = __version__
    """The version that wrote this."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        path_name(self.name, "the name of the model")
        self._check_weights()
        unknown = sorted(set(self.ensemble) - set(self.configurations))
        if unknown or not self.ensemble:
            known, found = short(list(self.configurations), 300), short(list(self.ensemble), 300)
            raise ValueError(f"ensemble must name some of {known}, found {found}")
        weights = self.ensemble.values()
        if not (all(0 < weight <= 1 for weight in weights) and abs(sum(weights) - 1) < 1e-6):  # NaN is refused as well
            found = short(self.ensemble, 300)
            raise ValueError(f"the weights of the ensemble must be above 0 and sum to 1, found {found}")
        self._check_label_weights()
        refuse_wrong(self.temperatures)
        if self.combined not in COMBINED or (self.combined == STAPLE and (self.label_weights or len(weights) < 2)):
            raise ValueError(
                f"combined must be {MEAN}, or {STAPLE} for several configurations without label_weights; found "
                f"{short(self.combined)!r}"
            )
        if len(self.postprocessing) > MOST_CORRECTIONS:
            raise ValueError(f"postprocessing has {len(self.postprocessing)} steps, more than {MOST_CORRECTIONS}")
        if self.files and set(self.files) != set(self.file_names):
            odd = short(sorted(set(self.files) ^ set(self.file_names)), 300)
            raise ValueError(f"files must be {PLAN} and one weight file per fold; too many or missing: {odd}")

    def _check_label_weights(self) -> None:
        if not self.label_weights:
            return
        rows = [self.label_weights.get(name, ()) for name in self.ensemble]
        if len(self.label_weights) != len(rows) or len({len(row) for row in rows}) > 1 or not rows[0]:
            raise ValueError("label_weights must have one weight for each head of every configuration of the ensemble")
        fits = all(weight >= 0 for row in rows for weight in row)
        if not fits or not all(abs(sum(of_head) - 1) < 1e-6 for of_head in zip(*rows)):  # NaN is refused as well
            raise ValueError("label_weights must not be below 0 and must sum to 1 for each head")

    def _check_weights(self) -> None:
        """Raises ValueError where configurations and folds do not name files, each its own, on every system."""
        folds = [fold for named in self.configurations.values() for fold in named]
        if not self.configurations or not all(self.configurations.values()):
            raise ValueError("every configuration needs at least one fold")
        if len(self.configurations) > MOST_CONFIGURATIONS or len(folds) > MOST_WEIGHTS:
            raise ValueError(
                f"configurations has {len(self.configurations)} entries and {len(folds)} folds, "
                f"more than {MOST_CONFIGURATIONS} and {MOST_WEIGHTS}"
            )
        for name in self.configurations:
            path_name(name, "the configuration")
        for fold in folds:
            path_name(fold, "the fold")
        counted = Counter(
            unicodedata.normalize("NFC", name).casefold() for name in (MANIFEST, *self.file_names, *self.configurations)
        )
        if twice := [name for name, times in counted.items() if times > 1]:
            raise ValueError(f"{short(twice[0])!r} names two files, where systems do not tell letters apart")

    @property
    def file_names(self) -> tuple[str, ...]:
        """Every file of the bundle but ``model.json``, as paths with ``/``."""
        weights = (weights_name(name, fold) for name, folds in self.configurations.items() for fold in folds)
        return (PLAN, *weights)


def weights_name(configuration: str, fold: str) -> str:
    return f"{configuration}/fold_{fold}.safetensors"
