"""Bundles as a stranger may write them: a good one taken apart, changed and put together with its checksums mended."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from run_settings import SETTINGS
from safetensors.torch import save
from tasks import task_of

from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.card import card
from autoseg.bundle.install import install
from autoseg.bundle.manifest import CrossValidation, Manifest, MirroringTest
from autoseg.bundle.trained import read_trained
from autoseg.bundle.write import write_bundle
from autoseg.core.estimate import Estimate
from autoseg.core.geometry import Geometry, Image
from autoseg.corrections import Correction
from autoseg.errors import AutosegError, ModelError, RecordError
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.parts.inputs import prior
from autoseg.parts.networks import residual_unet
from autoseg.parts.postprocessors import largest_component, minimum_size
from autoseg.plan import Plan

Entries = dict[str, bytes]
LONGEST = 2000  # characters of a message
SHAPE = (9, 11, 10)
SMALL = Image(
    np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32), Geometry.plain(SHAPE, (2.0, 2.0, 2.0))
)


def good_entries(small_plan: Plan, folder: Path) -> Entries:
    """A cascade and a 2.5-D configuration, averaged, with everything that a manifest can say; names to contents."""
    full = small_plan.configuration()[1]
    network = residual_unet.Spec((4, 8), ((3, 3),) * 2, ((1, 1), (2, 2)), (1, 1), (1,))
    flat = replace(full, patch_size=(8, 8), network=network, slices=3, spacing=(None, 2.0, 2.0))
    configurations = {"3d_lowres": full, "cascade": replace(full, inputs=(prior.Spec("3d_lowres"),)), "2d": flat}
    plan = replace(small_plan, configurations=configurations, default="cascade")
    torch.manual_seed(0)
    weights = {name: {"0": save(task_of(plan, each).network().state_dict())} for name, each in configurations.items()}
    score = Estimate(0.9, 0.8, 1.0, 5)
    manifest = Manifest(
        "Small",
        {name: ("0",) for name in weights},
        {"cascade": 0.5, "2d": 0.5},
        postprocessing=(Correction("organ", largest_component.Spec()), Correction(None, minimum_size.Spec(30.0))),
        mirroring={"2d": MirroringTest(True, score, score, score, 0.5, 8)},
        scores=CrossValidation({"dice": score}, {"organ": {"dice": score}}, ("0",)),
        licence="CC BY 4.0",
        citation="Doe et al. 2026",
    )
    write_bundle(folder / "good.zip", manifest, plan, weights)
    return unpacked(folder / "good.zip")


def unpacked(archive: Path) -> Entries:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def mended(entries: Entries) -> Entries:
    """With a manifest whose sizes and checksums are those of the other files."""
    manifest = json.loads(entries["model.json"])
    files = {name: content for name, content in entries.items() if name != "model.json"}
    manifest["files"] = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    return entries | {"model.json": json.dumps(manifest).encode()}


def zipped(path: Path, entries: Entries) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def laid_out(folder: Path, entries: Entries) -> Path:
    for name, content in entries.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def with_json(entries: Entries, name: str, change: Callable[[Any], Any]) -> Entries:
    """With another value in a JSON file: what ``change`` returns, or what it made of the one that it was given."""
    value = json.loads(entries[name])
    new = change(value)
    text = json.dumps(value if new is None else new).encode()
    return entries | {name: text} if name == "model.json" else mended(entries | {name: text})


def survived(path: Path, models: Path, image: Image = SMALL) -> str:
    """Does everything with a bundle that a user does, and says how it ended: "predicts", or the first message.

    Asserts that whatever refused it did so with a short, fitting error, and that nothing was left in ``models``, where
    it would have been installed.
    """
    message = ""
    described, predicts = (lambda path: card(read_trained(path))), (lambda path: _predicts(path, image))
    for step in (read_bundle, described, lambda path: _installs(path, models), predicts):
        try:
            step(path)
        except AutosegError as error:
            assert isinstance(error, ModelError | RecordError), repr(error)
            assert len(str(error)) < LONGEST
            assert path.name in str(error), str(error)
            message = message or str(error)
        assert not models.exists() or not list(models.iterdir())
    return message or "predicts"


def _installs(path: Path, models: Path) -> None:
    folder = install(str(path), models)
    assert folder.parent == models and list(models.iterdir()) == [folder]
    shutil.rmtree(folder)


def _predicts(path: Path, image: Image) -> None:
    model = Model.read(path, settings=SETTINGS)
    try:
        found = model.segment(image, PredictOptions(step=1.0, tta="none"))
    except AutosegError as error:  # of the case
        assert len(str(error)) < LONGEST
        return
    assert found.labels.shape == SHAPE


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every value inside ``value``."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*before, key)
        yield from places(item, (*before, key))
