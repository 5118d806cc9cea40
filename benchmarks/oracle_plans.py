"""Plans that nnU-Net v2 makes for random fingerprints, stored for the tests. Run it with a Python that has nnunetv2:

python benchmarks/oracle_plans.py tests/planners/nnunet_plans.json [number of fingerprints]

Neither images nor training are needed: the planner gets a made-up fingerprint and dataset.json.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CHANNELS = ("CT", "T1", "noNorm", "rescale_to_0_1", "R", "zscore", "rgb_to_0_1", "ADC")
FIELDS = ("patch_size", "batch_size", "spacing", "normalization_schemes", "use_mask_for_norm", "batch_dice")
NETWORK_FIELDS = ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_conv_per_stage_decoder")


def random_fingerprint(random: np.random.Generator) -> dict[str, Any]:
    """A dataset of one of the kinds one meets: isotropic, thick slices along any axis, 2-D, large, tiny."""
    kind = random.choice(["isotropic", "thick", "very thick", "2d", "anything", "same"])
    cases = int(random.choice([2, 3, 10, 30, 100]))
    spacing = random.uniform(0.3, 2.5) * np.ones(3)
    if kind in ("thick", "very thick"):
        spacing[random.integers(3)] *= random.uniform(2, 4) if kind == "thick" else random.uniform(4, 12)
    if kind == "anything":
        spacing = np.exp(random.uniform(np.log(0.2), np.log(8), 3))
    extent = random.uniform(30, 500) * random.uniform(0.6, 1.4, 3)  # mm
    spacings, shapes = [], []
    for _ in range(cases):
        jitter = np.ones(3) if kind == "same" else random.uniform(0.8, 1.25, 3)
        mine = spacing * jitter
        if kind == "2d":
            shape = np.array([1, *random.integers(60, 900, 2)])
            mine = np.array([999.0 * max(mine[1:]), *mine[1:]])
        else:
            scale = 1 if kind == "same" else random.uniform(0.85, 1.15, 3)
            shape = np.clip(extent / mine * scale, 10, 700).astype(int)
        spacings.append([round(float(value), 6) for value in mine])
        shapes.append([int(value) for value in shape])
    return {
        "channels": [str(name) for name in random.choice(CHANNELS, random.integers(1, 5), replace=False)],
        "labels": int(random.integers(2, 15)),
        "ignore": bool(random.random() < 0.2),
        "spacings": spacings,
        "shapes": shapes,
        "cropped": round(float(random.uniform(0.5, 1)), 3),
    }


def nnunet_plan(fingerprint: dict[str, Any]) -> dict[str, Any]:
    """What ExperimentPlanner decides, reduced to what is compared."""
    import nnunetv2.experiment_planning.experiment_planners.default_experiment_planner as planning

    labels: dict[str, int] = {"background": 0} | {f"label_{i}": i for i in range(1, fingerprint["labels"])}
    if fingerprint["ignore"]:
        labels["ignore"] = len(labels)
    statistics = {"mean": 1.0, "median": 1.0, "std": 1.0, "min": 0.0, "max": 2.0}
    statistics |= {"percentile_00_5": 0.0, "percentile_99_5": 2.0}
    channels = fingerprint["channels"]
    name = "Dataset001_Random"
    raw, preprocessed = Path(planning.nnUNet_raw) / name, Path(planning.nnUNet_preprocessed) / name
    for folder, file, content in (
        (
            raw,
            "dataset.json",
            {
                "channel_names": {str(i): channel for i, channel in enumerate(channels)},
                "labels": labels,
                "numTraining": len(fingerprint["shapes"]),
                "file_ending": ".nii.gz",
            },
        ),
        (
            preprocessed,
            "dataset_fingerprint.json",
            {
                "spacings": fingerprint["spacings"],
                "shapes_after_crop": fingerprint["shapes"],
                "median_relative_size_after_cropping": fingerprint["cropped"],
                "foreground_intensity_properties_per_channel": {str(i): statistics for i in range(len(channels))},
            },
        ),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(content))
    planning.get_filenames_of_train_images_and_targets = lambda *_: {}
    planner = planning.ExperimentPlanner(name)
    planner.determine_reader_writer = lambda: object
    plan = planner.plan_experiment()
    (preprocessed / "nnUNetPlans.json").unlink()
    configurations = {}
    for title, configuration in plan["configurations"].items():
        if "architecture" in configuration:
            network = configuration["architecture"]["arch_kwargs"]
            configurations[title] = {field: configuration[field] for field in FIELDS}
            configurations[title] |= {field: network[field] for field in NETWORK_FIELDS}
    return {"transpose": plan["transpose_forward"], "configurations": configurations}


def main(path: Path, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ[variable] = f"{folder}/{variable}"
        random = np.random.default_rng(0)
        pairs = []
        for _ in range(count):
            fingerprint = random_fingerprint(random)
            pairs.append({"fingerprint": fingerprint, "plan": nnunet_plan(fingerprint)})
            path.write_text(
                json.dumps(pairs, default=lambda value: value.tolist()) + "\n"
            )  # so far: this takes minutes


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40)
