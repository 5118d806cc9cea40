"""What each part of the training recipe gives: one dataset trained with one thing changed at a time.

python benchmarks/recipe.py RAW_DATASET --side-by-side 8 -o benchmarks/results/recipe_hippocampus.json

Every training may take as long as 34 epochs of 100 iterations of the recipe do on two processor cores (or `--epochs`);
what makes a step longer or shorter gets fewer or more, by the table below. On a GPU several run at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

EPOCHS = 34
SGD = ("optimizer=sgd", "optimizer.learning_rate=0.03", "optimizer.momentum=0.95")
UNCHANGED = tuple(
    f"augmentation.{name}_probability=0" for name in ("blur", "contrast", "low_resolution", "gamma", "inverted_gamma")
)
# name: how long a step takes beside that of the recipe, changes
VARIANTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "Muon 0.005": (1.0, ()),
    "Muon 0.002": (1.0, ("optimizer.learning_rate=0.002",)),
    "Muon 0.01": (1.0, ("optimizer.learning_rate=0.01",)),
    "Muon 0.005, features 24 to 192": (2.4, ("network.features=24,48,96,192",)),
    "Muon 0.005, features 32 to 256": (3.4, ("network.features=32,64,128,256",)),
    "Muon 0.005, mirroring along x": (1.0, ("mirror_axes=2",)),
    "Muon 0.005, mirroring along all axes": (1.0, ("mirror_axes=0,1,2",)),
    "AdamW 0.002": (1.0, ("optimizer=adamw", "optimizer.learning_rate=0.002")),
    "SGD 0.03, momentum 0.95": (1.0, SGD),
    "nnU-Net's SGD 0.01, momentum 0.99": (1.0, (*SGD, "optimizer.learning_rate=0.01", "optimizer.momentum=0.99")),
    "SGD, weight decay 5e-4": (1.0, (*SGD, "optimizer.weight_decay=0.0005")),
    "SGD, rotation and scaling with nnU-Net's probability 0.2": (
        1.0,
        (*SGD, "augmentation.rotation_probability=0.2", "augmentation.scaling_probability=0.2"),
    ),
    "SGD, scaling 0.8-1.25 and rotation up to 15 degrees": (
        1.0,
        (*SGD, "augmentation.scaling=0.8,1.25", "augmentation.rotation_degrees=15"),
    ),
    "SGD, of grey values only noise and brightness changed": (1.0, (*SGD, *UNCHANGED)),
    "SGD 0.01, momentum 0.95, only noise and brightness changed, no foreground oversampling": (
        1.0,
        (*SGD, *UNCHANGED, "optimizer.learning_rate=0.01", "training.oversampling=0"),
    ),
    "SGD, one Dice over the batch": (1.0, (*SGD, "loss.batch_dice=true")),
    "SGD, average of the weights 0.99": (1.0, (*SGD, "training.ema_decay=0.99")),
    "SGD, no deep supervision": (1.0, (*SGD, "training.deep_supervision=0")),
    "SGD, no foreground oversampling": (1.0, (*SGD, "training.oversampling=0")),
    "SGD, batch 4": (2.0, (*SGD, "batch_size=4")),
    "SGD, features 24 to 192": (1.6, (*SGD, "network.features=24,48,96,192")),
    "SGD, patch 32 x 48 x 32": (0.57, (*SGD, "patch_size=32,48,32")),
}


def autoseg(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *arguments], check=True, capture_output=True, text=True)


def train(prepared: Path, dataset: str, name: str, fold: str, epochs: int, threads: int) -> dict[str, Any]:
    slower, changes = VARIANTS[name]
    epochs = round(epochs / slower)
    workspace = Path(tempfile.mkdtemp(dir=prepared.parent)) / "workspace"
    shutil.copytree(prepared, workspace)
    flags = [flag for change in changes for flag in ("--set", change)]
    flags += ["--epochs", str(epochs), "--threads", str(threads), "--workspace", str(workspace)]
    autoseg("train", dataset, fold, *flags)
    (scores,) = workspace.glob(f"*/runs/*/fold_{fold}/validation/scores.json")
    dice = json.loads(scores.read_text())["overall"]["dice"]
    shutil.rmtree(workspace)
    row = {"recipe": name, "iterations": 100 * epochs, "dice": round(dice["mean"], 4), "cases": dice["cases"]}
    print(row, file=sys.stderr)
    return row


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("dataset", type=Path)
    arguments.add_argument("--side-by-side", type=int, default=1, help="trainings at once")
    arguments.add_argument(
        "--only", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="RECIPE", help="default: all"
    )
    arguments.add_argument("--fold", default="0")
    arguments.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the recipe; default {EPOCHS}")
    arguments.add_argument("-o", "--output", type=Path, required=True)
    options = arguments.parse_args()
    threads = max(1, (os.cpu_count() or 1) // options.side_by_side)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "workspace"
        planned = ["--planner", "cpu", "-c", "3d_fullres", "--workspace", str(prepared)]
        autoseg("plan_and_preprocess", str(options.dataset), *planned)
        with ThreadPoolExecutor(options.side_by_side) as pool:
            one = partial(
                train, prepared, options.dataset.name, fold=options.fold, epochs=options.epochs, threads=threads
            )
            rows = list(pool.map(one, options.only))
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    result = {
        "command": "python benchmarks/recipe.py " + " ".join(sys.argv[1:]),
        "device": device,
        "torch": torch.__version__,
        "trainings": rows,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
