"""How long the page of 200 validated cases takes, how large it is, and how much memory writing it needs.

    python benchmarks/report_time.py -o results/report_time.json
    python benchmarks/report_time.py --of my_data --workspace autoseg_workspace

Without ``--of`` it makes cases of balls in noise, plans them and trains five folds for a few steps, whose validation
leaves all that a page is made of: scores, predictions, calibration, predicted quality. Then ``autoseg report`` runs with
pictures and volumes, and without. Seconds of processor are those of all its threads; a page must take less than 60 s of
two cores and 15 MB.
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

from autoseg.core.machine import cores, processor
from autoseg.workspace import Workspace

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
    at = ("--workspace", str(root / "ws"), "--no-report", "--quiet")
    run("plan_and_preprocess", str(root / load.NAME), "--planner", "tiny", "-c", "2d", *at)
    run("train", load.NAME, "cv", "-c", "2d", "--epochs", "1", "--set", "training.iterations_per_epoch=20", *at)
    return load.NAME, root / "ws"


def run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *words], check=True)


def measured(root: Path, name: str, workspace: Path, *words: str) -> dict[str, float]:
    """Of one page, in a process of its own."""
    page = root / f"page{len(words)}.html"
    line = ["report", name, "-o", str(page), "--threads", THREADS, "--workspace", str(workspace), "--quiet", *words]
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "autoseg", *line])
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
