"""Which of many models is best on unseen cases, and the report that says how sure this is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..bundle.card import correction
from ..bundle.manifest import CrossValidation, MirroringTest
from ..core.estimate import Estimate
from ..core.files import atomic_file, remove_unfinished
from ..core.fusion import MEAN, STAPLE
from ..core.labels import Labels
from ..core.records import write_json
from .counts import named, overall
from .learn import Learned, fewest_patients
from .paired import SURE, Paired, paired
from .pool import Pool
from .pruning import PruningTest
from .resampling import patient_numbers
from .scores import NUMBER, summarise
from .tables import aligned
from .temperature import Recalibration

Members = tuple[str, ...]
RECORD = "selection.json"
WEIGHED, STAPLED = ", weighed by label", ", STAPLE"


@dataclass(frozen=True)
class Compared:
    """One configuration, or several that are combined; of these, in each case, those that see it."""

    members: Members
    dice: Estimate
    """Mean over labels, before postprocessing."""
    labels: dict[str, Estimate]
    """Label to its Dice."""
    to_chosen: Paired | None
    """Dice minus that of the chosen model; None for the chosen one."""
    weights: dict[str, dict[str, float]] | None = None
    """Configuration to the weight of each label; None: all weigh the same."""
    combined: str = MEAN
    """One of ``core.fusion.COMBINED``: by the mean of their probabilities, or by STAPLE of what they decide."""

    @property
    def stapled(self) -> bool:
        return self.combined == STAPLE

    @property
    def name(self) -> str:
        return " + ".join(self.members) + (STAPLED if self.stapled else WEIGHED if self.weights else "")


@dataclass(frozen=True)
class Selection:
    """What was compared and decided; ``selection.json``."""

    dataset: str
    folds: tuple[str, ...]
    cases: int
    patients: int
    """Whose the cases are; intervals and tests go by patients. As many as cases where nobody has named them."""
    compared: tuple[Compared, ...]
    """The best first: it is the chosen one."""
    missing: dict[str, str]
    """Configuration to why it was not compared."""
    postprocessing: Learned
    mirroring: dict[str, MirroringTest]
    """Of the members of the chosen model; no entry where mirroring is not allowed."""
    scores: CrossValidation
    """Of the chosen model, each case with the postprocessing that was learned without its fold."""
    pruning: dict[str, PruningTest] = field(default_factory=dict)
    """Of those members whose networks can be pruned. The other scores are of whole networks."""
    recalibration: Recalibration | None = None
    """What temperatures do to its probabilities; None: they were not learned."""

    @property
    def chosen(self) -> Compared:
        return self.compared[0]


def rank(
    members: Sequence[Members],
    scores: np.ndarray,
    keys: Sequence[str],
    labels: Labels,
    patients: Mapping[str, str],
    pool: Pool | None = None,
    stapled: Sequence[Members] = (),
) -> tuple[Compared, ...]:
    """The models, best first, from their Dice (models, cases, labels); of equals the one with fewer members first.

    ``keys`` name the cases, ``patients`` whose they are. After the ``members`` whose mean counts come those that are
    ``stapled``, and ``pool``, if any, is the last of the models.
    """
    weights = [*([None] * (len(members) + len(stapled))), *([pool.named(labels.head_names)] if pool else [])]
    combined = [*([MEAN] * len(members)), *([STAPLE] * len(stapled)), *([MEAN] if pool else [])]
    members = [*members, *stapled, *([pool.members] if pool else [])]
    means = np.round(overall(scores), 9)
    order = sorted(range(len(members)), key=lambda index: (-means[index], len(members[index]), index))
    best, whose = scores[order[0]], patient_numbers(keys, patients)
    ranked = []
    for index in order:
        summary = summarise(named(scores[index], keys, labels), patients=patients)
        ranked.append(
            Compared(
                members[index],
                summary.overall["dice"],
                {label: row["dice"] for label, row in summary.labels.items()},
                None if index == order[0] else paired(scores[index], best, whose),
                weights[index],
                combined[index],
            )
        )
    return tuple(ranked)


def write_selection(folder: Path, selection: Selection) -> None:
    """Writes ``selection.json`` (everything) and ``selection.csv`` (a row per model)."""
    from pandas import DataFrame, Index

    remove_unfinished(folder)
    write_json(folder / RECORD, selection)
    labels = list(selection.chosen.labels)
    rows = []
    for model in selection.compared:
        against = model.to_chosen
        difference = against.difference if against else Estimate(None, None, None, 0)
        rows.append(
            [
                *(model.dice.mean, model.dice.low, model.dice.high),
                *(difference.mean, difference.low, difference.high),
                against.p if against else None,
                *(model.labels[label].mean for label in labels),
            ]
        )
    names = Index([model.name for model in selection.compared], name="model")
    columns = ["dice", "low", "high", "to_chosen", "to_chosen_low", "to_chosen_high", "p", *labels]
    with atomic_file(folder / "selection.csv") as temporary:
        table = DataFrame(rows, names, columns, float)
        table.to_csv(temporary, float_format=NUMBER, encoding="utf-8", lineterminator="\r\n")


def report(selection: Selection) -> str:
    """The comparison as aligned text for a terminal, and what follows from it."""
    lines = [_table(selection)]
    if selection.patients < selection.cases:
        lines.append(f"{selection.cases} cases of {selection.patients} patients; intervals and tests go by patient")
    for name, why in selection.missing.items():
        lines.append(f"not compared: {name}: {why}")
    rivals = [model for model in selection.compared[1:] if len(model.members) < len(selection.chosen.members)]
    for model in rivals:
        p = model.to_chosen.p if model.to_chosen else None
        if p is None or p >= SURE:
            flags = " ".join(f"-c {name}" for name in model.members)
            lines.append(
                f"no clear difference between {model.name} and the chosen model{_p(model.to_chosen)}; it predicts "
                f"faster, and {flags} would take it"
            )
            break
    for name, weights in (selection.chosen.weights or {}).items():
        lines.append(f"weights of {name}: {', '.join(f'{label} {weight:.2f}' for label, weight in weights.items())}")
    lines += _postprocessing(selection)
    for name, test in selection.mirroring.items():
        verdict = "pays" if test.pays else "does not pay"
        what = f"Dice {_signed(test.difference)} on {test.difference.cases} cases for {test.passes} times the work"
        lines.append(f"mirroring {verdict} for {name}: {what}")
    for name, pruning in selection.pruning.items():
        lines += pruning.told(name)
    lines += [selection.recalibration.told()] if selection.recalibration else []
    lines.append(f"chosen: {selection.chosen.name}; Dice {_interval(selection.scores.overall['dice'])}")
    return "\n".join(lines)


def _postprocessing(selection: Selection) -> list[str]:
    """Its steps, and what learning them gains on cases that had no say in them."""
    learned = selection.postprocessing
    gain, steps = learned.gain, [correction(step) for step in learned.corrections]
    unit = "cases" if selection.patients == selection.cases else "patients"
    fewest = fewest_patients(list(selection.chosen.labels))
    if selection.patients < fewest:
        return [f"postprocessing: none, it is learned from {fewest} {unit} or more"]
    counts = f"{unit} better {gain.better}, worse {gain.worse}{_p(gain)}"
    held_out = f"gain on held-out cases: Dice {_signed(gain.difference)}, {counts}"
    if steps:
        return [f"postprocessing: {'; '.join(steps)}", f"    {held_out}"]
    if gain.better or gain.worse:
        return [f"postprocessing: none, no gain is sure; {held_out}"]
    return ["postprocessing: none, no correction surely helps"]


def _table(selection: Selection) -> str:
    labels = list(selection.chosen.labels)
    rows = []
    for model in selection.compared:
        against = model.to_chosen
        difference = _signed(against.difference) if against else "chosen"
        p = "" if against is None or against.p is None else f"{against.p:.2g}"
        rows.append([_interval(model.dice), difference, p, *(model.labels[label].mean for label in labels)])
    names = [model.name for model in selection.compared]
    return aligned(names, rows, ["model", "dice (95 % interval)", "to the chosen", "p", *labels])


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _text(estimate.mean)
    return f"{_text(estimate.mean)} ({estimate.low:.3f}-{estimate.high:.3f})"


def _signed(estimate: Estimate) -> str:
    if estimate.mean is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:+.4f}"
    return f"{estimate.mean:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"


def _p(found: Paired | None) -> str:
    return "" if found is None or found.p is None else f", p = {found.p:.2g}"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
