"""How well the Dice of a prediction is told without a reference, on finished cross-validations.

    python benchmarks/predicted_quality.py RUNS... -o results/predicted_quality.json

RUNS is the folder of a configuration, runs/<configuration>, whose folds were trained and validated with
``quality.csv`` beside ``scores.csv``. For every label: r and mean absolute error of the predicted Dice, each patient's
from a line that was learned without them; the same of the mean of all other patients, which asks no agreement at all;
and the area under risk against coverage, ordered by agreement, by chance and by the Dice itself (the least there can
be).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from autoseg.evaluation.predicted_dice import FEWEST_CASES, FEWEST_PATIENTS, Seen, held_out, risk_coverage
from autoseg.pipeline.model_quality import seen_in
from autoseg.run_folder import folds_in


def measure(seen: list[Seen]) -> dict[str, object]:
    """Of one label."""
    dice = np.array([each.dice for each in seen])
    found = held_out(seen)
    without = np.array([np.mean([one.dice for one in seen if one.patient != each.patient]) for each in seen])
    agreement = [each.agreement for each in seen]
    vary = found.std() > 0 and dice.std() > 0
    return {
        "cases": len(seen),
        "patients": len({each.patient for each in seen}),
        "dice": round(float(dice.mean()), 4),
        "r": round(float(np.corrcoef(found, dice)[0, 1]), 4) if vary else None,
        "mean_absolute_error": round(float(np.abs(found - dice).mean()), 4),
        "mean_absolute_error_of_the_mean": round(float(np.abs(without - dice).mean()), 4),
        "risk_coverage_area": round(risk_coverage(agreement, dice).area, 4),
        "risk_coverage_area_by_chance": round(float(1 - dice.mean()), 4),
        "risk_coverage_area_at_best": round(risk_coverage(dice, dice).area, 4),
    }


def of_runs(folder: Path) -> dict[str, dict[str, object]]:
    """Label to what was measured; labels with too few cases are left out."""
    seen = [each for run in folds_in(folder) for each in seen_in(run)]
    found = {}
    for label in dict.fromkeys(each.label for each in seen):
        of_label = [each for each in seen if each.label == label]
        if len(of_label) >= FEWEST_CASES and len({each.patient for each in of_label}) >= FEWEST_PATIENTS:
            found[label] = measure(of_label)
    return found


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("runs", nargs="+", type=Path)
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    result = {
        "command": "python benchmarks/predicted_quality.py "
        + " ".join(f"{folder.parts[-3]}/runs/{folder.name}" for folder in map(Path.resolve, options.runs)),
        "runs": {f"{folder.parts[-3]} {folder.name}": of_runs(folder) for folder in map(Path.resolve, options.runs)},
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    columns = ("cases", "dice", "r", "mean_absolute_error", "risk_coverage_area", "risk_coverage_area_by_chance")
    lines = ["\t".join(("run", "label", *columns))]
    for name, labels in result["runs"].items():
        lines += ["\t".join([name, label, *(str(row[each]) for each in columns)]) for label, row in labels.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
