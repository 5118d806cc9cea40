"""nnU-Net models, imported: both programs predict the same cases, label maps are compared voxel by voxel.

python benchmarks/nnunet_models.py DATA WORK           # with nnU-Net's Python: trains the models
python benchmarks/import_nnunet.py WORK [RUN ...] --nnunet ~/nnunet -o benchmarks/results/import_nnunet.json

Both programs run in turn, with the same number of threads; time and memory are measured as prediction.py does.

nnU-Net sums the logits of overlapping patches in float16, which decides where two labels are nearly equal. With
--float32-sums it sums them in float32, and what then differs has other reasons; this is a run of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from prediction import measured

FLOAT32_SUMS = """
import torch
from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder
torch.half = torch.float32  # of the sums, and of nothing else there
predict_entry_point_modelfolder()
"""
BRATS = "Dataset902_BraTS13FlairT1c"
PLAIN, RESIDUAL = "nnUNetTrainer__nnUNetPlans__", "nnUNetTrainer__nnUNetResEncUNetMPlans__"


@dataclass(frozen=True)
class Run:
    dataset: str
    model: str
    folds: tuple[str, ...] = ("0",)
    mirroring: bool = True
    first: str | None = None
    """Of a cascade: the model whose label maps are read with the images. autoseg runs both stages in one command."""
    cases: int = 10
    """Those kept aside first; where they are fewer, cases of the training follow."""
    cut: tuple[int, int, int] | None = None
    """Voxels (x, y, z) around the middle of what is labelled, instead of the whole image: saves hours of large ones."""


RUNS = {
    "hippocampus fold 0": Run("Dataset904_Hippocampus", f"{PLAIN}hippocampus", cases=40),
    "hippocampus fold 1": Run("Dataset904_Hippocampus", f"{PLAIN}hippocampus", ("1",)),
    "hippocampus ensemble": Run("Dataset904_Hippocampus", f"{PLAIN}hippocampus", ("0", "1")),
    "hippocampus, no mirroring": Run("Dataset904_Hippocampus", f"{PLAIN}hippocampus", mirroring=False),
    "hippocampus cascade": Run(
        "Dataset905_Hippocampus", f"{PLAIN}3d_cascade_fullres", ("all",), first=f"{PLAIN}3d_lowres"
    ),
    "acdc 3d": Run("Dataset927_ACDC", f"{PLAIN}acdc"),
    "acdc 3d, no mirroring": Run("Dataset927_ACDC", f"{PLAIN}acdc", mirroring=False),
    "acdc 2d": Run("Dataset927_ACDC", f"{PLAIN}acdc_2d"),
    "nuclei 2d": Run("Dataset911_DSB2018Nuclei", f"{RESIDUAL}nuclei"),
    "chaos, turned": Run("Dataset938_CHAOST2SPIR", f"{PLAIN}chaos_turned", ("all",), cases=3),
    "brats regions": Run(BRATS, f"{RESIDUAL}brats_regions", ("all",), cases=5, cut=(72, 72, 60)),
    "brats regions, whole image, no mirroring": Run(
        BRATS, f"{RESIDUAL}brats_regions", ("all",), mirroring=False, cases=1
    ),
    "lesions, no mirroring": Run(
        "Dataset947_OpenMSLesionMNI", f"{RESIDUAL}lesions", ("all",), mirroring=False, cases=1
    ),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path)
    arguments.add_argument("runs", nargs="*", default=list(RUNS), metavar="RUN")
    arguments.add_argument("--nnunet", type=Path, required=True, help="virtual environment of nnU-Net")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--precision", nargs="+", default=["auto", "bfloat16"], help="of autoseg, each is compared")
    arguments.add_argument("--float32-sums", action="store_true", help="of nnU-Net; stored as a run of its own")
    arguments.add_argument("--busy", action="store_true", help="other programs are running: note no times")
    arguments.add_argument("-o", "--output", type=Path, required=True)
    options = arguments.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # nnU-Net takes it from there
    done = json.loads(options.output.read_text())["runs"] if options.output.exists() else {}
    for name in options.runs:
        done[f"{name}, float32 sums" if options.float32_sums else name] = compare(name, options)
        cores = {"cores": os.cpu_count(), "threads": options.threads}
        options.output.write_text(json.dumps({"nnunetv2": "2.8.1", **cores, "runs": done}, indent=1) + "\n")


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    asked = RUNS[name]
    trained, raw = options.work / "results" / asked.dataset, options.work / "raw" / asked.dataset
    scratch = options.work / "compared" / name.replace(" ", "_").replace(",", "")
    shutil.rmtree(scratch, ignore_errors=True)
    unseen = choose(raw, asked, scratch / "images", scratch / "labels")
    theirs, bundle = scratch / "nnunet", scratch / "bundle"
    python = [sys.executable, "-m", "autoseg"]
    run([*python, "import", "nnunet", trained / asked.model, "--out", bundle])
    stages = [] if asked.first is None else [(asked.first, scratch / "first", [])]
    stages += [(asked.model, theirs, [] if asked.first is None else ["-prev_stage_predictions", scratch / "first"])]
    program = [options.nnunet / "bin" / "nnUNetv2_predict_from_modelfolder"]
    program = [options.nnunet / "bin" / "python", "-c", FLOAT32_SUMS] if options.float32_sums else program
    costs = []
    for model, target, more in stages:
        words = ["-i", scratch / "images", "-o", target, "-m", trained / model, "-f", *asked.folds, *more]
        words += ["-device", "cpu", "-npp", "1", "-nps", "1", *([] if asked.mirroring else ["--disable_tta"])]
        costs += [run([*program, *words])]
    most = {"wall_s": sum, "cpu_s": sum, "memory_gb": max}  # of the stages, which run one after the other
    cost = {"nnunet": {name: round(of(c[name] for c in costs), 2) for name, of in most.items()}}
    result: dict[str, Any] = {"model": asked.model, "folds": asked.folds, "mirroring": asked.mirroring}
    result |= {"cases_not_used_in_training": unseen, "cut": asked.cut}
    for precision in options.precision:
        ours = scratch / precision
        words = ["-m", bundle, "-i", scratch / "images", "-o", ours, "-f", *asked.folds, "--precision", precision]
        words += ["--threads", options.threads, "--tta", "full" if asked.mirroring else "none"]
        cost[f"autoseg {precision}"] = run([*python, "predict", *words])
        result[precision] = agreement(theirs, ours, scratch / "labels")
    return result | ({} if options.busy else {"cost": cost})


def choose(raw: Path, asked: Run, images: Path, labels: Path) -> int:
    """Puts the first cases into two folders; returns how many of them were kept aside from training."""
    listed = [(part, path) for part in ("Ts", "Tr") for path in sorted((raw / f"labels{part}").glob("*"))]
    for folder in (images, labels):
        folder.mkdir(parents=True)
    for part, path in listed[: asked.cases]:
        key, _, ending = path.name.partition(".")
        files = {channel: images for channel in (raw / f"images{part}").glob(f"{key}_[0-9][0-9][0-9][0-9].{ending}")}
        corner = None if asked.cut is None else corner_of(sitk.ReadImage(str(path)), asked.cut)
        for file, folder in [(path, labels), *files.items()]:
            if corner is None:
                (folder / file.name).symlink_to(file.resolve())
            else:
                part_of = sitk.RegionOfInterest(sitk.ReadImage(str(file)), asked.cut, corner)
                sitk.WriteImage(part_of, str(folder / file.name))
    return sum(part == "Ts" for part, _ in listed[: asked.cases])


def corner_of(label: sitk.Image, size: tuple[int, int, int]) -> list[int]:
    """Of the box of this size (x, y, z) around the middle of the foreground, within the image."""
    known = np.nonzero(sitk.GetArrayViewFromImage(label))[::-1]
    middle = [int(axis.min() + axis.max()) // 2 for axis in known]
    return [min(max(0, m - n // 2), full - n) for m, n, full in zip(middle, size, label.GetSize())]


def agreement(theirs: Path, ours: Path, reference: Path) -> dict[str, Any]:
    """Voxels that differ, and both programs' Dice of the foreground, so that one sees that it is no noise."""
    cases, different, voxels = {}, 0, 0
    for path in sorted(path for path in theirs.iterdir() if path.name.endswith((".nii.gz", ".png"))):
        a, b, truth = (sitk.GetArrayFromImage(sitk.ReadImage(str(f / path.name))) for f in (theirs, ours, reference))
        differ = int((a != b).sum())
        dice = [2.0 * ((x > 0) & (truth > 0)).sum() / max(1, (x > 0).sum() + (truth > 0).sum()) for x in (a, b)]
        cases[path.name.split(".")[0]] = {
            "voxels": a.size,
            "differ": differ,
            "dice_nnunet": round(float(dice[0]), 4),
            "dice_autoseg": round(float(dice[1]), 4),
        }
        different, voxels = different + differ, voxels + a.size
    worst = min(1 - case["differ"] / case["voxels"] for case in cases.values())
    mean = {k: round(float(np.mean([c[k] for c in cases.values()])), 4) for k in ("dice_nnunet", "dice_autoseg")}
    same = {"cases": len(cases), "same_labels": round(1 - different / voxels, 7), "worst_case": round(worst, 6)}
    return same | mean | {"table": cases}


def run(words: list[Any]) -> dict[str, float]:
    return measured([str(word) for word in words])


if __name__ == "__main__":
    main()
