"""Which configuration learns most in the same time on this machine: each is trained and scored on whole held-out cases.

python benchmarks/configuration.py DATA/Dataset027_ACDC DATA/Dataset038_CHAOST2SPIR --budgets 3m 8m \
    --workspace WORK -o benchmarks/results/configuration.json

For every dataset and budget the plan is made with that time, then every configuration in it is trained for the same
time: 3d_fullres, 2d and, where the plan has it, 3d_lowres. The plan's default is marked. One training at a time, short
budgets first, and the result is written after each: run the same command again and it goes on. The load of the machine
before and after every training is noted, since other programs make it slower.

Where the machine is quiet for a while only: `--paced` first plans everything and trains each configuration for a
twelfth of the time, to see its pace; see pace.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pace

from autoseg.plan import Plan, read_plan
from autoseg.planning.default import images_seen

CONFIGURATIONS = ("3d_fullres", "2d", "3d_lowres")
KEY = ("dataset", "spacing", "seconds", "fold", "configuration")
GROUPS = {"Dataset027_ACDC": r"^patient\d+"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("datasets", type=Path, nargs="+")
    arguments.add_argument("--budgets", nargs="+", default=["3m", "8m"])
    arguments.add_argument("--only", nargs="+", default=CONFIGURATIONS, help="of these configurations")
    arguments.add_argument("--spacing", help="of the finest grid, mm along z, y, x; default: the planner's")
    arguments.add_argument("--folds", type=int, nargs="+", default=[0])
    pace.add_flags(arguments)
    options = arguments.parse_args()
    result = pace.read(options.output)
    each = [(dataset, budget) for budget in options.budgets for dataset in options.datasets]
    if options.paced:
        for dataset, budget in each:
            pace.paces(workspace_of(dataset, budget, options), dataset.name, options.only, budget, options)
    for dataset, budget in each:
        for fold in options.folds:
            compare(result, dataset, budget, fold, options)
    sys.stdout.write(table(result["rows"]) + "\n")


def workspace_of(dataset: Path, budget: str, options: argparse.Namespace) -> Path:
    """Where the dataset is planned with this time and prepared."""
    parts = (dataset.name, budget, (options.spacing or "").replace(",", "-"))
    place: Path = options.workspace / "_".join(filter(None, parts))
    if not (place / "planned").exists():
        group = ["--group", GROUPS[dataset.name]] if dataset.name in GROUPS else []
        spacing = ["--spacing", options.spacing] if options.spacing else []
        asked = ("--time", budget, *group, *spacing)
        pace.autoseg("plan_and_preprocess", str(dataset), *asked, *pace.here(place, options))
        pace.hold_out(place / dataset.name / "folds.json", options.held_out)
        (place / "planned").touch()
    return place


def compare(result: dict[str, Any], dataset: Path, budget: str, fold: int, options: argparse.Namespace) -> None:
    """Adds a row for every configuration that has none yet."""
    place = workspace_of(dataset, budget, options)
    plan = read_plan(place / dataset.name / "plan.json")
    for name in (name for name in options.only if name in plan.configurations):
        known = dict(zip(KEY, (dataset.name, options.spacing, pace.seconds(budget), fold, name)))
        if pace.is_there(result, known):
            continue
        with pace.watched() as watched:
            long = pace.length(place, dataset.name, name, budget, options)
            pace.autoseg("train", dataset.name, str(fold), "-c", name, "--no-report", *long, *pace.here(place, options))
        run = place / dataset.name / "runs" / name / f"fold_{fold}"
        row = known | {"paced": options.paced} | scored(plan, name, run) | watched
        pace.add(result, row, options.output, table)


def scored(plan: Plan, name: str, run: Path) -> dict[str, Any]:
    """What was trained, and its mean Dice over cases with a 95 % interval."""
    configuration = plan.configurations[name]
    scores = json.loads((run / "validation" / "scores.json").read_text())["overall"]["dice"]
    iterations = int(pace.last_epoch(run)["iteration"])
    planned = configuration.training.epochs * configuration.training.iterations_per_epoch
    return {
        "default": name == plan.default,
        "grid": [edge and round(edge, 2) for edge in configuration.spacing],
        "patch": configuration.patch_size,
        "batch": configuration.batch_size,
        "features": configuration.network.features[0],
        "iterations": iterations,
        "images_seen": round(images_seen(configuration) * iterations / planned),
        "dice": round(scores["mean"], 4),
        "interval": [scores[end] and round(scores[end], 4) for end in ("low", "high")],  # none of two patients
        "cases": scores["cases"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in sorted(rows, key=lambda row: (row["dataset"], row["seconds"], row["fold"], -row["dice"])):
        patch = "x".join(map(str, row["patch"]))
        grid = "x".join("-" if edge is None else f"{edge:g}" for edge in row["grid"])
        lines.append(
            f"{row['dataset']:24} {row['seconds']:5.0f} s fold {row['fold']} {row['configuration']:10}"
            f"{'*' if row['default'] else ' '} {grid:14} patch {patch:10} batch {row['batch']:2} {row['iterations']:5} "
            f"steps {row['images_seen']:5} images  Dice {row['dice']:.3f} ({row['cases']} cases) load {row['load']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
