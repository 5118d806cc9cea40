"""Whether a training that begins with another model's weights needs fewer steps for the same Dice.

python benchmarks/fine_tuning.py DATA/Dataset038_CHAOST2SPIR DATA/Dataset027_ACDC --time 8m --configuration 2d \
    --workspace WORK -o benchmarks/results/fine_tuning.json

The first dataset is planned and trained on all of its cases. The second is planned like that model (`--from`); then its
fold is trained from random weights and from the model's, each for the whole time and for shares of it, everything else
being equal, and scored on whole held-out cases. ``--encoder-rates`` tries slower encoders, too. One training at a time,
short ones first; the result is written after each: run the same command again and it goes on. `--paced` is for a
machine that is quiet for a while only: see pace.py.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import pace

from autoseg.core.records import read_json
from autoseg.evaluation.scores import Summary
from autoseg.plan import read_plan

KEY = ("source", "dataset", "time", "share", "fold", "configuration", "encoder_rate")
GROUPS = {"Dataset027_ACDC": r"^patient\d+"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("source", type=Path, help="dataset that the model learns first")
    arguments.add_argument("dataset", type=Path)
    arguments.add_argument("--time", default="8m", help="of the longest trainings, and that of the model")
    arguments.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0], help="of that time")
    arguments.add_argument("--configuration", default="2d")
    arguments.add_argument("--encoder-rates", type=float, nargs="+", default=[1.0])
    arguments.add_argument("--folds", type=int, nargs="+", default=[0])
    pace.add_flags(arguments)
    options = arguments.parse_args()
    result = pace.read(options.output)
    place = prepared(options)
    if options.paced:
        pace.paces(place, options.dataset.name, [options.configuration], options.time, options)
    for fold in options.folds:
        for share in sorted(options.shares):
            for rate in (None, *options.encoder_rates):
                add(result, place, fold, share, rate, options)
    sys.stdout.write(table(result["rows"]) + "\n")


def model_of(place: Path, options: argparse.Namespace) -> Path:
    return place / options.source.name / "runs" / options.configuration


def prepared(options: argparse.Namespace) -> Path:
    """The workspace in which the model is trained, and the other dataset planned like it."""
    name = f"{options.source.name}_{options.dataset.name}_{options.time}_{options.configuration}"
    place: Path = options.workspace / name
    if (place / "planned").exists():
        return place
    here, source = pace.here(place, options), options.source.name
    wish = ("--time", options.time, "-c", options.configuration)
    pace.autoseg("plan_and_preprocess", str(options.source), *wish, *here)
    if options.paced:
        pace.paces(place, source, [options.configuration], options.time, options)
    long = pace.length(place, source, options.configuration, options.time, options)
    pace.autoseg("train", source, "all", "-c", options.configuration, "--no-report", *long, *here)
    group = ["--group", GROUPS[options.dataset.name]] if options.dataset.name in GROUPS else []
    like = ("--from", str(model_of(place, options)))
    pace.autoseg("plan_and_preprocess", str(options.dataset), *like, *group, *here)
    pace.hold_out(place / options.dataset.name / "folds.json", options.held_out)
    (place / "paces.json").unlink(missing_ok=True)  # that of the source's; the other's is measured anew
    (place / "planned").touch()
    return place


def add(
    result: dict[str, Any], place: Path, fold: int, share: float, rate: float | None, options: argparse.Namespace
) -> None:
    """The row of one training, unless it is there."""
    words = (options.source.name, options.dataset.name, options.time, share, fold, options.configuration, rate)
    known = dict(zip(KEY, words)) | {"paced": options.paced}
    if pace.is_there(result, known):
        return
    run = place / options.dataset.name / "runs" / options.configuration / f"fold_{fold}"
    shutil.rmtree(run, ignore_errors=True)  # of another row, or one that was stopped: folds have one place
    begin = [] if rate is None else ["--init", str(model_of(place, options)), "--encoder-rate", str(rate)]
    with pace.watched() as watched:
        long = pace.length(place, options.dataset.name, options.configuration, options.time, options, share)
        asked = ("-c", options.configuration, "--no-report", *begin, *long, *pace.here(place, options))
        pace.autoseg("train", options.dataset.name, str(fold), *asked)
    pace.add(result, known | scored(run) | watched, options.output, table)


def scored(run: Path) -> dict[str, Any]:
    summary, begun = read_json(run / "validation" / "scores.json", Summary), read_plan(run / "plan.json")
    dice, initial = summary.overall["dice"], begun.configuration()[1].initial
    return {
        "iterations": int(pace.last_epoch(run)["iteration"]),
        "fresh": None if initial is None else list(initial.fresh),
        "dice": dice.mean,
        "interval": [dice.low, dice.high],
        "cases": dice.cases,
        "labels": {label: found["dice"].mean for label, found in summary.labels.items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in sorted(rows, key=lambda row: (row["dataset"], row["fold"], row["share"], row["encoder_rate"] or -1)):
        begun = "at random" if row["encoder_rate"] is None else f"{row['source']}, encoder at {row['encoder_rate']:g}"
        lines.append(
            f"{row['dataset']:18} fold {row['fold']} {row['configuration']} {row['share']:g} of {row['time']}, "
            f"{row['iterations']:5} steps, begun {begun:40} Dice {row['dice']:.3f} "
            f"({pace.interval(row['interval'])}, {row['cases']} cases)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
