"""A thousand small cases through check, plan_and_preprocess, predict, evaluate: does anything grow with their number?

python benchmarks/load.py --cases 1000 > results/load.json

Watches every command from outside (Linux): main memory, threads and open files, and when each case was written. No
peer: what counts is that the last hundred cases take as long, and the process as much, as the first hundred.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.core.geometry import Geometry
from autoseg.core.machine import cores, processor
from autoseg.parts.readers import write_channels, write_labels

NAME = "Dataset800_Load"
SHAPE = (16, 32, 32)
SECONDS_BETWEEN_LOOKS = 0.05
COMPARED = 100  # cases, at the beginning and at the end


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--cases", type=int, default=1000)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_cases(root / NAME, options.cases)
        result = {"processor": processor(), "cores": cores(), "cases": options.cases, "commands": run_all(root)}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def make_cases(folder: Path, count: int, shape: tuple[int, int, int] = SHAPE) -> None:
    """Balls in noise, all of one size."""
    axes = np.meshgrid(*(np.arange(edge) - edge / 2 for edge in shape), indexing="ij")
    geometry = Geometry.plain(shape, (2.0, 1.0, 1.0))
    for number in range(count):
        random = np.random.default_rng(number)
        ball = sum(np.square(axis - shift) for axis, shift in zip(axes, random.uniform(-3, 3, 3))) < 30
        image = (100 * ball + random.normal(200, 20, shape)).astype(np.float32)
        write_channels(image[None], geometry, folder / "imagesTr" / f"case_{number:05d}_0000.nii.gz")
        write_labels(ball.astype(np.uint8), geometry, folder / "labelsTr" / f"case_{number:05d}.nii.gz")
    described = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "ball": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described))


def run_all(root: Path) -> dict[str, Any]:
    """Every command's figures; a training of two steps makes the model."""
    raw, plan = str(root / NAME), ("--planner", "tiny", "-c", "3d_fullres", "--set", "training.iterations_per_epoch=2")
    prepared, out = root / "ws" / NAME / "prepared" / "3d_fullres", root / "out"
    found = {
        "check": watched(root, ("check", raw), root / "ws" / NAME / "measured", "*.npz"),
        "plan_and_preprocess": watched(root, ("plan_and_preprocess", raw, *plan), prepared, "*/case.json"),
    }
    watched(root, ("train", NAME, "all", "--epochs", "1", "--device", "cpu"), out, "*")
    found["predict"] = watched(root, ("predict", "-i", f"{raw}/imagesTr", "-o", str(out), "-d", NAME), out, "*.nii.gz")
    found["evaluate"] = watched(root, ("evaluate", f"{raw}/labelsTr", str(out)), out, "none")
    return found


@dataclass
class Seen:
    """Mutable: what a process held, at each look."""

    megabytes: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self, process: int) -> None:
        status = Path(f"/proc/{process}/status").read_text()
        named = dict(line.split(":", 1) for line in status.splitlines())
        if "VmRSS" in named:
            self.megabytes.append(int(named["VmRSS"].split()[0]) / 1e3)
            self.threads.append(int(named["Threads"]))
            self.files.append(len(list(Path(f"/proc/{process}/fd").iterdir())))


def watched(root: Path, words: Sequence[str], written: Path, pattern: str) -> dict[str, Any]:
    """Seconds per case among the first and last ``COMPARED`` files, and the most held in each half of the time."""
    began, seen = time.time(), Seen()
    command = [sys.executable, "-m", "autoseg", *words, "--workspace", str(root / "ws")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            seen.look(process.pid)
        except OSError:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.wait():
        raise SystemExit(f"{' '.join(words)} failed")
    half = len(seen.megabytes) // 2
    result: dict[str, Any] = {"seconds": round(time.time() - began, 1)}
    for name, values in (("megabytes", seen.megabytes), ("threads", seen.threads), ("open files", seen.files)):
        result[f"most {name}, first and second half"] = [max(values[:half]), max(values[half:])]
    times = sorted(path.stat().st_mtime for path in written.glob(pattern))
    if len(times) > 2 * COMPARED:
        paces = (times[COMPARED] - times[0]) / COMPARED, (times[-1] - times[-1 - COMPARED]) / COMPARED
        result["milliseconds per case, first and last hundred"] = [round(1000 * pace, 2) for pace in paces]
    return result


if __name__ == "__main__":
    main()
