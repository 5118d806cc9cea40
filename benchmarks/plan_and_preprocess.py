"""Wall time of `autoseg plan_and_preprocess` and `nnUNetv2_plan_and_preprocess` on one raw dataset, in turn.

What `measured` leaves to the first training, deciding network, patch and batch by real steps, is timed by itself: as
`autoseg plan`, interpreter and libraries included.

python benchmarks/plan_and_preprocess.py DATASET_FOLDER --nnunet ~/nnunet --runs 3
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset", type=Path, help="folder DatasetXXX_Name in nnU-Net's raw layout")
    arguments.add_argument("--nnunet", type=Path, required=True, help="virtual environment of nnU-Net")
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--planner", default="measured", help="of autoseg (default: its default)")
    options = arguments.parse_args()
    ours, theirs, later = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        run_nnunet(options, scratch / "warm")  # file caches and compiled modules, for both
        run_autoseg(options, scratch / "warm")
        for index in range(options.runs):
            theirs.append(run_nnunet(options, scratch / str(index)))
            ours.append(run_autoseg(options, scratch / str(index)))
            if options.planner == "measured":
                later.append(run_autoseg_plan(options, scratch / str(index)))
    ratios = [other / own for own, other in zip(ours, theirs)]
    result = {
        "planner": options.planner,
        "cores": os.cpu_count(),
        "autoseg_seconds": [round(value, 2) for value in ours],
        "nnunet_seconds": [round(value, 2) for value in theirs],
        "nnunet_over_autoseg_median": round(statistics.median(ratios), 2),
        "left_to_the_first_training_seconds": [round(value, 2) for value in later],
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def run_autoseg(options: argparse.Namespace, scratch: Path) -> float:
    command = [sys.executable, "-m", "autoseg", "plan_and_preprocess", str(options.dataset)]
    return timed([*command, "--workspace", str(scratch / "autoseg"), "--planner", options.planner], os.environ)


def run_autoseg_plan(options: argparse.Namespace, scratch: Path) -> float:
    command = [sys.executable, "-m", "autoseg", "plan", options.dataset.name]
    return timed([*command, "--workspace", str(scratch / "autoseg"), "--planner", options.planner], os.environ)


def run_nnunet(options: argparse.Namespace, scratch: Path) -> float:
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    folders = {name: str(scratch / name) for name in names}
    for path in folders.values():
        Path(path).mkdir(parents=True)
    shutil.copytree(options.dataset, Path(folders["nnUNet_raw"]) / options.dataset.name)
    number = re.match(r"Dataset(\d+)_", options.dataset.name)
    assert number, "the folder must be called DatasetXXX_Name"
    program = options.nnunet / "bin" / "nnUNetv2_plan_and_preprocess"
    command = [str(program), "-d", str(int(number[1])), "--verify_dataset_integrity", "-np", "2", "-npfp", "2"]
    return timed([*command, "-c", "2d", "3d_fullres"], os.environ | folders | {"nnUNet_compile": "f"})


def timed(command: list[str], environment: dict[str, str] | os._Environ[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
