"""How often postprocessing is kept where it helps nobody, and how often where it does, on simulated datasets.

    python benchmarks/postprocessing_kept.py -o benchmarks/results/postprocessing_kept.json
    python benchmarks/postprocessing_kept.py --code FORMER_CHECKOUT     # the same datasets, other code

A case is a body of each label, as the reference has it. Some predictions have a piece beside a body, or a hole in it,
of random size. With the probability `wrong` the reference lacks it and removing (filling) it gains Dice, otherwise the
reference has it as well and removing it costs exactly as much. So at `wrong` 0.5 no correction has a true effect, and
above it those of pieces, or of holes, have one. Cases of one patient are alike: they have the same pieces, and the
reference says the same of them.

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

SHAPE = (14, 32)  # slices of one label; labels lie one behind the other
VOXEL = (1.0, 2.0, 2.0)  # mm: pieces of 1 to 12 voxels lie around the thresholds 10 and 30 mm3


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
    Scenario("60 cases, five labels", 60, labels=5),
    Scenario("20 patients of 4 scans, one label", 20, scans=4),
)
EFFECT = (
    Scenario("10 cases, every piece wrong", 10, spoilt=0.9, wrong=1.0),
    Scenario("20 cases, one fold, nine of ten pieces wrong", 20, folds=1, spoilt=0.7, wrong=0.9),
    Scenario("40 cases, nine of ten pieces wrong", 40, wrong=0.9),
    Scenario("40 cases, three labels, nine of ten pieces of one wrong", 40, labels=3, wrong=0.9),
    Scenario("60 cases, five labels, nine of ten pieces of one wrong", 60, labels=5, wrong=0.9),
    Scenario("40 cases, a quarter of which have a piece, every one wrong", 40, spoilt=0.25, wrong=1.0),
)
RARE = (Scenario("40 cases, rare large harm", 40, spoilt=0.7, wrong=0.95, rare=True),)


def dataset(scenario: Scenario, seed: int) -> tuple[list[tuple[np.ndarray, np.ndarray, int, str]], int]:
    """Prediction, reference, fold and patient of every case, and the number of labels."""
    random = np.random.default_rng(seed)
    cases = []
    for patient in range(scenario.patients):
        pair = np.zeros((2, scenario.labels, *SHAPE), np.uint8)  # prediction, reference
        for number in range(scenario.labels):
            draw(pair[:, number], number + 1, scenario, random)
        for _ in range(scenario.scans):
            cases.append((pair[0], pair[1], patient % scenario.folds, f"patient {patient}"))
    return cases, scenario.labels


def draw(pair: np.ndarray, label: int, scenario: Scenario, random: np.random.Generator) -> None:
    """A body in prediction and reference (2, y, x), and what may be wrong."""
    spoilt, wrong = random.random() < scenario.spoilt, random.random() < (scenario.wrong if label == 1 else 0.5)
    if scenario.rare and spoilt and not wrong:
        pair[:, 2:4, 2:5] = label
    else:
        pair[:, 2:12, 2:14] = label
    if spoilt:
        size = 1 if scenario.rare else int(random.integers(1, 13))
        piece = np.zeros(SHAPE, bool)
        piece[2 : 2 + math.ceil(size / 6), 18:24] = True
        piece.reshape(-1)[np.flatnonzero(piece)[size:]] = False
        pair[0][piece] = label
        if not wrong:
            pair[1][piece] = label
    if random.random() < scenario.spoilt and not scenario.rare:
        length = int(random.integers(1, 9))
        pair[0, 6, 4 : 4 + length] = 0
        if random.random() < 0.5:
            pair[1, 6, 4 : 4 + length] = 0


def kept(scenario: Scenario, seed: int) -> int:
    """How many corrections `autoseg select` would keep."""
    from autoseg.core.geometry import Geometry
    from autoseg.core.labels import ExclusiveLabels
    from autoseg.evaluation.learn import Held, learn

    logging.disable()
    cases, count = dataset(scenario, seed)
    labels = ExclusiveLabels({"background": 0} | {f"label {n}": n for n in range(1, count + 1)})
    geometry = Geometry.plain((count, *SHAPE), VOXEL)
    named = Held.__init__.__code__.co_varnames[: Held.__init__.__code__.co_argcount]
    held = []
    for prediction, reference, fold, patient in cases:
        patients = {"patient": patient} if "patient" in named else {}
        held.append(Held(prediction, labels.encode(reference), geometry, fold, **patients))
    found: Any = learn(held, labels)[0]
    return len(found) if isinstance(found, tuple) else len(found.corrections)


def rate(scenario: Scenario, datasets: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """The share of datasets in which anything is kept, with its standard error."""
    counts = np.array(list(pool.map(partial(kept, scenario), range(datasets), chunksize=5)))
    share = float((counts > 0).mean())
    error = math.sqrt(share * (1 - share) / datasets)
    return asdict(scenario) | {"datasets": datasets, "kept": round(share, 4), "standard_error": round(error, 4)}


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument(
        "--datasets", type=int, default=200, help="of a scenario of one label (default: 200; fewer of several)"
    )
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
                result[name].append(rate(scenario, options.datasets // scenario.labels, pool))
                sys.stderr.write(f"{name}: {scenario.name}: kept in {result[name][-1]['kept']:.3f}\n")
    text = json.dumps({"command": "python benchmarks/postprocessing_kept.py", **result}, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
