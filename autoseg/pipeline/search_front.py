"""What a search has found: every training with its Dice and its times, and those that no other beats."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.bounds import bounded
from ..core.files import atomic_file
from ..core.progress import duration

RECORD = "search.json"


@dataclass(frozen=True)
class Tried:
    """One training of the search."""

    name: str
    """Of its configuration."""
    trial: int
    knobs: dict[str, str]
    """What was chosen, those that are as planned left out."""
    seconds: float
    """That it was trained for."""
    taken: float
    """Seconds, with validation."""
    dice: float
    """Mean over labels on the cases that the search keeps aside, none of which are those of the fold it reports on."""
    seconds_per_case: float
    """Of prediction on this machine."""
    reported: float | None = None
    """Dice of the same plan, trained on all cases that the search has seen, on the fold that it has not; None: it was
    not trained so."""
    version: int = 1

    def __post_init__(self) -> None:
        bounded(self, "trial", least=0)
        bounded(self, "seconds", "taken", "seconds_per_case", least=0)
        bounded(self, "dice", "reported", least=0, most=1)

    @property
    def told(self) -> str:
        """What is not as planned."""
        return ", ".join(f"{knob} {value}" for knob, value in self.knobs.items()) or "nothing: the planner's plan"

    def beats(self, other: Tried) -> bool:
        """Whether it is as good in everything, and better in something."""
        mine = (self.dice, -self.seconds, -self.seconds_per_case)
        theirs = (other.dice, -other.seconds, -other.seconds_per_case)
        return mine != theirs and all(a >= b for a, b in zip(mine, theirs))


@dataclass(frozen=True)
class Found:
    """``search.json``: all trainings, in the order in which they ended."""

    dataset: str
    fold: str
    """Whose validation cases the search has not seen."""
    shortest: float
    """Seconds of its shortest trainings."""
    networks: tuple[str, ...]
    """That were asked for beside the planner's own."""
    configuration: str | None = None
    """That was asked for."""
    failed: float = 0.0
    """Seconds of trainings that came to nothing."""
    tried: tuple[Tried, ...] = field(default=())
    version: int = 1

    @property
    def front(self) -> list[Tried]:
        """Those that no other beats, the best Dice first (Pareto)."""
        return front_of(self.tried)


def front_of(tried: Iterable[Tried]) -> list[Tried]:
    """The best Dice first."""
    known = list(tried)
    best = [each for each in known if not any(other.beats(each) for other in known)]
    return sorted(best, key=lambda each: (-each.dice, each.seconds, each.seconds_per_case))


def front_table(found: Found) -> str:
    """For a terminal."""
    head = f"{'plan':16}{'trained':>9}{'s/case':>8}{'Dice':>8}{'fold ' + found.fold:>9}  what is not as planned"
    lines = [head]
    for each in found.front:
        reported = "-" if each.reported is None else f"{each.reported:.3f}"
        trained = duration(each.seconds)
        lines.append(
            f"{each.name:16}{trained:>9}{each.seconds_per_case:8.2f}{each.dice:8.3f}{reported:>9}  {each.told}"
        )
    return "\n".join(lines)


def write_table(path: Path, found: Found) -> None:
    """CSV of all trainings; a column says which are on the front."""
    knobs = list(dict.fromkeys(knob for each in found.tried for knob in each.knobs))
    there = {each.name for each in found.front}
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["plan", "front", "seconds", "seconds_per_case", "dice", "dice_reported", *knobs])
        for each in found.tried:
            numbers = (each.seconds, each.seconds_per_case, each.dice, "" if each.reported is None else each.reported)
            rows.writerow([each.name, int(each.name in there), *numbers, *(each.knobs.get(knob, "") for knob in knobs)])
