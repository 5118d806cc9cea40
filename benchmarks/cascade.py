"""What the second stage of a cascade adds: Dice of whole validation volumes after each stage, on the same cases.

python benchmarks/cascade.py DATASET_FOLDER --planner tiny --epochs 16 --group PATTERN

Trains one fold of 3d_cascade_fullres, and before it whatever that needs, then 3d_fullres of the same length beside
them. With --workspace a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STAGES = ("3d_lowres", "3d_cascade_fullres", "3d_fullres")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset", type=Path, help="a dataset whose plan has a cascade")
    arguments.add_argument("--planner", default="tiny")
    arguments.add_argument("--epochs", default="16")
    arguments.add_argument("--group", help="pattern that names the patient in a case name")
    arguments.add_argument("--fold", default="0")
    arguments.add_argument("--threads", default=str(os.cpu_count()))
    arguments.add_argument("--workspace", type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace or Path(scratch)
        group = ["--group", options.group] if options.group else []
        autoseg(workspace, "plan_and_preprocess", str(options.dataset), "--planner", options.planner, *group)
        for name in STAGES[1:]:
            how = ("--epochs", options.epochs, "--threads", options.threads)
            autoseg(workspace, "train", options.dataset.name, options.fold, "-c", name, *how)
        runs = workspace / options.dataset.name / "runs"
        scores = {name: read(runs / name / f"fold_{options.fold}" / "validation" / "scores.json") for name in STAGES}
    before, after = (case_means(scores[name]) for name in STAGES[:2])
    gains = [after[key] - before[key] for key in before]
    result = {
        "threads": int(options.threads),
        "validation_cases": len(gains),
        "dice": {name: labels(record) for name, record in scores.items()},
        "cascade_minus_lowres_mean": round(statistics.mean(gains), 4),
        "cases_better": sum(gain > 0 for gain in gains),
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def autoseg(workspace: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *words, "--workspace", str(workspace)], check=True)


def read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def case_means(scores: dict[str, Any]) -> dict[str, float]:
    """Mean Dice over the labels of each case."""
    found = {
        key: [row["dice"] for row in rows.values() if row["dice"] is not None] for key, rows in scores["cases"].items()
    }
    return {key: statistics.mean(dice) for key, dice in found.items()}


def labels(scores: dict[str, Any]) -> dict[str, float]:
    """Mean Dice over the cases of each label, and over all."""
    means = {name: round(row["dice"]["mean"], 4) for name, row in scores["labels"].items()}
    return means | {"mean": round(scores["overall"]["dice"]["mean"], 4)}


if __name__ == "__main__":
    main()
