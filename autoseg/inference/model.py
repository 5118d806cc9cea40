"""A trained model: a plan and the networks of its folds.

Reading one executes nothing that came with it: weights are safetensors, everything else is JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from ..bundle.bundle import Bundle, is_bundle, read_bundle
from ..core.geometry import Image
from ..errors import ModelError
from ..plan import Configuration, Plan, read_plan
from ..preprocessing.prepare import PreparedCase, prepare
from ..settings import RunSettings, resolve
from ..workspace import RunFolder
from .export import Prediction, export
from .in_memory import opened
from .sliding_window import sliding_window


@dataclass(frozen=True)
class Model:
    """What prediction needs. The networks of several folds are an ensemble: the mean of their logits counts."""

    plan: Plan
    configuration_name: str
    networks: tuple[nn.Module, ...]
    """In evaluation mode, on the device of the settings."""
    folds: tuple[str, ...]
    """Names of the folds, one per network."""
    settings: RunSettings = field(default_factory=RunSettings)

    @classmethod
    def read(
        cls,
        path: Path,
        folds: Sequence[str] | None = None,
        *,
        settings: RunSettings | None = None,
        trusted: tuple[str, ...] = (),
    ) -> Model:
        """Reads a bundle (zip or folder), ``runs/<configuration>`` with its finished folds, or one ``fold_*`` folder.

        ``folds`` None takes every fold whose training has finished. Raises ModelError when there is none, when one
        that was asked for is missing, when folds were not trained alike or a bundle is not what it claims to be.
        """
        settings = settings or RunSettings()
        read = _of_bundle(read_bundle(path, trusted), folds) if is_bundle(path) else _of_runs(path, folds, trusted)
        plan, weights = read
        name, configuration = plan.configuration()
        device = resolve(settings).device
        torch.set_num_threads(settings.threads)  # torch counts the machine's cores, not those a container may use
        networks = tuple(_network(stored, plan, configuration).to(device) for stored in weights.values())
        return cls(plan, name, networks, tuple(weights), settings)

    @property
    def configuration(self) -> Configuration:
        return self.plan.configurations[self.configuration_name]

    def predict(self, image: Any, spacing: Sequence[float] | None = None, *, mirroring: bool = True) -> Any:
        """The label map of one image, as the kind of object the image was.

        ``image`` may be a SimpleITK image, a nibabel image, an array (z, y, x) or (channels, z, y, x) with ``spacing``
        in mm along (z, y, x), the path of an image file or a sequence of paths, one per channel. Paths and an
        ``Image`` give a ``Prediction``. Raises ModelError when the channels do not fit.
        """
        read, give_back = opened(image, spacing)
        return give_back(self.segment(read, mirroring=mirroring))

    def segment(self, image: Image, *, mirroring: bool = True, probabilities: bool = False) -> Prediction:
        """Label map (and probabilities) of one image on its own grid. Raises ModelError when it does not fit."""
        prepared = self.prepare(image)
        return self.export(prepared, self.logits(prepared, mirroring=mirroring), probabilities=probabilities)

    def prepare(self, image: Image) -> PreparedCase:
        """The image on the network's grid. Raises ModelError when channels are missing or voxels are not numbers."""
        expected, found = self.plan.channels, len(image.array)
        if found != len(expected):
            raise ModelError(
                f"the image has {found} channel{'s' * (found != 1)}, but the model was trained on {len(expected)}: "
                f"{', '.join(expected)}; give one image per channel, in this order"
            )
        if not np.isfinite(image.array).all():
            raise ModelError("the image holds NaN or infinite voxels; replace them by the value of air or background")
        return prepare(image, None, self.plan, self.configuration)

    def logits(self, prepared: PreparedCase, *, mirroring: bool = True) -> torch.Tensor:
        """Logits (heads, z, y, x), float32, on the network's grid. Raises ModelError when they are not finite."""
        logits = sliding_window(
            self.networks,
            prepared.image,
            self.configuration.patch_size,
            heads=self.plan.labels.heads,
            batch_size=self.configuration.batch_size,
            mirror_axes=self.plan.mirror_axes if mirroring else (),
            run=resolve(self.settings),
        )
        if not torch.isfinite(logits.sum()):
            raise ModelError("the network computed values that are not finite; predict again with --precision float32")
        return logits

    def export(self, prepared: PreparedCase, logits: torch.Tensor, *, probabilities: bool = False) -> Prediction:
        """The prediction on the grid of the image that was prepared."""
        return export(
            logits,
            prepared.record,
            prepared.geometry,
            labels=self.plan.labels,
            resampler=self.configuration.resampler,
            probabilities=probabilities,
        )


@dataclass(frozen=True)
class _Weights:
    """One network that has not been loaded yet."""

    where: str
    load: Callable[[], Mapping[str, Tensor]]


def _of_runs(folder: Path, folds: Sequence[str] | None, trusted: tuple[str, ...]) -> tuple[Plan, dict[str, _Weights]]:
    runs = _finished(folder, folds)
    plan = _common({name: read_plan(run.effective, trusted) for name, run in runs.items()})
    return plan, {name: _Weights(str(run.weights), partial(load_file, run.weights)) for name, run in runs.items()}


def _of_bundle(bundle: Bundle, folds: Sequence[str] | None) -> tuple[Plan, dict[str, _Weights]]:
    if len(bundle.manifest.ensemble) > 1:
        raise ModelError(f"{bundle.path} is an ensemble of {', '.join(bundle.manifest.ensemble)}")
    (name,) = bundle.manifest.ensemble
    there = bundle.manifest.configurations[name]
    missing = [fold for fold in folds or () if fold not in there]
    if missing:
        raise ModelError(f"{bundle.path}: fold {', '.join(missing)} is not in it; there are {', '.join(there)}")
    plan = replace(bundle.plan, configurations={name: bundle.plan.configurations[name]}, default=name)
    return plan, {
        fold: _Weights(f"{bundle.path}: fold {fold}", lambda fold=fold: load(bundle.weights(name, fold)))  # type: ignore[misc]
        for fold in folds or there
    }


def _finished(folder: Path, wanted: Sequence[str] | None) -> dict[str, RunFolder]:
    """The folds to use by name. A fold is finished when its weights exist: they are written last."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; name the folder runs/<configuration> of a trained dataset")
    folders = [folder] if folder.name.startswith("fold_") else sorted(folder.glob("fold_*"))
    runs = {path.name.removeprefix("fold_"): RunFolder(path) for path in folders}
    finished = {name: run for name, run in runs.items() if run.weights.is_file()}
    if not finished:
        state = f"training of fold {', '.join(runs)} has not finished" if runs else "there is no fold_* folder in it"
        raise ModelError(f"{folder} holds no trained model: {state}. Run `autoseg train` to the end first")
    missing = [name for name in wanted or () if name not in finished]
    if missing:
        raise ModelError(f"{folder}: fold {', '.join(missing)} is not trained; finished are {', '.join(finished)}")
    return {name: finished[name] for name in wanted} if wanted else finished


def _common(plans: dict[str, Plan]) -> Plan:
    """The plan of the first fold, after checking that an ensemble with the others makes sense."""
    (first_name, first), *others = plans.items()
    for name, plan in others:
        theirs, ours = _decisions(plan), _decisions(first)
        different = [what for what in ours if ours[what] != theirs[what]]
        if different:
            raise ModelError(
                f"fold {name} and fold {first_name} were not trained alike: {', '.join(different)} differ. "
                "Choose folds that belong together with --folds, or train them again"
            )
    if first.configuration()[1].previous is not None:
        raise ModelError(
            f"configuration {first.default} needs the result of an earlier stage; predict with another one"
        )
    return first


def _decisions(plan: Plan) -> dict[str, Any]:
    """Everything in a plan that changes what a prediction means or how an image is prepared."""
    of_plan = {name: getattr(plan, name) for name in ("axis_order", "channels", "labels", "mirror_axes")}
    configuration = plan.configuration()[1]
    names = ("spacing", "patch_size", "normalizers", "resampler", "network", "previous")
    return of_plan | {name: getattr(configuration, name) for name in names}


def _network(weights: _Weights, plan: Plan, configuration: Configuration) -> nn.Module:
    network = plan.network_of(configuration)
    try:
        network.load_state_dict(weights.load())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{weights.where} is damaged ({error}); copy it again from where it was trained") from None
    except RuntimeError as error:  # load_state_dict lists what does not fit
        raise ModelError(f"{weights.where} does not belong to the plan beside it: {error}") from None
    return network.eval()
