"""A model of autoseg as nnU-Net would have trained it: a folder for `nnUNetv2_predict_from_modelfolder`."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..bundle.manifest import Manifest
from ..bundle.trained import Trained
from ..bundle.weights import read_weights
from ..core.files import atomic_file, atomic_folder
from ..core.geometry import SLICE_SPACING_2D
from ..core.labels import ExclusiveLabels, Labels
from ..core.masks import MaskLabels
from ..core.records import write_json
from ..corrections import Correction
from ..data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from ..errors import ModelError, RecordError
from ..parts.normalizers import ct
from ..parts.postprocessors import largest_component
from ..plan import Plan
from ..task import Task
from .nnunet_files import FINAL
from .nnunet_plans import nnunet_plans
from .nnunet_postprocessing import LARGEST, MODULE, beyond
from .nnunet_weights import to_nnunet

LOG = logging.getLogger("autoseg")
TRAINER = "nnUNetTrainer"


def export_nnunet(trained: Trained, manifest: Manifest, target: Path) -> list[Path]:
    """Writes one folder per configuration into ``target``, which must not exist, and returns them.

    Raises RecordError for parts that nnU-Net does not have, such as another network, and ModelError.
    """
    if target.exists():
        raise ModelError(f"{target} exists already; remove it or choose another name with -o")
    plan = trained.plan
    if plan.alignment is not None:
        reference = plan.channels[plan.alignment.reference]
        LOG.warning("nnU-Net aligns no channels: give it images whose channels lie on the grid of %s", reference)
    described, plans = dataset_json(plan.labels, plan, manifest), nnunet_plans(plan, stand_in(plan))
    left_out = sorted(set(manifest.configurations) - set(plans["configurations"]))
    if left_out:
        raise RecordError(
            f"nnU-Net has no counterpart of the configuration {left_out[0]}: it sees several "
            "slices, or some channels only"
        )
    names = {title: f"{TRAINER}__{plans['plans_name']}__{title}" for title in manifest.configurations}
    with atomic_folder(target, mark="plans.json") as folder:
        for title, folds in manifest.configurations.items():
            write_json(folder / names[title] / "plans.json", plans)
            write_json(folder / names[title] / "dataset.json", described)
            for fold in folds:
                _write_checkpoint(folder / names[title] / f"fold_{fold}" / FINAL, trained, title, fold)
        (first, *more) = manifest.ensemble
        if more:
            LOG.warning("nnU-Net averages configurations only with nnUNetv2_ensemble; predict with each of them first")
        elif manifest.postprocessing:
            _write_postprocessing(folder / names[first], manifest.configurations[first], manifest.postprocessing, plan)
    return [target / name for name in names.values()]


def stand_in(plan: Plan) -> Fingerprint:
    """What the plan remembers of the dataset's fingerprint: one case of median shape and spacing."""
    median = plan.configurations[plan.default]
    z, y, x = median.spacing
    of_network = (SLICE_SPACING_2D * max(y, x) if z is None else z, y, x)
    spacing, shape = [0.0] * 3, [0] * 3
    for axis, millimetres, voxels in zip(plan.axis_order, of_network, median.median_shape):
        spacing[axis], shape[axis] = millimetres, voxels
    grid = (shape[0], shape[1], shape[2])
    case = CaseFingerprint(grid, (spacing[0], spacing[1], spacing[2]), grid, cropped_fraction=1.0, content="")
    return Fingerprint({"median": case}, tuple(map(_intensities, median.normalizers)))


def _intensities(normalizer: Any) -> Intensities:
    """Those of CT, which the normalizer holds; for others nnU-Net does not look at them."""
    if not isinstance(normalizer, ct.Spec):
        return Intensities(*(0.0,) * 7)
    low, high = normalizer.percentile_00_5, normalizer.percentile_99_5
    return Intensities(normalizer.mean, normalizer.mean, normalizer.std, low, high, low, high)


def dataset_json(labels: Labels, plan: Plan, manifest: Manifest) -> dict[str, Any]:
    """nnU-Net's dataset.json. Its label values are 0, 1, 2, ...; others are renumbered, which a warning says.

    Raises RecordError for a background that is not 0, and for masks that may overlap.
    """
    if isinstance(labels, MaskLabels):
        raise RecordError(
            "nnU-Net writes one value per voxel, which cannot say that masks overlap; export this model in autoseg's "
            "own format"
        )
    if labels.values[0] != 0 and not labels.exclusive:
        raise RecordError(f"nnU-Net's background is 0, that of these regions is {labels.values[0]}")
    if plan.channel_sources:
        LOG.warning("nnU-Net takes a file per channel: save the volumes that this model takes as files of their own")
    described: dict[str, Any] = {"channel_names": {str(n): name for n, name in enumerate(plan.channels)}}
    if isinstance(labels, ExclusiveLabels):
        by_value = {value: name for name, value in labels.names.items()}
        described["labels"] = {by_value[value]: index for index, value in enumerate(labels.values)}
        if labels.values != tuple(range(labels.heads)):
            LOG.warning("nnU-Net will write %s for %s", list(range(labels.heads)), list(labels.values))
        highest = labels.heads - 1
    else:
        regions = {name: values[0] if len(values) == 1 else list(values) for name, values in labels.regions.items()}
        described |= {"labels": {"background": 0} | regions, "regions_class_order": list(labels.class_order)}
        highest = max(labels.values)
    if labels.ignore is not None:
        described["labels"]["ignore"] = highest + 1
    about = {"licence": manifest.licence, "reference": manifest.citation, "name": manifest.name}
    return described | {"numTraining": 0, "file_ending": plan.file_ending} | {k: v for k, v in about.items() if v}


def mirror_axes(task: Task) -> tuple[int, ...] | None:
    """Counted from the first axis of the patch; nnU-Net knows no empty tuple."""
    first = 3 - task.configuration.dimensions
    return tuple(axis - first for axis in task.mirrored) or None


def _write_checkpoint(path: Path, trained: Trained, title: str, fold: str) -> None:
    """What nnU-Net's predictor and its fine-tuning read; a training cannot be continued from it."""
    import torch

    task = trained.plan.task(title)
    checkpoint = {
        "network_weights": to_nnunet(read_weights(trained, title, fold), task.configuration),
        "trainer_name": TRAINER,
        "init_args": {"configuration": title, "fold": int(fold) if fold.isdecimal() else fold},
        "inference_allowed_mirroring_axes": mirror_axes(task),
    }
    with atomic_file(path) as temporary:
        torch.save(checkpoint, temporary)


def _write_postprocessing(folder: Path, folds: Sequence[str], steps: Sequence[Correction], plan: Plan) -> None:
    """For `nnUNetv2_apply_postprocessing`, which takes a pickle that names its own function."""
    kept = [step for step in steps if isinstance(step.method, largest_component.Spec)]
    if len(kept) < len(steps):
        LOG.warning(
            "%d of %d corrections are not known to nnU-Net and are left out", len(steps) - len(kept), len(steps)
        )
    for step in kept:
        if step.label is not None and not step.clears and (around := beyond(step.label, plan.labels)):
            LOG.warning("what %s loses stays %s here; nnU-Net makes it background", step.label, around[0])
    index = {value: number for number, value in enumerate(plan.labels.values)}
    exclusive = plan.labels.exclusive
    arguments = []
    for step in kept:
        values = plan.labels.values[1:] if step.label is None else plan.labels.foreground[step.label]
        arguments.append({"labels_or_regions": [index[value] if exclusive else value for value in values]})
    # The text stands for the function, which nnU-Net imports when it reads the pickle; here there is no nnU-Net.
    content = pickle.dumps(([LARGEST] * len(kept), arguments), protocol=2)
    text = b"X" + len(LARGEST).to_bytes(4, "little") + LARGEST.encode()
    content = content.replace(text, f"c{MODULE}\n{LARGEST}\n".encode())
    with atomic_file(folder / f"crossval_results_folds_{'_'.join(folds)}" / "postprocessing.pkl") as temporary:
        temporary.write_bytes(content)
