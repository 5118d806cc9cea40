"""Fully convolutional network (FCN), 2-D or 3-D (Long et al. 2015, CVPR).

A way down only. Its coarsest maps give scores of every label; these are interpolated to the size of the stage before
and added to the scores that its maps give, and so on for a few stages. What results is interpolated to the patch.

Here stages are entered by a convolution with a stride instead of maximum pooling, all scores are learned at once (deep
supervision) instead of stage by stage, the coarsest stage is like the others instead of 4096 maps with dropout, and
interpolation is linear and not learned, as in the authors' own models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from . import _ladder
from ._stages import MOST_STAGES, EncoderSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec(EncoderSpec):
    """The way down, and how many of its stages give scores."""

    skips: int = 2
    """Stages beside the coarsest whose scores are added. With five halvings 0, 1 and 2 are FCN-32s, FCN-16s and FCN-8s
    of the paper, named by the voxels from one score to the next. More than there are stages: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "skips", least=0, most=MOST_STAGES)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``: the patch decides how often which axis is halved."""
        return _ladder.encoder_ladder(cls, _ladder.topology(spacing, patch_size), (2,))

    @property
    def finest_scored(self) -> int:
        """The number of the finest stage that gives scores."""
        return max(0, len(self.features) - 1 - self.skips)

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        After those of the patch come the sums of scores at the stages that give some, down to the coarsest.
        """
        from ._fcn import FCN

        return FCN(self, inputs.seen, heads)
