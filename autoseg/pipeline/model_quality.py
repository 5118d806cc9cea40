"""What cross-validation and the training data tell about the quality of new predictions: learned of the trained folds,
or as a bundle holds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from ..bundle.trained import Trained, TrainedRuns
from ..core.dice_line import DiceLine
from ..core.records import read_json
from ..data.training_ranges import TrainingRanges, training_ranges
from ..errors import AutosegError
from ..evaluation.predicted_dice import Seen, learn
from ..evaluation.quality_table import QUALITY, QualityTable, read_quality
from ..evaluation.scores import Summary
from ..evaluation.temperature import Recalibration
from ..plan import Plan
from ..run_folder import RunFolder
from ..workspace import DatasetFolder

LOG = logging.getLogger("autoseg")


@dataclass(frozen=True)
class ModelQuality:
    """Of one model."""

    lines: dict[str, DiceLine] = field(default_factory=dict)
    """Label to how its Dice follows from its agreement; empty: not known."""
    training: TrainingRanges | None = None
    """None: not known."""
    recalibration: Recalibration | None = None
    """What temperatures do to its probabilities, where that was learned now."""


def quality_of(trained: Trained | None) -> ModelQuality:
    """What is damaged is told and left out: nothing is predicted any worse without it."""
    if trained is None:
        return ModelQuality()
    if not isinstance(trained, TrainedRuns):
        return ModelQuality(trained.manifest.predicted_dice, trained.manifest.training)
    lines: dict[str, DiceLine] = {}
    ranges = None
    try:
        lines = learn([each for run in trained.runs.values() for each in seen_in(run)])
    except (AutosegError, OSError) as error:
        LOG.warning("%s; the Dice of predictions is not told", error)
    try:
        fold = next(iter(trained.runs.values())).root.absolute()
        ranges = ranges_in(DatasetFolder(fold.parents[2]), trained.plan)
    except (AutosegError, OSError) as error:
        LOG.warning("%s; cases are not compared with the training data", error)
    return ModelQuality(lines, ranges)


def seen_in(run: RunFolder) -> list[Seen]:
    """The validation cases of a fold; none where it was validated before agreement was measured. Raises RecordError."""
    path = run.validation / QUALITY
    if not path.exists() or not run.scores.exists():
        return []
    return seen(read_quality(path), read_json(run.scores, Summary))


def seen(table: QualityTable, summary: Summary) -> list[Seen]:
    """What has both an agreement and a Dice."""
    whose, found = summary.patients, []
    for case, scores in summary.cases.items():
        for label, quality in table.get(case, {}).items():
            dice = scores.get(label, {}).get("dice")
            if quality.agreement is not None and dice is not None:
                found.append(Seen(case, whose.get(case, case), label, quality.agreement, dice))
    return found


def ranges_in(files: DatasetFolder, plan: Plan) -> TrainingRanges | None:
    """Of the dataset in the workspace; None where it has no fingerprint any more, or other channels or labels now."""
    if not files.fingerprint.exists() or not files.dataset.exists():
        return None
    dataset = files.read_dataset()
    if (dataset.channels, dataset.labels) != (plan.channels, plan.labels):
        return None
    return training_ranges(files.read_fingerprint(), len(plan.channels), plan.labels)
