"""A workspace as a cross-validation of two configurations leaves it, with probabilities that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file

from autoseg.core.geometry import Box, Geometry
from autoseg.core.records import write_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.folds import make_folds
from autoseg.evaluation.scores import score_case, summarise, write_scores
from autoseg.inference import stored_probabilities as kept
from autoseg.parts.readers import write_labels
from autoseg.plan import Plan
from autoseg.preprocessing.spatial import spatial_record
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder, Workspace

NAME = "Dataset900_Small"
CASES = 16  # of two folds: what fewer than six patients gain is never sure
GEOMETRY = Geometry.plain((10, 12, 11), (2.0, 2.0, 2.0))
SETTINGS = RunSettings(device="cpu", precision="float32", threads=2)


def reference(number: int) -> np.ndarray:
    found = np.zeros(GEOMETRY.shape, np.uint8)
    z, y, x = np.random.default_rng(number).integers(0, 3, 3)
    found[z : z + 6, y : y + 7, x : x + 6] = 7
    return found


def logits(number: int, seed: int) -> torch.Tensor:
    """Right in most voxels, and wrong in others for every seed; far away a piece that all seeds see."""
    truth = torch.from_numpy(reference(number) > 0).permute(2, 0, 1).float()
    torch.manual_seed(1000 * seed + number)
    signal = 4 * truth - 2 + 2.0 * torch.randn(truth.shape)
    signal[-1, -1, -3:] = 9.0
    return torch.stack([-signal, signal])


def plans(small_plan: Plan) -> dict[str, Plan]:
    """A 3-D and a 2-D configuration, each as its training leaves it."""
    deep = small_plan.configurations["3d_fullres"]
    network = replace(deep.network, kernels=((3, 3),) * 2, strides=((1, 1), (2, 2)))
    flat = replace(deep, patch_size=(8, 8), spacing=(None, 2.0, 2.0), network=network)
    return {
        "3d_fullres": small_plan,
        "2d": replace(small_plan, configurations={"2d": flat}, default="2d"),
    }


@pytest.fixture
def files(small_plan, tmp_path) -> DatasetFolder:
    """A workspace as a cross-validation of two configurations leaves it."""
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    cases = []
    for number in range(CASES):
        image, label = tmp_path / f"image_{number}.nii.gz", tmp_path / f"label_{number}.nii.gz"
        truth = sitk.GetImageFromArray(reference(number).astype(np.float32) + 1)
        truth.SetSpacing((2.0, 2.0, 2.0))
        sitk.WriteImage(truth, str(image))
        write_labels(reference(number), GEOMETRY, label)
        cases.append(Case.of_files(f"case_{number}", (str(image),), str(label)))
    dataset = Dataset(NAME, "x", ("MR",), small_plan.labels, tuple(cases), ".nii.gz", "nnunet", "CC BY 4.0", "Doe 2026")
    write_json(files.dataset, dataset)
    folds = make_folds(dataset.keys, count=2)
    write_json(files.folds, folds)
    for seed, plan in enumerate(plans(small_plan).values()):
        for fold, split in enumerate(folds.folds):
            train(files, dataset, plan, str(fold), split.validation, seed)
    return files


def train(files: DatasetFolder, dataset: Dataset, plan: Plan, fold: str, keys: tuple[str, ...], seed: int) -> None:
    run = files.run(plan.default, fold)
    write_json(run.effective, plan)
    torch.manual_seed(seed)
    network = plan.task().network()
    save_file(network.state_dict(), run.weights)
    scores = {}
    order, box = plan.axis_order, Box.whole((11, 10, 12))
    record = spatial_record(GEOMETRY.shape, GEOMETRY.spacing, order, box, plan.configuration()[1].spacing)
    for key in keys:
        found = logits(int(key[5:]), seed)
        with kept.storing(run.kept(key), record, GEOMETRY, plan.labels) as watch:
            watch(slice(0, 11), found.movedim(0, -1))
        predicted = (7 * (found[1] > found[0])).permute(1, 2, 0).numpy().astype(np.uint8)
        write_labels(predicted, GEOMETRY, run.validation / f"{key}.nii.gz")
        kept.note_label_map(run.kept(key), [run.validation / f"{key}.nii.gz"])
        scores[key] = score_case(reference(int(key[5:])), predicted, plan.labels, GEOMETRY)
    write_scores(run.validation, summarise(scores))
