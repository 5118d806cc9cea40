"""How much space the probabilities of validation cases take, and whether they decide as the label maps beside them.

    python benchmarks/kept_probabilities.py RUN... -o results/kept_probabilities.json

RUN is the folder of a trained fold, runs/<configuration>/fold_0. Decoding what is kept must give the label map that was
written when the case was predicted; ``float32`` is what nnU-Net stores, before its compression.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from autoseg.inference.stored_probabilities import open_stored
from autoseg.parts.readers import read_labels
from autoseg.pipeline.compare import decided
from autoseg.plan import read_plan
from autoseg.preprocessing.spatial import not_resampled


def measure(run: Path) -> dict[str, object]:
    """Sums over all validation cases of one fold."""
    plan = read_plan(run / "plan.json")
    stored = plain = voxels = foreground = different = 0
    files = sorted((run / "validation" / "probabilities").glob("*.b2nd"))
    for path in files:
        kept = open_stored(path)
        labels, _ = read_labels(run / "validation" / f"{path.stem}{plan.file_ending}")
        found = np.array(plan.labels.values)[decided(kept.read(slice(0, kept.shape[1])), kept.one, plan.labels)]
        inner = kept.before.apply(labels, not_resampled)
        different += int((found != inner).sum())
        foreground += int((labels != plan.labels.values[0]).sum())
        voxels += labels.size
        stored += path.stat().st_size
        plain += 4 * plan.labels.heads * labels.size
    return {
        "dataset": plan.dataset,
        "configuration": plan.default,
        "cases": len(files),
        "heads": plan.labels.heads,
        "voxels": voxels,
        "foreground_voxels": foreground,
        "bytes_kept": stored,
        "bytes_float32": plain,
        "share": round(stored / plain, 4),
        "voxels_decided_otherwise": different,
    }


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("runs", nargs="+", type=Path)
    command.add_argument("-o", "--output", type=Path)
    options = command.parse_args()
    result = {
        "command": "python benchmarks/kept_probabilities.py "
        + " ".join(str(Path(*run.parts[-4:])) for run in options.runs),
        "runs": [measure(run) for run in options.runs],
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
