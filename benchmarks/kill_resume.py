"""Kills a training at random moments, without warning, and compares what it ends with to an undisturbed training.

python benchmarks/kill_resume.py --kills 10

Every killed command is given again as it was. Compared, bit for bit: the final weights, the predicted validation
cases, and metrics.csv except for what a clock says in it. A training that ends before enough kills have happened is
compared, removed and begun anew. The length is given in iterations: what a budget of time amounts to depends on the
machine's mood, and no two such trainings are alike.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autoseg.pipeline.demo import NAME, make_dataset

Result = dict[str, str]
"""What is compared, by name, as hashes."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=10)
    arguments.add_argument("--epochs", type=int, default=4)
    arguments.add_argument("--iterations", type=int, default=30, help="of an epoch")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments.add_argument("--set", action="append", default=[], help="passed on to `autoseg train`")
    arguments.add_argument("-o", "--output", type=Path, help="JSON file for the result")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {"command": "python benchmarks/kill_resume.py " + " ".join(sys.argv[1:])} | measure(
            options, Path(folder)
        )
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output is not None:
        options.output.write_text(text)
    sys.exit(0 if result["all_identical"] else 1)


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, object]:
    raw = make_dataset(scratch / NAME, cases=8, tests=0)
    planned = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "3d_fullres"]
    subprocess.run(command(scratch, planned), check=True, capture_output=True)
    changes = [f"training.iterations_per_epoch={options.iterations}", *options.set]
    flags = [word for change in changes for word in ("--set", change)]
    train = ["train", NAME, "0", "--epochs", str(options.epochs), "--checkpoint-every", "0.5s", *flags]
    fold = scratch / "workspace" / NAME / "runs" / "3d_fullres" / "fold_0"
    began = time.monotonic()
    subprocess.run(command(scratch, train), check=True, capture_output=True)
    seconds, expected = time.monotonic() - began, outcome(fold)
    shutil.rmtree(fold)
    moments, identical = random.Random(options.seed), []
    kills: list[dict[str, object]] = []
    while len(kills) < options.kills or fold.exists():
        wait = moments.uniform(0, seconds / 2) if len(kills) < options.kills else None
        if killed(command(scratch, train), wait):
            kills.append({"after_seconds": round(wait or 0.0, 2), "left": left(fold)})
            continue
        identical.append(outcome(fold) == expected)
        shutil.rmtree(fold)
    return {
        "cores": os.cpu_count(),
        "iterations": options.epochs * options.iterations,
        "undisturbed_seconds": round(seconds, 1),
        "kills": kills,
        "finished_trainings": len(identical),
        "all_identical": all(identical),
        "compared": sorted(expected),
        "weights_sha256": expected["weights.safetensors"],
    }


def command(scratch: Path, words: list[str]) -> list[str]:
    return [sys.executable, "-m", "autoseg", *words, "--device", "cpu", "--workspace", str(scratch / "workspace")]


def killed(words: list[str], wait: float | None) -> bool:
    """Whether the program was still running after ``wait`` seconds (None: wait for its end), and was killed."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=wait)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    if process.returncode:
        raise SystemExit(f"the resumed training failed:\n{said}")
    return False


def left(fold: Path) -> str:
    """What a kill found done."""
    if (fold / "weights.safetensors").exists():
        return f"trained, {len(list(fold.glob('validation/*.nii.gz')))} cases validated"
    newest = max(fold.glob("checkpoints/iteration_*.pt"), default=None)
    return newest.stem if newest else "no checkpoint"


def outcome(fold: Path) -> Result:
    files = [fold / "weights.safetensors", *sorted(fold.glob("validation/*.nii.gz"))]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    with (fold / "metrics.csv").open(newline="") as file:
        rows = [
            {
                name: value
                for name, value in row.items()
                if "second" not in name and name not in ("share_waiting_for_data", "memory")
            }
            for row in csv.DictReader(file)
        ]
    return found | {"metrics.csv": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


if __name__ == "__main__":
    main()
