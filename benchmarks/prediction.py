"""Wall time, processor time and memory of `nnUNetv2_predict_from_modelfolder` and `autoseg predict`, same weights.

python benchmarks/prediction.py MODEL IMAGES --nnunet ~/nnunet [--precision bfloat16] [--tta none] > result.json

MODEL is a trained nnU-Net folder (plans.json, dataset.json, fold_*); autoseg imports it first, which is not timed.
Memory is the largest sum of the proportional set sizes of all processes of a program, read every 0.2 s (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", type=Path)
    arguments.add_argument("images", type=Path)
    arguments.add_argument("--nnunet", type=Path, required=True, help="virtual environment of nnU-Net")
    arguments.add_argument("--precision", nargs="+", default=["auto"])
    arguments.add_argument("--tta", choices=("none", "full"), default="full")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        autoseg = [sys.executable, "-m", "autoseg"]
        bundle = scratch / "model.zip"
        measured([*autoseg, "import", "nnunet", str(options.model), "--out", str(bundle)])
        theirs = [str(options.nnunet / "bin" / "nnUNetv2_predict_from_modelfolder"), "-m", str(options.model)]
        theirs += ["-i", str(options.images), "-o", str(scratch / "nnunet"), "-f", "0", "-device", "cpu"]
        theirs += ["-npp", "2", "-nps", "2", *(["--disable_tta"] if options.tta == "none" else [])]
        result: dict[str, Any] = {"cores": os.cpu_count(), "cases": len(list(options.images.iterdir()))}
        result["nnunet"] = measured(theirs)
        for precision in options.precision:
            ours = [*autoseg, "predict", "-m", str(bundle), "-i", str(options.images), "-o", str(scratch / precision)]
            ours += ["--tta", options.tta, "--precision", precision]
            result[f"autoseg_{precision}"] = found = measured(ours)
            found["nnunet_over_autoseg"] = {
                name: round(result["nnunet"][name] / found[name], 2) for name in ("wall_s", "cpu_s", "memory_gb")
            }
            found |= compared(scratch / "nnunet", scratch / precision)
            found["command"] = "autoseg " + " ".join(ours[3:4] + ["-m MODEL -i IMAGES -o OUT"] + ours[-4:])
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def measured(command: list[str]) -> dict[str, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"nnUNet_compile": "f"} | {f"nnUNet_{name}": "." for name in ("raw", "preprocessed")}
    program = subprocess.Popen(
        command, env=environment | {"nnUNet_results": "."}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = [0]
    watch = threading.Thread(target=watched, args=(program, peak))
    watch.start()
    said, _ = program.communicate()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    watch.join()
    if program.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "memory_gb": round(peak[0] / 1e9, 2)}


def watched(program: subprocess.Popen[str], peak: list[int]) -> None:
    while program.poll() is None:
        peak[0] = max(peak[0], sum(proportional(process) for process in tree(program.pid)))
        time.sleep(0.2)


def tree(root: int) -> list[int]:
    found = [root]
    for process in found:
        try:
            children = Path(f"/proc/{process}/task").glob("*/children")
            found += [int(child) for path in children for child in path.read_text().split()]
        except OSError:
            continue
    return found


def proportional(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def compared(theirs: Path, ours: Path) -> dict[str, Any]:
    """How far the label maps are the same."""
    voxels = different = foreground = 0
    for path in sorted(theirs.glob("*.nii.gz")):
        expected, found = (sitk.GetArrayFromImage(sitk.ReadImage(folder / path.name)) for folder in (theirs, ours))
        voxels += expected.size
        different += int(np.count_nonzero(expected != found))
        foreground += int(np.count_nonzero(expected))
    return {
        "voxels_equal_percent": round(100 * (1 - different / voxels), 5),
        "different_per_foreground_percent": round(100 * different / max(1, foreground), 4),
    }


if __name__ == "__main__":
    main()
