"""A trained model: a plan and the networks of its folds.

Reading one executes nothing that came with it: weights are safetensors, everything else is JSON.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..bundle.trained import Trained, read_trained
from ..configuration import Configuration
from ..core.clock import Clock
from ..core.files import named_path
from ..core.fusion import STAPLE
from ..core.geometry import Geometry, Image
from ..core.names import short
from ..core.staple import staple_problem
from ..corrections import Correction
from ..errors import ModelError
from ..preprocessing.estimates import Estimates
from ..preprocessing.prepare import PreparedCase, prepare
from ..preprocessing.priors import on_grid
from ..settings import Resolved, RunSettings, resolve
from ..task import Task
from .accumulator import Space
from .decided import Decided
from .ensemble import Ensemble
from .fold_pairs import FoldPairs
from .inputs import all_inputs
from .mc_dropout import DropoutSamples, has_dropout
from .memory import Need, need, need_of_disagreement
from .networks import read_network, refuse_too_large
from .options import DEFAULT, PredictOptions
from .predictor import Predictor, Slabs
from .readout import Readout, Slab
from .resampled import needs_whole, resampled_slabs
from .sliding_window import ANYWHERE, SlidingWindow


@dataclass(frozen=True)
class Model(Predictor[PreparedCase]):
    """One configuration. The networks of several folds are an ensemble: the mean of their logits counts."""

    task: Task
    networks: tuple[nn.Module, ...]
    """In evaluation mode, on the device of the settings."""
    folds: tuple[str, ...]
    """Names of the folds, one per network."""
    settings: RunSettings = field(default_factory=RunSettings)
    mirroring_pays: bool | None = None
    """What cross-validation found about mirroring in prediction; None where nobody has measured it."""
    previous: Model | None = None
    """In a cascade, the earlier stage, whose label map is an input of these networks."""
    postprocessing: tuple[Correction, ...] = ()
    """What is corrected in every label map, in this order."""
    trained: Trained | None = None
    """Where it was read from."""

    @classmethod
    def read(
        cls,
        path: str | Path,
        folds: Sequence[str] | None = None,
        *,
        settings: RunSettings | None = None,
        trusted: tuple[str, ...] = (),
    ) -> Predictor[Any]:
        """Reads a bundle (zip or folder), ``runs/<configuration>`` with its finished folds, or one ``fold_*`` folder.

        ``folds`` None takes every fold whose training has finished. Raises ModelError when there is none, when one
        that was asked for is missing, when folds were not trained alike or a bundle is not what it claims to be.
        What is read is a ``Model``, or an ``Ensemble`` of several.
        """
        settings = settings or RunSettings()
        trained = read_trained(named_path(path, "the model"), folds, trusted)
        torch.set_num_threads(settings.threads)  # torch counts the machine's cores, not those a container may use
        manifest = trained.manifest
        if unknown := set(manifest.temperatures) - set(trained.plan.labels.head_names):
            raise ModelError(f"{trained.path}: temperatures names {short(sorted(unknown))}, which the plan does not")
        if manifest.exact and settings.precision == "auto" and resolve(settings).device.type == "cpu":
            settings = replace(settings, precision="float32")
        needed = dict.fromkeys(stage for name in manifest.ensemble for stage in trained.plan.stages(name))
        for name in needed:
            refuse_too_large(trained, name, resolve(settings, predicting=True))
        stages: dict[str, Model] = {}
        for name in needed:  # an earlier stage comes before those that need it
            stages[name] = cls._stage(trained, name, settings, stages)
        members = tuple(stages[name] for name in manifest.ensemble)
        if len(members) == 1:
            return replace(members[0], postprocessing=manifest.postprocessing, trained=trained)
        weights = tuple(manifest.ensemble.values())
        of_heads = tuple(manifest.label_weights[name] for name in manifest.ensemble if manifest.label_weights)
        if of_heads and len(of_heads[0]) != trained.plan.labels.heads:
            raise ModelError(
                f"{trained.path}: label_weights has weights for {len(of_heads[0])} labels, the plan has "
                f"{trained.plan.labels.heads}"
            )
        if manifest.combined == STAPLE:
            labels = trained.plan.labels
            if problem := staple_problem(len(members), labels.heads, labels.exclusive):
                raise ModelError(f"{trained.path}: STAPLE: {problem}")
        return Ensemble(members, weights, settings, manifest.postprocessing, trained, of_heads, manifest.combined)

    @classmethod
    def _stage(cls, trained: Trained, name: str, settings: RunSettings, earlier: Mapping[str, Model]) -> Model:
        task = trained.plan.task(name)
        before = task.configuration.previous
        device, there = resolve(settings).device, trained.manifest.configurations[name]
        networks = tuple(read_network(trained, name, fold, device) for fold in there)
        test = trained.manifest.mirroring.get(name)
        previous = None if before is None else earlier[before]
        return cls(task, networks, there, settings, test.pays if test else None, previous)

    @property
    def configuration(self) -> Configuration:
        return self.task.configuration

    def need_of_networks(
        self, geometry: Geometry, disagreement: bool = False, options: PredictOptions = DEFAULT
    ) -> Need:
        sampled = bool(self._samples(options))
        readout = None if sampled else Readout.of(self.networks, self.task.labels.heads)
        run, values = resolve(self.settings, predicting=True), readout.weight.shape[1] if readout else None
        needed = need(geometry, self.task, run, values, sampled)
        if self.previous is not None:
            needed = needed.together(self.previous.need(geometry, options=options))
        return needed.with_output(need_of_disagreement(needed.window, self.task, values)) if disagreement else needed

    def passes(self, options: PredictOptions) -> int:
        mirrored = 2 ** len(options.mirror_axes(self.task.mirrored, self.mirroring_pays))
        return len(self.networks) * mirrored * (self._samples(options) or 1)

    @property
    def has_dropout(self) -> bool:
        """Of this stage or one before it."""
        earlier = self.previous is not None and self.previous.has_dropout
        return earlier or any(map(has_dropout, self.networks))

    def _samples(self, options: PredictOptions) -> int:
        """How many of each network; none of networks without dropout, all of which would be alike."""
        return options.mc_dropout if any(map(has_dropout, self.networks)) else 0

    def problem_without(self, absent: Collection[int]) -> str | None:
        problem = self.task.problem_without(absent)
        return problem if problem or self.previous is None else self.previous.problem_without(absent)

    @property
    def input_names(self) -> frozenset[str]:
        """Of this stage and those before it."""
        own = frozenset(group.name for group in self.task.inputs.extras)
        return own if self.previous is None else own | self.previous.input_names

    def _prepared(self, image: Image, given: Mapping[str, Any], estimates: Estimates) -> PreparedCase:
        expected, found = self.task.channels, len(image.array)
        if found != len(expected):
            raise ModelError(
                f"the image has {found} channel{'s' * (found != 1)}, but the model was trained on {len(expected)}: "
                f"{', '.join(expected)}; give one image per channel, in this order"
            )
        if problem := self.task.problem_without(image.absent):
            raise ModelError(f"the image {problem}")
        if not np.isfinite(image.array).all():
            raise ModelError("the image holds NaN or infinite voxels; replace them by the value of air or background")
        prepared = replace(prepare(image, None, self.task, estimates), given=given)
        if self.previous is None:
            return prepared
        return replace(prepared, previous=self.previous._prepared(image, given, estimates))

    def slabs(
        self,
        prepared: PreparedCase,
        options: PredictOptions,
        run: Resolved,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
        disagreement: bool = False,
        pairs: FoldPairs | None = None,
    ) -> Slabs:
        """Logits in the file's voxels, a few slices at a time. Raises NotFiniteError for infinity or NaN."""
        _, resampling = prepared.record.split()
        window = self._sweep(prepared, options, run, space, clock, disagreement=disagreement, pairs=pairs)
        return resampled_slabs(window, resampling, self.configuration.resampler)

    def decided(self, prepared: PreparedCase, options: PredictOptions = DEFAULT) -> Decided:
        """Where it decides for each of its heads."""
        window, labels = self._sweep(prepared, options, resolve(self.settings, predicting=True)), self.task.labels
        read = (Slab(window.read(z, z + 1), window.readout).logits()[0] for z in range(window.shape[0]))
        slices = (logits.cpu().numpy() for logits in read)
        return Decided.of_slices(slices, len(labels.head_names), window.shape, labels.exclusive)

    def logits(self, prepared: PreparedCase, options: PredictOptions = DEFAULT) -> torch.Tensor:
        """Logits (heads, z, y, x), float32, on the network's grid. Raises ModelError when they are not finite."""
        return self._sweep(prepared, options, resolve(self.settings, predicting=True), whole=True).all()

    def _sweep(
        self,
        prepared: PreparedCase,
        options: PredictOptions,
        run: Resolved,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
        whole: bool = False,
        disagreement: bool = False,
        pairs: FoldPairs | None = None,
    ) -> SlidingWindow:
        _, resampling = prepared.record.split()
        labels, count = self.task.labels, self._samples(options)
        return SlidingWindow(
            self.networks,
            self.inputs(prepared, options, space, clock),
            self.configuration.patch_size,
            heads=labels.heads,
            batch_size=self.configuration.batch_size,
            mirror_axes=options.mirror_axes(self.task.mirror_axes, self.mirroring_pays),
            step=options.step,
            slices=self.configuration.slices,
            run=run,
            space=space,
            whole=whole or needs_whole(resampling, self.configuration.resampler),
            clock=clock,
            members_of=labels if disagreement else None,
            pairs=None if pairs is None else pairs.window(len(self.networks)),
            samples=DropoutSamples(count, self.settings.seed, labels, len(self.networks)) if count else None,
        )

    def inputs(
        self,
        prepared: PreparedCase,
        options: PredictOptions = DEFAULT,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
    ) -> np.ndarray:
        """float32 (channels, z, y, x): the image and, as further channels, all else that the networks see."""

        def predicted() -> np.ndarray:
            """By the earlier stage, as label indices on the network's grid."""
            assert self.previous is not None and prepared.previous is not None
            found = self.previous.decide(prepared.previous, options, space=space, clock=clock)
            return on_grid(found.labels, prepared.record, self.task.labels, self.configuration.resampler)

        return all_inputs(prepared, self.task, predicted)
