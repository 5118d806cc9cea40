"""Which fusion of modalities learns most in the same time: each is planned, trained and scored on held-out cases.

python benchmarks/fusion.py DATA/Dataset002_BraTS13FlairT1c DATA/Dataset047_OpenMSLesionMNI --time 20m \
    --workspace WORK -o benchmarks/results/fusion.json

Fusion at the input is planned as ``--network plain_unet``, whose sizes those of fusion in the middle are. One training
at a time, and the result is written after each: run the same command again and it goes on. The load of the machine
before and after every training is noted, since other programs make it slower.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from autoseg.core.fusion import INPUT, LEVELS, MIDDLE
from autoseg.core.machine import cores, processor
from autoseg.plan import read_plan

KEY = ("dataset", "configuration", "fusion", "groups", "time", "fold")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("datasets", type=Path, nargs="+")
    arguments.add_argument("--time", default="20m", help="of each training")
    arguments.add_argument("--fusions", nargs="+", choices=LEVELS, default=[one for one in LEVELS if one != MIDDLE])
    arguments.add_argument("--groups", help="channels that share an encoder; default: one encoder per channel")
    arguments.add_argument("--configuration", default="3d_fullres")
    arguments.add_argument("--folds", type=int, nargs="+", default=[0])
    arguments.add_argument("--group", help="regular expression that names the patient in a case name")
    arguments.add_argument("--threads", type=int, default=cores())
    arguments.add_argument("--workspace", type=Path, required=True)
    arguments.add_argument("-o", "--output", type=Path, required=True)
    options = arguments.parse_args()
    start = {"machine": f"{cores()} cores, {processor()}", "rows": []}
    result = json.loads(options.output.read_text()) if options.output.exists() else start
    for dataset in options.datasets:
        for fold in options.folds:
            for fusion in options.fusions:
                known = dict(zip(KEY, (*what(dataset, fusion, options), fold)))
                if any(all(row[field] == value for field, value in known.items()) for row in result["rows"]):
                    continue
                result["rows"].append(known | trained(dataset, fusion, fold, options))
                options.output.write_text(json.dumps(result, indent=1) + "\n")
                sys.stdout.write(table(result["rows"][-1:]) + "\n")
                sys.stdout.flush()
    sys.stdout.write(table(result["rows"]) + "\n")


def what(dataset: Path, fusion: str, options: argparse.Namespace) -> tuple[str | None, ...]:
    groups = None if fusion == INPUT else options.groups
    return dataset.name, options.configuration, fusion, groups, options.time


def trained(dataset: Path, fusion: str, fold: int, options: argparse.Namespace) -> dict[str, Any]:
    """Plans and prepares, unless that was done, trains, and gives the scores of the fold."""
    place = options.workspace / "_".join(
        "".join(letter if letter.isalnum() else "-" for letter in word or "") for word in what(dataset, fusion, options)
    )
    here = ["--workspace", str(place), "--threads", str(options.threads)]
    if not (place / "planned").exists():
        network = ["--network", "plain_unet"] if fusion == INPUT else ["--fusion", fusion]
        network += ["--groups", options.groups] if options.groups and fusion != INPUT else []
        group = ["--group", options.group] if options.group else []
        wanted = ["-c", options.configuration, "--time", options.time]
        autoseg("plan_and_preprocess", str(dataset), *wanted, *network, *group, *here)
        (place / "planned").touch()
    load, start = os.getloadavg()[0], time.monotonic()
    autoseg("train", dataset.name, str(fold), "-c", options.configuration, "--time", options.time, *here)
    files = place / dataset.name
    row = scored(files / "plan.json", options.configuration, files / "runs" / options.configuration / f"fold_{fold}")
    return row | {"wall": round(time.monotonic() - start), "load": [round(load, 2), round(os.getloadavg()[0], 2)]}


def scored(plan: Path, name: str, run: Path) -> dict[str, Any]:
    """What was trained, and its mean Dice over cases with a 95 % interval, of all labels and of each."""
    configuration, scores = (
        read_plan(plan).configurations[name],
        json.loads((run / "validation/scores.json").read_text()),
    )
    with (run / "metrics.csv").open(newline="") as file:
        iterations = int(float([*csv.DictReader(file)][-1]["iteration"]))
    dice, labels = scores["overall"]["dice"], scores["labels"]
    cost = configuration.cost
    return {
        "patch": configuration.patch_size,
        "batch": configuration.batch_size,
        "features": configuration.network.features[0],
        "seconds_per_step": cost and cost.seconds,
        "iterations": iterations,
        "dice": round(dice["mean"], 4),
        "interval": [dice[end] and round(dice[end], 4) for end in ("low", "high")],  # of one case there is none
        "cases": dice["cases"],
        "labels": {label: round(of["dice"]["mean"], 4) for label, of in labels.items()},
    }


def autoseg(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *words], check=True, stdout=subprocess.DEVNULL)


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in sorted(
        rows, key=lambda row: (row["dataset"], row["configuration"], row["time"], row["fold"], -row["dice"])
    ):
        patch, ends = "x".join(map(str, row["patch"])), row["interval"]
        interval = "no interval" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"
        lines.append(
            f"{row['dataset']:26} {row['configuration']:10} {row['time']:>4} fold {row['fold']} {row['fusion']:20} "
            f"patch {patch:11} batch {row['batch']:2} {row['iterations']:5} steps  Dice {row['dice']:.3f} "
            f"({interval}, {row['cases']} cases) load {row['load']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
