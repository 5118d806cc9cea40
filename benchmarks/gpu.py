"""What a GPU does with autoseg, in one table: speed, how busy it is, memory and what happens without, bits, prediction.

bash benchmarks/gpu.sh full --nnunet ~/nnunet -o benchmarks/results/gpu.json

``small`` runs the same on a processor with tiny networks: it shows that the script works and nothing about GPUs. How
busy a GPU is, nvidia-smi tells: the mean over the time in which the card holds at least half of the most that it ever
holds. A processor's share is processor time over wall time and cores, from start to end of the command.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load import NAME, make_cases
from prediction import measured
from training_speed import Programs

MILLISECONDS_BETWEEN_LOOKS = 200
TIGHT = 0.7  # of what a training took of the card, for the one that runs out of memory
CONTEXT = 0.5e9  # bytes that CUDA itself takes of a card: not torch's
SCARCE = """
import sys
import torch
from autoseg.cli import main
from autoseg.parts.networks._unet import UNet

share, forward = float(sys.argv[1]), UNet.forward

def limited(network, images):
    if len(images) > 1 and torch.is_grad_enabled():
        raise torch.OutOfMemoryError("injected: memory for one patch only")
    return forward(network, images)

if share:
    torch.cuda.set_per_process_memory_fraction(share)
else:
    UNet.forward = limited
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Form:
    """How much is done."""

    device: str
    shape: tuple[int, int, int]
    cases: int
    planner: str
    iterations: int
    """Per epoch, of two; the second counts."""
    few: int
    """Iterations of trainings of which only the outcome counts."""


FORMS = {
    "full": Form("cuda", (160, 192, 160), 6, "plain_unet", 60, 10),
    "small": Form("cpu", (16, 48, 48), 3, "tiny", 4, 2),
}


@dataclass
class Card:
    """Mutable: what nvidia-smi has told. Nothing where there is none."""

    looks: list[tuple[float, float]] = field(default_factory=list)
    """Percent that it was busy, and MB that were taken."""

    @property
    def gigabytes(self) -> float | None:
        return round(max(taken for _, taken in self.looks) * 2**20 / 1e9, 2) if self.looks else None

    @property
    def busy(self) -> float | None:
        half = max((taken for _, taken in self.looks), default=0.0) / 2
        at_work = [busy for busy, taken in self.looks if taken >= half]
        return round(sum(at_work) / len(at_work) / 100, 2) if at_work else None


@contextmanager
def watched_card(form: Form) -> Iterator[Card]:
    """Looks at the first GPU while the block runs."""
    card = Card()
    if form.device == "cpu":
        yield card
        return
    words = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    program = subprocess.Popen([*words, f"-lms={MILLISECONDS_BETWEEN_LOOKS}"], stdout=subprocess.PIPE, text=True)
    try:
        yield card
    finally:
        program.terminate()
        told = program.communicate()[0].splitlines()
        card.looks += [(float(busy), float(taken)) for busy, _, taken in (line.partition(",") for line in told)]


class Bench:
    """Mutable: a workspace, and the rows of the table."""

    def __init__(self, form: Form, scratch: Path, nnunet: Path | None) -> None:
        self.form, self.scratch, self.rows = form, scratch, dict[str, dict[str, Any]]()
        self.raw, self.workspace = scratch / NAME, scratch / "workspace"
        make_cases(self.raw, form.cases, form.shape)
        if nnunet is None:
            self.autoseg("plan_and_preprocess", str(self.raw), "--planner", form.planner, "-c", "3d_fullres")
        else:
            self.programs = Programs(self.raw, nnunet, scratch, form.iterations, form.device)
            with watched_card(form) as card:
                seconds = self.programs.nnunet_seconds()
            pace = sum(seconds) / len(seconds)
            self.rows["nnU-Net trains"] = {"it/s": round(1 / pace, 2), "busy": card.busy, "card GB": card.gigabytes}

    def autoseg(self, *words: str, workspace: Path | None = None) -> dict[str, float]:
        command = [sys.executable, "-m", "autoseg", *words, "--workspace", str(workspace or self.workspace)]
        return measured(command)

    def training(self, iterations: int, *more: str) -> list[str]:
        wanted = f"training.iterations_per_epoch={iterations}"
        return ["train", NAME, "all", "-c", "3d_fullres", "--device", self.form.device, "--set", wanted, *more]

    def speed(self) -> None:
        with watched_card(self.form) as card:
            took = self.autoseg(*self.training(self.form.iterations, "--epochs", "2"))
        row = self.metrics(self.workspace)
        busy = card.busy if card.looks else round(took["cpu_s"] / took["wall_s"] / (os.cpu_count() or 1), 2)
        self.rows["autoseg trains"] = {
            "it/s": round(1 / float(row["seconds_per_iteration"]), 2),
            "busy": busy,
            "waits": round(float(row["share_waiting_for_data"]), 3),
            "main GB": took["memory_gb"],
            "card GB": card.gigabytes,
        }

    def prediction(self) -> None:
        images, out = str(self.raw / "imagesTr"), str(self.scratch / "out")
        with watched_card(self.form) as card:
            took = self.autoseg("predict", "-i", images, "-o", out, "-d", NAME, "--device", self.form.device)
        row = {"s/case": round(took["wall_s"] / self.form.cases, 2), "main GB": took["memory_gb"]}
        self.rows["autoseg predicts"] = row | {"card GB": card.gigabytes}

    def without_memory(self) -> None:
        """Less memory than a step took: of a GPU really less, on a processor torch's error is injected."""
        share, taken = 0.0, self.rows["autoseg trains"]["card GB"]
        if taken is not None:
            import torch

            share = TIGHT * (1e9 * taken - CONTEXT) / torch.cuda.get_device_properties(0).total_memory
        script, workspace = self.scratch / "scarce.py", self.copied("scarce")
        script.write_text(SCARCE)
        words = [*self.training(self.form.few, "--epochs", "1"), "--workspace", str(workspace)]
        done = subprocess.run([sys.executable, str(script), str(share), *words], capture_output=True, text=True)
        parts = re.search(r"computed in (\d+) parts", done.stderr)
        told = f"survived, in {parts[1]} parts" if parts else "nothing happened"
        survived = done.returncode == 0 and "Traceback" not in done.stderr
        self.rows["out of memory"] = {"outcome": told if survived else f"failed: {done.stderr[-300:]}"}

    def deterministic(self) -> None:
        """Two trainings of a residual network, weight by weight."""
        from safetensors.torch import load_file

        first = self.scratch / "residual_0"
        flags = ("--planner", "residual_m", "-c", "3d_fullres")
        self.autoseg("plan_and_preprocess", str(self.raw), *flags, workspace=first)
        found = []
        for workspace in (first, self.copied("residual_1", first)):
            self.autoseg(*self.training(self.form.few, "--epochs", "1", "--deterministic"), workspace=workspace)
            found.append(load_file(next(workspace.glob("*/runs/*/*/weights.safetensors"))))
        equal = all(bool((found[1][name] == value).all()) for name, value in found[0].items())
        self.rows["--deterministic"] = {"outcome": "equal bit by bit" if equal else "weights differ"}

    def copied(self, name: str, source: Path | None = None) -> Path:
        """A workspace with the same plan and cases and nothing trained."""
        import shutil

        target = self.scratch / name
        shutil.copytree(source or self.workspace, target, ignore=shutil.ignore_patterns("runs"))
        return target

    @staticmethod
    def metrics(workspace: Path) -> dict[str, str]:
        (path,) = workspace.glob("*/runs/*/*/metrics.csv")
        return list(csv.DictReader(path.open()))[-1]


def table(rows: dict[str, dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"{'':18}" + "".join(f"{name:>10}" for name in columns)]
    for name, row in rows.items():
        cells = ("" if row.get(column) is None else str(row[column]) for column in columns)
        lines.append(f"{name:18}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("form", choices=FORMS)
    arguments.add_argument("--nnunet", type=Path, help="virtual environment of nnU-Net, to compare with")
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    import torch

    form = FORMS[options.form]
    if form.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("the full form needs an NVIDIA GPU, and torch sees none; `small` runs on a processor")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(form, Path(folder), options.nnunet)
        for step in (bench.speed, bench.prediction, bench.without_memory, bench.deterministic):
            step()
            sys.stderr.write(f"{step.__name__} done\n")
    device = torch.cuda.get_device_name() if form.device == "cuda" else f"{os.cpu_count()} cores"
    sys.stdout.write(f"{device}, torch {torch.__version__}\n{table(bench.rows)}\n")
    if options.output:
        command = "bash benchmarks/gpu.sh " + " ".join(sys.argv[1:])
        result = {"command": command, "device": device, "torch": torch.__version__, "rows": bench.rows}
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
