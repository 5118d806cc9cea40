"""How long the page of 200 validated cases takes, how large it is, and how much memory writing it needs.

    python benchmarks/report_time.py -o results/report_time.json
    python benchmarks/report_time.py --of my_data --workspace autoseg_workspace

Without ``--of`` it makes cases of balls in noise, plans them and leaves what the validation of five folds leaves,
without training: predictions (the ball, moved by some voxels), their scores, calibration, predicted quality. Then
``autoseg report`` runs with pictures and volumes, and without. Seconds of processor are those of all its threads; a
page must take less than 60 s of two cores and 15 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import load
import numpy as np

from autoseg.core.machine import cores, processor
from autoseg.core.records import write_json
from autoseg.data.label_maps import files_in, read_label_map, write_label_map
from autoseg.evaluation.calibration import Calibration, binned
from autoseg.evaluation.quality_table import QUALITY, Quality, write_quality
from autoseg.pipeline.evaluate import Scorer, score_pairs
from autoseg.run_status import RunStatus
from autoseg.training.log import MetricsTable
from autoseg.workspace import DatasetFolder, Workspace

CONFIGURATION = "2d"
SHAPE = (32, 80, 80)
MOST_SECONDS, MOST_BYTES = 60, 15_000_000
THREADS = "2"
MB = 1e6


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--cases", type=int, default=200)
    command.add_argument("--of", help="dataset of --workspace that was trained; none: cases are made")
    command.add_argument("--workspace", type=Path, default=Path("autoseg_workspace"))
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        name, workspace = (options.of, options.workspace) if options.of else made(root, options.cases)
        files = Workspace(workspace).dataset_folder(name)
        result = {
            "command": "python benchmarks/report_time.py" + (f" --of {name}" if options.of else ""),
            "processor": processor(),
            "cores": cores(),
            "cases": len(files.read_dataset().cases),
            "voxels of the first": next(iter(files.read_fingerprint().cases.values())).shape,
            "with pictures": measured(root, name, workspace),
            "without": measured(root, name, workspace, "--no-pictures"),
        }
    page = result["with pictures"]
    result["holds"] = page["processor_s"] < MOST_SECONDS and page["bytes"] < MOST_BYTES
    text = json.dumps(result, indent=2)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


def made(root: Path, cases: int) -> tuple[str, Path]:
    """The dataset's name and its workspace, with five validated folds."""
    load.make_cases(root / load.NAME, cases, SHAPE)
    at = ("--planner", "tiny", "-c", CONFIGURATION, "--workspace", str(root / "ws"), "--no-report", "--quiet")
    subprocess.run([sys.executable, "-m", "autoseg", "plan_and_preprocess", str(root / load.NAME), *at], check=True)
    files = Workspace(root / "ws").dataset_folder(load.NAME)
    for fold in range(5):
        validate(files, str(fold))
    return load.NAME, root / "ws"


def validate(files: DatasetFolder, fold: str) -> None:
    """What a training leaves in the folder of its fold."""
    dataset, plan, run = files.read_dataset(), files.read_plan(), files.run(CONFIGURATION, fold)
    write_json(run.effective, plan)
    write_json(run.status, RunStatus("finished", "here", 1, 1.7e9, iteration=1, progress=1.0, dice=0.8), sealed=True)
    table = MetricsTable(run.metrics, [])
    for epoch in range(1, 101):
        table.add({"epoch": epoch, "iteration": epoch, "seconds_trained": epoch, "loss": 1 / epoch, "dice": 0.8})
    pairs, calibration, quality = {}, {}, {}
    for key in files.read_folds().named(fold).validation:
        reference, geometry = read_label_map(dataset.case(key).label_files, dataset.labels)
        found = np.roll(reference, int(key[-3:]) % 4, 2)
        paths = files_in(run.validation, key, dataset.file_ending, dataset.labels)
        write_label_map(found, geometry, paths, dataset.labels)
        pairs[key] = (dataset.case(key).label_files, paths)
        codes = (255 * found).ravel()
        counts = (np.bincount(each, minlength=256) for each in (codes, codes[reference.ravel() > 0]))
        calibration[key] = {"ball": binned(*counts)}
        quality[key] = {"ball": Quality(0.9 - 0.001 * int(key[-3:]))}
    write_json(run.calibration, Calibration(calibration), sealed=True)
    write_quality(run.validation / QUALITY, quality)
    score_pairs(pairs, Scorer(dataset.labels), run.validation)


def measured(root: Path, name: str, workspace: Path, *words: str) -> dict[str, float]:
    """Of one page, in a process of its own."""
    page = root / f"page{len(words)}.html"
    line = ["report", name, "-o", str(page), "--threads", THREADS, "--workspace", str(workspace), *words]
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "autoseg", *line], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"autoseg {' '.join(line)} failed")
    return {
        "processor_s": round(used.ru_utime + used.ru_stime, 1),
        "elapsed_s": round(time.monotonic() - begun, 1),
        "bytes": page.stat().st_size,
        "peak_mb": round(used.ru_maxrss * 1024 / MB),
    }


if __name__ == "__main__":
    main()
