"""Trainings that other programs do not change: what benchmarks share that compare trainings of equal length.

Where the machine is quiet for a while only, `--paced` first plans everything and trains each configuration for a
twelfth of the time, to see its pace. After that each is trained for as many iterations as the whole time holds at that
pace, and other programs change nothing but how long that takes. What was done is written at once: the same command goes
on where it was stopped.
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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from autoseg.core.machine import cores, processor
from autoseg.plan import read_plan

SHARE = 12  # of the time that the pace is measured for


def add_flags(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--paced", action="store_true", help="only the pace is measured on a quiet machine")
    arguments.add_argument("--threads", type=int, default=cores())
    arguments.add_argument(
        "--held-out", type=int, default=2, help="of five folds, how many are held out at once: more cases are scored"
    )
    arguments.add_argument("--workspace", type=Path, required=True)
    arguments.add_argument("-o", "--output", type=Path, required=True)


def read(output: Path) -> dict[str, Any]:
    """The result so far."""
    machine = f"{cores()} cores, {processor()}"
    found: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {"machine": machine, "rows": []}
    return found


def is_there(result: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether there is a row with these values."""
    return any(all(row.get(field) == value for field, value in known.items()) for row in result["rows"])


def add(
    result: dict[str, Any], row: Mapping[str, Any], output: Path, table: Callable[[list[dict[str, Any]]], str]
) -> None:
    """Writes the result with one more row, which is shown."""
    result["rows"].append(dict(row))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(table(result["rows"][-1:]) + "\n")
    sys.stdout.flush()


@contextmanager
def watched() -> Iterator[dict[str, Any]]:
    """Filled at the end: seconds, and the load of the machine before and after, since other programs make it slower."""
    found: dict[str, Any] = {}
    load, start = os.getloadavg()[0], time.monotonic()
    yield found
    found |= {"wall": round(time.monotonic() - start), "load": [round(load, 2), round(os.getloadavg()[0], 2)]}


def here(place: Path, options: argparse.Namespace) -> list[str]:
    """Words of every command in the workspace ``place``."""
    return ["--workspace", str(place), "--threads", str(options.threads)]


def paces(
    place: Path, dataset: str, names: Collection[str], budget: str, options: argparse.Namespace
) -> dict[str, float]:
    """Iterations per second of the configurations that the plan has, in a twelfth of the time; remembered."""
    file, planned = place / "paces.json", read_plan(place / dataset / "plan.json").configurations
    found: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    for name in (name for name in names if name in planned and name not in found):
        run = place / dataset / "runs" / name / "fold_all"
        short = ["--time", f"{seconds(budget) / SHARE:.0f}s", "--no-report"]
        autoseg("train", dataset, "all", "-c", name, *short, *here(place, options))
        trained = last_epoch(run)
        found[name] = trained["iteration"] / trained["seconds_trained"]
        shutil.rmtree(run)
        file.write_text(json.dumps(found))
    return found


def length(
    place: Path, dataset: str, name: str, budget: str, options: argparse.Namespace, share: float = 1.0
) -> list[str]:
    """Words for a training of that time, or of a ``share`` of it."""
    if not options.paced:
        return ["--time", f"{share * seconds(budget):.0f}s"]
    iterations = paces(place, dataset, [name], budget, options)[name] * share * seconds(budget)
    planned = read_plan(place / dataset / "plan.json").configurations[name].training
    epochs = max(1, round(iterations / planned.iterations_per_epoch))
    each = max(1, round(iterations / epochs))  # a short training is a few epochs: none is left out or added
    return ["--epochs", str(epochs), "--set", f"training.iterations_per_epoch={each}"]


def last_epoch(run: Path) -> dict[str, float]:
    with (run / "metrics.csv").open(newline="") as file:
        return {name: float(value) for name, value in [*csv.DictReader(file)][-1].items() if value}


def hold_out(path: Path, count: int) -> None:
    """Merges so many validation folds into one, as often as there are: patients stay together."""
    record = json.loads(path.read_text())
    parts = [fold["validation"] for fold in record["folds"]]
    starts = range(0, len(parts) - count + 1, count)
    merged = [sorted(chain.from_iterable(parts[start : start + count])) for start in starts]
    everyone = sorted(chain.from_iterable(parts))
    record["folds"] = [{"train": [key for key in everyone if key not in held], "validation": held} for held in merged]
    record.pop("checksum", None)
    path.write_text(json.dumps(record, indent=2))


def seconds(budget: str) -> float:
    return float(budget[:-1]) * {"s": 1, "m": 60, "h": 3600}[budget[-1]]


def autoseg(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *words], check=True, stdout=subprocess.DEVNULL)


def interval(ends: Sequence[float | None]) -> str:
    """``0.812 to 0.855``; of one case, or two patients, there is none."""
    return "no interval" if None in ends else "{:.3f} to {:.3f}".format(*ends)
