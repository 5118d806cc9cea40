"""A trained nnU-Net model becomes a bundle: its plans, its labels and the weights of its folds, nothing else of it."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest
from ..bundle.write import write_bundle
from ..configuration import Configuration
from ..core.files import remove_unfinished, unfinished
from ..core.progress import progress
from ..data import dataset_json
from ..errors import ModelError
from ..plan import Plan
from .checkpoint import Checkpoint, StoredTensor
from .nnunet_configurations import read_plan_of
from .nnunet_files import FINAL, ModelFiles, find_model
from .nnunet_json import file_ending, said
from .nnunet_postprocessing import read_postprocessing
from .nnunet_weights import Shapes, finite_weights, from_nnunet, shapes

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
    stages = _with_earlier(found, checkpoint)
    name = _name(found)
    target = target or (into or Path()) / name
    try:
        manifest = Manifest(
            name=name,
            configurations={stage.configuration: stage.folds for stage in stages},
            ensemble={found.configuration: 1.0},
            postprocessing=read_postprocessing(found.files, found.folds, found.plan.labels),
            source=f"nnU-Net: {found.plan.dataset}/{found.files.name}",
            exact=True,
        )
        own = {stage.configuration: stage.plan.configurations[stage.configuration] for stage in stages}
        plan = replace(found.plan, configurations=own, default=found.configuration)
    except ValueError as error:
        raise ModelError(f"{found.files.where}: {error}") from None
    with _scratch(target) as scratch:
        weights = {stage.configuration: _convert(stage, scratch) for stage in stages}
        return write_bundle(target, manifest, plan, weights)


def _with_earlier(found: Found, checkpoint: str) -> list[Found]:
    """The stages of a cascade up to ``found``, in their order. Raises ModelError where they do not fit together."""
    stages = [found]
    while (previous := stages[0].plan.configurations[stages[0].configuration].previous) is not None:
        earlier = _read(stages[0].files.sibling(previous), None, checkpoint)
        where = earlier.files.where
        if earlier.configuration != previous or previous in [stage.configuration for stage in stages]:
            raise ModelError(f"{where}: was trained as {earlier.configuration}, expected {previous} alone")
        if earlier.plan.mirror_axes != found.plan.mirror_axes:
            raise ModelError(f"{where}: mirrors other axes than {found.configuration}")
        for field in ("labels", "channels", "axis_order", "orientation"):
            if getattr(earlier.plan, field) != getattr(found.plan, field):
                raise ModelError(f"{where}: has other {field} than {found.configuration}")
        stages.insert(0, earlier)
    return stages


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder beside ``target``, on the same disk, that goes again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target.parent)
    folder = unfinished(target)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(files: ModelFiles, wanted: Sequence[str] | None, checkpoint: str) -> Found:
    """Everything but the weights. What nnU-Net stores per fold is taken from the first, as it does."""
    plans, description = files.json("plans.json"), files.json("dataset.json")
    folds = files.folds(checkpoint, wanted)
    with files.checkpoint(folds[0], checkpoint) as stored:
        values, said_in = stored.values, stored.where
    arguments = values.get("init_args")
    configuration = arguments.get("configuration") if isinstance(arguments, dict) else None
    if not isinstance(configuration, str):
        raise ModelError(f"{said_in} does not say which configuration it was trained with")
    where = Path(files.where) / "dataset.json"
    plan = read_plan_of(
        plans,
        dataset_json.channels_of(description, where),
        dataset_json.labels_of(description, where),
        file_ending(description, where),
        f"{files.where}/plans.json",
        only=configuration,
    )
    mirrored = _mirror_axes(values.get("inference_allowed_mirroring_axes"), plan.configurations[configuration], said_in)
    return Found(files, folds, checkpoint, configuration, replace(plan, mirror_axes=mirrored))


def _mirror_axes(stored: Any, configuration: Configuration, where: str) -> tuple[int, ...]:
    """Ours count from z, theirs from the first axis of the patch. None: the trainer mirrored nothing."""
    axes = () if stored is None else stored
    known = range(configuration.dimensions)
    if not isinstance(axes, list | tuple) or len(axes) > len(known) or not all(type(axis) is int for axis in axes):
        raise ModelError(f"{where}: inference_allowed_mirroring_axes must be some of {list(known)}, found {said(axes)}")
    if len(set(axes)) < len(axes) or not set(axes) <= set(known):
        raise ModelError(f"{where}: inference_allowed_mirroring_axes must be some of {list(known)}, found {said(axes)}")
    return tuple(axis + 3 - configuration.dimensions for axis in axes)


def _convert(found: Found, scratch: Path) -> dict[str, Path]:
    """Writes a safetensors file for every fold into ``scratch``."""
    configuration = found.plan.configurations[found.configuration]
    expected = shapes(found.plan.task(found.configuration))
    written = {}
    for fold in progress(found.folds, len(found.folds), f"importing {found.configuration}"):
        with found.files.checkpoint(fold, found.checkpoint) as stored:
            weights = _weights(stored, configuration, expected)
        written[fold] = scratch / f"{found.configuration}_{fold}.safetensors"
        save_file(weights, written[fold])
    return written


def _weights(stored: Checkpoint, configuration: Configuration, expected: Shapes) -> dict[str, Tensor]:
    """Under our names, float32. No number is read before all shapes are known to be right."""
    state = stored.values.get("network_weights")
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(weight, StoredTensor) for name, weight in state.items()
    ):
        raise ModelError(f"{stored.where} holds no network_weights; is it a checkpoint of nnU-Net v2?")
    theirs = from_nnunet(state, configuration, stored.where)
    found: dict[str, StoredTensor] = {ours: state[name] for ours, name in theirs.items()}
    odd = next(_unlike(found, expected), None)
    if odd is not None:
        raise ModelError(f"{stored.where} does not hold the network that its plans describe: {odd}")
    return finite_weights(stored, found, "; import another --checkpoint, or other folds (-f)")


def _unlike(found: Mapping[str, StoredTensor], expected: Shapes) -> Iterator[str]:
    """What is wrong with each weight that is."""
    for name, shape in expected.items():
        there = found[name].shape if name in found else None
        if there != shape:
            yield f"{name} has the shape {there}, expected {shape}"
        elif not found[name].storage.dtype.is_floating_point:
            yield f"{name} is in {found[name].storage.dtype}"


def _name(found: Found) -> str:
    """Of the bundle: the dataset's, with what a file system cannot name replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", found.plan.dataset).strip("_.-")[:100] or "nnunet"
