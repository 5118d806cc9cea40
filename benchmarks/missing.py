"""What a model loses when a channel is missing at prediction, trained with modality dropout and without.

python benchmarks/missing.py DATA/Dataset002_BraTS13FlairT1c DATA/Dataset052_MSVentWMH --time 15m \
    --workspace WORK -o benchmarks/results/missing.json

Every dataset is planned once, with --missing-channels. One fold is then trained twice for the same time: with the
plan's dropout, the network being told which channels are there, and without either, everything else being equal. Every
subset of the channels is validated on whole held-out cases. One training at a time; the result is written after each:
run the same command again and it goes on. The load of the machine before and after every training is noted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from autoseg.core.machine import cores, processor
from autoseg.core.missing import subset_name
from autoseg.core.records import read_json
from autoseg.evaluation.scores import Summary
from autoseg.plan import read_plan

KEY = ("dataset", "time", "fold", "configuration", "dropout")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("datasets", type=Path, nargs="+")
    arguments.add_argument("--time", default="15m", help="of one training")
    arguments.add_argument("--configuration", help="default: the plan's")
    arguments.add_argument("--fold", default="0")
    arguments.add_argument("--threads", type=int, default=cores())
    arguments.add_argument("--workspace", type=Path, required=True)
    arguments.add_argument("-o", "--output", type=Path, required=True)
    options = arguments.parse_args()
    machine = f"{cores()} cores, {processor()}"
    result = json.loads(options.output.read_text()) if options.output.exists() else {"machine": machine, "rows": []}
    for dataset in options.datasets:
        compare(result, dataset, options)
    sys.stdout.write(table(result["rows"]) + "\n")


def compare(result: dict[str, Any], dataset: Path, options: argparse.Namespace) -> None:
    """Adds the rows that are not there."""
    threads, root = ["--threads", str(options.threads)], options.workspace / f"{dataset.name}_{options.time}"
    if not (root / "planned").exists():
        wish = ["--missing-channels", "--time", options.time, "--workspace", str(root / "plan")]
        autoseg("plan_and_preprocess", str(dataset), *wish, *threads)
        (root / "planned").touch()
    for dropout in (True, False):
        place = root / ("with" if dropout else "without")  # a workspace each, so that one fold can be trained twice
        if not (place / "copied").exists():
            shutil.copytree(root / "plan", place, dirs_exist_ok=True)
            (place / "copied").touch()
        files, here = place / dataset.name, ["--workspace", str(place), *threads]
        plan = read_plan(files / "plan.json")
        name, _ = plan.configuration(options.configuration)
        known = dict(zip(KEY, (dataset.name, options.time, options.fold, name, dropout)))
        if any(all(row[field] == value for field, value in known.items()) for row in result["rows"]):
            continue
        load, start = os.getloadavg()[0], time.monotonic()
        off = [] if dropout else ["--set", "missing.uniform=0", "--set", "inputs=[]", *rates(plan.channels)]
        autoseg("train", dataset.name, options.fold, "-c", name, "--time", options.time, *off, *here)
        run = files / "runs" / name / f"fold_{options.fold}"
        row = known | {"channels": plan.channels} | scored(run)
        row |= {"wall": round(time.monotonic() - start), "load": [round(load, 2), round(os.getloadavg()[0], 2)]}
        result["rows"].append(row)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n")
        sys.stdout.write(table([row]) + "\n")
        sys.stdout.flush()


def rates(channels: tuple[str, ...]) -> list[str]:
    return [word for name in channels for word in ("--set", f"missing.rates.{name}=0")]


def scored(run: Path) -> dict[str, Any]:
    """Mean Dice over cases and labels of every subset of the channels, with a 95 % interval."""
    summary = read_json(run / "validation" / "scores.json", Summary)
    with (run / "metrics.csv").open(newline="") as file:
        iterations = int(float([*csv.DictReader(file)][-1]["iteration"]))

    def dice(found: Summary) -> dict[str, Any]:
        estimate = found.overall["dice"]
        return {"dice": estimate.mean, "low": estimate.low, "high": estimate.high, "cases": estimate.cases}

    return {"iterations": iterations, "subsets": {name: dice(found) for name, found in summary.subsets.items()}}


def autoseg(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *words], check=True, stdout=subprocess.DEVNULL)


def table(rows: list[dict[str, Any]]) -> str:
    """A row per training: Dice with all channels, and with each withheld."""
    lines = []
    for row in sorted(rows, key=lambda row: (row["dataset"], not row["dropout"])):
        channels = row["channels"]
        shown = {"all": row["subsets"][subset_name(channels)]}
        shown |= {f"without {name}": row["subsets"][subset_name(channels, (n,))] for n, name in enumerate(channels)}
        dice = "  ".join(
            f"{name} {'-' if cell['dice'] is None else format(cell['dice'], '.3f')}" for name, cell in shown.items()
        )
        how = "dropout   " if row["dropout"] else "no dropout"
        lines.append(
            f"{row['dataset']:24} {row['time']:>5} {row['configuration']:12} {how} {row['iterations']:6} steps  {dice}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
