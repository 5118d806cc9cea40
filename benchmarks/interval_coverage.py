"""How often 95 % intervals hold the true mean when patients have several scans that resemble each other.

    python benchmarks/interval_coverage.py -o benchmarks/results/interval_coverage.json

Dice of a scan is 0.8 plus what its patient has (standard deviation 0.05) plus what the scan has (0.02), so that two
scans of a patient correlate with 0.86. Intervals are those of `autoseg evaluate`, with `--group` and without; tests
those of `autoseg select` for two models without a true difference, whose differences vary in the same way.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.evaluation.paired import paired
from autoseg.evaluation.scores import summarise

TRUE, OF_PATIENT, OF_SCAN = 0.8, 0.05, 0.02


def coverage(patients: int, scans: int, datasets: int) -> dict[str, Any]:
    """Shares of datasets, by patient and by case."""
    random, whose = np.random.default_rng(0), np.repeat(np.arange(patients), scans)
    named = {f"case {n}": f"patient {patient}" for n, patient in enumerate(whose)}
    held, sure = dict.fromkeys(("patient", "case"), 0), dict.fromkeys(("patient", "case"), 0)
    for seed in range(datasets):
        errors = OF_PATIENT * random.normal(size=patients)[whose] + OF_SCAN * random.normal(size=len(whose))
        cases = {key: {"organ": {"dice": TRUE + error}} for key, error in zip(named, errors)}
        for name, groups, numbers in (("patient", named, whose), ("case", None, None)):
            dice = summarise(cases, patients=groups, seed=seed).overall["dice"]
            held[name] += (dice.low or 0.0) <= TRUE <= (dice.high or 1.0)
            p = paired(TRUE + errors[:, None], np.full((len(whose), 1), TRUE), numbers, seed).p
            sure[name] += p is not None and p < 0.05
    return {
        "patients": patients,
        "scans_of_each": scans,
        "datasets": datasets,
        "standard_error_at_0.95": round(math.sqrt(0.95 * 0.05 / datasets), 4),
        "interval_holds_true_mean": {name: round(count / datasets, 4) for name, count in held.items()},
        "test_finds_a_difference_that_is_none": {name: round(count / datasets, 4) for name, count in sure.items()},
    }


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--datasets", type=int, default=400)
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    kinds = [(5, 1), (8, 1), (20, 1), (8, 4), (20, 2), (20, 4), (40, 4)]
    rows = [coverage(patients, scans, options.datasets) for patients, scans in kinds]
    text = json.dumps({"command": "python benchmarks/interval_coverage.py", "rows": rows}, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
