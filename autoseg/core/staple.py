"""STAPLE: the likeliest truth behind what several raters decide, each weighed by how good it turns out to be there.

"Simultaneous truth and performance level estimation" (Warfield et al. 2004, IEEE TMI 23(7); for several labels Rohlfing
et al. 2004, IEEE TMI 23(8)). Expectation maximisation goes back and forth between what is true in each voxel and, for
every rater, how often it says each label where each is true. It knows nothing of an image but this one: nothing is
learned beforehand. Where voxels lie plays no part, so an image of any size is a table of the decisions that occur
together, each with the number of its voxels, and slices may come one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..errors import DatasetError

MOST_ROUNDS, LEAST_ROUNDS = 20_000, 200  # some tens suffice for raters that know something
MOST_NUMBERS = 1 << 32  # that are computed in all rounds together, beyond the least
STEADY, STEADY_OF_SEVERAL = 1e-7, 1e-5  # no rate changes by more: the maximum is reached; as in ITK's filters of two
# labels and of several
MOST_PATTERNS = 1 << 20  # decisions that occur together: some hundred where raters are any good
LARGEST_CODE = 1 << 62
AT_ONCE = 1 << 20  # numbers of a part of the table
WORKED = 3  # copies of a table or of codes while they are sorted
MOST_HEADS = 62  # that are no alternatives: a bit of a decision for each


def decision_type(heads: int, exclusive: bool) -> np.dtype[Any]:
    """Of the whole numbers that decisions are."""
    largest = heads - 1 if exclusive else (1 << heads) - 1
    return np.min_scalar_type(largest) if largest < 1 << 32 else np.dtype(np.int64)


def bytes_beside(raters: int, heads: int, exclusive: bool, voxels: int, at_once: int) -> int:
    """Of main memory that the tables of an image of ``voxels`` take, and to look at some of them ``at_once``."""
    patterns = min(voxels, MOST_PATTERNS, (heads if exclusive else 2) ** raters)
    tables = 1 if exclusive else heads
    return WORKED * 8 * (patterns * (2 * tables + raters) + AT_ONCE + at_once)


def staple_problem(raters: int, heads: int, exclusive: bool) -> str | None:
    """Why there is no STAPLE of so many raters and heads; None where there is."""
    if raters < 2:
        return "it needs two configurations or more"
    if (heads**raters >= LARGEST_CODE) if exclusive else (heads > MOST_HEADS or 2**raters >= LARGEST_CODE):
        return f"{raters} configurations of {heads} labels are too many to be told apart"
    return None


class Staple:
    """Decisions of raters about one image. A decision is the number of a head, or where heads are no alternatives
    (regions, masks), of which each is estimated by itself, a bit for each that is on."""

    def __init__(self, raters: int, heads: int, exclusive: bool) -> None:
        """Raises DatasetError as ``staple_problem`` says."""
        if problem := staple_problem(raters, heads, exclusive):
            raise DatasetError(f"STAPLE: {problem}")
        self.exclusive = exclusive
        self._tables = [_Table(raters, heads)] if exclusive else [_Table(raters, 2) for _ in range(heads)]

    def add(self, decisions: np.ndarray, counts: np.ndarray | None = None) -> None:
        """More voxels: whole numbers (raters, voxels), each of which counts once, or ``counts`` (voxels,) times.

        Raises DatasetError where more decisions occur together than a table may hold.
        """
        for table, votes in zip(self._tables, self._votes(decisions)):
            table.add(votes, counts)

    def estimate(self) -> None:
        """Once all voxels are there."""
        for table in self._tables:
            table.estimate()

    def chances(self, decisions: np.ndarray) -> np.ndarray:
        """(heads, voxels) float32: how likely each head is where raters decide so, (raters, voxels). All alternatives
        together are 1."""
        found = [table.chances(votes) for table, votes in zip(self._tables, self._votes(decisions))]
        return found[0] if self.exclusive else np.stack([each[1] for each in found])

    def _votes(self, decisions: np.ndarray) -> Sequence[np.ndarray]:
        if self.exclusive:
            return [decisions]
        return [decisions >> decisions.dtype.type(bit) & decisions.dtype.type(1) for bit in range(len(self._tables))]


class _Table:
    """Of labels that exclude each other."""

    def __init__(self, raters: int, labels: int) -> None:
        self.raters, self.labels = raters, labels
        self._codes: np.ndarray = np.zeros(0, np.int64)
        self._counts: np.ndarray = np.zeros(0)
        self._prior = np.zeros(labels)
        self._rates = np.zeros((raters, labels, labels))
        """How often each rater says the first label where the second is true."""

    def add(self, votes: np.ndarray, counts: np.ndarray | None) -> None:
        codes, place = np.unique(self._coded(votes), return_inverse=True)
        added = np.bincount(place.reshape(-1), counts, minlength=len(codes))
        both, place = np.unique(np.concatenate((self._codes, codes)), return_inverse=True)
        if len(both) > MOST_PATTERNS:
            raise DatasetError(
                f"STAPLE: {self.raters} configurations contradict each other in more than {MOST_PATTERNS} ways, which "
                "would take too much memory; combine them by the mean of their probabilities"
            )
        self._codes = both
        self._counts = np.bincount(place.reshape(-1), np.concatenate((self._counts, added)))

    def estimate(self) -> None:
        """From where ITK's filters begin, since there may be several maxima: of two labels, each is as likely as raters
        say it, of several what most say is true. The prior is how often each is said."""
        said = sum((self._shares(votes).T @ counts for votes, counts in self._parts()), np.zeros(self.labels))
        self._prior = said / max(1.0, said.sum())
        self._rates = self._likeliest(self._shares) if self.labels == 2 else self._from_majority()
        steady = STEADY if self.labels == 2 else STEADY_OF_SEVERAL
        each = max(1, len(self._codes) * self.labels * self.raters)
        for _ in range(min(MOST_ROUNDS, max(LEAST_ROUNDS, MOST_NUMBERS // each))):
            before = self._rates
            self._rates = self._likeliest(self._truth)
            if np.abs(self._rates - before).max() <= steady:
                break

    def chances(self, votes: np.ndarray) -> np.ndarray:
        """(labels, voxels)."""
        codes, place = np.unique(self._coded(votes), return_inverse=True)
        found: np.ndarray = self._truth(self._decoded(codes)).T.astype(np.float32)[:, place.reshape(-1)]
        return found

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Decisions (raters, patterns) and their numbers of voxels, not all at once."""
        size = max(1, AT_ONCE // self.labels)
        for start in range(0, len(self._codes), size):
            part = slice(start, start + size)
            yield self._decoded(self._codes[part]), self._counts[part]

    def _coded(self, votes: np.ndarray) -> np.ndarray:
        """(voxels,) int64: all decisions about a voxel as the digits of one number."""
        start = np.zeros(votes.shape[1], np.int64)
        return reduce(lambda code, vote: code * self.labels + vote, votes, start)

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        """(raters, codes)."""
        digits = [codes // self.labels**place % self.labels for place in reversed(range(self.raters))]
        return np.stack(digits)

    def _from_majority(self) -> np.ndarray:
        """Rates at first, of several labels: how often the majority has each label where a rater says one. That is the
        other way round than rates are, and ties say nothing, as in ITK. What is only said in ties may be any label."""

        def won(votes: np.ndarray) -> np.ndarray:
            shares = self._shares(votes)
            first = shares == shares.max(1, keepdims=True)
            return first * (first.sum(1, keepdims=True) == 1)

        said = self._said(won)
        total = said.sum(2, keepdims=True)
        return np.divide(said, total, out=np.full_like(said, 1 / self.labels), where=total > 0)

    def _shares(self, votes: np.ndarray) -> np.ndarray:
        """(patterns, labels): the share of the raters that say each."""
        found = np.zeros((votes.shape[1], self.labels))
        for vote in votes:
            found[np.arange(len(vote)), vote] += 1 / self.raters
        return found

    def _truth(self, votes: np.ndarray) -> np.ndarray:
        """(patterns, labels): how likely each label is, by the rates of the raters. Where none can be, as raters that
        never err contradict each other, they are believed alike."""
        found = np.broadcast_to(self._prior, (votes.shape[1], self.labels)).copy()
        for rates, vote in zip(self._rates, votes):
            found *= rates[vote]
        total = found.sum(1, keepdims=True)
        if (impossible := total[:, 0] <= 0).any():
            for vote in votes:
                found[impossible, vote[impossible]] += 1.0
            total = found.sum(1, keepdims=True)
        return found / total

    def _likeliest(self, truth: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The rates, where ``truth`` says (patterns, labels) how likely each label is behind each decision."""
        said = self._said(truth)
        total = said.sum(1, keepdims=True)
        return np.divide(said, total, out=np.zeros_like(said), where=total > 0)

    def _said(self, truth: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """(raters, labels, labels): voxels in which each says the first where the second is true."""
        from scipy.sparse import csr_matrix

        said = np.zeros_like(self._rates)
        for votes, counts in self._parts():
            weighed = truth(votes) * counts[:, None]
            for rater, vote in enumerate(votes):
                shape = (self.labels, len(vote))
                said[rater] += csr_matrix((np.ones(len(vote)), (vote, np.arange(len(vote)))), shape) @ weighed
        return said
