"""Whether a change of the recipe may become a default: folds of the same datasets, trained with it and without it.

    python benchmarks/judge.py BEFORE AFTER Dataset004_Hippocampus Dataset027_ACDC -c 3d_fullres -o results/NAME.json

BEFORE and AFTER are workspaces. Every validation case that both have scored is compared, paired, and patients are
resampled where `folds.json` names them. The change may become a default if at least three folds of each of at least two
datasets were compared, one dataset is surely better and none is surely worse. Cases of one fold share a network, whose
luck no interval over patients sees: the difference is therefore told by fold, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.core.records import read_json, to_json
from autoseg.evaluation.counts import overall
from autoseg.evaluation.paired import Paired, paired
from autoseg.evaluation.resampling import patient_numbers
from autoseg.evaluation.scores import Summary
from autoseg.workspace import DatasetFolder, Workspace

LEAST_FOLDS, LEAST_DATASETS = 3, 2


def table(summary: Summary) -> np.ndarray:
    """Dice (cases, labels), NaN where a label has none."""
    rows = [[row["dice"] for row in case.values()] for case in summary.cases.values()]
    return np.array([[np.nan if value is None else value for value in row] for row in rows])


def scores_of(files: DatasetFolder, configuration: str) -> dict[str, Summary]:
    """By fold."""
    found = sorted(files.runs(configuration).glob("fold_*/validation/scores.json"))
    return {path.parents[1].name: read_json(path, Summary) for path in found}


def compared(before: DatasetFolder, after: DatasetFolder, configuration: str) -> dict[str, Any]:
    """One dataset, on the folds that both have."""
    one, other = scores_of(before, configuration), scores_of(after, configuration)
    folds = [fold for fold in one if fold in other]
    for fold in folds:
        if list(one[fold].cases) != list(other[fold].cases):
            raise SystemExit(f"{before.root.name} {fold} validates on other cases in {before.root} and {after.root}")
    if not folds:
        raise SystemExit(f"no fold of {configuration} is validated both in {before.root} and in {after.root}")
    first, second = (np.concatenate([table(each[fold]) for fold in folds]) for each in (one, other))
    keys = [key for fold in folds for key in one[fold].cases]
    patients = before.read_folds().patients
    return {
        "folds": {fold: round(float(overall(table(other[fold])) - overall(table(one[fold]))), 4) for fold in folds},
        "patients": len(set(patient_numbers(keys, patients).tolist())),
        "dice_before": round(float(overall(first)), 4),
        "dice_after": round(float(overall(second)), 4),
        "after_minus_before": paired(second, first, patient_numbers(keys, patients)),
    }


def verdict(datasets: dict[str, dict[str, Any]]) -> str:
    """What the rule says."""
    if len(datasets) < LEAST_DATASETS or any(len(found["folds"]) < LEAST_FOLDS for found in datasets.values()):
        return f"not judged: it takes {LEAST_FOLDS} folds of each of {LEAST_DATASETS} datasets"
    differences: dict[str, Paired] = {name: found["after_minus_before"] for name, found in datasets.items()}
    if worse := [name for name, each in differences.items() if (each.difference.high or 0.0) < 0]:
        return f"no: worse on {', '.join(worse)}"
    better = [name for name, each in differences.items() if each.surely_better()]
    return f"yes: better on {', '.join(better)}, worse on none" if better else "no: better on none"


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("before", type=Path)
    command.add_argument("after", type=Path)
    command.add_argument("datasets", nargs="+")
    command.add_argument("-c", "--configuration", default="3d_fullres")
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    workspaces = Workspace(options.before), Workspace(options.after)
    found = {
        name: compared(*(workspace.dataset_folder(name) for workspace in workspaces), options.configuration)
        for name in options.datasets
    }
    result = {
        "command": f"python benchmarks/judge.py BEFORE AFTER {' '.join(options.datasets)} -c {options.configuration}",
        "datasets": to_json(found),
        "may_become_a_default": verdict(found),
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
