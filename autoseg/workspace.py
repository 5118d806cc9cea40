"""Every file name the pipeline writes. One folder holds it all:

workspace/
    Dataset004_Hippocampus/
        dataset.json  fingerprint.json  plan.json  folds.json
        .plan.lock                              held by a training that measures or prepares, while others wait
        measured/<case>.npz                     one case's fingerprint, reused while its files do not change
        measured/estimates/<case>/<hash>.npz    what a filter found slowly in one channel, a bias field
        steps.json                              what training steps cost, reused while machine and step are the same
        prepared/<configuration>/<case>/        network-grid arrays of one case; configurations on one grid share them
        priors/<configuration>/<case>.b2nd      cascade: the earlier stage's prediction of a case it had not seen,
                               <case>.json      and what it was made from
        runs/<configuration>/fold_0/            one training:
            plan.json  weights.safetensors      what prediction needs (weights appear when training has finished)
            made.json                           when that was: commands take the newest model
            checkpoints/  log.txt  metrics.csv  validation/
            status.json                         what `autoseg status` shows
            stop                                made by you: training is brought to a good end at once
        baselines/<method>/fold_0/              a classical method: baseline.json  evidence.npz  validation/
        search/fold_0/                          what `autoseg search` tried while that fold was kept aside
        selected/                               the model that `autoseg select` chose, as a bundle
    models/<name>/                              bundles that were installed
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .core.files import holds
from .core.names import path_name
from .core.records import Record, read_json
from .data.dataset import Dataset
from .data.fingerprint import Fingerprint
from .data.folds import Folds
from .errors import RecordError, WorkspaceError
from .plan import Plan
from .run_folder import FOLD, BaselineFolder, RunFolder, folds_in, named

_MENDS = {
    "dataset.json": "To write it anew, run `autoseg plan_and_preprocess` with the folder of the images",
    "fingerprint.json": "To write it anew, run `autoseg fingerprint DATASET`: what was measured is remembered",
    "folds.json": "Take back what was edited, or remove the file and run `autoseg plan DATASET` to split anew",
    "plan.json": "Take back what was edited, or run `autoseg plan DATASET` to decide anew",
}


def _is_named(name: str) -> bool:
    try:
        return bool(path_name(name, "dataset"))
    except ValueError:  # not made here
        return False


@dataclass(frozen=True)
class DatasetFolder:
    """Everything written for one dataset."""

    root: Path
    trusted: tuple[str, ...] = ()
    """Packages whose parts may be loaded."""

    @property
    def dataset(self) -> Path:
        return self.root / "dataset.json"

    @property
    def fingerprint(self) -> Path:
        return self.root / "fingerprint.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def old_plan(self) -> Path:
        """The plan before the last planning, if that decided differently (it may hold a user's edits)."""
        return self.root / "plan.old.json"

    @property
    def plan_lock(self) -> Path:
        """Held by the process that makes a plan of a draft, or prepares what was left to training."""
        return self.root / ".plan.lock"

    @property
    def steps(self) -> Path:
        """What training steps cost, counted and timed in earlier plannings."""
        return self.root / "steps.json"

    @property
    def folds(self) -> Path:
        return self.root / "folds.json"

    @property
    def old_folds(self) -> Path:
        """The folds before the last planning, if those are others (they may hold a user's edits)."""
        return self.root / "folds.old.json"

    @property
    def measured(self) -> Path:
        return self.root / "measured"

    @property
    def estimates(self) -> Path:
        return self.measured / "estimates"

    def prepared(self, configuration: str) -> Path:
        return self.root / "prepared" / named(configuration, "configuration")

    def priors(self, configuration: str) -> Path:
        return self.root / "priors" / named(configuration, "configuration")

    @property
    def all_runs(self) -> Path:
        """A folder for every configuration of which something was trained."""
        return self.root / "runs"

    def runs(self, configuration: str) -> Path:
        """The trained model of one configuration: its folds."""
        return self.all_runs / named(configuration, "configuration")

    def run(self, configuration: str, fold: str) -> RunFolder:
        return RunFolder(self.runs(configuration) / named(f"{FOLD}{fold}", "fold"), self.trusted)

    def trained(self) -> list[str]:
        """Configurations of which something was trained, sorted."""
        return sorted(path.name for path in self.all_runs.glob("*") if path.is_dir() and _is_named(path.name))

    def folds_of(self, configuration: str) -> list[RunFolder]:
        """What was trained of a configuration, finished or not, sorted."""
        return folds_in(self.runs(configuration), self.trusted)

    @property
    def all_baselines(self) -> Path:
        """A folder for every classical method that has segmented something."""
        return self.root / "baselines"

    def baseline(self, method: str, fold: str) -> BaselineFolder:
        root = self.all_baselines / named(method, "method")
        return BaselineFolder(root / named(f"{FOLD}{fold}", "fold"), self.trusted)

    def baselines(self) -> dict[str, list[RunFolder]]:
        """Methods that have segmented something, sorted, with their folds."""
        found = sorted(path for path in self.all_baselines.glob("*") if path.is_dir() and _is_named(path.name))
        return {path.name: folds_in(path) for path in found}

    @property
    def searches(self) -> Path:
        """A folder for every fold that a search has kept aside (``pipeline.search_place``)."""
        return self.root / "search"

    @property
    def selection(self) -> Path:
        """What `autoseg select` compared, and the chosen model's predictions of all validation cases."""
        return self.root / "selection"

    @property
    def selected(self) -> Path:
        """The bundle that `autoseg select` wrote."""
        return self.root / "selected"

    @property
    def selected_manifest(self) -> Path:
        """What a bundle is known by."""
        return self.selected / "model.json"

    @property
    def selected_made(self) -> Path:
        """When it was written (``autoseg.newest``)."""
        return self.selection / "made.json"

    def read_dataset(self) -> Dataset:
        """Raises WorkspaceError when nothing was written yet, RecordError when it is damaged, as all of these do."""
        return self._read(self.dataset, Dataset, "fingerprint")

    def read_fingerprint(self) -> Fingerprint:
        """Raises WorkspaceError when the dataset was not measured yet."""
        return self._read(self.fingerprint, Fingerprint, "fingerprint")

    def read_folds(self) -> Folds:
        """Raises WorkspaceError when the dataset was not planned yet."""
        return self._read(self.folds, Folds, "plan")

    def read_plan(self) -> Plan:
        """Raises WorkspaceError when the dataset was not planned yet."""
        return self._read(self.plan, Plan, "plan")

    def _read(self, path: Path, kind: type[Record], step: str) -> Record:
        """Raises RecordError saying what to do with a file that was edited or damaged."""
        if not path.exists():
            raise WorkspaceError(
                f"{path} does not exist. "
                f"Run `autoseg plan_and_preprocess DATASET` (or its step `autoseg {step}`) first."
            )
        try:
            return read_json(path, kind, self.trusted)
        except RecordError as error:
            foreign = not self.folds.exists() and not (self.root / "prepared").exists()
            if path == self.dataset and foreign and not holds(path, ('"folder"', '"layout"')):
                raise type(error)(
                    f"{path} was not written by autoseg: {path.parent} seems to be a dataset of yours, and not a "
                    "folder of a workspace; choose another --workspace"
                ) from None
            raise type(error)(f"{error} (in {path.parent}). {_MENDS[path.name]}") from None


@dataclass(frozen=True)
class Workspace:
    """The one folder under which everything is written: ``--workspace``."""

    root: Path
    trusted: tuple[str, ...] = ()
    """Packages whose parts may be loaded: ``--trust``."""

    def dataset_folder(self, name: str) -> DatasetFolder:
        """Raises WorkspaceError for a name that leads elsewhere."""
        return DatasetFolder(self.root / named(name, "dataset"), self.trusted)

    def folder_for(self, images: Path, name: str | None = None) -> DatasetFolder:
        """What is written for the dataset in the folder ``images``, under that folder's name if no ``name`` is given.

        Raises WorkspaceError where that is the same folder.
        """
        files = self.dataset_folder(name or images.absolute().name)
        if os.path.realpath(files.root) == os.path.realpath(images):
            raise WorkspaceError(
                f"{images} holds the images, and in the workspace {self.root} it would also hold what autoseg writes; "
                "choose another --workspace"
            )
        return files

    @property
    def models(self) -> Path:
        """Where bundles are installed."""
        return self.root / "models"

    def dataset_names(self) -> list[str]:
        """Datasets that were read into this workspace, sorted."""
        return sorted(path.parent.name for path in self.root.glob("*/dataset.json") if _is_named(path.parent.name))


def run_at(path: Path, trusted: tuple[str, ...] = ()) -> tuple[DatasetFolder, str, str | None] | None:
    """The dataset, configuration and fold of ``runs/<configuration>`` or ``runs/<configuration>/fold_0``.

    None where ``path`` is no such folder. Raises WorkspaceError where the dataset is not beside it.
    """
    path = path.resolve()
    parents = [path, path.parent]
    found = next((place for place in parents if place.parent.name == "runs"), None)
    if not path.is_dir() or found is None or (path / "dataset.json").is_file():
        return None
    root = found.parent.parent
    if not (root / "dataset.json").is_file():
        raise WorkspaceError(f"{path} lies in no dataset of a workspace: {root / 'dataset.json'} does not exist")
    fold = None if found == path else path.name.removeprefix(FOLD)
    return DatasetFolder(root, trusted), found.name, fold
