"""Channels that a case may lack: which ones, and from which patches training withholds them (modality dropout).

A network that now and then sees a channel withheld learns to do without it: "modality dropout" of the literature
(Neverova et al. 2016). Withheld channels are 0, as absent ones are after normalisation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING

from .channels import ChannelSource, channels_of_files
from .names import short

if TYPE_CHECKING:
    import numpy as np

MOST_WHOLLY_VALIDATED = 4  # channels, or files, of which every combination is validated: 14 of four
EVEN = 0.5  # chance of each channel to be withheld where every combination is to be as likely


@dataclass(frozen=True)
class MissingChannels:
    """What is missing is decided for each patch by itself; at least one channel always stays."""

    rates: dict[str, float]
    """Channel that a case may lack to the share of patches from which training withholds it (targeted dropout).
    Channels that are not named are required."""
    uniform: float = 0.0
    """Share of patches from which any combination of these channels is withheld instead, whatever their rates."""
    validate: bool = True
    """Whether validation cases are also predicted and scored with channels withheld, at the end of a training."""
    exclusive: bool = False
    """Whether each case has exactly one of the channels, its modality: then none is ever withheld."""

    def __post_init__(self) -> None:
        if not self.rates:
            raise ValueError("rates must name at least one channel that a case may lack")
        for name, rate in {**self.rates, "uniform": self.uniform}.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"the share of {short(name)} must be from 0 to 1, found {rate:g}")

    def draw(self, generator: np.random.Generator, *, batch: int, channels: int) -> np.ndarray:
        """All that is random about a batch: numbers (batch, 1 + channels), a row for each patch."""
        return generator.random((batch, 1 + channels))

    def withheld(self, drawn: np.ndarray, channels: Sequence[str], absent: Collection[int]) -> tuple[int, ...]:
        """Channels, counted from 0, that a patch loses beside those that are ``absent``; ``drawn`` is its row."""
        whole, *numbers = drawn.tolist()
        there = [number for number in range(len(channels)) if number not in absent]
        optional = [number for number in there if channels[number] in self.rates]
        if not optional or self.exclusive:
            return ()
        rates = {number: EVEN if whole < self.uniform else self.rates[channels[number]] for number in optional}
        lost = {number for number in optional if numbers[number] < rates[number]}
        if whole < self.uniform and not lost:
            lost = {min(optional, key=lambda number: numbers[number])}
        if len(lost) == len(there):  # all alike: each number is below its rate
            lost.remove(max(lost, key=lambda number: numbers[number] / rates[number]))
        return tuple(sorted(lost))

    def optional(self, channels: Sequence[str]) -> tuple[int, ...]:
        """Channels that a case may lack, counted from 0."""
        return tuple(number for number, name in enumerate(channels) if name in self.rates)

    def combinations(
        self,
        channels: Sequence[str],
        occurring: Iterable[tuple[int, ...]],
        sources: Sequence[ChannelSource] = (),
    ) -> list[tuple[int, ...]]:
        """What is withheld from validation cases, one combination after the other, fewest channels first.

        All there are where training withholds any and there are few channels; else those that cases of the dataset lack
        (``occurring``), and each channel alone. The volumes of one file (``sources`` as in a plan) count as one
        channel: a case has all of them or none.
        """
        optional, files = {*self.optional(channels)}, channels_of_files(sources, len(channels))
        lost = [file for file in files if optional.issuperset(file)]
        if self.uniform and len(files) <= MOST_WHOLLY_VALIDATED:
            several = (each for size in range(1, len(lost) + 1) for each in combinations(lost, size))
            found = {tuple(sorted(chain.from_iterable(each))) for each in several}
        else:
            found = {*occurring, *lost}
        return sorted((each for each in found if 0 < len(each) < len(channels)), key=lambda each: (len(each), each))

    def problem_without(self, channels: Sequence[str], absent: Collection[int]) -> str | None:
        """What is wrong with a case that lacks the channels ``absent``, counted from 0; None where nothing is."""
        if len(set(absent)) == len(channels):
            return f"has no channel at all; give {'' if self.exclusive else 'at least '}one of {listed(channels)}"
        if self.exclusive and len(set(absent)) < len(channels) - 1:
            there = [name for number, name in enumerate(channels) if number not in absent]
            return f"has {listed(there)}, but the model takes one of them: a case has one modality"
        required = [channels[number] for number in sorted(absent) if channels[number] not in self.rates]
        if required:
            may = "may lack" if len(self.rates) > 1 else "may only lack"
            return f"lacks {listed(required)}, which the model needs; a case {may} {listed([*self.rates])}"
        return None


def listed(names: Sequence[str]) -> str:
    """For messages."""
    return short(", ".join(names), 300)


def subset_name(channels: Sequence[str], absent: Collection[int] = ()) -> str:
    """The channels that are there, in their order: ``FLAIR + T1``."""
    return " + ".join(name for number, name in enumerate(channels) if number not in absent)
