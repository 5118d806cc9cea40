"""What a prediction gives besides the decision itself: one file here is one output, and its file's name is its name.

An output says what memory it takes, is opened for each image, sees all logits once, a few slices at a time and front to
back, and writes its files. So none of them makes a volume of logits, and what nobody asks for costs nothing. A file of
your own does the same: it defines ``Spec``, a subclass of ``Output``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ...core.family import Family
from ...core.geometry import Geometry
from ...core.temperature import Temperatures
from ...data.dataset import Case
from ...errors import ModelError, UsageError
from ...preprocessing.spatial import SpatialRecord, not_resampled
from ...task import Task
from ..memory import NOTHING, Need
from ..readout import Slab

if TYPE_CHECKING:
    from ..fold_pairs import FoldPairs
    from ..prediction import Prediction

OUTPUTS = Family("autoseg.inference.outputs", "Spec")
LABEL_MAP, AGREEMENT = "label_map", "agreement"


@dataclass(frozen=True)
class OutputContext:
    """One image that is predicted, as its outputs see it."""

    task: Task
    geometry: Geometry
    """The file's grid."""
    record: SpatialRecord
    """The way from there to the network's grid; slabs come after its last step, the resampling, has been undone."""
    case: Case | None = None
    """Where the image comes from; None: it is an object in memory."""
    folder: Path | None = None
    """Where files are written; None: nowhere, results stay in main memory."""
    pairs: FoldPairs | None = None
    """Where folds are compared; None: no output wants it."""
    temperatures: Temperatures = field(default_factory=dict)
    """By which probabilities are calibrated; empty: they are taken as they are."""

    @property
    def image(self) -> Path | None:
        """The image file whose header's grid is taken over by what is written."""
        return None if self.case is None else self.case.grid_file(self.task.alignment)

    def paths(self, output: Output) -> tuple[Path, ...]:
        """What ``output`` writes for this case."""
        assert self.folder is not None and self.case is not None
        return paths(output, self.folder, self.case.key, self.task)

    def inner(self, whole: np.ndarray) -> np.ndarray:
        """The part of an array (..., z, y, x) on the file's grid that slabs fill, as a view with their axes.

        The rest was cropped away before the network saw it.
        """
        before, _ = self.record.split()
        return before.apply(whole, not_resampled)


class Writer(Protocol):
    """Takes what a model says about one image."""

    def take(self, rows: slice, slab: Slab) -> None:
        """The next slices of ``OutputContext.inner``, and what is said about them."""

    def close(self) -> Any:
        """What ``Prediction.results`` holds under the output's name; there are no more slabs."""


@runtime_checkable
class Output(Protocol):
    """One kind of result. Fields of a ``Spec`` are what a user may decide about it."""

    disagreement: ClassVar[bool] = False
    """Whether ``Slab.disagreement`` is wanted, for which more is summed than the logits that decide."""
    fold_pairs: ClassVar[bool] = False
    """Whether ``OutputContext.pairs`` is wanted, for which networks of several folds are compared on the way."""
    streamed: ClassVar[bool] = False
    """Whether its files are written while slabs are taken. Then ``write`` comes last of all, when the label map is
    there; otherwise it makes the files, and the label map's comes after it."""

    def need(self, task: Task, geometry: Geometry, in_file: bool) -> Need:
        """Main memory that it takes for an image of this size. ``in_file``: there is a folder, in which an unnamed file
        may hold what is large."""
        return NOTHING

    def files(self, key: str, task: Task) -> tuple[str, ...]:
        """What is written for the case ``key``: paths within the folder, with ``/``."""
        ...

    def open(self, context: OutputContext) -> AbstractContextManager[Writer]:
        """For one image. Where it is left by an error, nothing of it remains."""
        ...

    def write(self, result: Any, prediction: Prediction) -> None:
        """Writes ``result``, its own one in ``prediction``, to the files of its context: complete or absent."""


Outputs = Mapping[str, Output]
"""Name to output. The label map is one of them, and the first."""


def chosen(
    names: Iterable[str | Output] = (), probabilities: str | None = None, trusted: tuple[str, ...] = ()
) -> Outputs:
    """The label map and what else is asked for: a name here, a module of your own in a trusted package, or an object.

    ``probabilities`` is a kind of ``probabilities.KINDS``, which asks for these, too. Raises UsageError or
    UnknownPartError.
    """
    if isinstance(names, str):
        raise UsageError(f"outputs must be a list of names, found {names!r:.100}; write [{names!r:.100}]")
    found: dict[str, Output] = {LABEL_MAP: OUTPUTS.load(LABEL_MAP)()}
    for given in names:
        output = OUTPUTS.load(given, trusted)() if isinstance(given, str) else given
        if not isinstance(output, Output):
            raise UsageError(f"{given!r:.100} is no output; its Spec must be a subclass of inference.outputs.Output")
        found[OUTPUTS.name_of(output)] = output
    if probabilities is not None:
        found["probabilities"] = OUTPUTS.load("probabilities")(probabilities)
    return found


def paths(output: Output, folder: Path, key: str, task: Task) -> tuple[Path, ...]:
    """What ``output`` writes for a case. Raises ModelError where it would not lie in ``folder``."""
    found = tuple(folder / name for name in output.files(key, task))
    for path in found:
        if ".." in str(path.relative_to(folder) if path.is_relative_to(folder) else ".."):
            raise ModelError(f"a result of {key} would be written outside {folder}; no such model is used")
    return found
