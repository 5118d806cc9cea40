"""What every model can do with an image, whether it is one configuration or an ensemble of several."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ..core.clock import Clock
from ..core.geometry import Geometry, Image
from ..corrections import Correction, corrected
from ..errors import NotFiniteError
from ..preprocessing.spatial import SpatialRecord
from ..settings import Resolved, RunSettings, resolve
from ..task import Task
from .accumulator import Space
from .export import Prediction, export
from .in_memory import opened
from .memory import Need, budget
from .options import DEFAULT, LABELS_ONLY, STEP, PredictOptions, Wanted
from .probabilities import Probabilities
from .readout import Slab
from .sliding_window import ANYWHERE
from .stored_probabilities import storing

LOG = logging.getLogger("autoseg")

Slabs = Iterator[tuple[slice, Slab]]
"""Consecutive ranges of slices of an image, cropped and turned as the network sees it but in the file's voxels, and
their logits."""


class Prepared(Protocol):
    """An image on the network's grid, or on several."""

    @property
    def geometry(self) -> Geometry:
        """The file's grid."""
        ...

    @property
    def record(self) -> SpatialRecord:
        """How it got there; where there are several grids, to one of them."""
        ...


Case = TypeVar("Case", bound=Prepared)


class Predictor(ABC, Generic[Case]):
    """Reads images of one kind and decides their voxels."""

    task: Task
    """What was learned."""
    settings: RunSettings
    postprocessing: tuple[Correction, ...]
    """What is corrected in every label map, in this order."""

    @abstractmethod
    def need(self, geometry: Geometry) -> Need:
        """What an image of this size takes of main memory."""

    @abstractmethod
    def prepare(self, image: Image) -> Case:
        """The image on the network's grid. Raises ModelError when channels are missing or voxels are not numbers."""

    @abstractmethod
    def slabs(
        self,
        prepared: Case,
        options: PredictOptions,
        run: Resolved,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
    ) -> Slabs:
        """Logits in the file's voxels, a few slices at a time. Raises NotFiniteError for infinity or NaN."""

    def predict(
        self,
        image: Any,
        spacing: Sequence[float] | None = None,
        *,
        affine: np.ndarray | None = None,
        tta: str = "auto",
        step: float = STEP,
    ) -> Any:
        """The label map of one image, as the kind of object the image was.

        ``image`` may be a SimpleITK image, a nibabel image, an array (z, y, x) or (channels, z, y, x) with ``spacing``
        in mm along (z, y, x) or ``affine`` (4, 4) from voxel (x, y, z) to mm, as nibabel's, the path of an image file
        or a sequence of paths, one per channel. Paths and an ``Image`` give a ``Prediction``. ``tta`` and ``step`` are
        those of ``PredictOptions``. Raises ModelError when the channels do not fit.
        """
        read, give_back = opened(image, spacing, affine)
        return give_back(self.segment(read, PredictOptions(tta, step)))

    def segment(
        self, image: Image, options: PredictOptions = DEFAULT, *, probabilities: str | None = None
    ) -> Prediction:
        """Label map (and probabilities, of a kind of ``probabilities.KINDS``) of one image on its own grid.

        Raises ModelError when it does not fit.
        """
        space = Space(self.need(image.geometry).room(budget(self.settings.memory)))
        return self.decide(self.prepare(image), options, Wanted(probabilities), space=space)

    def decide(
        self,
        prepared: Case,
        options: PredictOptions = DEFAULT,
        wanted: Wanted = LABELS_ONLY,
        *,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
    ) -> Prediction:
        """The prediction on the grid of the image that was prepared; logits exist a few slices at a time.

        The clock's stages are "network", "resample" and "correct". Probabilities are those before postprocessing.
        Raises ModelError when a network computes infinity or NaN.
        """
        run, clock = resolve(self.settings, predicting=True), clock or Clock()
        found = None
        try:
            found = self.exported(prepared, self.slabs(prepared, options, run, space, clock), wanted, clock)
        except NotFiniteError:
            if self.settings.precision != "auto" or run.dtype is None:
                raise
        if found is None:  # only now that the error has been handled, the first attempt and its memory are gone
            LOG.warning("%s overflowed; this case is predicted again in float32", run.dtype)
            run = replace(run, dtype=None)
            found = self.exported(prepared, self.slabs(prepared, options, run, space, clock), wanted, clock)
        if not self.postprocessing:
            return found
        with clock.stage("correct"):
            return replace(found, labels=corrected(found.labels, self.postprocessing, self.task.labels, found.geometry))

    def exported(
        self, prepared: Case, slabs: Slabs, wanted: Wanted = LABELS_ONLY, clock: Clock | None = None
    ) -> Prediction:
        """What the slabs decide, on the grid of the image that was prepared; nothing is corrected."""
        labels, record, geometry = self.task.labels, prepared.record, prepared.geometry
        kind, keep = wanted.probabilities, wanted.keep
        with storing(keep, record, geometry, labels) if keep else nullcontext() as watch:
            return export(
                slabs,
                record,
                geometry,
                labels=labels,
                probabilities=Probabilities.empty(labels, geometry.shape, kind, wanted.folder) if kind else None,
                watch=watch,
                clock=clock,
            )
