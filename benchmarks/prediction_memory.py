"""Main memory of `autoseg predict`: its largest resident memory, read every 0.2 s, beside its own table of times.

python benchmarks/prediction_memory.py --memory 4GB > result.json
python benchmarks/prediction_memory.py --memory 3GB --setting large_network > result.json

By default 118 classes on 700 x 512 x 512 voxels from a grid of 350 x 300 x 300, by a random network of two layers. The
large network has nnU-Net's feature maps and sees patches of 128 x 128 x 128.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from safetensors.torch import save_file

from autoseg.configuration import Configuration, TrainingRules
from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import write_json
from autoseg.parts.augmentations import none
from autoseg.parts.losses import dice_ce
from autoseg.parts.networks import plain_unet
from autoseg.parts.normalizers import zscore
from autoseg.parts.optimizers import sgd
from autoseg.parts.resamplers import spline
from autoseg.parts.schedules import polynomial
from autoseg.plan import Plan


@dataclass(frozen=True)
class Setting:
    """Voxels along z, y, x."""

    classes: int
    file: tuple[int, int, int]
    grid: tuple[int, int, int]
    features: tuple[int, ...]
    patch: int


SETTINGS = {
    "many_classes": Setting(118, (700, 512, 512), (350, 300, 300), (4, 8), 64),
    "large_network": Setting(3, (192, 192, 192), (192, 192, 192), (32, 64, 128, 256, 320), 128),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--memory", default="4GB")
    arguments.add_argument("--setting", default="many_classes", choices=SETTINGS)
    options = arguments.parse_args()
    setting = SETTINGS[options.setting]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        scratch = Path(folder)
        write_model(scratch / "fold_0", setting)
        noise = np.random.default_rng(0).integers(-100, 100, [edge // 8 + 1 for edge in setting.file])
        inside = tuple(slice(edge) for edge in setting.file)
        image = np.kron(noise, np.ones((8, 8, 8), np.int16)).astype(np.int16)[inside]
        (scratch / "in").mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(image), scratch / "in" / "case_0000.nii.gz", True)
        command = [sys.executable, "-m", "autoseg", "predict", "-m", str(scratch / "fold_0"), "-i", str(scratch / "in")]
        command += ["-o", str(scratch / "out"), "--tta", "none", "--memory", options.memory]
        start = time.perf_counter()
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        peak = 0
        while program.poll() is None:
            peak = max(peak, resident(program.pid))
            time.sleep(0.2)
        said = program.communicate()[0]
        labels = (
            sitk.GetArrayFromImage(sitk.ReadImage(scratch / "out" / "case.nii.gz")) if not program.returncode else []
        )
        result = {
            "command": "python benchmarks/prediction_memory.py " + " ".join(sys.argv[1:]),
            "predicted_with": f"autoseg predict --tta none --memory {options.memory}",
            "cores": os.cpu_count(),
            "patch": setting.patch,
            "exit": program.returncode,
            "wall_s": round(time.perf_counter() - start, 1),
            "resident_gb": round(peak / 1e9, 2),
            "classes_found": len(np.unique(labels)),
            "said": said.splitlines(),
        }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def write_model(folder: Path, setting: Setting) -> None:
    stages, blocks = len(setting.features), 1 if len(setting.features) == 2 else 2
    network = plain_unet.Spec(
        features=setting.features,
        kernels=((3, 3, 3),) * stages,
        strides=((1, 1, 1), *((2, 2, 2),) * (stages - 1)),
        blocks_encoder=(blocks,) * stages,
        blocks_decoder=(blocks,) * (stages - 1),
    )
    configuration = Configuration(
        spacing=tuple(file / grid for file, grid in zip(setting.file, setting.grid)),  # type: ignore[arg-type]
        median_shape=setting.grid,
        patch_size=(setting.patch,) * 3,
        batch_size=2,
        normalizers=(zscore.Spec(),),
        resampler=spline.Spec(),
        network=network,
        loss=dice_ce.Spec(batch_dice=False),
        augmentation=none.Spec(),
        optimizer=sgd.Spec(),
        schedule=polynomial.Spec(),
        training=TrainingRules(epochs=1),
    )
    labels = ExclusiveLabels({"background": 0, **{f"organ_{number}": number for number in range(1, setting.classes)}})
    plan = Plan(
        "Dataset999_Many",
        "tiny",
        (0, 1, 2),
        ("CT",),
        labels,
        ".nii.gz",
        (),
        {"3d_fullres": configuration},
        "3d_fullres",
    )
    torch.manual_seed(0)
    folder.mkdir()
    write_json(folder / "plan.json", plan)
    save_file(network.build(InputSpec.of_image(1), setting.classes).state_dict(), folder / "weights.safetensors")


def resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    main()
