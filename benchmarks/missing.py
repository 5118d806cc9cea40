"""What a model loses when a channel is missing at prediction, trained with modality dropout and without.

python benchmarks/missing.py DATA/Dataset002_BraTS13FlairT1c DATA/Dataset052_MSVentWMH --time 15m \
    --workspace WORK -o benchmarks/results/missing.json

Every dataset is planned once, with --missing-channels. Every fold is then trained twice for the same time: with the
plan's dropout, the network being told which channels are there, and without either, everything else being equal. Every
subset of the channels is validated on whole held-out cases. One training at a time; the result is written after each:
run the same command again and it goes on. The load of the machine before and after every training is noted. `--paced`
is for a machine that is quiet for a while only: see pace.py.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import pace

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
    arguments.add_argument("--folds", type=int, nargs="+", default=[0])
    pace.add_flags(arguments)
    options = arguments.parse_args()
    result = pace.read(options.output)
    if options.paced:
        for dataset in options.datasets:
            root = workspace_of(dataset, options)
            name, _ = read_plan(root / "plan" / dataset.name / "plan.json").configuration(options.configuration)
            pace.paces(root / "plan", dataset.name, [name], options.time, options)
    for dataset in options.datasets:
        for fold in options.folds:
            compare(result, dataset, fold, options)
    sys.stdout.write(table(result["rows"]) + "\n")


def workspace_of(dataset: Path, options: argparse.Namespace) -> Path:
    """Where the dataset is planned and prepared, in ``plan``, and both trainings have a workspace."""
    root: Path = options.workspace / f"{dataset.name}_{options.time}"
    if not (root / "planned").exists():
        wish = ["--missing-channels", "--time", options.time]
        pace.autoseg("plan_and_preprocess", str(dataset), *wish, *pace.here(root / "plan", options))
        pace.hold_out(root / "plan" / dataset.name / "folds.json", options.held_out)
        (root / "planned").touch()
    return root


def compare(result: dict[str, Any], dataset: Path, fold: int, options: argparse.Namespace) -> None:
    """Adds the rows that are not there."""
    root = workspace_of(dataset, options)
    for dropout in (True, False):
        place = root / ("with" if dropout else "without")  # a workspace each, so that a fold can be trained twice
        if not (place / "copied").exists():
            shutil.copytree(root / "plan", place, dirs_exist_ok=True)
            (place / "copied").touch()
        files = place / dataset.name
        plan = read_plan(files / "plan.json")
        name, _ = plan.configuration(options.configuration)
        known = dict(zip(KEY, (dataset.name, options.time, fold, name, dropout)))
        if pace.is_there(result, known):
            continue
        off = [] if dropout else ["--set", "missing.uniform=0", "--set", "inputs=[]", *rates(plan.channels)]
        with pace.watched() as watched:
            long = pace.length(root / "plan", dataset.name, name, options.time, options)
            pace.autoseg(
                "train", dataset.name, str(fold), "-c", name, "--no-report", *long, *off, *pace.here(place, options)
            )
        row = known | {"channels": plan.channels, "paced": options.paced}
        row |= scored(files / "runs" / name / f"fold_{fold}") | watched
        pace.add(result, row, options.output, table)


def rates(channels: tuple[str, ...]) -> list[str]:
    return [word for name in channels for word in ("--set", f"missing.rates.{name}=0")]


def scored(run: Path) -> dict[str, Any]:
    """Mean Dice over cases and labels of every subset of the channels, with a 95 % interval."""
    summary = read_json(run / "validation" / "scores.json", Summary)
    iterations = int(pace.last_epoch(run)["iteration"])

    def dice(found: Summary) -> dict[str, Any]:
        estimate = found.overall["dice"]
        return {"dice": estimate.mean, "low": estimate.low, "high": estimate.high, "cases": estimate.cases}

    return {"iterations": iterations, "subsets": {name: dice(found) for name, found in summary.subsets.items()}}


def table(rows: list[dict[str, Any]]) -> str:
    """A row per training: Dice with all channels, and with each withheld."""
    lines = []
    for row in sorted(rows, key=lambda row: (row["dataset"], row["fold"], not row["dropout"])):
        channels = row["channels"]
        shown = {"all": row["subsets"][subset_name(channels)]}
        shown |= {f"without {name}": row["subsets"][subset_name(channels, (n,))] for n, name in enumerate(channels)}
        dice = "  ".join(
            f"{name} {'-' if cell['dice'] is None else format(cell['dice'], '.3f')}" for name, cell in shown.items()
        )
        how = "dropout   " if row["dropout"] else "no dropout"
        where = f"{row['dataset']:24} {row['time']:>5} fold {row['fold']} {row['configuration']:12}"
        lines.append(f"{where} {how} {row['iterations']:6} steps  {dice}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
