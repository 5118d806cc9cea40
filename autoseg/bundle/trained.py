"""What a model consists of, wherever it lies: a bundle, or the folder in which its folds were trained."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Union

from ..core.names import path_name
from ..core.weights import metadata, read_weights
from ..errors import ModelError
from ..plan import Plan
from ..run_folder import FOLD, RunFolder, folds_in
from .bundle import BLOCK, Bundle, is_bundle, read_bundle
from .manifest import Manifest


@dataclass(frozen=True)
class TrainedRuns:
    """The finished folds of one configuration, ``runs/<configuration>``, seen as a bundle not packed yet."""

    path: Path
    plan: Plan
    """With this configuration, the default, and the earlier stages that it needs."""
    stages: dict[str, dict[str, RunFolder]]
    """Configuration to its folds by name; the one of ``path`` first."""

    @property
    def manifest(self) -> Manifest:
        """Without checksums, scores, licence and citation."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", self.plan.dataset).strip("_-")[:100]
        configurations = {stage: tuple(runs) for stage, runs in self.stages.items()}
        try:
            path_name(name, "the name of the model")
        except ValueError:  # what a dataset on one system may be called is not a name on every other
            name = f"model_{name}".rstrip("_")
        return Manifest(name, configurations, {self.plan.default: 1.0})

    @property
    def runs(self) -> dict[str, RunFolder]:
        """The folds of the configuration itself."""
        return self.stages[self.plan.default]

    @property
    def size(self) -> int:
        """Bytes of all weights."""
        return sum(run.weights.stat().st_size for runs in self.stages.values() for run in runs.values())

    def weights(self, configuration: str, fold: str) -> bytes:
        """One network's safetensors. Raises ModelError when they are damaged, or are those of another fold."""
        return read_weights(self.stages[configuration][fold].weights, f"{configuration}/fold_{fold}", CURE)

    def verify(self) -> None:
        """Reads all weights. Raises ModelError for the first that are damaged."""
        for configuration, runs in self.stages.items():
            for fold in runs:
                self.weights(configuration, fold)

    def weight_blocks(self, configuration: str, fold: str) -> Iterator[bytes]:
        """The same, piece by piece."""
        with self.stages[configuration][fold].weights.open("rb") as file:
            while block := file.read(BLOCK):
                yield block

    def where(self, configuration: str, fold: str) -> str:
        """Names these weights in a message."""
        return str(self.stages[configuration][fold].weights)


DECISIVE = ("spacing", "patch_size", "filters", "normalizers", "resampler", "network", "inputs", "slices", "channels")
"""Of a configuration, what changes the meaning of a prediction or how an image is prepared."""
CURE = "train this fold again, which writes them anew from its last checkpoint; or remove its folder"
Trained = Union[Bundle, TrainedRuns]


def read_trained(path: Path, folds: Sequence[str] | None = None, trusted: tuple[str, ...] = ()) -> Trained:
    """Reads a bundle (zip or folder), ``runs/<configuration>`` with its finished folds, or one ``fold_*`` folder.

    ``folds`` None takes every fold that is there. Raises ModelError when there is none, when one that was asked for is
    missing, when folds were not trained alike, or for a bundle that is not what it claims to be.
    """
    if is_bundle(path):
        return _chosen(read_bundle(path, trusted), folds)
    runs = _finished(path, folds, trusted)
    plan = _common({name: run.read_plan() for name, run in runs.items()})
    previous = plan.configuration()[1].previous
    if previous is None:
        return TrainedRuns(path, plan, {plan.default: runs})
    return _after(_earlier(path, previous, tuple(runs), trusted), TrainedRuns(path, plan, {plan.default: runs}))


def _earlier(path: Path, previous: str, folds: tuple[str, ...], trusted: tuple[str, ...]) -> TrainedRuns:
    """The earlier stage of a cascade, trained beside it."""
    beside = (path.parents[1] if path.name.startswith("fold_") else path.parent) / previous
    try:
        earlier = read_trained(beside, folds_of_earlier(folds, tuple(_finished(beside, None))), trusted)
    except ModelError as error:
        raise ModelError(f"{path} needs the predictions of {previous}: {error}") from None
    assert isinstance(earlier, TrainedRuns), "a folder of runs holds no manifest"
    return earlier


def _after(earlier: TrainedRuns, later: TrainedRuns) -> TrainedRuns:
    if different := earlier.plan.differences(later.plan):
        raise ModelError(
            f"{later.path} and its earlier stage {earlier.path} were not trained alike: {', '.join(different)} differ; "
            "train one of them again"
        )
    configurations = later.plan.configurations | earlier.plan.configurations
    return TrainedRuns(later.path, replace(later.plan, configurations=configurations), later.stages | earlier.stages)


def folds_of_earlier(folds: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """Which networks of the earlier stage predict for ``folds`` of a cascade; ``there`` are all that exist.

    The same folds, which have not seen those validation cases either. Fold ``all`` has learned from the predictions of
    all numbered folds.
    """
    numbered = tuple(fold for fold in there if fold != "all")
    return (numbered or tuple(there)) if "all" in folds else tuple(folds)


def _chosen(bundle: Bundle, folds: Sequence[str] | None) -> Bundle:
    """Raises ModelError for folds that are not in it, RecordError for a cascade without its earlier stage."""
    there, chosen = bundle.manifest.configurations, dict[str, tuple[str, ...]]()
    for name in bundle.manifest.ensemble:
        wanted = tuple(folds or there[name])
        for stage in reversed(bundle.plan.stages(name)):
            wanted = wanted if stage == name else folds_of_earlier(wanted, there.get(stage, ()))
            if missing := [fold for fold in wanted if fold not in there.get(stage, ())]:
                found = ", ".join(there.get(stage, ())) or "none"
                raise ModelError(f"{bundle.path}: {stage} has no fold {', '.join(missing)}; there are {found}")
            chosen[stage] = wanted
    if not folds:
        return bundle
    # the checksums of the chosen folds stay
    files = replace(bundle.manifest, configurations=chosen, files={}).file_names
    kept = {name: bundle.manifest.files[name] for name in files}
    return replace(bundle, manifest=replace(bundle.manifest, configurations=chosen, files=kept, scores=None))


def _finished(folder: Path, wanted: Sequence[str] | None, trusted: tuple[str, ...] = ()) -> dict[str, RunFolder]:
    """The folds to use by name. A fold is finished when its weights exist: they are written last.

    Raises ModelError also for weights that are damaged, or gone since the fold was scored: without them the ensemble
    would be another.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} does not exist; name a bundle, or the folder runs/<configuration> of a dataset")
    found = [RunFolder(folder, trusted)] if folder.name.startswith(FOLD) else folds_in(folder, trusted)
    runs = {run.fold: run for run in found}
    there = {name: run for name, run in runs.items() if os.path.lexists(run.weights) or run.scores.exists()}
    used = there if not wanted else {name: there[name] for name in wanted if name in there}
    for run in used.values():
        try:
            metadata(run.weights)
        except ModelError as error:
            raise ModelError(f"{error}; {CURE}") from None
    if not there:
        state = f"training of fold {', '.join(runs)} has not finished" if runs else "there is no fold_* folder in it"
        raise ModelError(f"{folder} holds no trained model: {state}. Run `autoseg train` to the end first")
    missing = [name for name in wanted or () if name not in there]
    if missing:
        raise ModelError(f"{folder}: fold {', '.join(missing)} is not trained; finished are {', '.join(there)}")
    return used


def _common(plans: dict[str, Plan]) -> Plan:
    """The plan of the first fold, after checking that an ensemble with the others makes sense."""
    (first_name, first), *others = plans.items()
    for name, plan in others:
        theirs, ours = plan.task().configuration, first.task().configuration
        different = [what for what in DECISIVE if getattr(ours, what) != getattr(theirs, what)]
        if different := [*first.differences(plan), *different]:
            raise ModelError(
                f"fold {name} and fold {first_name} were not trained alike: {', '.join(different)} differ. "
                "Choose folds that belong together with --folds, or train them again"
            )
    return first
