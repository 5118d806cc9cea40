"""From trained folds to the same predictions on another machine: select, export, install, predict in both places.

    python benchmarks/select_and_share.py WORKSPACE DATASET IMAGES [--folds 0] -o results/select_and_share.json

WORKSPACE holds at least one configuration of DATASET with finished folds. IMAGES is a folder of images to predict with
the selected model where it was made and with the zip where it was installed, in an empty workspace; every label map
must be the same. With one fold and its validation images, the predictions are also those that `select` made of the
kept probabilities, but for the rounding to 8 bits, and for cases whose part taught another postprocessing than all
cases together.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.bundle.manifest import Manifest
from autoseg.bundle.trained import read_trained
from autoseg.bundle.write import write_bundle
from autoseg.parts.readers import read_labels, write_labels
from autoseg.pipeline.compare import Unseen, label_map
from autoseg.workspace import DatasetFolder


def run(*words: str | Path) -> tuple[str, float]:
    """Output and seconds of one command."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "autoseg", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout, time.monotonic() - start


def differing(one: Path, other: Path) -> dict[str, int]:
    """Voxels that differ between label maps of the same name in two folders."""
    cases = voxels = different = 0
    for path in sorted(one.glob("*.nii.gz")):
        if (other / path.name).exists():
            first, second = read_labels(path)[0], read_labels(other / path.name)[0]
            cases, voxels, different = cases + 1, voxels + first.size, different + int(np.sum(first != second))
    return {"cases": cases, "voxels": voxels, "different": different}


def ensemble_agreement(root: Path, folds: list[str], images: Path, scratch: Path) -> dict[str, int]:
    """All configurations together, predicted in one command, beside the mean of their kept probabilities."""
    files = DatasetFolder(root)
    labels, names = files.read_dataset().labels, sorted(path.name for path in (root / "runs").iterdir())
    trained = [read_trained(files.runs(name), folds) for name in names]
    plan = replace(
        trained[0].plan, configurations={k: v for each in trained for k, v in each.plan.configurations.items()}
    )
    manifest = Manifest("together", dict.fromkeys(names, tuple(folds)), dict.fromkeys(names, 1 / len(names)))
    weights = {name: {fold: files.run(name, fold).weights for fold in folds} for name in names}
    write_bundle(scratch / "together.zip", manifest, plan, weights)
    run("predict", "-m", scratch / "together.zip", "-i", images, "-o", scratch / "predicted")
    for path in sorted((scratch / "predicted").glob("*.nii.gz")):
        key = path.name.removesuffix(".nii.gz")
        (fold,) = (fold for fold in folds if files.run(names[0], fold).kept(key).exists())
        case = Unseen(key, int(fold), key, (path,), {name: files.run(name, fold).kept(key) for name in names})
        write_labels(
            label_map(case, tuple(names), labels), case.opened(names)[0].geometry, scratch / "kept" / path.name
        )
    return differing(scratch / "predicted", scratch / "kept")


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("workspace", type=Path)
    command.add_argument("dataset")
    command.add_argument("images", type=Path)
    command.add_argument("--folds", nargs="+", default=[])
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    folds = ["--folds", *options.folds] if options.folds else []
    here = ("--workspace", options.workspace)
    said, seconds = run("select", options.dataset, *folds, *here)
    (root,) = (path.parent for path in options.workspace.glob("*/selection") if options.dataset in path.parent.name)
    selection = json.loads((root / "selection" / "selection.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        away = Path(scratch)
        packed = away / "model.zip"
        run("export", options.dataset, "-o", packed, *here)
        run("install", packed, "--workspace", away / "elsewhere")
        run("predict", "-d", options.dataset, "-i", options.images, "-o", away / "a", *here)
        run("predict", "-m", root.name, "-i", options.images, "-o", away / "b", "--workspace", away / "elsewhere")
        result = {
            "command": f"python benchmarks/select_and_share.py WORKSPACE {options.dataset} IMAGES " + " ".join(folds),
            "select_seconds": round(seconds, 1),
            "report": said.splitlines()[:-1],
            "cases": selection["cases"],
            "zip_bytes": packed.stat().st_size,
            "made_here_and_installed_elsewhere": differing(away / "a", away / "b"),
            "predicted_and_from_kept_probabilities": differing(away / "a", root / "selection" / "validation"),
            "all_configurations_together": ensemble_agreement(root, options.folds, options.images, away)
            if len(options.folds) == 1
            else None,
        }
    text = json.dumps(result, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
