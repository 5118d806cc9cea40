"""What an objective learns from: patches as the network sees them, with what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from .inputs import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

LABELLED, COMPLETE = "labelled", "complete"
STREAMS = (LABELLED, COMPLETE)
"""The streams of samples that a training can draw. ``labelled``: patches of cases that have a label map. ``complete``:
the same patches with all channels that their cases have, also those that are withheld from ``labelled`` ones."""


@dataclass(frozen=True)
class Samples:
    """Augmented patches of one stream, on the device."""

    network_input: Tensor
    """(B, channels, *patch) float32: the groups of ``inputs``, one after the other."""
    targets: Tensor
    """(B, *patch) label indices."""
    keys: tuple[str, ...]
    """The case of each patch."""
    spacing: tuple[float, ...]
    """Of the network's grid: mm along the axes of the patch."""
    inputs: InputSpec
    """What the channels of ``network_input`` are."""
    progress: float = 1.0
    """Of the training, from 0 to 1, when they are learned from."""

    @property
    def image(self) -> Tensor:
        """(B, channels, *patch): the channels of ``network_input`` that are images."""
        return self.network_input[:, : self.inputs.image.read]

    @property
    def extras(self) -> dict[str, Tensor]:
        """Name of every further group to its channels (B, channels, *patch)."""
        found, start = {}, self.inputs.image.read
        for group in self.inputs.extras:
            found[group.name] = self.network_input[:, start : start + group.read]
            start += group.read
        return found

    def split(self, count: int) -> list[Samples]:
        """In ``count`` parts, the patches in their order, as equal as can be."""
        parts, start = [], 0
        for seen, targets in zip(self.network_input.tensor_split(count), self.targets.tensor_split(count)):
            stop = start + len(seen)
            parts.append(replace(self, network_input=seen, targets=targets, keys=self.keys[start:stop]))
            start = stop
        return parts


class ForwardPass(Protocol):
    """A network as an objective calls it: in the precision of the training."""

    def __call__(self, network_input: Tensor, network: nn.Module | None = None) -> Sequence[Tensor]:
        """Logits (B, heads, *size), the finest first, of the network that is trained, or of another ``network``."""


class Supervision(Protocol):
    """The configuration's loss at all scales of the decoder. ``judge(measure(logits, samples))`` is that of a batch."""

    def measure(self, logits: Sequence[Tensor], samples: Samples) -> Any:
        """Tensors (B, ...) in lists, each patch by itself, of logits (B, heads, *size), the finest first."""

    def judge(self, measures: Any) -> Tensor:
        """Scalar, of the measures of all patches of a batch."""


class BuiltObjective(Protocol):
    """An objective during a training, an ``nn.Module`` for example.

    A batch may lie apart: on several GPUs, or in parts that come one after the other where memory does not suffice for
    all. So it is asked twice: what it measures in each patch, and how it judges the measures of all patches. Both
    together are the loss, and its gradient is that of the whole batch.
    """

    def measure(self, forward: ForwardPass, samples: Mapping[str, Samples], progress: float) -> Any:
        """Tensors (B, ...), in lists or alone, of which each patch makes its own rows.

        ``samples`` has an entry for every stream. The trained network is called once: several processes then average
        its gradients. ``progress`` runs from 0 to 1 over the training. Whatever is random comes from torch's generator,
        which is seeded for each step. It may be called twice for one step.
        """

    def judge(self, measures: Any) -> Tensor:
        """The loss, a scalar, of what was measured in all patches of the batch."""

    def after_step(self, network: nn.Module) -> None:
        """Follows the update of the trained ``network``; not where a step was skipped since it was not finite."""

    def state_dict(self) -> dict[str, Any]:
        """All that is kept from step to step: tensors, numbers, words. Its tensors are counted when memory is."""

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> Any:
        """Goes on from a state, whose tensors lie in main memory. Raises RuntimeError, ValueError or KeyError where it
        is another objective's."""
