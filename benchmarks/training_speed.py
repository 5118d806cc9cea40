"""Seconds per training iteration of both programs with nnU-Net's plan of one raw dataset, fully augmented, in turn.

python benchmarks/training_speed.py DATASET_FOLDER --nnunet ~/nnunet -o benchmarks/results/training_speed.json

nnU-Net trains with its own workers (as many as cores), its own trainer and precision. Each program warms up first:
nnU-Net's workers fill their queues while three iterations run, autoseg's first epoch is not counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WARM_UP = 3
NNUNET = """
import json, multiprocessing, os, sys, time
import torch
from nnunetv2.run.run_training import get_trainer_from_args

if __name__ == "__main__":
    number, count, warm_up, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(os.cpu_count())
    where = torch.device(device)
    trainer = get_trainer_from_args(number, "3d_fullres", 0, "nnUNetTrainer", "nnUNetPlans", device=where)
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    seconds = []
    for _ in range(warm_up + count):
        began = time.perf_counter()
        trainer.train_step(next(trainer.dataloader_train))
        seconds.append(time.perf_counter() - began)
    print("RESULT" + json.dumps(seconds[warm_up:]), flush=True)
    for worker in multiprocessing.active_children():
        worker.kill()  # else they would be waited for
    os._exit(0)
"""


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


class Programs:
    """Mutable: both programs with the dataset prepared by each."""

    def __init__(self, dataset: Path, nnunet: Path, scratch: Path, iterations: int, device: str) -> None:
        self.dataset, self.nnunet, self.scratch = dataset, nnunet, scratch
        self.iterations, self.device = iterations, device
        number = re.match(r"Dataset(\d+)_", dataset.name)
        assert number, "the folder must be called DatasetXXX_Name"
        self.number = str(int(number[1]))
        names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        self.folders = {name: str(scratch / name) for name in names} | {"nnUNet_compile": "f"}
        for name in names:
            (scratch / name).mkdir()
        shutil.copytree(dataset, scratch / "nnUNet_raw" / dataset.name)
        program = str(nnunet / "bin" / "nnUNetv2_plan_and_preprocess")
        run([program, "-d", self.number, "-np", "2", "-npfp", "2", "-c", "3d_fullres"], self.folders)
        (scratch / "steps.py").write_text(NNUNET)
        plans = scratch / "nnUNet_preprocessed" / dataset.name / "nnUNetPlans.json"
        self.autoseg("plan_and_preprocess", str(dataset), "--from", str(plans), "-c", "3d_fullres")

    def autoseg(self, *arguments: str) -> str:
        return run([sys.executable, "-m", "autoseg", *arguments, "--workspace", str(self.scratch / "workspace")])

    def nnunet_seconds(self) -> list[float]:
        python, script = str(self.nnunet / "bin" / "python"), str(self.scratch / "steps.py")
        told = run([python, script, self.number, str(self.iterations), str(WARM_UP), self.device], self.folders)
        seconds: list[float] = json.loads(next(line for line in told.splitlines() if line.startswith("RESULT"))[6:])
        return seconds

    def autoseg_seconds(self) -> dict[str, float]:
        """Of the second epoch; the first warms up."""
        shutil.rmtree(self.scratch / "workspace" / self.dataset.name / "runs", ignore_errors=True)
        flags = ["-c", "3d_fullres", "--epochs", "2", "--set", f"training.iterations_per_epoch={self.iterations}"]
        self.autoseg("train", self.dataset.name, "all", "--device", self.device, *flags)
        (path,) = (self.scratch / "workspace").glob("*/runs/*/*/*.csv")
        rows = list(csv.DictReader(path.open()))
        return {name: float(rows[-1][name]) for name in ("seconds_per_iteration", "share_waiting_for_data")}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset", type=Path, help="folder DatasetXXX_Name in nnU-Net's raw layout")
    arguments.add_argument("--nnunet", type=Path, required=True, help="virtual environment of nnU-Net")
    arguments.add_argument("--iterations", type=int, default=6, help="counted, per run of each program")
    arguments.add_argument("--runs", type=int, default=2)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("-o", "--output", type=Path, required=True)
    options = arguments.parse_args()
    theirs: list[list[float]] = []
    ours: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        programs = Programs(options.dataset, options.nnunet, Path(folder), options.iterations, options.device)
        for _ in range(options.runs):
            theirs.append(programs.nnunet_seconds())
            ours.append(programs.autoseg_seconds())
            print(theirs[-1], ours[-1], file=sys.stderr)
        plan = json.loads((Path(folder) / "workspace" / options.dataset.name / "plan.json").read_text())
    configuration = plan["configurations"]["3d_fullres"]
    ratios = [statistics.mean(other) / own["seconds_per_iteration"] for own, other in zip(ours, theirs)]
    result = {
        "command": "python benchmarks/training_speed.py " + " ".join(sys.argv[1:]),
        "cores": os.cpu_count(),
        "device": options.device,
        "patch": configuration["patch_size"],
        "batch": configuration["batch_size"],
        "features": configuration["network"]["features"],
        "nnunet_seconds_per_iteration": [[round(one, 2) for one in run] for run in theirs],
        "autoseg_seconds_per_iteration": [round(run["seconds_per_iteration"], 2) for run in ours],
        "autoseg_share_of_time_waiting_for_data": [round(run["share_waiting_for_data"], 4) for run in ours],
        "nnunet_over_autoseg": [round(ratio, 2) for ratio in ratios],
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
