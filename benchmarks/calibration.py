"""Whether probabilities mean what they say, on finished cross-validations.

    python benchmarks/calibration.py RUNS... -o results/calibration.json

RUNS is the folder of a configuration, runs/<configuration>, whose folds were trained and validated. For every label,
as on the page of `autoseg report` (``autoseg/evaluation/calibration.py``): expected calibration error in 15 bins over
all voxels, over those in which the label has more than 1/15, and by how much probabilities are too high there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from autoseg.core.records import read_json
from autoseg.evaluation.calibration import Bins, Calibration, expected_error, overconfidence, pooled
from autoseg.run_folder import folds_in

COLUMNS = ("cases", "voxels", "ece", "voxels_above_the_lowest_bin", "ece_above", "overconfidence_above")


def measure(bins: Bins, cases: int) -> dict[str, object]:
    """Of one label, over all cases together."""
    figures = expected_error(bins), expected_error(bins, 1), overconfidence(bins, 1)
    whole, above, over = (None if each is None else round(each, 6) for each in figures)
    return dict(zip(COLUMNS, (cases, sum(bins.voxels), whole, sum(bins.voxels[1:]), above, over)))


def of_runs(folder: Path) -> dict[str, dict[str, object]]:
    """Label to what was measured."""
    paths = [run.calibration for run in folds_in(folder) if run.calibration.exists()]
    cases = [case for path in paths for case in read_json(path, Calibration).cases.values()]
    if not cases:
        sys.exit(f"{folder}: no fold has a calibration.json; `autoseg train` validates and writes it")
    labels = dict.fromkeys(label for case in cases for label in case)
    counted = {label: [case[label] for case in cases if label in case] for label in labels}
    return {label: measure(pooled(of_label), len(of_label)) for label, of_label in counted.items()}


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("runs", nargs="+", type=Path)
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    folders = [folder.resolve() for folder in options.runs]
    result = {
        "command": "python benchmarks/calibration.py "
        + " ".join(f"{folder.parts[-3]}/runs/{folder.name}" for folder in folders),
        "runs": {f"{folder.parts[-3]} {folder.name}": of_runs(folder) for folder in folders},
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["\t".join(("run", "label", *COLUMNS))]
    for name, labels in result["runs"].items():
        lines += ["\t".join([name, label, *(str(row[each]) for each in COLUMNS)]) for label, row in labels.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
