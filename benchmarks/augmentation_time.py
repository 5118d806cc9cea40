"""Processor milliseconds to augment a batch: autoseg's standard augmentation and nnU-Net's transforms, in turn.

python benchmarks/augmentation_time.py --nnunet ~/nnunet

Both with their default probabilities on made-up patches with two labels, of the size that each loads (autoseg of every
patch what was drawn for it needs), one thread, what is drawn included, targets for deep supervision left out. Processor
time, so that a busy machine matters less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SETTINGS = (  # patch, batch, channels, largest angle in degrees
    ((40, 56, 40), 2, 1, 30),
    ((40, 56, 40), 7, 1, 30),
    ((40, 56, 40), 2, 4, 30),
    ((256, 256), 12, 1, 180),
)
ROUNDS, BATCHES = 3, 40


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--nnunet", type=Path, help="virtual environment of nnU-Net")
    arguments.add_argument("--one", choices=("autoseg", "nnunet"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        print(json.dumps([milliseconds(step) for step in (autoseg if options.one == "autoseg" else nnunet)()]))
        return
    python = {"autoseg": sys.executable, "nnunet": str(options.nnunet / "bin" / "python")}
    found: dict[str, list[list[float]]] = {"autoseg": [], "nnunet": []}
    for _ in range(ROUNDS):
        for program, rows in found.items():
            command = [python[program], __file__, "--one", program]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    ours, theirs = ([statistics.median(column) for column in zip(*rows)] for rows in found.values())
    result = {
        "command": " ".join(["python", *sys.argv]),
        "cores": os.cpu_count(),
        "settings": [
            {"patch": patch, "batch": batch, "channels": channels, "autoseg_ms": own, "nnunet_ms": other}
            | {"nnunet_over_autoseg": round(other / own, 1)}
            for (patch, batch, channels, _), own, other in zip(SETTINGS, ours, theirs)
        ],
    }
    print(json.dumps(result, indent=2))


def milliseconds(step: Callable[[int], object]) -> float:
    """Mean of ``step(number)`` over batches."""
    import torch

    torch.set_num_threads(1)
    for number in range(3):
        step(number)
    began = time.process_time()
    for number in range(BATCHES):
        step(number)
    return round(1e3 * (time.process_time() - began) / BATCHES, 2)


def autoseg() -> list[Callable[[int], object]]:
    """A step per setting."""
    import numpy as np
    import torch

    from autoseg.parts.augmentations import standard

    def step(patch: tuple[int, ...], batch: int, channels: int, degrees: int) -> Callable[[int], object]:
        spec = standard.Spec(rotation_degrees=float(degrees))
        image, labels = made_up(spec.loaded_shape(patch), channels)
        axes = tuple(range(len(patch)))

        def loaded(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
            start = [(whole - edge) // 2 for whole, edge in zip(labels.shape, shape)]
            window = tuple(slice(first, first + edge) for first, edge in zip(start, shape))
            return torch.from_numpy(image[(slice(None), *window)]).half(), torch.from_numpy(labels[window])

        def run(number: int) -> object:
            random = np.random.default_rng(number)
            params = spec.draw(random, batch=batch, channels=channels, mirror_axes=axes, dimensions=len(patch))
            images, targets = zip(*(loaded(spec.needed_shape(params, index, patch)) for index in range(batch)))
            return spec.apply(images, targets, params, patch)

        return run

    return [step(*setting) for setting in SETTINGS]


def nnunet() -> list[Callable[[int], object]]:
    """A step per setting."""
    import numpy as np
    import torch
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    def step(patch: tuple[int, ...], batch: int, channels: int, degrees: int) -> Callable[[int], object]:
        angle = (-np.radians(degrees), np.radians(degrees))
        axes = tuple(range(len(patch)))
        transforms = nnUNetTrainer.get_training_transforms(patch, angle, None, axes, False)
        image, labels = made_up(get_patch_size(patch, angle, angle, angle, (0.85, 1.25)), channels)
        images, targets = torch.from_numpy(image), torch.from_numpy(labels.astype(np.int16))[None]

        def run(number: int) -> object:
            np.random.seed(number)
            torch.manual_seed(number)
            return [transforms(image=images.clone(), segmentation=targets.clone()) for _ in range(batch)]

        return run

    return [step(*setting) for setting in SETTINGS]


def made_up(shape, channels):  # type: ignore[no-untyped-def]
    """Noise, and a box of one label in a box of another."""
    import numpy as np

    image = np.random.default_rng(0).standard_normal((channels, *shape)).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    for label, share in ((1, 4), (2, 8)):
        labels[tuple(slice(edge // 2 - edge // share, edge // 2 + edge // share) for edge in shape)] = label
    return image, labels


if __name__ == "__main__":
    main()
