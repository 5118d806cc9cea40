"""The way back: a model that autoseg trained, exported, predicted by nnU-Net and by autoseg, voxel by voxel.

python benchmarks/export_nnunet.py NAME MODEL IMAGES LABELS --nnunet ~/nnunet -o benchmarks/results/export_nnunet.json

MODEL is a bundle of one configuration, IMAGES and LABELS are folders in nnU-Net's layout with the same cases. Time and
memory are measured as prediction.py does. The result is stored under NAME, beside those of other models.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from import_nnunet import agreement, run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name")
    arguments.add_argument("model", type=Path)
    arguments.add_argument("images", type=Path)
    arguments.add_argument("labels", type=Path)
    arguments.add_argument("--nnunet", type=Path, required=True, help="virtual environment of nnU-Net")
    arguments.add_argument("--folds", nargs="+", default=["0"])
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--busy", action="store_true", help="other programs are running: note no times")
    arguments.add_argument("-o", "--output", type=Path, required=True)
    options = arguments.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # nnU-Net takes it from there
    python = [sys.executable, "-m", "autoseg"]
    done = json.loads(options.output.read_text())["runs"] if options.output.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        exported, ours = Path(folder) / "exported", Path(folder) / "autoseg"
        run([*python, "export", options.model, "--format", "nnunet", "-o", exported])
        (theirs,) = exported.iterdir()
        result: dict[str, Any] = {"exported": theirs.name, "folds": options.folds, "cost": {}}
        for tta in ("full", "none"):
            predicted = Path(folder) / f"nnunet_{tta}"
            words = ["-i", options.images, "-o", predicted, "-m", theirs, "-f", *options.folds, "-device", "cpu"]
            words += ["-npp", "1", "-nps", "1", *(["--disable_tta"] if tta == "none" else [])]
            cost = {"nnunet": run([options.nnunet / "bin" / "nnUNetv2_predict_from_modelfolder", *words])}
            words = ["-m", options.model, "-i", options.images, "-o", ours / tta, "-f", *options.folds]
            cost["autoseg"] = run([*python, "predict", *words, "--tta", tta, "--threads", options.threads])
            result[f"mirroring {tta}"] = agreement(predicted, ours / tta, options.labels)
            result["cost"][f"mirroring {tta}"] = cost
    if options.busy:
        del result["cost"]
    about = {"nnunetv2": "2.8.1", "cores": os.cpu_count(), "threads": options.threads}
    options.output.write_text(json.dumps(about | {"runs": done | {options.name: result}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
