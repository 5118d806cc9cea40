"""Masks of one case, which may overlap: each says of every voxel whether it belongs to it.

All masks of a case are held in one map of whole numbers, a bit for each mask: the first mask is 1, the second 2, the
third 4, and a voxel of the first and the third holds 5. Values of files, label indices and what is predicted are these
numbers alike, so nothing of an overlap is lost on any way. Each mask is a head of the network, with a sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import DatasetError
from .names import path_name, short

if TYPE_CHECKING:
    from torch import Tensor

MOST_MASKS = 16  # bits of the map
LONGEST_NAME = 60  # bytes in UTF-8: that of the case comes before it in the name of a file
RESERVED = ("background", "ignore")


@dataclass(frozen=True)
class MaskLabels:
    """A mask for each label; a voxel may belong to any of them, to several, or to none, which is background."""

    KIND: ClassVar[str] = "masks"
    exclusive: ClassVar[bool] = False
    ignore: ClassVar[int | None] = None
    ignore_index: ClassVar[int | None] = None

    masks: tuple[str, ...]
    """Names, in the order of the heads and of the bits."""
    in_channels: bool = False
    """All masks of a case are channels of one file, in this order; otherwise each is a file, ``<case>_<mask>``."""
    absent_are_empty: bool = False
    """A case without a file of some mask has nothing of it; otherwise that is an error."""

    def __post_init__(self) -> None:
        if not self.masks:
            raise ValueError("there must be at least one mask")
        if len(self.masks) > MOST_MASKS:
            raise ValueError(
                f"there are {len(self.masks)} masks, but at most {MOST_MASKS} fit into one map; make several datasets "
                "of them"
            )
        for name in self.masks:
            path_name(name, "mask")
            if len(name.encode()) > LONGEST_NAME:
                raise ValueError(f"the name of the mask {short(name)!r} has more than {LONGEST_NAME} bytes; shorten it")
            if ".." in name:
                raise ValueError(f"the name of the mask {short(name)!r} holds two dots in a row; leave one out")
            if name.casefold() in RESERVED:
                raise ValueError(f"no mask can be called {name!r}: a voxel that is in no mask is background")
        _refuse_alike(self.masks, as_endings=not self.in_channels)

    @property
    def values(self) -> range:
        """Every combination of masks, none of them first."""
        return range(1 << len(self.masks))

    @property
    def dtype(self) -> type[np.integer]:
        """Of a map that holds all masks."""
        return np.uint8 if len(self.masks) <= 8 else np.uint16

    @property
    def heads(self) -> int:
        return len(self.masks)

    def bit(self, name: str) -> int:
        """The value of a voxel that is in this mask only."""
        return 1 << self.masks.index(name)

    @property
    def foreground(self) -> dict[str, tuple[int, ...]]:
        """What is scored: each mask, with the values that hold its bit."""
        return {name: _holding(bit, len(self.masks)) for bit, name in enumerate(self.masks)}

    @property
    def index_table(self) -> np.ndarray:
        """(heads, indices) bool: which mask is on for which index."""
        return (np.array(self.values) >> np.arange(len(self.masks))[:, None] & 1).astype(bool)

    def encode(self, label_map: np.ndarray) -> np.ndarray:
        """Values are indices; same shape. Raises DatasetError on one of a mask that there is not."""
        if label_map.size and not 0 <= int(label_map.min()) <= int(label_map.max()) < len(self.values):
            raise DatasetError(f"a map of {len(self.masks)} masks holds values from 0 to {len(self.values) - 1} only")
        return label_map.astype(self.dtype, copy=False)

    @property
    def written(self) -> np.ndarray:
        """The value that is written for every index."""
        return np.array(self.values, self.dtype)

    @property
    def head_names(self) -> tuple[str, ...]:
        return self.masks

    def probabilities(self, logits: Tensor, axis: int = -1) -> Tensor:
        """Of every mask by itself; ``axis``, that of the heads, does not matter."""
        return logits.sigmoid()

    def winners(self, logits: Tensor, axis: int = -1) -> Tensor:
        """Index into ``written`` of what is decided, without ``axis``: the masks that are on (sigmoid above 0.5)."""
        on = (logits.movedim(axis, -1) > 0).long()
        return (on << on.new_tensor(range(self.heads))).sum(-1)

    def joined(self, masks: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        """Masks (z, y, x) of ``shape``, in order and nonzero inside, as one map."""
        whole = np.zeros(shape, self.dtype)
        for bit, mask in enumerate(masks):
            whole |= (mask != 0).astype(self.dtype) << self.dtype(bit)
        return whole

    def split(self, label_map: np.ndarray) -> Iterator[np.ndarray]:
        """Each mask of a map, uint8, 0 and 1, one after the other."""
        for bit in range(len(self.masks)):
            yield (label_map >> label_map.dtype.type(bit) & label_map.dtype.type(1)).astype(np.uint8)

    def each(self, label_map: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The map whose masks are ``change`` of the masks (uint8) of this one, each by itself."""
        changed = [change(mask) for mask in self.split(label_map)]
        return self.joined(changed, changed[0].shape)


@lru_cache(maxsize=4 * MOST_MASKS)
def _holding(bit: int, masks: int) -> tuple[int, ...]:
    return tuple(value for value in range(1 << masks) if value >> bit & 1)


def _refuse_alike(names: tuple[str, ...], as_endings: bool) -> None:
    """Raises ValueError for names that some systems take for one, and, where they end the names of files, for those of
    which one ends in another: ``a_left_lung`` would be of the case ``a_left`` as well as of ``a``."""
    lower = [name.casefold() for name in names]
    for number, name in enumerate(lower):
        for other, earlier in enumerate(lower[:number]):
            pair = f"{short(names[other])!r} and {short(names[number])!r}"
            if name == earlier:
                raise ValueError(f"the masks {pair} have one name, up to upper and lower case; rename one of them")
            if as_endings and (name.endswith(f"_{earlier}") or earlier.endswith(f"_{name}")):
                raise ValueError(
                    f"the masks {pair} cannot be told apart by the names of their files, since one name ends in the "
                    "other; write - instead of _ before that ending, in dataset.json and in the names of the files"
                )
