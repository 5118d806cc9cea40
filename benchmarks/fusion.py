"""Which fusion of modalities learns most in the same time: each is planned, trained and scored on held-out cases.

python benchmarks/fusion.py DATA/Dataset002_BraTS13FlairT1c DATA/Dataset047_OpenMSLesionMNI --time 20m \
    --workspace WORK -o benchmarks/results/fusion.json

One plan per dataset holds the default configuration with fusion at the input and in the middle, and one for each
modality alone. Each is trained for the same time on every fold, and `select` scores it on all held-out cases. Fusion at
the decision has that time for its networks together: they are trained in a copy of the workspace, each for its share,
and `select` combines them. Last, `select` says what fusion at the input and in the middle reach together; this has
twice as long, or longer.

Fusion at the input is planned as ``--network plain_unet``, whose sizes those of fusion in the middle are. One training
at a time, and the result is written after each row: run the same command again and it goes on. The load of the machine
before and after is noted, since other programs make it slower.

Where the machine is quiet for a while only: `--paced` first plans everything and trains each configuration for a
twelfth of the time, to see its pace; see pace.py.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import pace

from autoseg.configuration import Configuration
from autoseg.core.fusion import DECISION, INPUT, LEVELS, MIDDLE, UNPAIRED
from autoseg.core.records import read_json
from autoseg.evaluation.selection import Selection
from autoseg.plan import Plan, read_plan

KEY = ("dataset", "fusions", "groups", "time", "folds", "what")
TOGETHER = "together"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("datasets", type=Path, nargs="+")
    arguments.add_argument("--time", default="20m", help="of each training")
    arguments.add_argument(
        "--fusions",
        nargs="+",
        choices=[level for level in LEVELS if level not in (INPUT, UNPAIRED)],
        default=[f"{MIDDLE}:attention", MIDDLE, DECISION],
        help="beside input (default: %(default)s)",
    )
    arguments.add_argument(
        "--groups", help="channels that share an encoder or a network; default: one for each channel"
    )
    arguments.add_argument("--folds", type=int, nargs="+", default=[0])
    arguments.add_argument("--group", help="regular expression that names the patient in a case name")
    pace.add_flags(arguments)
    options = arguments.parse_args()
    result = pace.read(options.output)
    if options.paced:
        for dataset in options.datasets:
            place = workspace_of(dataset, options)
            plan = plan_in(place, dataset)
            pace.paces(place, dataset.name, [*configurations(plan).values()], options.time, options)
    for dataset in options.datasets:
        compare(result, dataset, options)
    sys.stdout.write(table(result["rows"]) + "\n")


def workspace_of(dataset: Path, options: argparse.Namespace) -> Path:
    """Where the dataset is planned with all that is compared, and prepared."""
    words = (dataset.name, *options.fusions, options.groups, options.time, "paced" if options.paced else "")
    plain = ("".join(letter if letter.isalnum() else "-" for letter in word or "") for word in words)
    place: Path = options.workspace / "_".join(filter(None, plain))
    if not (place / "planned").exists():
        wish = ["--network", "plain_unet", "--fusion", ",".join([INPUT, *options.fusions]), "--time", options.time]
        wish += ["--groups", options.groups] if options.groups else []
        wish += ["--group", options.group] if options.group else []
        pace.autoseg("plan_and_preprocess", str(dataset), *wish, *pace.here(place, options))
        pace.hold_out(place / dataset.name / "folds.json", options.held_out)
        (place / "planned").touch()
    return place


def plan_in(place: Path, dataset: Path) -> Plan:
    return read_plan(place / dataset.name / "plan.json")


def configurations(plan: Plan) -> dict[str, str]:
    """What is compared, ``input``, ``middle:attention`` or the channels that are seen, and its configuration."""
    found = {INPUT: plan.default}
    for fusion in plan.beside:
        found[fusion.written] = next(name for name in plan.configurations if name.endswith(f"_{fusion.suffix}"))
    for name, one in plan.configurations.items():
        if one.channels is not None:
            found[" + ".join(plan.channels[channel] for channel in one.channels) + " alone"] = name
    return found


def compare(result: dict[str, Any], dataset: Path, options: argparse.Namespace) -> None:
    """Adds the rows that are not there."""
    place = workspace_of(dataset, options)
    plan, given = plan_in(place, dataset), (dataset.name, options.fusions, options.groups, options.time, options.folds)
    compared = configurations(plan)
    members = [name for name in compared.values() if plan.configurations[name].channels is not None]
    fused = [name for name in compared.values() if name not in members]
    for what in [*compared, *([DECISION] if members else []), TOGETHER]:
        known = dict(zip(KEY, (*given, what))) | {"paced": options.paced}
        if pace.is_there(result, known):
            continue
        with pace.watched() as watched:
            if what in compared:
                train(place, dataset, [compared[what]], options)
                row = trained(plan.configurations[compared[what]], runs_of(place, dataset, compared[what], options))
                row |= selected(place, dataset, [compared[what]], options)
            elif what == DECISION:
                row = decided(place, dataset, members, options)
            else:
                row = selected(place, dataset, fused, options, all_of_them=True)
        pace.add(result, known | row | watched, options.output, table)


def train(
    place: Path, dataset: Path, names: list[str], options: argparse.Namespace, of: Path | None = None, parts: int = 1
) -> None:
    """Every fold, for one of so many ``parts`` of the time; ``of`` is the workspace in which the pace was measured."""
    for fold in options.folds:
        for name in names:
            long = pace.length(of or place, dataset.name, name, options.time, options, 1 / parts)
            pace.autoseg("train", dataset.name, str(fold), "-c", name, "--no-report", *long, *pace.here(place, options))


def decided(place: Path, dataset: Path, members: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """The best of a mean, weights by label and STAPLE of networks that share the time; all see the same cases."""
    shared = place.with_name(f"{place.name}_shared")
    if not (shared / "copied").exists():
        leave = shutil.ignore_patterns("runs", "selection", "selected")
        shutil.copytree(place, shared, ignore=leave, dirs_exist_ok=True)
        (shared / "copied").touch()
    train(shared, dataset, members, options, place, len(members))
    return selected(shared, dataset, members, options, all_of_them=True)


def selected(
    place: Path, dataset: Path, names: list[str], options: argparse.Namespace, *, all_of_them: bool = False
) -> dict[str, Any]:
    """The best model of the configurations, or of all of them together, and its Dice before postprocessing."""
    chosen = [word for name in names for word in ("-c", name)]
    asked = ("--folds", *map(str, options.folds), "--no-mirroring-test", "--no-report")
    pace.autoseg("select", dataset.name, *chosen, *asked, *pace.here(place, options))
    found = read_json(place / dataset.name / "selection" / "selection.json", Selection)
    best = next(one for one in found.compared if not all_of_them or {*one.members} == {*names})
    return {
        "model": best.name,
        "dice": best.dice.mean,
        "interval": [best.dice.low, best.dice.high],
        "cases": best.dice.cases,
        "labels": {label: dice.mean for label, dice in best.labels.items()},
    }


def runs_of(place: Path, dataset: Path, name: str, options: argparse.Namespace) -> list[Path]:
    return [place / dataset.name / "runs" / name / f"fold_{fold}" for fold in options.folds]


def trained(configuration: Configuration, runs: list[Path]) -> dict[str, Any]:
    """What was trained, and for how many iterations in each fold."""
    cost = configuration.cost
    return {
        "patch": configuration.patch_size,
        "batch": configuration.batch_size,
        "features": configuration.network.features[0],
        "seconds_per_step": cost and cost.seconds,
        "iterations": [int(pace.last_epoch(run)["iteration"]) for run in runs],
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in sorted(rows, key=lambda row: (row["dataset"], row["time"], -row["dice"])):
        how = f"patch {'x'.join(map(str, row['patch']))}, {row['iterations']} steps" if "patch" in row else row["model"]
        lines.append(
            f"{row['dataset']:26} {row['time']:>4} {row['what']:20} Dice {row['dice']:.3f} "
            f"({pace.interval(row['interval'])}, {row['cases']} cases) load {row['load']}  {how}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
