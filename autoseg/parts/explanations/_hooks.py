"""What is seen inside a network while it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...core.scene import Scene
from ...errors import UsageError

ACTIVATIONS = frozenset(
    name + ending
    for name in (
        "relu",
        "leaky_relu",
        "prelu",
        "rrelu",
        "elu",
        "gelu",
        "silu",
        "celu",
        "selu",
        "relu6",
        "softplus",
        "mish",
    )
    for ending in ("", "_")
)
"""Functions of torch, which its modules call, too."""
SCORES = "SCORES"  # what a gate of ours calls the layer whose sigmoid weighs voxels
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def class_activation(scene: Scene, stage: int) -> Tensor:
    """Of the maps that were computed last at the resolution ``stage``."""
    seen: list[Tensor] = []
    said: list[Tensor] = []

    def remember(module: nn.Module, given: Any, found: Any) -> None:
        if module is scene.network:
            said.extend(found if isinstance(found, list | tuple) else [found])
        elif isinstance(found, Tensor) and found.dim() == scene.patch.dim() and found.requires_grad:
            seen.append(found)

    with hooked(scene.network, lambda module: module.register_forward_hook(remember)), torch.enable_grad():
        score = scene.score(scene.patch.clone().requires_grad_()).sum()
        maps, gradient = _last_at(stage, seen, said, score, scene)
    weights = gradient.mean(tuple(range(2, gradient.dim())), keepdim=True)
    return on_patch((weights * maps).sum(1, keepdim=True).relu(), scene)


def _last_at(
    stage: int, seen: Sequence[Tensor], said: Sequence[Tensor], score: Tensor, scene: Scene
) -> tuple[Tensor, Tensor]:
    """The last maps of that resolution that are no logits and lead to the score, and its gradient to them."""
    logits = {id(tensor) for tensor in said}
    inner = [maps for maps in seen if id(maps) not in logits and _is_map(maps.shape[2:], scene.patch.shape[2:])]
    sizes = sorted({maps.shape[2:] for maps in inner}, key=lambda size: -size.numel())
    if not -len(sizes) <= stage < len(sizes):
        raise UsageError(f"grad_cam: stage {stage} is not there; the network has {len(sizes)} resolutions")
    for maps in reversed([maps for maps in inner if maps.shape[2:] == sizes[stage]]):
        (gradient,) = torch.autograd.grad(score, maps, retain_graph=True, allow_unused=True)
        if gradient is not None:  # auxiliary branches lead nowhere
            return maps, gradient
    raise UsageError(f"grad_cam: nothing of stage {stage} leads to the score; name another stage")


class _Guided(TorchFunctionMode):
    """At each activation only positive gradients of units whose input was positive go on."""

    found = 0

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        if getattr(function, "__name__", "") not in ACTIVATIONS:
            return function(*given, **(named or {}))
        active = given[0].detach() > 0  # before it computes, perhaps in place
        output = function(*given, **(named or {}))
        if output.requires_grad:
            self.found += 1
            output.register_hook(lambda gradient: gradient.clamp(min=0) * active)
        return output


def guided_gradient(scene: Scene) -> Tensor:
    """The largest over the image's channels."""
    with torch.enable_grad(), _Guided() as guided:
        patch = scene.patch.clone().requires_grad_()
        score = scene.score(patch).sum()
    if not guided.found:
        raise UsageError("guided_backpropagation: the network has no activations that torch knows by name")
    (gradient,) = torch.autograd.grad(score, patch)
    return gradient[0].abs().amax(0).detach().cpu().float()


def gates(scene: Scene) -> Tensor:
    """The mean of all gates' weights, which are between 0 and 1."""
    weights: list[Tensor] = []

    def remember(module: nn.Module, given: Any, found: Tensor) -> None:
        found = found if isinstance(module, nn.Sigmoid) else found.sigmoid()
        if found.dim() == scene.patch.dim() and found.shape[1] == 1 and found.shape[2:].numel() > 1:
            weights.append(on_patch(found, scene))

    def gate(module: nn.Module) -> Any:
        layer = getattr(module, getattr(module, SCORES, ""), module if isinstance(module, nn.Sigmoid) else None)
        return None if layer is None else layer.register_forward_hook(remember)

    with hooked(scene.network, gate), torch.inference_mode():
        scene.logits(scene.patch)
    if not weights:
        raise UsageError(
            "attention: the network has no gates that weigh voxels; attention_unet has, and modular_unet with "
            "attention=spatial or attention=mixed"
        )
    return torch.stack(weights).mean(0)


@contextmanager
def hooked(network: nn.Module, hook: Callable[[nn.Module], Any]) -> Iterator[None]:
    """With what ``hook`` registers at each module, which may be nothing."""
    handles = [handle for module in network.modules() if (handle := hook(module)) is not None]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_map(size: torch.Size, patch: torch.Size) -> bool:
    """Whether such maps have places: means over the whole patch have none."""
    return all(edge > 1 or whole == 1 for edge, whole in zip(size, patch))


def on_patch(maps: Tensor, scene: Scene) -> Tensor:
    """(1, 1, *size) to (*patch) on the CPU."""
    size = scene.patch.shape[2:]
    if maps.shape[2:] != size:
        maps = functional.interpolate(maps, size, mode=LINEAR[len(size)], align_corners=False)
    return maps[0, 0].detach().cpu().float()
