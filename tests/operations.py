"""Which operations of torch a block of code runs."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# What torch 2.13 refuses on a GPU under use_deterministic_algorithms, by its documentation, as ATen names it.
NOT_DETERMINISTIC = (
    *("avg_pool3d_backward", "adaptive_avg_pool", "_adaptive_avg_pool", "max_pool3d_with_indices_backward"),
    *("adaptive_max_pool", "fractional_max_pool", "max_unpool", "upsample", "_upsample", "reflection_pad"),
    *("replication_pad", "nll_loss", "_ctc_loss", "_embedding_bag", "put", "histc", "kthvalue", "median"),
    *("grid_sampler", "cumsum", "scatter_reduce", "resize"),
)


class Operations(TorchDispatchMode):
    """Mutable: their names, and which of them torch refuses on a GPU where it is to be deterministic."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.not_deterministic: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.names.add(name)
        if name.startswith(NOT_DETERMINISTIC) and not _of_each_voxel(name, args):
            self.not_deterministic.add(name)
        return func(*args, **(kwargs or {}))


def _of_each_voxel(name: str, args: Any) -> bool:
    """Whether a likelihood is not summed: torch refuses its sums and means only, which add in any order."""
    return name.startswith("nll_loss") and args[4 if name.endswith("backward") else 3] == 0
