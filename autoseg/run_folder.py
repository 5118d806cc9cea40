"""The files of one training: ``runs/<configuration>/fold_*`` of a dataset in the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .core.names import path_name
from .core.records import read_json
from .core.weights import is_whole
from .errors import RecordError, WorkspaceError
from .plan import Plan

FOLD = "fold_"


def named(name: str, what: str) -> str:
    """A name that becomes a folder or file here, whoever chose it. Raises WorkspaceError."""
    try:
        return path_name(name, what)
    except ValueError as error:
        raise WorkspaceError(str(error)) from None


@dataclass(frozen=True)
class RunFolder:
    """The files of one training."""

    root: Path
    trusted: tuple[str, ...] = ()
    """Packages whose parts may be loaded."""

    @property
    def weights(self) -> Path:
        """Exists only once training has finished."""
        return self.root / "weights.safetensors"

    @property
    def finished(self) -> bool:
        """Whether training has finished: the weights are there, to their end."""
        return is_whole(self.weights)

    @property
    def fold(self) -> str:
        """``0`` or ``all``."""
        return self.root.name.removeprefix(FOLD)

    @property
    def made(self) -> Path:
        """When the weights were written (``autoseg.newest``)."""
        return self.root / "made.json"

    @property
    def effective(self) -> Path:
        """The plan with one configuration, as it was trained (after --set and --epochs)."""
        return self.root / "plan.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        return any(self.checkpoints.glob("*.pt"))

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.csv"

    @property
    def status(self) -> Path:
        return self.root / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the process that trains here."""
        return self.root / ".lock"

    @property
    def stop(self) -> Path:
        """A file that the user makes to end a training early but well."""
        return self.root / "stop"

    @property
    def validation(self) -> Path:
        return self.root / "validation"

    @property
    def probabilities(self) -> Path:
        """Of the validation cases, in little space."""
        return self.validation / "probabilities"

    def kept(self, key: str) -> Path:
        """Probabilities of one validation case."""
        return self.probabilities / f"{named(key, 'case')}.b2nd"

    def without(self, absent: Sequence[int]) -> Path:
        """Label maps of validation cases from which these channels were withheld."""
        return self.validation / f"without_{'_'.join(map(str, absent))}"

    @property
    def scores(self) -> Path:
        return self.validation / "scores.json"

    @property
    def calibration(self) -> Path:
        """Voxels of the validation cases by their probabilities."""
        return self.validation / "calibration.json"

    def read_plan(self) -> Plan:
        """What was trained. Raises RecordError."""
        try:
            return read_json(self.effective, Plan, self.trusted)
        except RecordError as error:
            raise type(error)(
                f"{error}. It says what was trained: put back a copy, or remove {self.root} to train anew"
            ) from None


@dataclass(frozen=True)
class BaselineFolder(RunFolder):
    """What a classical method learned on the training cases of a fold, and how it segments the others."""

    @property
    def record(self) -> Path:
        """What was asked for and learned."""
        return self.root / "baseline.json"

    @property
    def evidence(self) -> Path:
        """How bright labels were in training cases and where they lay."""
        return self.root / "evidence.npz"


def folds_in(folder: Path, trusted: tuple[str, ...] = ()) -> list[RunFolder]:
    """The folds in ``runs/<configuration>``, sorted."""
    return [RunFolder(path, trusted) for path in sorted(folder.glob(f"{FOLD}*")) if path.is_dir()]
