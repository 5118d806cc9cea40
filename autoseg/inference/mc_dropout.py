"""Monte Carlo dropout: a network that was trained with dropout, asked several times with other feature maps left out.

Each sample is one thinned network, as if drawn from those that training has averaged (Gal and Ghahramani 2016, arXiv
1506.02142). It is the same for all patches, mirror images and cases: what is left out depends on the seed, the network
and the number of the sample only. So the same command gives the same result, in whatever order and on however many
threads cases are predicted, and patches that overlap are seen by the same samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..core.labels import Labels
from ..core.seeds import generator
from .readout import PIECE_BYTES
from .stored_probabilities import mean_logits

LAYERS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
WHOLE_MAPS = (functional.dropout1d, functional.dropout2d, functional.dropout3d)
FUNCTIONS = (functional.dropout, *WHOLE_MAPS)
LEAST = 1e-30  # a probability below it has no logit in float32


def has_dropout(network: nn.Module) -> bool:
    """Whether samples of the network would differ."""
    return any(isinstance(module, LAYERS) and module.p > 0 for module in network.modules())


class DropoutSamples:
    """Of each network of one configuration."""

    def __init__(self, count: int, seed: int, labels: Labels, networks: int) -> None:
        self.count, self.labels = count, labels
        self.seeds = [
            [int(generator(seed, "dropout", network, sample).integers(2**63)) for sample in range(count)]
            for network in range(networks)
        ]
        """Of each network, what ``Thinned`` takes for each of its samples."""


class MeanOfSamples:
    """The mean of their probabilities, as logits: one batch of patches is all that is kept of them."""

    def __init__(self, samples: DropoutSamples) -> None:
        self._labels, self._share = samples.labels, 1 / samples.count
        self._chances: list[Tensor] = []

    def add(self, said: Sequence[Tensor]) -> None:
        """Logits (z, y, x, heads) of each patch."""
        if not self._chances:
            self._chances = [torch.zeros(each.shape, device=each.device) for each in said]
        for total, each in zip(self._chances, said, strict=True):
            step = max(1, PIECE_BYTES // (4 * each[0].numel()))
            for there, piece in zip(total.split(step), each.split(step)):
                there.add_(self._labels.probabilities(piece.float()), alpha=self._share)

    def logits(self) -> list[Tensor]:
        """Of each patch, (z, y, x, heads)."""
        return [mean_logits(_with_logits(chances, self._labels), self._labels) for chances in self._chances]


def _with_logits(chances: Tensor, labels: Labels) -> Tensor:
    """Probabilities of 0, and of regions of 1, by the nearest ones that have finite logits."""
    return chances.clamp_(LEAST, 1.0) if labels.exclusive else chances.clamp_(LEAST, 1 - torch.finfo().eps)


class Thinned(TorchFunctionMode):
    """Within it, and in this thread only, one pass of a network in evaluation mode leaves feature maps out.

    It counts for the dropout of ``torch.nn`` in whatever network. The seed says which maps, layer after layer.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        return self._dropped(function, *args, **kwargs) if function in FUNCTIONS else function(*args, **kwargs)

    def _dropped(
        self, function: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """Of a batch the same is left out everywhere: its patches are seen by one network."""
        maps, *size = input.shape[1:]
        drawn = (1, maps, *(size if function is functional.dropout else [1] * len(size)))
        kept = torch.rand(drawn, generator=self._generator(input.device), device=input.device) >= p
        return input * (kept / (1 - p) if p < 1 else kept * 0.0).to(input.dtype)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]
