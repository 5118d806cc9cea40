"""nnU-Net models, imported: both programs predict the same cases, label maps are compared voxel by voxel.

python benchmarks/nnunet_models.py DATA WORK           # with nnU-Net's Python: trains the models
python benchmarks/import_nnunet.py WORK [RUN ...] --nnunet ~/nnunet -o benchmarks/results/import_nnunet.json

Both programs run in turn, with the same number of threads. Memory is the sum of the proportional set sizes of all
processes of a program, sampled five times a second. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

RUNS: dict[str, tuple[str, str, tuple[str, ...], bool]] = {
    # name: (model, dataset, folds, mirroring)
    "hippocampus fold 0": ("nnUNetTrainer__nnUNetPlans__hippocampus", "Dataset904_Hippocampus", ("0",), True),
    "hippocampus fold 1": ("nnUNetTrainer__nnUNetPlans__hippocampus", "Dataset904_Hippocampus", ("1",), True),
    "hippocampus ensemble": ("nnUNetTrainer__nnUNetPlans__hippocampus", "Dataset904_Hippocampus", ("0", "1"), True),
    "hippocampus, no mirroring": ("nnUNetTrainer__nnUNetPlans__hippocampus", "Dataset904_Hippocampus", ("0",), False),
    "acdc 3d": ("nnUNetTrainer__nnUNetPlans__acdc", "Dataset927_ACDC", ("0",), True),
    "acdc 2d": ("nnUNetTrainer__nnUNetPlans__acdc_2d", "Dataset927_ACDC", ("0",), True),
    "chaos, turned": ("nnUNetTrainerNoMirroring__nnUNetPlans__chaos_turned", "Dataset938_CHAOST2SPIR", ("all",), True),
    "lesions": ("nnUNetTrainer__nnUNetResEncUNetMPlans__lesions", "Dataset947_OpenMSLesionMNI", ("all",), False),
    "nuclei": ("nnUNetTrainer__nnUNetResEncUNetMPlans__nuclei", "Dataset911_DSB2018Nuclei", ("0",), True),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("work", type=Path)
    arguments.add_argument("runs", nargs="*", default=list(RUNS), metavar="RUN")
    arguments.add_argument("--nnunet", type=Path, required=True, help="virtual environment of nnU-Net")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--precision", nargs="+", default=["auto", "bfloat16"], help="of autoseg, each is compared")
    arguments.add_argument("--busy", action="store_true", help="other programs are running: note no times")
    arguments.add_argument("-o", "--output", type=Path, required=True)
    options = arguments.parse_args()
    done = json.loads(options.output.read_text())["runs"] if options.output.exists() else {}
    for name in options.runs:
        done[name] = compare(name, options)
        cores = {"cores": os.cpu_count(), "threads": options.threads}
        options.output.write_text(json.dumps({"nnunetv2": "2.8.1", **cores, "runs": done}, indent=1) + "\n")


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    model, dataset, folds, mirroring = RUNS[name]
    trained, raw = options.work / "results" / dataset / model, options.work / "raw" / dataset
    aside = (raw / "imagesTs").is_dir()
    images = raw / ("imagesTs" if aside else "imagesTr")
    scratch = options.work / "compared" / name.replace(" ", "_").replace(",", "")
    shutil.rmtree(scratch, ignore_errors=True)
    theirs, bundle = scratch / "nnunet", scratch / "bundle"
    python = [sys.executable, "-m", "autoseg"]
    run([*python, "import", "nnunet", trained, "--out", bundle], options)
    words = ["-i", images, "-o", theirs, "-m", trained, "-f", *folds, "-device", "cpu", "-npp", "1", "-nps", "1"]
    program = options.nnunet / "bin" / "nnUNetv2_predict_from_modelfolder"
    cost = {"nnunet": run([program, *words, *([] if mirroring else ["--disable_tta"])], options)}
    result: dict[str, Any] = {"model": model, "cases_not_used_in_training": aside, "mirroring": mirroring}
    for precision in options.precision:
        ours = scratch / precision
        words = ["-m", bundle, "-i", images, "-o", ours, "-f", *folds, "--precision", precision]
        words += ["--threads", options.threads, "--tta", "full" if mirroring else "none"]
        cost[f"autoseg {precision}"] = run([*python, "predict", *words], options)
        result[precision] = agreement(theirs, ours, raw / ("labelsTs" if aside else "labelsTr"))
    return result | ({} if options.busy else {"cost": cost})


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


def run(words: list[Any], options: argparse.Namespace) -> dict[str, float]:
    """Seconds and peak memory (MB) of a program with all its processes."""
    environment = os.environ | {"nnUNet_compile": "f", "OMP_NUM_THREADS": str(options.threads)}
    folders = {name: str(options.work) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    start = time.perf_counter()
    with subprocess.Popen(
        list(map(str, words)), env=environment | folders, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        peak = [0]
        watcher = threading.Thread(target=watch, args=(program, peak), daemon=True)
        watcher.start()
        said = program.communicate()[0]
        seconds = time.perf_counter() - start
    if program.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{said[-3000:]}")
    return {"seconds": round(seconds, 1), "peak_mb": round(peak[0] / 1024)}


def watch(program: subprocess.Popen[str], peak: list[int]) -> None:
    while program.poll() is None:
        peak[0] = max(peak[0], sum(map(proportional_set_kb, tree(program.pid))))
        time.sleep(0.2)


def tree(root: int) -> set[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def proportional_set_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
