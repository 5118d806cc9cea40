"""What parts of a network reach on validation cases, and in which time."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..configuration import NETWORKS
from ..core.estimate import Estimate
from ..parts.contracts import Network


@dataclass(frozen=True)
class Pruned:
    """One of them."""

    network: Network = field(metadata={"family": NETWORKS})
    dice: Estimate
    loss: float | None
    """Mean Dice of the whole network minus its own; None: no case has any label."""
    difference: Estimate
    """Likewise, with its interval."""
    seconds_per_case: float


@dataclass(frozen=True)
class PruningTest:
    """Validation cases of one configuration, predicted by the whole network and by parts of it."""

    chosen: int | None
    """The place in ``tried`` of the smallest that loses next to nothing; None: the whole network."""
    dice: Estimate
    """Of the whole network."""
    seconds_per_case: float
    tried: tuple[Pruned, ...]
    """The smallest first."""

    @property
    def network(self) -> Network | None:
        """The one that is chosen; None: the whole."""
        return None if self.chosen is None else self.tried[self.chosen].network

    def told(self, name: str) -> list[str]:
        """For a terminal."""
        whole = f"Dice {self.dice.mean or 0:.3f}, {self.seconds_per_case:.2f} s"
        lines = [f"decoders of {name}, and seconds per case: all, {whole}"]
        for each in self.tried:
            dice = f"Dice {each.dice.mean or 0:.3f}"
            lines.append(f"    decoder {getattr(each.network, 'decoder', '?')}: {dice}, {each.seconds_per_case:.2f} s")
        what = "all" if self.chosen is None else f"decoder {getattr(self.network, 'decoder', '?')}"
        return [*lines, f"    {what} will predict"]
