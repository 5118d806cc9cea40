"""What tokens of a transformer see of each other while it computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...core.scene import Scene
from ...errors import UsageError
from ._hooks import hooked, on_patch

POOL = {2: functional.adaptive_max_pool2d, 3: functional.adaptive_max_pool3d}


class _Looking(TorchFunctionMode):
    """Remembers, for each attention among the tokens of one grid, how much those of the region see each token."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.region = scene.region[None, None].float()
        self.grid: torch.Size | None = None
        """Of the tokens that are computed at the moment."""
        self.maps: list[Tensor] = []

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        if function is functional.scaled_dot_product_attention and self.grid is not None:
            query, key = given[0], given[1]
            if query.shape[2] == key.shape[2] == self.grid.numel():
                self._look(query[0].float(), key[0].float(), self.grid)
        return function(*given, **(named or {}))

    def _look(self, query: Tensor, key: Tensor, grid: torch.Size) -> None:
        """(heads, tokens, width) each. A token lies in the region if any of its voxels does."""
        inside = POOL[len(grid)](self.region, tuple(grid)).flatten() > 0
        weights = (query[:, inside] @ key.transpose(1, 2) / query.shape[2] ** 0.5).softmax(-1)
        self.maps.append(weights.mean((0, 1)).unflatten(0, grid)[None, None] * grid.numel())


def seen_by_region(scene: Scene) -> Tensor:
    """(*patch). Raises UsageError where the network has no transformer over the places of a patch."""
    looking = _Looking(scene)

    def begin(module: nn.Module, given: Any) -> None:
        looking.grid = given[0].shape[2:]

    def end(module: nn.Module, given: Any, found: Any) -> None:
        looking.grid = None

    def before(module: nn.Module) -> Any:
        return module.register_forward_pre_hook(begin) if getattr(module, "OVER_PLACES", False) else None

    def after(module: nn.Module) -> Any:
        return module.register_forward_hook(end) if getattr(module, "OVER_PLACES", False) else None

    with hooked(scene.network, before), hooked(scene.network, after), torch.inference_mode(), looking:
        scene.logits(scene.patch)
    if not looking.maps:
        raise UsageError(
            "self_attention: the network has no transformer over the places of a patch; primus and transunet have"
        )
    return on_patch(torch.stack(looking.maps).mean(0), scene)
