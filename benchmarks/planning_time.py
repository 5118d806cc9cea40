"""Seconds from fingerprint to plan: autoseg's four planners of nnU-Net's rules and nnU-Net's own, dataset by dataset.

python benchmarks/planning_time.py tests/planners/nnunet_plans.json.gz --nnunet ~/nnunet --datasets 11

Both are timed inside a running interpreter, imports left out, one thread each, in turn; the datasets are the first of
those that oracle_plans.py stored.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OURS = ("plain_unet", "residual_m", "residual_l", "residual_xl")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stored", type=Path)
    arguments.add_argument("--nnunet", type=Path, help="virtual environment of nnU-Net")
    arguments.add_argument("--datasets", type=int, default=11)
    arguments.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    entries = json.loads(gzip.decompress(options.stored.read_bytes()))[: options.datasets]
    if options.theirs:
        answer_for_nnunet(entries)
        return
    command = [str(options.nnunet / "bin" / "python"), __file__, str(options.stored), "--theirs"]
    command += ["--datasets", str(options.datasets)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as peer:
        assert peer.stdin is not None and peer.stdout is not None
        peer.stdout.readline()  # has imported everything
        ours, theirs = [], []
        for entry in entries:
            ours.append(seconds_of_autoseg(entry))
            peer.stdin.write("next\n")
            peer.stdin.flush()
            theirs.append(float(peer.stdout.readline()))
            print(f"{entry['kind']:12s} autoseg {ours[-1]:.3f} s, nnU-Net {theirs[-1]:.2f} s", file=sys.stderr)
    ratios = [other / own for own, other in zip(ours, theirs)]
    result = {
        "command": " ".join(["python", *sys.argv]),
        "cores": os.cpu_count(),
        "planners": len(OURS),
        "autoseg_seconds": [round(value, 4) for value in ours],
        "nnunet_seconds": [round(value, 2) for value in theirs],
        "nnunet_over_autoseg_median": round(statistics.median(ratios)),
        "nnunet_over_autoseg_total": round(sum(theirs) / sum(ours)),
    }
    print(json.dumps(result, indent=2))


def seconds_of_autoseg(entry: dict[str, Any]) -> float:
    from autoseg.core.family import Family
    from autoseg.interop.nnunet_plans import nnunet_plans, read_fingerprint
    from autoseg.planning import patch

    planners = [Family("autoseg.planners", "PLANNER").load(name) for name in OURS]
    with tempfile.TemporaryDirectory() as folder:
        measured, described = Path(folder) / "dataset_fingerprint.json", Path(folder) / "dataset.json"
        measured.write_text(json.dumps(entry["fingerprint"]))
        described.write_text(json.dumps(entry["dataset"]))
        started = time.perf_counter()
        for planner in planners:
            patch._topology.cache_clear()  # one planner must not profit from the one before
            patch._elements.cache_clear()
            dataset, fingerprint = read_fingerprint(measured, described)
            plans = nnunet_plans(planner.plan(dataset, fingerprint), fingerprint)
            measured.with_name("plans.json").write_text(json.dumps(plans))
        return time.perf_counter() - started


def answer_for_nnunet(entries: list[dict[str, Any]]) -> None:
    """In nnU-Net's interpreter: for each line that comes in, plans one dataset and prints the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ[variable] = f"{folder}/{variable}"
        import oracle_plans

        oracle_plans.nnunet_plans(entries[0], device="cpu")
        print("ready", flush=True)
        for entry in entries:
            sys.stdin.readline()
            started = time.perf_counter()
            oracle_plans.nnunet_plans(entry, device="cpu")
            print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
