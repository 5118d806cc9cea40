"""How often postprocessing is kept where it helps nobody, and how often where it does, on simulated datasets.

    python benchmarks/postprocessing_kept.py -o benchmarks/results/postprocessing_kept.json
    python benchmarks/postprocessing_kept.py --code FORMER_CHECKOUT     # the same datasets, other code

A case is a body of each label, as the reference has it. Some predictions have a piece beside a body, or a hole in it,
of random size; their voxels are counted, not drawn, and the decisions are those of `autoseg select`. With the
probability `wrong` the reference lacks it and removing (filling) it gains Dice, otherwise the reference has it as well
and removing it costs exactly as much. So at `wrong` 0.5 no correction has a true effect, and above it those of pieces
have one. Cases of one patient are alike.

The scenario `rare` shows what no test of so few cases can see: 19 of 20 pieces are wrong and removing them gains a
little, one in twenty is right and, as its body is small, removing it costs 19 times as much.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

BODY = 120  # voxels
VOXEL = 4.0  # mm3: pieces of 1 to 12 voxels lie around the thresholds of 10 and 30 mm3


@dataclass(frozen=True)
class Scenario:
    """One kind of dataset."""

    name: str
    patients: int
    folds: int = 5
    scans: int = 1
    """Of a patient."""
    labels: int = 1
    spoilt: float = 0.5
    """Of the patients, per label, with a piece; and as many, independently, with a hole."""
    wrong: float = 0.5
    """Of the pieces of the first label. Those of others, and all holes, are wrong with probability 0.5."""
    rare: bool = False


NO_EFFECT = (
    Scenario("20 cases, one label", 20),
    Scenario("20 cases, one label, one fold", 20, folds=1),
    Scenario("40 cases, three labels", 40, labels=3),
    Scenario("40 cases, three labels, few pieces", 40, labels=3, spoilt=0.15),
    Scenario("8 cases, one label, one fold", 8, folds=1),
    Scenario("100 cases, eight labels", 100, labels=8),
    Scenario("20 patients of 4 scans, one label", 20, scans=4),
)
EFFECT = (
    Scenario("10 cases, every piece wrong", 10, spoilt=0.9, wrong=1.0),
    Scenario("20 cases, one fold, nine of ten pieces wrong", 20, folds=1, spoilt=0.7, wrong=0.9),
    Scenario("40 cases, nine of ten pieces wrong", 40, wrong=0.9),
    Scenario("40 cases, three labels, nine of ten pieces of one wrong", 40, labels=3, wrong=0.9),
    Scenario("40 cases, three labels, every piece of one wrong", 40, labels=3, wrong=1.0),
    Scenario("100 cases, eight labels, nine of ten pieces of one wrong", 100, labels=8, wrong=0.9),
    Scenario("40 cases, a quarter of which have a piece, every one wrong", 40, spoilt=0.25, wrong=1.0),
)
RARE = (Scenario("40 cases, rare large harm", 40, spoilt=0.7, wrong=0.95, rare=True),)


class Drawn:
    """A case as `autoseg.evaluation.learn.Held`, of which only the voxels of each label's parts are known."""

    def __init__(self, parts: np.ndarray, fold: int, patient: str, steps: tuple[Any, ...] = ()) -> None:
        """``parts`` (labels, 5): voxels of body, piece, piece in the reference, hole, hole in the reference."""
        self.parts, self.fold, self.patient, self.steps = parts, fold, patient, steps

    def after(self, correction: Any, labels: Any) -> Drawn:
        return Drawn(self.parts, self.fold, self.patient, (*self.steps, correction))

    def tried(self, candidates: Any, labels: Any) -> np.ndarray:
        return np.stack([self.confusion(labels), *(self.after(each, labels).confusion(labels) for each in candidates)])

    def confusion(self, labels: Any) -> np.ndarray:
        """(predicted, reference) voxels; background in both is left out, it counts for no Dice."""
        body, piece, true_piece, hole, true_hole = self.parts.T.copy()
        for step in self.steps:
            chosen = np.array([step.label is None or step.label == name for name in labels.foreground])
            if hasattr(step.method, "size"):
                piece[chosen & (piece * VOXEL < step.method.size)] = 0
            elif step.method.whole_foreground:
                piece[chosen] = 0
            else:
                hole[chosen] = 0
        common = body - np.maximum(hole, true_hole) + np.minimum(piece, true_piece)
        found = np.diag([0, *common])
        found[1:, 0], found[0, 1:] = body - hole + piece - common, body - true_hole + true_piece - common
        return found


def drawn(scenario: Scenario, seed: int) -> list[Drawn]:
    """All cases of one dataset."""
    random, cases = np.random.default_rng(seed), []
    for patient in range(scenario.patients):
        parts = np.array([_parts(label, scenario, random) for label in range(scenario.labels)], np.int64)
        cases += [Drawn(parts, patient % scenario.folds, f"patient {patient}") for _ in range(scenario.scans)]
    return cases


def _parts(label: int, scenario: Scenario, random: np.random.Generator) -> list[Any]:
    has_piece, has_hole = random.random(2) < scenario.spoilt
    wrong = random.random(2) < (scenario.wrong if label == 0 else 0.5, 0.5)
    if scenario.rare:
        return [BODY if wrong[0] else BODY // 20, has_piece, has_piece and not wrong[0], 0, 0]
    piece, hole = has_piece * random.integers(1, 13), has_hole * random.integers(1, 9)
    return [BODY, piece, piece * (not wrong[0]), hole, hole * (not wrong[1])]


def kept(scenario: Scenario, seed: int) -> int:
    """How many corrections `autoseg select` would keep."""
    from autoseg.core.labels import ExclusiveLabels
    from autoseg.evaluation import learn

    logging.disable()
    if hasattr(learn, "_tried"):  # former code asks a function and not the case
        learn._tried = lambda case, candidates, labels: case.tried(candidates, labels)
    labels = ExclusiveLabels({"background": 0} | {f"label {n}": n for n in range(1, scenario.labels + 1)})
    found: Any = learn.learn(drawn(scenario, seed), labels)[0]
    return len(found) if isinstance(found, tuple) else len(found.corrections)


def rate(scenario: Scenario, datasets: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """The share of datasets in which anything is kept, with its standard error."""
    counts = np.array(list(pool.map(partial(kept, scenario), range(datasets), chunksize=5)))
    share = float((counts > 0).mean())
    error = math.sqrt(share * (1 - share) / datasets)
    return asdict(scenario) | {"datasets": datasets, "kept": round(share, 4), "standard_error": round(error, 4)}


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--datasets", type=int, default=400, help="of each scenario (default: 400)")
    command.add_argument("--workers", type=int, default=os.cpu_count())
    command.add_argument("--code", type=Path, help="a checkout whose autoseg is used")
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    if options.code:
        sys.path.insert(0, str(options.code.resolve()))
    with ProcessPoolExecutor(options.workers) as pool:
        result: dict[str, Any] = {}
        for name, scenarios in (("no_true_effect", NO_EFFECT), ("true_effect", EFFECT), ("rare_harm", RARE)):
            result[name] = []
            for scenario in scenarios:
                result[name].append(rate(scenario, options.datasets, pool))
                sys.stderr.write(f"{name}: {scenario.name}: kept in {result[name][-1]['kept']:.3f}\n")
    text = json.dumps({"command": "python benchmarks/postprocessing_kept.py", **result}, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
