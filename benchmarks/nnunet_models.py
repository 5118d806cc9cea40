"""Trains small nnU-Net models on real data for a few iterations, so that there is something to import.

Run it with the Python of an environment that has nnunetv2 2.8.1:

python benchmarks/nnunet_models.py DATA WORK [MODEL ...]

DATA holds datasets in nnU-Net's raw layout. WORK becomes nnU-Net's three folders; cases that are kept aside lie in
WORK/raw/DATASET/imagesTs and labelsTs. Without names every model is trained, about twelve minutes on two cores.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CASCADE = {
    "3d_lowres": {
        "inherits_from": "small",
        "data_identifier": "nnUNetPlans_3d_lowres",
        "spacing": [1.5, 1.5, 1.5],
        "patch_size": [24, 40, 24],
        "next_stage": "3d_cascade_fullres",
    },
    "3d_cascade_fullres": {"inherits_from": "small", "previous_stage": "3d_lowres"},
}
MODELS: dict[str, dict[str, Any]] = {
    # name: source, number of the new dataset, cases kept aside, and how the planned configuration is shrunk
    "hippocampus": {"source": 4, "id": 904, "aside": 40, "base": "3d_fullres", "folds": ["0", "1"]},
    "hippocampus_2d": {"source": 4, "id": 904, "aside": 40, "base": "2d", "folds": ["0"], "batch_size": 8},
    "acdc": {"source": 27, "id": 927, "aside": 10, "base": "3d_fullres", "patch_size": [8, 96, 96], "folds": ["0"]},
    "acdc_2d": {"source": 27, "id": 927, "aside": 10, "base": "2d", "patch_size": [96, 96], "batch_size": 6,
                "folds": ["0"]},
    "brats_regions": {"source": 2, "id": 902, "aside": 1, "base": "3d_fullres", "patch_size": [40, 48, 48],
                      "planner": "nnUNetPlannerResEncM", "folds": ["all"],
                      "labels": {"background": 0, "whole": [1, 2, 3, 4], "core": [1, 3, 4], "enhancing": [4]},
                      "regions_class_order": [2, 1, 4]},
    "lesions": {"source": 47, "id": 947, "aside": 0, "base": "3d_fullres", "patch_size": [40, 48, 48],
                "planner": "nnUNetPlannerResEncM", "folds": ["all"]},
    "chaos_turned": {"source": 38, "id": 938, "aside": 2, "base": "3d_fullres", "patch_size": [8, 96, 96],
                     "mirror": None, "folds": ["all"], "turned": True, "epochs": 40},
    "scribbles": {"source": 28, "id": 928, "aside": 2, "base": "2d", "patch_size": [96, 96], "batch_size": 6,
                  "mirror": (0,), "folds": ["all"]},
    "nuclei": {"source": 111, "id": 911, "aside": 10, "base": "2d", "patch_size": [96, 96], "batch_size": 6,
               "planner": "nnUNetPlannerResEncM", "folds": ["0"]},
    "cascade": {"source": 4, "id": 905, "aside": 170, "base": "3d_fullres", "folds": ["all"],
                "configurations": CASCADE, "train": ["3d_lowres", "3d_cascade_fullres"]},
}  # fmt: skip
ITERATIONS = 40  # per epoch
EPOCHS = 4
LEARNING_RATE = 5e-3


def turn(source: Path, target: Path) -> None:
    """The same anatomy with the slice axis first in the file, and the whole grid at an angle."""
    import numpy as np
    import SimpleITK as sitk

    image = sitk.PermuteAxes(sitk.ReadImage(str(source)), [2, 0, 1])
    angle = np.deg2rad(7)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    image.SetDirection((rotation @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    sitk.WriteImage(image, str(target), True)


def make_dataset(data: Path, raw: Path, model: dict[str, Any]) -> Path:
    """The cases to train on, and those kept aside, as a new dataset; returns its folder."""
    source = next(data.glob(f"Dataset{model['source']:03d}_*"))
    folder = raw / f"Dataset{model['id']:03d}_{source.name.split('_')[1]}"
    if folder.exists():
        return folder
    described = json.loads((source / "dataset.json").read_text())
    ending = described["file_ending"]
    labels = sorted((source / "labelsTr").glob(f"*{ending}"))
    count = len(labels) - model["aside"]
    for number, label in enumerate(labels):
        part = "Tr" if number < count else "Ts"
        key = label.name.removesuffix(ending)
        for path in [label, *source.glob(f"imagesTr/{key}_[0-9][0-9][0-9][0-9]{ending}")]:
            target = folder / f"{'labels' if path is label else 'images'}{part}" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            turn(path, target) if model.get("turned") else target.symlink_to(path.resolve())
    described |= {"numTraining": count}
    described |= {name: model[name] for name in ("labels", "regions_class_order") if name in model}
    (folder / "dataset.json").write_text(json.dumps(described, indent=2))
    return folder


def shrunk(configuration: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """What differs from the planned configuration: fewer features and stages, a smaller patch and batch."""
    features = model.get("features", [8, 16, 32])
    stages = len(features)
    arguments = dict(configuration["architecture"]["arch_kwargs"])
    arguments |= {"n_stages": stages, "features_per_stage": features}
    for name in ("kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage"):
        if name in arguments:
            arguments[name] = arguments[name][:stages]
    if "n_blocks_per_stage" in arguments:
        arguments["n_blocks_per_stage"] = [1, 2, 2][:stages]
    arguments["n_conv_per_stage_decoder"] = arguments["n_conv_per_stage_decoder"][: stages - 1]
    return {
        "inherits_from": model["base"],
        "patch_size": model.get("patch_size", configuration["patch_size"]),
        "batch_size": model.get("batch_size", 2),
        "architecture": configuration["architecture"] | {"arch_kwargs": arguments},
    }


def prepare(folder: Path, model: dict[str, Any], preprocessed: Path, name: str) -> tuple[str, list[str]]:
    """Plans and preprocesses where that has not been done; returns the name of the plans and what to train."""
    binaries = Path(sys.executable).parent
    planner = model.get("planner", "ExperimentPlanner")
    plans = {"ExperimentPlanner": "nnUNetPlans"}.get(planner, planner.replace("nnUNetPlanner", "nnUNet") + "Plans")
    plans = "nnUNetResEncUNetMPlans" if planner == "nnUNetPlannerResEncM" else plans
    number = str(model["id"])
    path = preprocessed / folder.name / f"{plans}.json"
    if not path.exists():
        subprocess.run([binaries / "nnUNetv2_extract_fingerprint", "-d", number, "-np", "2"], check=True)
        subprocess.run([binaries / "nnUNetv2_plan_experiment", "-d", number, "-pl", planner], check=True)
    planned = json.loads(path.read_text())
    base = planned["configurations"][model["base"]]
    small = shrunk(base, model)
    added = {"small": small} | model["configurations"] if "configurations" in model else {name: small}
    planned["configurations"] |= added
    path.write_text(json.dumps(planned, indent=2))
    train = model.get("train", [name])
    for title in {model["base"], *train}:
        entry = planned["configurations"][title]
        identifier = entry.get("data_identifier", base["data_identifier"])
        if not (preprocessed / folder.name / identifier).exists():
            subprocess.run(
                [binaries / "nnUNetv2_preprocess", "-d", number, "-plans_name", plans, "-c", title, "-np", "2"],
                check=True,
            )
    return plans, train


def quicken(trainer: Any, model: dict[str, Any]) -> None:
    """Few iterations must do: Adam instead of a momentum of 0.99, and of all augmentation only the mirroring.

    Trainers without mirroring cannot be had by name here: the search for them imports torchvision.
    """
    import torch
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

    planned = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size

    def without_margin() -> tuple[Any, ...]:
        rotation, flat, _, axes = planned()
        axes = model.get("mirror", axes)
        trainer.inference_allowed_mirroring_axes = axes
        return rotation, flat, trainer.configuration_manager.patch_size, axes

    def transforms(patch: Any, rotation: Any, scales: Any, axes: Any, flat: bool, **of_labels: Any) -> Any:
        of_labels.pop("use_mask_for_norm")
        mirroring = [MirrorTransform(axes)] if axes else []
        return ComposeTransforms([*mirroring, trainer.get_validation_transforms(scales, **of_labels)])

    def optimizer() -> tuple[Any, Any]:
        adam = torch.optim.AdamW(trainer.network.parameters(), LEARNING_RATE, weight_decay=3e-5)
        return adam, PolyLRScheduler(adam, LEARNING_RATE, trainer.num_epochs)

    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size = without_margin
    trainer.get_training_transforms = transforms
    trainer.configure_optimizers = optimizer
    trainer.oversample_foreground_percent = 1.0


def train(folder: Path, plans: str, configuration: str, fold: str, model: dict[str, Any]) -> None:
    """A training in nnU-Net's own loop with few and short epochs, gone on with where a shorter one has ended.

    A first stage also predicts for the second.
    """
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    torch.manual_seed(0)
    trainer = get_trainer_from_args(
        folder.name,
        configuration,
        fold if fold == "all" else int(fold),
        "nnUNetTrainer",
        plans,
        device=torch.device("cpu"),
    )
    trainer.num_epochs = model.get("epochs", EPOCHS)
    quicken(trainer, model)
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = ITERATIONS, 2
    final = Path(trainer.output_folder) / "checkpoint_final.pth"
    if final.exists():  # after fewer epochs, perhaps
        trainer.load_checkpoint(str(final))
    if trainer.current_epoch < trainer.num_epochs:
        trainer.run_training()
        if trainer.configuration_manager.next_stage_names:
            trainer.perform_actual_validation()


def set_up(work: Path) -> dict[str, Path]:
    """nnU-Net's three folders, by the names of their variables."""
    variables = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    folders = {name: (work / name.removeprefix("nnUNet_")).absolute() for name in variables}
    for variable, path in folders.items():
        path.mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(path)
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f", "nnUNet_def_n_proc": "2"}
    # On a busy machine torch's threads wait for each other in a busy loop, which makes an iteration ten times as long.
    os.environ |= {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    return folders


def main(data: Path, work: Path, names: list[str]) -> None:
    folders = set_up(work)
    for name in names or list(MODELS):
        model = MODELS[name]
        folder = make_dataset(data, folders["nnUNet_raw"], model)
        plans, configurations = prepare(folder, model, folders["nnUNet_preprocessed"], name)
        for configuration in configurations:
            for fold in model["folds"]:
                train(folder, plans, configuration, fold, model)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
