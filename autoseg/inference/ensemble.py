"""Several configurations as one model: the mean of their probabilities decides, or STAPLE of what each decides.

Within a configuration the logits of its folds are averaged; between configurations, whose networks see other grids,
probabilities are, in the file's voxels, as nnU-Net does it. All configurations run front to back together, so that no
volume of logits exists of any of them. Where an image lacks channels, those that need them have no say in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from ..bundle.trained import Trained
from ..core.clock import Clock
from ..core.fusion import MEAN, STAPLE, weights_of_those
from ..core.geometry import Geometry, Image
from ..core.missing import listed
from ..corrections import Correction
from ..errors import ModelError
from ..preprocessing.estimates import Estimates
from ..preprocessing.prepare import PreparedCase
from ..preprocessing.spatial import SpatialRecord
from ..settings import Resolved, RunSettings
from ..task import Task
from .accumulator import Space
from .entropy import disagreement_between
from .fold_pairs import FoldPairs
from .memory import Need
from .options import DEFAULT, PredictOptions
from .predictor import Predictor, Slabs
from .readout import Slab
from .sliding_window import ANYWHERE
from .stapled import StapleCombination, need_of_staple
from .stored_probabilities import mean_logits

Part = TypeVar("Part", Slab, Tensor)
Stream = Iterator[tuple[slice, Part]]
"""Consecutive ranges of slices and what is said about them."""


@dataclass(frozen=True)
class PreparedTogether:
    """One image on the grids of several configurations."""

    cases: tuple[PreparedCase, ...]
    members: tuple[int, ...]
    """Whose they are, counted from 0: all that have the channels which they need."""

    @property
    def geometry(self) -> Geometry:
        """The file's grid."""
        return self.cases[0].geometry

    @property
    def record(self) -> SpatialRecord:
        """The way to the first configuration's grid; up to resampling the others went the same."""
        return self.cases[0].record


@dataclass(frozen=True)
class Ensemble(Predictor[PreparedTogether]):
    """Configurations of one plan."""

    members: tuple[Predictor[PreparedCase], ...]
    weights: tuple[float, ...]
    """Of the members' probabilities; they sum to 1. How far members disagree is told with these."""
    settings: RunSettings
    postprocessing: tuple[Correction, ...] = ()
    trained: Trained | None = None
    of_heads: tuple[tuple[float, ...], ...] = ()
    """Of each member for each head, where the weights of heads differ; they sum to 1 for each head."""
    combined: str = MEAN
    """One of ``core.fusion.COMBINED``."""

    @property
    def task(self) -> Task:  # type: ignore[override]
        """The first member's: channels, labels and orientation are those of all."""
        return self.members[0].task

    def need_of_networks(
        self, geometry: Geometry, disagreement: bool = False, options: PredictOptions = DEFAULT
    ) -> Need:
        first, *others = (member.need_of_networks(geometry, disagreement, options) for member in self.members)
        for other in others:
            first = first.beside(other)
        if self.combined == STAPLE:
            first = first.with_output(need_of_staple(len(self.members), self.task, geometry, disagreement))
        return first

    def passes(self, options: PredictOptions) -> int:
        return sum(member.passes(options) for member in self.members)

    @property
    def has_dropout(self) -> bool:
        return any(member.has_dropout for member in self.members)

    def problem_without(self, absent: Collection[int]) -> str | None:
        """None as long as one of the members does without."""
        problems = [member.problem_without(absent) for member in self.members]
        if None in problems or len(set(problems)) == 1:
            return None if None in problems else problems[0]
        lacking = listed([self.task.channels[number] for number in sorted(absent)])
        return f"lacks {lacking}, and no network of the ensemble does without"

    def left_out(self, absent: Collection[int]) -> tuple[str, ...]:
        return tuple(each.task.name for each in self.members if each.problem_without(absent) is not None)

    @property
    def input_names(self) -> frozenset[str]:
        return frozenset().union(*(member.input_names for member in self.members))

    def _prepared(self, image: Image, given: Mapping[str, Any], estimates: Estimates) -> PreparedTogether:
        """On the grid of every member that has the channels it needs."""
        if problem := self.problem_without(image.absent):
            raise ModelError(f"the image {problem}")
        there = [n for n, member in enumerate(self.members) if member.problem_without(image.absent) is None]

        def known(member: Predictor[PreparedCase]) -> dict[str, Any]:
            return {name: value for name, value in given.items() if name in member.input_names}

        cases = (self.members[number].prepare(image, known(self.members[number]), estimates) for number in there)
        return PreparedTogether(tuple(cases), tuple(there))

    def slabs(
        self,
        prepared: PreparedTogether,
        options: PredictOptions,
        run: Resolved,
        space: Space = ANYWHERE,
        clock: Clock | None = None,
        disagreement: bool = False,
        pairs: FoldPairs | None = None,
    ) -> Slabs:
        """Logits of the combined probabilities, in the file's voxels."""
        voting, stapled = self._of_those(prepared.members), self.combined == STAPLE and len(prepared.members) > 1
        room = None if space.room is None else space.room // (len(self.members) + (self.combined == STAPLE))
        part = Space(room, space.folder)
        streams = [
            _as_logits(member.slabs(case, options, run, part, clock, disagreement, pairs))
            for member, case in zip(voting.members, prepared.cases)
        ]
        if not stapled:
            for rows, slabs in in_step(streams):
                yield rows, voting._mean(slabs)
            return
        _, resampling = prepared.record.split()
        combination = StapleCombination(len(streams), self.task.labels, resampling.shape)
        with_disagreement = (
            (rows, slabs, voting._mean(slabs).disagreement if disagreement else None)
            for rows, slabs in in_step(streams)
        )
        yield from combination.slabs(with_disagreement, part)

    def _of_those(self, there: Sequence[int]) -> Ensemble:
        """The ensemble of some of its members, whose weights are raised to sum to 1."""
        if len(there) == len(self.members):
            return self
        of_heads = weights_of_those(self.of_heads, there) if self.of_heads else ()
        total = sum(self.weights[number] for number in there)
        weights = tuple(self.weights[number] / total for number in there)
        return replace(
            self, members=tuple(self.members[number] for number in there), weights=weights, of_heads=of_heads
        )

    def _mean(self, slabs: Sequence[Slab]) -> Slab:
        labels, home = self.task.labels, slabs[0].values.device
        chances = (labels.probabilities(slab.values).to(home) for slab in slabs)
        beside = [slab.disagreement.to(home) for slab in slabs if slab.disagreement is not None]
        if not beside:
            return Slab(self._mean_logits(chances))
        # The chain rule of mutual information: which configuration, and then which of its members, is predicting.
        known = list(chances)
        within = sum(weight * each for weight, each in zip(self.weights, beside, strict=True))
        between = disagreement_between(known, self.weights, labels)
        return Slab(self._mean_logits(known), disagreement=within + between)

    def _mean_logits(self, chances: Iterable[Tensor]) -> Tensor:
        if self.of_heads:
            total = sum(each * each.new_tensor(weights) for weights, each in zip(self.of_heads, chances))
        else:
            total = sum(weight * each for weight, each in zip(self.weights, chances))
        assert isinstance(total, Tensor)
        return mean_logits(total, self.task.labels)


def _as_logits(slabs: Slabs) -> Slabs:
    for rows, slab in slabs:
        yield rows, Slab(slab.logits(), disagreement=slab.disagreement)


def in_step(streams: Sequence[Stream[Part]]) -> Iterator[tuple[slice, list[Part]]]:
    """Walks through the same slices in all streams, cut wherever one of them is cut."""
    ahead: list[tuple[slice, Part] | None] = [next(stream, None) for stream in streams]
    start = 0
    while all(ahead):
        current = [each for each in ahead if each is not None]
        stop = min(rows.stop for rows, _ in current)
        yield slice(start, stop), [slab[start - rows.start : stop - rows.start] for rows, slab in current]
        start = stop
        ahead = [next(stream, None) if each[0].stop == stop else each for stream, each in zip(streams, current)]
