"""A trained nnU-Net model becomes a bundle: its plans, its labels and the weights of its folds, nothing else of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from .. import dataset_json
from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest
from ..bundle.write import write_bundle
from ..core.files import scratch_folder
from ..core.progress import progress
from ..errors import ModelError
from ..plan import Configuration, Plan
from .checkpoint import Checkpoint, StoredTensor
from .nnunet_configurations import read_plan_of
from .nnunet_files import FINAL, ModelFiles, find_model
from .nnunet_postprocessing import read_postprocessing
from .nnunet_weights import from_nnunet, shapes

LOG = logging.getLogger("autoseg")


@dataclass(frozen=True)
class Found:
    """A model whose small files have been read."""

    files: ModelFiles
    folds: tuple[str, ...]
    checkpoint: str
    """Name of the file of every fold."""
    configuration: str
    plan: Plan


def import_nnunet(
    source: Path,
    target: Path | None = None,
    *,
    into: Path | None = None,
    configuration: str | None = None,
    folds: Sequence[str] | None = None,
    checkpoint: str = FINAL,
) -> Bundle:
    """Writes the model in ``source`` (a folder or a zip) as the bundle ``target``, or as ``into/<its name>``.

    ``configuration`` chooses where the source holds several; a cascade brings its earlier stage along. ``folds`` None
    takes all. Nothing of the source is executed. Raises ModelError, RecordError or DatasetError for what is damaged,
    incomplete or has no counterpart here; then nothing is written.
    """
    found = _read(find_model(source, configuration), folds, checkpoint)
    stages = [found]
    while (previous := stages[0].plan.configurations[stages[0].configuration].previous) is not None:
        stages.insert(0, _read(stages[0].files.sibling(previous), None, checkpoint))
        if stages[0].plan.mirror_axes != found.plan.mirror_axes:
            raise ModelError(f"{stages[0].files.where}: mirrors other axes than {found.configuration}")
    name = _name(found)
    target = target or (into or Path()) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        name=name,
        configurations={stage.configuration: stage.folds for stage in stages},
        ensemble={found.configuration: 1.0},
        postprocessing=read_postprocessing(found.files, found.folds, found.plan.labels),
        source=f"nnU-Net: {found.plan.dataset}/{found.files.name}",
        exact=True,
    )
    with scratch_folder(target) as scratch:
        weights = {stage.configuration: _convert(stage, scratch) for stage in stages}
        return write_bundle(target, manifest, replace(found.plan, default=found.configuration), weights)


def _read(files: ModelFiles, wanted: Sequence[str] | None, checkpoint: str) -> Found:
    """Everything but the weights. What nnU-Net stores per fold is taken from the first, as it does."""
    plans, description = files.json("plans.json"), files.json("dataset.json")
    folds = files.folds(checkpoint, wanted)
    with files.checkpoint(folds[0], checkpoint) as stored:
        values = stored.values
    arguments = values.get("init_args")
    configuration = arguments.get("configuration") if isinstance(arguments, dict) else None
    if not isinstance(configuration, str):
        raise ModelError(f"{stored.where} does not say which configuration it was trained with")
    where = Path(files.where) / "dataset.json"
    plan = read_plan_of(
        plans,
        dataset_json.channels_of(description, where),
        dataset_json.labels_of(description, where),
        str(description.get("file_ending", ".nii.gz")),
        f"{files.where}/plans.json",
        only=configuration,
    )
    mirrored = _mirror_axes(values.get("inference_allowed_mirroring_axes"), plan.configurations[configuration])
    return Found(files, folds, checkpoint, configuration, replace(plan, mirror_axes=mirrored))


def _mirror_axes(stored: Any, configuration: Configuration) -> tuple[int, ...]:
    """Ours count from z, theirs from the first axis of the patch. None: the trainer mirrored nothing."""
    return tuple(int(axis) + 3 - configuration.dimensions for axis in stored or ())


def _convert(found: Found, scratch: Path) -> dict[str, Path]:
    """Writes a safetensors file for every fold into ``scratch``."""
    configuration = found.plan.configurations[found.configuration]
    expected = shapes(found.plan, configuration)
    written = {}
    for fold in progress(found.folds, len(found.folds), f"importing {found.configuration}"):
        with found.files.checkpoint(fold, found.checkpoint) as stored:
            weights = _weights(stored, configuration)
            found_shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
            wrong = [name for name in expected if found_shapes.get(name) != expected[name]]
            if wrong:
                raise ModelError(
                    f"{stored.where} does not hold the network that its plans describe: {wrong[0]} has the shape "
                    f"{found_shapes.get(wrong[0])}, expected {expected[wrong[0]]}"
                )
        written[fold] = scratch / f"{found.configuration}_{fold}.safetensors"
        save_file(weights, written[fold])
    return written


def _weights(stored: Checkpoint, configuration: Configuration) -> dict[str, Tensor]:
    """Under our names, float32."""
    state = stored.values.get("network_weights")
    if not isinstance(state, dict) or not all(isinstance(weight, StoredTensor) for weight in state.values()):
        raise ModelError(f"{stored.where} holds no network_weights; is it a checkpoint of nnU-Net v2?")
    named = from_nnunet(state, configuration, stored.where)
    return {ours: stored.tensor(state[theirs]).float() for ours, theirs in named.items()}


def _name(found: Found) -> str:
    """Of the bundle: the dataset's, with what a file system cannot name replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", found.plan.dataset).strip("_.-")[:100] or "nnunet"
