"""Plans that nnU-Net v2 makes for random fingerprints, stored for the tests. Run it with a Python that has nnunetv2:

python benchmarks/oracle_plans.py tests/planners/nnunet_plans.json.gz [fingerprints] [processes]

Neither images nor training are needed: the planners get a made-up fingerprint and dataset.json. Stored are both files
as nnU-Net read them and, for each planner, the plans file that it wrote, or the error with which it stopped.
"""

import contextlib
import gzip
import io
import json
import os
import sys
import tempfile
import warnings
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

PLANNERS = ("ExperimentPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL")
CHANNELS = ("CT", "T1", "noNorm", "rescale_to_0_1", "R", "zscore", "rgb_to_0_1", "ADC")
KINDS = ("isotropic", "thick", "very thick", "thin", "2d", "anything", "same", "tiny", "huge", "ct", "flat fine")
NAME = "Dataset001_Random"


def random_dataset(random: np.random.Generator, kind: str) -> dict[str, Any]:
    """dataset_fingerprint.json and dataset.json of one of the kinds of dataset that one meets."""
    cases = int(random.choice([1, 2, 3, 10, 30]))
    spacing = random.uniform(0.3, 2.5) * np.ones(3)
    extent = random.uniform(30, 500) * random.uniform(0.6, 1.4, 3)  # mm
    if kind in ("thick", "very thick"):
        spacing[random.integers(3)] *= random.uniform(2, 4) if kind == "thick" else random.uniform(4, 12)
    if kind == "ct":
        spacing = np.array([random.choice([0.7, 1.25, 2.5, 5.0]), *[random.uniform(0.6, 0.98)] * 2])
        extent = np.array([random.uniform(150, 1200), *(512 * spacing[1:])])
    if kind == "flat fine":  # the finest axis is the shortest
        extent = random.uniform(60, 300, 3)
        axis = random.integers(3)
        spacing[axis] *= random.uniform(0.2, 0.6)
        extent[axis] = spacing[axis] * random.integers(6, 40)
    if kind == "anything":
        spacing = np.exp(random.uniform(np.log(0.2), np.log(8), 3))
    lower, upper = {"tiny": (5, 40), "huge": (300, 2500)}.get(kind, (6 if kind == "flat fine" else 10, 700))
    if kind in ("tiny", "huge"):
        extent = spacing * np.exp(random.uniform(np.log(lower), np.log(upper), 3))
    spacings, shapes = [], []
    for _ in range(cases):
        jitter = np.ones(3) if kind in ("same", "ct") else random.uniform(0.8, 1.25, 3)
        mine = spacing * jitter
        shape = np.clip(extent / mine * (1 if kind == "same" else random.uniform(0.85, 1.15, 3)), lower, upper)
        if kind == "thin":
            shape[0] = random.integers(2, 9)
        if kind == "2d":
            shape = np.array([1, *random.integers(60, 900, 2)])
            mine = np.array([999.0 * max(mine[1:]), *mine[1:]])
        spacings.append([round(float(value), 4) for value in mine])
        shapes.append([int(value) for value in shape])
    channels = [str(name) for name in random.choice(CHANNELS, random.integers(1, 6), replace=False)]
    return {
        "kind": kind,
        "dataset": {
            "channel_names": {str(i): channel for i, channel in enumerate(["CT"] if kind == "ct" else channels)},
            **random_labels(random),
            "numTraining": cases,
            "file_ending": ".png" if kind == "2d" else ".nii.gz",
        },
        "fingerprint": {
            "spacings": spacings,
            "shapes_after_crop": shapes,
            "median_relative_size_after_cropping": round(float(random.uniform(0.5, 1)), 3),
            "foreground_intensity_properties_per_channel": {
                str(i): random_intensities(random) for i in range(1 if kind == "ct" else len(channels))
            },
        },
    }


def random_labels(random: np.random.Generator) -> dict[str, Any]:
    """2 to 12 labels with the background, sometimes nested regions, sometimes an ignore label."""
    count = int(random.integers(2, 13))
    labels: dict[str, Any] = {"background": 0} | {f"label_{value}": value for value in range(1, count)}
    described: dict[str, Any] = {"labels": labels}
    if random.random() < 0.25:
        described["labels"] = {"background": 0} | {
            f"region_{value}": list(range(value, count)) if value < count - 1 else value for value in range(1, count)
        }
        described["regions_class_order"] = list(range(1, count))
    if random.random() < 0.2:
        described["labels"]["ignore"] = count
    return described


def random_intensities(random: np.random.Generator) -> dict[str, float]:
    low, p005, median, p995, high = np.sort(random.normal(40, 200, 5)).round(3).tolist()
    return {
        "max": high,
        "mean": round(median + 1, 3),
        "median": median,
        "min": low,
        "percentile_00_5": p005,
        "percentile_99_5": p995,
        "std": round(float(random.uniform(5, 300)), 3),
    }


def nnunet_plans(dataset: dict[str, Any], device: str = "meta") -> dict[str, Any]:
    """What each of nnU-Net's planners writes, or how it fails.

    Networks are built without storage (``meta``), which changes nothing but the time: planners only ask for sizes.
    """
    import torch
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as planning
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners as resenc
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    torch.set_num_threads(1)
    raw, preprocessed = Path(planning.nnUNet_raw) / NAME, Path(planning.nnUNet_preprocessed) / NAME
    for folder, file, content in (
        (raw, "dataset.json", dataset["dataset"]),
        (preprocessed, "dataset_fingerprint.json", dataset["fingerprint"]),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(content))
    planning.get_filenames_of_train_images_and_targets = lambda *_: {}
    reader = NaturalImage2DIO if dataset["dataset"]["file_ending"] == ".png" else SimpleITKIO
    plans: dict[str, Any] = {}
    for name in PLANNERS:
        planner_class = getattr(resenc, name, None) or getattr(planning, name)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), torch.device(device):
            warnings.simplefilter("ignore")
            try:
                planner = planner_class(NAME)
                planner.determine_reader_writer = lambda: reader
                planner.plan_experiment()
                written = preprocessed / f"{planner.plans_identifier}.json"
                plans[name] = json.loads(written.read_text())
                written.unlink()  # nnU-Net keeps configurations of an older file
            except Exception as error:  # whatever it is: this is what nnU-Net's user would see
                plans[name] = {"error": f"{type(error).__name__}: {error}"}
    return dataset | {"plans": plans}


def in_own_folder(dataset: dict[str, Any]) -> dict[str, Any]:
    """``nnunet_plans`` in a process whose nnU-Net folders are its own."""
    if "nnUNet_raw" not in os.environ:
        folder = tempfile.mkdtemp()
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ[variable] = f"{folder}/{variable}"
    return nnunet_plans(dataset)


def main(path: Path, count: int, processes: int) -> None:
    random = np.random.default_rng(0)
    datasets = [random_dataset(random, KINDS[index % len(KINDS)]) for index in range(count)]
    with Pool(processes) as pool:
        stored = list(pool.imap(in_own_folder, datasets))
    for index, entry in enumerate(stored):
        for name, plan in entry["plans"].items():
            if "error" in plan:
                print(index, entry["kind"], name, plan["error"])
    path.write_bytes(gzip.compress(json.dumps(stored).encode(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2] if len(sys.argv) > 2 else 132), int((sys.argv[3:] or ["1"])[0]))
