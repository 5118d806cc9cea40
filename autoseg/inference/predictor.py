"""What every model can do with an image, whether it is one configuration or an ensemble of several."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ..bundle.trained import Trained
from ..core.clock import Clock
from ..core.geometry import Geometry, Image
from ..core.names import short
from ..core.temperature import Temperatures
from ..corrections import Correction, corrected
from ..data.dataset import Case
from ..errors import ModelError, NotFiniteError, UsageError
from ..preprocessing.estimates import NOT_KEPT, Estimates
from ..preprocessing.spatial import SpatialRecord
from ..settings import Resolved, RunSettings, resolve
from ..task import Task
from .accumulator import Space
from .fold_pairs import FoldPairs
from .in_memory import opened
from .memory import Need, budget
from .modality import placed
from .options import DEFAULT, STEP, PredictOptions
from .outputs import LABEL_MAP, Output, OutputContext, Outputs, chosen
from .prediction import Prediction, write_outputs
from .readout import Slab
from .sliding_window import ANYWHERE

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


OnGrid = TypeVar("OnGrid", bound=Prepared)


class Predictor(ABC, Generic[OnGrid]):
    """Reads images of one kind and decides their voxels."""

    task: Task
    """What was learned."""
    settings: RunSettings
    postprocessing: tuple[Correction, ...]
    """What is corrected in every label map, in this order."""
    trained: Trained | None
    """Where it was read from; None for one that was made in memory."""

    def need(
        self,
        geometry: Geometry,
        outputs: Outputs | None = None,
        in_file: bool = True,
        options: PredictOptions = DEFAULT,
    ) -> Need:
        """What an image of this size takes of main memory; of ``outputs`` as ``Output.need`` says."""
        wanted = outputs or {}
        needed = self.need_of_networks(geometry, asks_disagreement(wanted), options)
        for output in wanted.values():
            needed = needed.with_output(output.need(self.task, geometry, in_file))
        return needed.corrected(geometry) if self.postprocessing else needed

    @abstractmethod
    def need_of_networks(
        self, geometry: Geometry, disagreement: bool = False, options: PredictOptions = DEFAULT
    ) -> Need:
        """What it takes to decide an image of this size, and to see how far members disagree."""

    @property
    @abstractmethod
    def has_dropout(self) -> bool:
        """Whether any of the networks has dropout, of which samples can be asked for."""

    def refuse(self, options: PredictOptions) -> None:
        """Raises UsageError where this model cannot do what ``options`` ask for."""
        if options.mc_dropout and not self.has_dropout:
            raise UsageError(
                "the model has no dropout of which samples could be taken; train one with it, for example "
                "`autoseg train DATASET 0 --set network.dropout=0.2`"
            )
        if options.calibrated and not self.temperatures:
            raise UsageError(
                "the model has no temperatures to calibrate with; `autoseg select` learns them from a cross-validation"
            )

    @property
    def temperatures(self) -> Temperatures:
        """Of its heads, as the cross-validation taught them; empty: not known."""
        return {} if self.trained is None else self.trained.manifest.temperatures

    @abstractmethod
    def passes(self, options: PredictOptions) -> int:
        """How many predictions of networks, on an image and its mirror images, are averaged in every voxel. Each
        sample of dropout is one."""

    def prepare(self, image: Image, given: Mapping[str, Any] | None = None, estimates: Estimates = NOT_KEPT) -> OnGrid:
        """The image on the network's grid. Raises ModelError when channels are missing or voxels are not numbers.

        ``given`` is for further inputs of the network: name of the input to whatever its part takes. ``estimates`` may
        keep what filters find slowly; the result is the same.
        """
        if unknown := set(given or {}) - self.input_names:
            there = ", ".join(sorted(self.input_names)) or "none but the image"
            raise ModelError(f"the model has no input {short(', '.join(sorted(unknown)))}; there is {there}")
        return self._prepared(image, given or {}, estimates)

    @abstractmethod
    def problem_without(self, absent: Collection[int]) -> str | None:
        """What is wrong with an image that lacks these channels, counted from 0; None where the model does without."""

    def left_out(self, absent: Collection[int]) -> tuple[str, ...]:
        """Configurations that have no say about an image which lacks these channels, though others do without."""
        return ()

    @property
    @abstractmethod
    def input_names(self) -> frozenset[str]:
        """Of further inputs, beside the image."""

    @abstractmethod
    def _prepared(self, image: Image, given: Mapping[str, Any], estimates: Estimates) -> OnGrid:
        """``prepare``, of inputs that there are."""

    @abstractmethod
    def slabs(
        self,
        prepared: OnGrid,
        options: PredictOptions,
        run: Resolved,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
        disagreement: bool = False,
        pairs: FoldPairs | None = None,
    ) -> Slabs:
        """Logits in the file's voxels, a few slices at a time, with ``Slab.disagreement`` where it is asked for.

        ``pairs`` counts where networks of several folds decide alike. Raises NotFiniteError for infinity or NaN.
        """

    def predict(
        self,
        image: Any,
        spacing: Sequence[float] | None = None,
        *,
        affine: np.ndarray | None = None,
        tta: str = "auto",
        step: float = STEP,
        mc_dropout: int = 0,
        calibrated: bool = False,
        outputs: Sequence[str | Output] = (),
        given: Mapping[str, Any] | None = None,
    ) -> Any:
        """The label map of one image, as the kind of object the image was.

        ``image`` may be a SimpleITK image, a nibabel image, an array (z, y, x) or (channels, z, y, x) with ``spacing``
        in mm along (z, y, x) or ``affine`` (4, 4) from voxel (x, y, z) to mm, as nibabel's, the path of an image file
        or a sequence of paths, one per channel. A list of images or arrays, one per channel, may hold None for one that
        is missing, if the model was planned for that. Of a model that takes one modality per case, the image of one
        channel may come alone, and is told by its values. ``tta``, ``step``, ``mc_dropout`` and ``calibrated`` are
        those of ``PredictOptions``. Paths and an ``Image`` give a ``Prediction``; where further ``outputs`` are asked
        for, as in ``segment``, every image does. ``given`` is that of ``prepare``: points of a user, for example.
        Raises ModelError when channels are wrong, UsageError where the model cannot do what is asked for.
        """
        read, give_back = opened(image, spacing, affine, self.task.channel_sources, self.task.alignment)
        found = self._segmented(read, PredictOptions(tta, step, mc_dropout, calibrated), chosen(outputs), given)
        return found if outputs else give_back(found)

    def segment(
        self,
        image: Any,
        options: PredictOptions = DEFAULT,
        *,
        spacing: Sequence[float] | None = None,
        affine: np.ndarray | None = None,
        probabilities: str | None = None,
        outputs: Sequence[str | Output] = (),
        given: Mapping[str, Any] | None = None,
    ) -> Prediction:
        """The label map of one image, on its own grid, and in ``results`` each of ``outputs``.

        ``image``, ``spacing``, ``affine`` and ``given`` are those of ``predict``. ``outputs`` are names
        (``"uncertainty"``) or objects of one's own (``inference.outputs``); ``probabilities`` is their kind, one of
        ``inference.outputs.probabilities.KINDS``, where they are asked for. Raises ModelError when the image does not
        fit, UsageError or UnknownPartError for outputs that there are not.
        """
        read, _ = opened(image, spacing, affine, self.task.channel_sources, self.task.alignment)
        return self._segmented(read, options, chosen(outputs, probabilities), given)

    def _segmented(
        self, read: Image, options: PredictOptions, wanted: Outputs, given: Mapping[str, Any] | None
    ) -> Prediction:
        """``segment`` for an image whose channels lie on one grid."""
        self.refuse(options)
        read = placed(read, self.task, "the image")
        if blind := self.left_out(read.absent):
            LOG.warning("the image lacks channels of %s, left out of the ensemble", ", ".join(blind))
        needed = self.need(read.geometry, wanted, in_file=False, options=options)
        space = Space(needed.room(budget(self.settings.memory)))
        return self.decide(self.prepare(read, given), options, wanted, space=space)

    def decide(
        self,
        prepared: OnGrid,
        options: PredictOptions = DEFAULT,
        outputs: Outputs | None = None,
        *,
        case: Case | None = None,
        folder: Path | None = None,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
    ) -> Prediction:
        """The prediction on the grid of the image that was prepared; logits exist a few slices at a time.

        ``outputs`` None is the label map alone. It is corrected, other outputs see what the networks say. They are made
        for ``case`` in ``folder``, and in main memory where there is none. The clock's stages are "network", "resample"
        and "correct". Raises ModelError when a network computes infinity or NaN.
        """
        run, clock, wanted = resolve(self.settings, predicting=True), clock or Clock(), outputs or chosen()
        asked, found = asks_disagreement(wanted), None

        def written(run: Resolved) -> Prediction:
            pairs = FoldPairs(self.task.labels) if any(output.fold_pairs for output in wanted.values()) else None
            temperatures = self.temperatures if options.calibrated else {}
            context = OutputContext(self.task, prepared.geometry, prepared.record, case, folder, pairs, temperatures)
            slabs = self.slabs(prepared, options, run, space, clock, asked, pairs)
            return write_outputs(slabs, context, wanted, clock)

        try:
            found = written(run)
        except NotFiniteError:
            if self.settings.precision != "auto" or run.dtype is None:
                raise
        if found is None:  # only now that the error has been handled, the first attempt and its memory are gone
            LOG.warning("%s overflowed; this case is predicted again in float32", run.dtype)
            found = written(replace(run, dtype=None))
        if not self.postprocessing:
            return found
        with clock.stage("correct"):
            labels = corrected(found.labels, self.postprocessing, self.task.labels, found.geometry)
            return replace(found, results={**found.results, LABEL_MAP: labels})


def asks_disagreement(outputs: Outputs) -> bool:
    """Whether members are to be summed."""
    return any(output.disagreement for output in outputs.values())
