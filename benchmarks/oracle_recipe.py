"""Writes tests/training/nnunet_recipe.json: how nnU-Net v2 2.8.1 trains, read off its own objects.

Run with a Python that has nnunetv2 2.8.1: ``nnUNet_results=EMPTY_FOLDER python benchmarks/oracle_recipe.py``.
"""

import json
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

PATCHES = ((128, 128, 128), (40, 56, 40), (20, 256, 224), (16, 320, 320), (32, 96, 96), (64, 192, 160))
PATCHES_2D = ((256, 256), (512, 256), (192, 160), (56, 40))
STAGES = (2, 3, 4, 6)
ITEMS = (int, float, str, bool, tuple, list)


def main() -> None:
    trainer = _trainer((128, 128, 128), stages=6)
    optimizer, schedule = trainer.configure_optimizers()
    rates = []
    for epoch in range(trainer.num_epochs):
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    recipe = {
        "trainer": {name: value for name, value in vars(trainer).items() if isinstance(value, int | float)},
        "optimizer": {key: value for key, value in optimizer.defaults.items() if isinstance(value, ITEMS)},
        "learning_rates": {epoch: rates[epoch] for epoch in (0, 1, 10, 250, 500, 900, 999)},
        "supervision": {stages: _trainer((64, 64, 64), stages)._build_loss().weight_factors for stages in STAGES},
        "loss": _values(trainer._build_loss().loss) | _values(trainer._build_loss().loss.dc),
        "transforms": _transforms(trainer, flat=False),
        "transforms_of_flat_patches": _transforms(trainer, flat=True),
        "patches": [_patch(patch) for patch in (*PATCHES, *PATCHES_2D)],
    }
    path = Path(__file__).parent.parent / "tests" / "training" / "nnunet_recipe.json"
    path.write_text(json.dumps(recipe, indent=1) + "\n")


def _trainer(patch: tuple[int, ...], stages: int) -> nnUNetTrainer:
    """A trainer of two labels that has not been initialised, since that asks for a dataset."""
    strides = [[1] * len(patch), *[[2] * len(patch)] * (stages - 1)]
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {"strides": strides},
        "_kw_requires_import": [],
    }
    configuration = {"patch_size": patch, "batch_size": 2, "batch_dice": False, "architecture": architecture}
    configuration |= {"data_identifier": "c"}
    plans = {"dataset_name": "Dataset001_X", "plans_name": "p", "label_manager": "LabelManager"}
    plans |= {"configurations": {"c": configuration}, "continue_training": False}
    dataset = {"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "MR"}}
    trainer = nnUNetTrainer(plans, "c", 0, dataset, torch.device("cpu"))
    trainer.network = torch.nn.Linear(1, 1)
    return trainer


def _transforms(trainer: nnUNetTrainer, *, flat: bool) -> list[dict[str, Any]]:
    composed = trainer.get_training_transforms(
        (128, 128, 128), (-0.5, 0.5), None, (0, 1, 2), flat, use_mask_for_norm=[True]
    )
    return [
        {"name": type(inner).__name__, "probability": getattr(each, "apply_probability", 1)} | _values(inner)
        for each in composed.transforms
        for inner in [getattr(each, "transform", each)]
    ]


def _values(thing: Any) -> dict[str, Any]:
    """Its plain attributes; a range that is drawn on either side of 1 is shown as that range."""
    shown = {name: getattr(value, "contrast_range", value) for name, value in vars(thing).items() if name[0] != "_"}
    return {name: value for name, value in shown.items() if isinstance(value, ITEMS)}


def _patch(patch: tuple[int, ...]) -> dict[str, Any]:
    """What follows from the patch: largest angle, rotation within slices only, what is loaded."""
    found = _trainer(patch, stages=3).configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    rotation, flat, loaded, mirrored = found
    return {"patch": patch, "rotation": rotation, "flat": flat, "loaded": loaded.tolist(), "mirrored": mirrored}


if __name__ == "__main__":
    main()
