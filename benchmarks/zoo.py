"""What each network, or each loss, reaches on the same cases in the same time.

python benchmarks/zoo.py DATA/Dataset004_Hippocampus --time 3m --cases 20 --threads 1 --workspace WORK -o RESULT
python benchmarks/zoo.py DATA/Dataset004_Hippocampus --time 3m --losses ce dice_ce top_k ... --workspace WORK -o RESULT
python benchmarks/zoo.py --table RESULT... > benchmarks/zoo.md

Every network is planned for the memory and time at hand, as `--network` does, and trained on one fold; a loss or
objective is trained with the default network. A training takes as many iterations as the time holds: its pace is that
of a few iterations by the processor's time (two short trainings, whose difference counts), so that other programs on
the machine matter little; give each process one thread. Whole held-out cases are scored, ``--cases`` of them. What
cannot be planned or trained gets a row with the reason. The result is written after each row: run the same command
again and it goes on. Several processes may share the work, with results and workspaces of their own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pace

from autoseg.configuration import LOSSES, NETWORKS, OBJECTIVES
from autoseg.evaluation.paired import paired
from autoseg.plan import Plan, read_plan

KEY = ("dataset", "time", "fold", "configuration", "what")
FEW, LEAST = 3, 8  # iterations of the short trainings that the pace is measured by
MEASURED = 20.0  # seconds of the longer one
LIMIT = 12 * 60  # seconds that planning, or a short training, may take
UNFIT = ("multi_encoder_unet", "unpaired_unet")  # these are chosen by --fusion


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dataset", type=Path, nargs="?")
    arguments.add_argument("--table", type=Path, nargs="+", metavar="RESULT", help="only prints these as tables")
    arguments.add_argument("--time", default="3m", help="of each training")
    arguments.add_argument("--configuration", default="3d_fullres")
    arguments.add_argument("--networks", nargs="*", help="with fields, if need be: modular_unet:block=dense")
    arguments.add_argument("--losses", nargs="*", default=(), help="losses and objectives, instead of networks")
    arguments.add_argument("--fold", type=int, default=0)
    arguments.add_argument("--cases", type=int, default=20, help="held-out cases that are scored")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--workspace", type=Path)
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    if options.table:
        sys.stdout.write(tables([row for path in options.table for row in pace.read(path)["rows"]]))
        return
    result = pace.read(options.output)
    named = options.networks or [name for name in NETWORKS if name not in UNFIT]
    for what in options.losses or named:
        known = dict(zip(KEY, (options.dataset.name, options.time, options.fold, options.configuration, what)))
        known["kind"] = "loss" if options.losses else "network"
        if not pace.is_there(result, known):
            with pace.watched() as watched:
                row = tried(what, options)
            pace.add(result, known | row | watched, options.output, lines)


def prepared(options: argparse.Namespace) -> Path:
    """The workspace whose prepared cases all share."""
    place: Path = options.workspace / f"{options.dataset.name}_{options.time}_{options.configuration}"
    if not (place / "planned").exists():
        wish = ("--time", options.time, "-c", options.configuration, "--no-report")
        pace.autoseg("plan_and_preprocess", str(options.dataset), *wish, *pace.here(place, options))
        (place / "planned").touch()
    return place


def tried(what: str, options: argparse.Namespace) -> dict[str, Any]:
    """Its row; where it cannot be planned or trained, why."""
    base = prepared(options)
    place = base.with_name(f"{base.name}_{''.join(letter if letter.isalnum() else '-' for letter in what)}")
    shutil.rmtree(place, ignore_errors=True)
    leave = shutil.ignore_patterns("runs", "report.html")
    shutil.copytree(base, place, ignore=leave, copy_function=os.link)  # files are replaced, never changed
    try:
        if not options.losses:
            wish = ("--network", what, "--time", options.time)
            said("plan", options.dataset.name, *wish, *pace.here(place, options))
        shorten(place / options.dataset.name / "folds.json", options.cases)
        row = trained(what, place, options)
    except subprocess.CalledProcessError as error:
        row = {"failed": last_line(error.stderr)}
    except KeyError:
        row = {"failed": f"the plan has no {options.configuration} of it"}
    except subprocess.TimeoutExpired:
        row = {"failed": f"planning, or a short training, took more than {LIMIT / 60:g} minutes"}
    shutil.rmtree(place, ignore_errors=True)
    return row


def shorten(path: Path, cases: int) -> None:
    """So many held-out cases of each fold are scored; the others are left out."""
    record = json.loads(path.read_text())
    for fold in record["folds"]:
        fold["validation"] = fold["validation"][:cases]
    record.pop("checksum", None)
    path.unlink()  # it is shared
    path.write_text(json.dumps(record, indent=2))


def trained(what: str, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    name, change = options.configuration, changes(what) if options.losses else []
    plan = read_plan(place / options.dataset.name / "plan.json")
    words = ("train", options.dataset.name, str(options.fold), "-c", name, "--no-report", *change)
    short = (*words[:2], "all", *words[3:], *pace.here(place, options))
    rate = measured_rate(plan, name, short, place / options.dataset.name / "runs" / name / "fold_all")
    iterations = max(LEAST, round(rate * pace.seconds(options.time)))
    said(*words, *length(iterations), *pace.here(place, options), limit=None)
    return scored(place / options.dataset.name / "runs" / name / f"fold_{options.fold}", plan, rate)


def changes(what: str) -> list[str]:
    if what not in (*LOSSES, *OBJECTIVES):
        raise SystemExit(f"{what} is neither a loss nor an objective")
    return ["--set", f"{'loss' if what in LOSSES else 'objective'}={what}"]


def measured_rate(plan: Plan, name: str, words: tuple[str, ...], run: Path) -> float:
    """Iterations per second of processor time."""
    cost = plan.configurations[name].cost
    more = FEW + max(LEAST, round(MEASURED / cost.seconds) if cost else LEAST)
    spent = []
    for iterations in (FEW, more):
        before = processor_seconds()
        said(*words, *length(iterations))
        spent.append(processor_seconds() - before)
        shutil.rmtree(run)
    return (more - FEW) / max(1e-3, spent[1] - spent[0])


def processor_seconds() -> float:
    """Of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def length(iterations: int) -> list[str]:
    epochs = max(1, round(iterations / 100))
    return ["--epochs", str(epochs), "--set", f"training.iterations_per_epoch={max(1, round(iterations / epochs))}"]


def said(*words: str, limit: float | None = LIMIT) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *words], check=True, capture_output=True, text=True, timeout=limit)


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "without a word")[:300]


def scored(run: Path, plan: Plan, rate: float) -> dict[str, Any]:
    """What was trained, and its Dice by case and label."""
    task = plan.task(run.parent.name)
    configuration, cost = task.configuration, task.configuration.cost
    found = json.loads((run / "validation" / "scores.json").read_text())
    dice = found["overall"]["dice"]
    return {
        "patch": configuration.patch_size,
        "batch": configuration.batch_size,
        "parameters": sum(weight.numel() for weight in task.network().parameters()),
        "memory_planned": cost and cost.memory,
        "seconds_per_step": 1 / rate,
        "iterations": int(pace.last_epoch(run)["iteration"]),
        "dice": dice["mean"],
        "interval": [dice["low"], dice["high"]],
        "cases": dice["cases"],
        "labels": {label: values["dice"]["mean"] for label, values in found["labels"].items()},
        "by_case": by_case(run),
    }


def by_case(run: Path) -> dict[str, float]:
    """Mean Dice over labels of each case."""
    values: dict[str, list[float]] = {}
    with (run / "validation" / "scores.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["dice"]:
                values.setdefault(row["case"], []).append(float(row["dice"]))
    return {case: round(sum(each) / len(each), 4) for case, each in values.items()}


def lines(rows: list[dict[str, Any]]) -> str:
    """For a terminal."""
    shown = []
    for row in rows:
        if "failed" in row:
            shown.append(f"{row['what']:40} {row['failed']}")
            continue
        patch = "x".join(map(str, row["patch"]))
        shown.append(
            f"{row['what']:40} Dice {row['dice']:.3f} ({pace.interval(row['interval'])}) "
            f"{row['parameters'] / 1e6:.2f} M parameters, patch {patch} batch {row['batch']}, "
            f"{row['iterations']} steps of {row['seconds_per_step']:.2f} s"
        )
    return "\n".join(shown)


def tables(rows: list[dict[str, Any]]) -> str:
    """One in Markdown for each dataset, configuration and kind."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(
            (row["kind"], row["dataset"], row["configuration"], row["time"], str(row["fold"])), []
        ).append(row)
    return "\n".join(table(key, group) for key, group in sorted(groups.items()))


def table(key: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    kind, dataset, configuration, time, fold = key
    whole = sorted((row for row in rows if "failed" not in row), key=lambda row: -row["dice"])
    title = f"## {'Losses and objectives' if kind == 'loss' else 'Networks'}, {dataset}, {configuration}\n"
    about = f"{time} of one core each, fold {fold}, {whole[0]['cases'] if whole else 0} held-out cases.\n"
    columns = (
        "Dice (95 % interval)",
        "against the best",
        "parameters",
        "patch, batch",
        "steps",
        "s per step",
        "memory",
    )
    head = f"| {' | '.join((kind, *columns))} |"
    shown = [title, about, head, "|---|---|---|---|---|---|---|---|"]
    for row in whole:
        memory = f"{row['memory_planned'] / 2**30:.2f} GiB" if row["memory_planned"] else "-"
        cells = (
            f"`{row['what']}`",
            f"{row['dice']:.3f} ({pace.interval(row['interval'])})",
            against(whole[0], row),
            f"{row['parameters'] / 1e6:.2f} M",
            f"{'x'.join(map(str, row['patch']))}, {row['batch']}",
            str(row["iterations"]),
            f"{row['seconds_per_step']:.2f}",
            memory,
        )
        shown.append(f"| {' | '.join(cells)} |")
    shown += [f"| `{row['what']}` | - | {row['failed']} | | | | | |" for row in rows if "failed" in row]
    return "\n".join(shown) + "\n"


def against(best: dict[str, Any], row: dict[str, Any]) -> str:
    """Paired by case."""
    if row is best:
        return "the best"
    cases = sorted({*best["by_case"]} & {*row["by_case"]})
    one, two = (np.array([[each["by_case"][case]] for case in cases]) for each in (row, best))
    found = paired(one, two, np.arange(len(cases)))
    return f"{one.mean() - two.mean():+.3f}, p {found.p:.2g}" if found.p is not None else "too few cases"


if __name__ == "__main__":
    main()
