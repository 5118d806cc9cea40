"""Makes tests/interop/models: tiny nnU-Net models, phantoms, and what nnU-Net v2 2.8.1 predicts on them.

Beside it, postprocessing.npz holds label maps before and after nnU-Net's postprocessing.

Run it with the Python of an environment that has nnunetv2 2.8.1 (a few minutes on two cores):

python benchmarks/oracle_models.py tests/interop/models WORK

The phantoms are those of `autoseg demo`, cut to the organ: no patient's image is stored. WORK keeps nnU-Net's folders.
"""

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # autoseg's phantoms; nothing else of it is used
import nnunet_models

CASES, TESTS = 10, 1
SHAPE = (12, 44, 44)
CASCADE = {
    "3d_lowres": {
        "inherits_from": "small",
        "data_identifier": "nnUNetPlans_3d_lowres",
        "spacing": [3.0, 2.0, 2.0],
        "patch_size": [8, 16, 16],
        "next_stage": "3d_cascade_fullres",
    },
    "3d_cascade_fullres": {"inherits_from": "small", "previous_stage": "3d_lowres"},
}
WHOLE, CORE, ACTIVE = (1, 2, 3), (2, 3), (3,)  # of the label maps that are only postprocessed
STEPS: dict[str, list[Any]] = {
    "whole": [WHOLE], "core": [CORE], "active": [ACTIVE], "foreground": [[WHOLE, CORE, ACTIVE]],
    "all": [[WHOLE, CORE, ACTIVE], WHOLE, CORE, ACTIVE],
}  # fmt: skip
LABELS = {"background": 0, "organ": 1, "lesion": 2}
COMMON: dict[str, Any] = {
    "labels": LABELS, "base": "3d_fullres", "patch_size": [8, 32, 32], "batch_size": 4, "features": [4, 8, 8],
    "folds": ["all"], "epochs": 5,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "turned": COMMON | {"id": 701, "channels": ["CT", "rescale_to_0_1"], "turned": True, "folds": ["0", "1"]},
    "cropped": COMMON | {"id": 702, "channels": ["T1", "T2"], "cropped": True, "planner": "nnUNetPlannerResEncM"},
    "regions_2d": COMMON
    | {
        "id": 703, "channels": ["rgb_to_0_1", "noNorm"], "base": "2d", "patch_size": [32, 32], "batch_size": 12,
        "labels": {"background": 0, "all": [1, 2], "inner": [2], "ignore": 3}, "regions_class_order": [1, 2],
        "mirror": (1,),
    },
    "cascade": COMMON | {"id": 704, "channels": ["T1", "T2"], "mirror": None, "reader": "NibabelIOWithReorient",
                         "configurations": CASCADE, "train": list(CASCADE)},
}  # fmt: skip


def phantom(number: int, model: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Channels (2, z, y, x) of whole numbers in 0..100, labels, and spacing (z, y, x)."""
    from autoseg.pipeline.demo import SPACING, make_phantom

    made = make_phantom(np.random.default_rng(number))
    centre = [int(np.mean(hit)) for hit in np.nonzero(made.labels)]
    start = [min(max(0, c - n // 2), size - n) for c, n, size in zip(centre, SHAPE, made.labels.shape)]
    z, y, x = (slice(s, s + n) for s, n in zip(start, SHAPE))
    image, labels = made.channels[:, z, y, x], made.labels[z, y, x]
    low, high = image.min((1, 2, 3), keepdims=True), image.max((1, 2, 3), keepdims=True)
    contrast = np.stack([labels >= 1, labels == 2])  # so plain that a tiny network learns it in a minute
    image = (np.round((image - low) / (high - low) * 59) + 40 * contrast).astype(np.uint8) + 1
    if model.get("cropped"):
        margin = (5, 10, 14)
        around = np.zeros((2, *(n + m for n, m in zip(SHAPE, margin))), np.uint8)
        around[:, 2 : 2 + SHAPE[0], 6 : 6 + SHAPE[1], 3 : 3 + SHAPE[2]] = image
        known = np.zeros(around.shape[1:], np.uint8)
        known[2 : 2 + SHAPE[0], 6 : 6 + SHAPE[1], 3 : 3 + SHAPE[2]] = labels
        image, labels = around, known
    if model.get("turned"):
        return image.transpose(0, 2, 3, 1), labels.transpose(1, 2, 0), (SPACING[1], SPACING[2], SPACING[0])
    return image, labels, SPACING


def direction(model: dict[str, Any]) -> list[float]:
    """At an angle and with a flipped axis where the model is ``turned``."""
    if not model.get("turned"):
        return np.eye(3).ravel().tolist()
    c, s = np.cos(0.2), np.sin(0.2)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, -1]]).ravel().tolist()


def write(
    folder: Path, part: str, key: str, image: np.ndarray, labels: np.ndarray | None, spacing: Any, model: Any
) -> None:
    import SimpleITK as sitk

    files = {f"images{part}/{key}_{channel:04d}": array for channel, array in enumerate(image)}
    for name, array in (files | ({} if labels is None else {f"labels{part}/{key}": labels})).items():
        file = sitk.GetImageFromArray(np.ascontiguousarray(array))
        file.SetSpacing(spacing[::-1])
        file.SetDirection(direction(model))
        file.SetOrigin((-30.0, 12.5, 7.0))
        if part == "Ts" and "reader" in model:  # lies otherwise than those trained on
            file = sitk.DICOMOrient(file, "PIR")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(file, str(folder / f"{name}.nii.gz"), True)


def make_dataset(raw: Path, name: str, model: dict[str, Any]) -> Path:
    folder = raw / f"Dataset{model['id']}_{name.title().replace('_', '')}"
    if (folder / "dataset.json").exists():
        return folder
    for number in range(CASES + TESTS):
        image, labels, spacing = phantom(number, model)
        if number < CASES:
            write(folder, "Tr", f"case_{number:02d}", image, labels, spacing, model)
        else:  # on other grids than those trained on, so that they are resampled
            stretch = (0.9, 1.2, 1.1) if number % 2 else (1.15, 0.85, 0.95)
            spacing = tuple(float(np.round(s * f, 3)) for s, f in zip(spacing, stretch))
            write(folder, "Ts", f"case_{number:02d}", image, None, spacing, model)
    described = {
        "channel_names": dict(enumerate(model["channels"])),
        "labels": model["labels"],
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    described |= {"regions_class_order": model["regions_class_order"]} if "regions_class_order" in model else {}
    described |= {"overwrite_image_reader_writer": model["reader"]} if "reader" in model else {}
    (folder / "dataset.json").write_text(json.dumps(described, indent=2))
    return folder


def stripped(checkpoint: Path, target: Path) -> None:
    """Without the optimizer's numbers, which are twice those of the network."""
    import torch

    content = torch.load(checkpoint, weights_only=False)
    content["optimizer_state"]["state"] = {}
    torch.save(content, target)


def pack(trained: Path, target: Path, folds: list[str]) -> None:
    """The model as nnU-Net exports it, with a postprocessing that nnU-Net itself pickled."""
    from batchgenerators.utilities.file_and_folder_operations import save_pickle
    from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation

    target.mkdir(parents=True, exist_ok=True)
    for name in ("plans.json", "dataset.json"):
        shutil.copy(trained / name, target / name)
    for fold in folds:
        (target / f"fold_{fold}").mkdir(exist_ok=True)
        stripped(trained / f"fold_{fold}" / "checkpoint_final.pth", target / f"fold_{fold}" / "checkpoint_final.pth")
    if len(folds) > 1:
        results = target / f"crossval_results_folds_{'_'.join(folds)}"
        results.mkdir(exist_ok=True)
        functions = [remove_all_but_largest_component_from_segmentation] * 2
        arguments = [{"labels_or_regions": [np.int64(1), np.int64(2)]}, {"labels_or_regions": np.int64(2)}]
        save_pickle((functions, arguments), str(results / "postprocessing.pkl"))


def predict(trained: Path, folder: Path, folds: list[str], mirroring: bool, work: Path, previous: Path | None) -> Path:
    """nnU-Net's label maps of the test cases, in a folder."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(
        str(trained), tuple(int(fold) if fold != "all" else fold for fold in folds)
    )
    target = work / "predicted" / f"{trained.parent.name}_{trained.name}_{'_'.join(folds)}_{mirroring}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    predictor.predict_from_files_sequential(
        str(folder / "imagesTs"),
        str(target),
        folder_with_segs_from_prev_stage=None if previous is None else str(previous),
    )
    return target


def correct(predicted: Path, packed: Path) -> None:
    """nnU-Net's postprocessing of label maps, in place."""
    from batchgenerators.utilities.file_and_folder_operations import load_pickle
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.postprocessing.remove_connected_components import load_postprocess_save

    (pickled,) = packed.glob("crossval_results_folds_*/postprocessing.pkl")
    functions, arguments = load_pickle(str(pickled))
    for path in predicted.glob("*.nii.gz"):
        load_postprocess_save(str(path), str(path), SimpleITKIO(), functions, arguments)


def correct_specks(target: Path) -> None:
    """Random label maps of nested regions, 3-D and flat, and what nnU-Net makes of them; some sizes are equal."""
    from nnunetv2.postprocessing.remove_connected_components import (
        apply_postprocessing,
        remove_all_but_largest_component_from_segmentation,
    )

    random, stored = np.random.default_rng(0), {}
    for number, shape in enumerate([(4, 9, 9), (5, 6, 7), (2, 5, 12), (1, 16, 16), (1, 9, 9), (3, 4, 4)]):
        map_ = random.choice(4, shape, p=[0.86, 0.06, 0.05, 0.03]).astype(np.uint8)
        stored[f"{number}/before"] = map_
        for name, steps in STEPS.items():
            functions = [remove_all_but_largest_component_from_segmentation] * len(steps)
            arguments = [{"labels_or_regions": step} for step in steps]
            stored[f"{number}/{name}"] = apply_postprocessing(map_, functions, arguments)
    np.savez_compressed(target, **stored)


def main(target: Path, work: Path, names: list[str]) -> None:
    import SimpleITK as sitk

    correct_specks(target.parent / "postprocessing.npz")
    folders = nnunet_models.set_up(work)
    for name in names or list(MODELS):
        model = MODELS[name]
        folder = make_dataset(folders["nnUNet_raw"], name, model)
        plans, titles = nnunet_models.prepare(folder, model, folders["nnUNet_preprocessed"], name)
        previous, stored = None, {}
        packed = target / name / folder.name
        shutil.rmtree(target / name, ignore_errors=True)
        for title in titles:
            for fold in model["folds"]:
                nnunet_models.train(folder, plans, title, fold, model)
            trained = folders["nnUNet_results"] / folder.name / f"nnUNetTrainer__{plans}__{title}"
            pack(trained, packed / trained.name, model["folds"])
            runs = [([model["folds"][0]], True), ([model["folds"][0]], False)]
            runs += [(model["folds"], True)] if len(model["folds"]) > 1 else []  # postprocessed, too
            for folds, mirroring in runs:
                result = predict(trained, folder, folds, mirroring, work, previous)
                if len(folds) > 1:
                    correct(result, packed / trained.name)
                for path in sorted(result.glob("*.nii.gz")):
                    key = f"{path.name.split('.')[0]}/{title}/{'+'.join(folds)}{'/mirrored' if mirroring else ''}"
                    stored[key] = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.uint8)
            previous = predict(trained, folder, model["folds"], True, work, previous)
        for path in sorted((folder / "imagesTs").glob("*_0000.nii.gz")):
            key = path.name.removesuffix("_0000.nii.gz")
            channels = [sitk.ReadImage(str(path).replace("_0000", f"_{c:04d}")) for c in range(len(model["channels"]))]
            stored |= {
                f"{key}/image": np.stack([sitk.GetArrayFromImage(channel) for channel in channels]).astype(np.uint8),
                f"{key}/spacing": np.array(channels[0].GetSpacing()[::-1]),
                f"{key}/origin": np.array(channels[0].GetOrigin()),
                f"{key}/direction": np.array(channels[0].GetDirection()),
            }
        np.savez_compressed(target / f"{name}.npz", **stored)
        with zipfile.ZipFile(target / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((target / name).rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(target / name))
        shutil.rmtree(target / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
