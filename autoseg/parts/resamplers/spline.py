"""Spline resampling as nnU-Net does it (Isensee et al. 2021), computed with matrix products on the processor.

Separate-z: where voxels are more than ``anisotropy`` times as long along one axis as along another, slices are
interpolated in plane with the usual order and along that axis with ``order_z`` (0: each new slice is a copy of the
nearest old one), because smoothing across thick slices invents anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.bounds import bounded
from . import _separable

TIE = 1e-5  # what counts as equal between interpolated label indicators: above float32 rounding, below any real lead


@dataclass(frozen=True)
class Spec:
    """Spline orders (0 nearest, 1 linear, 3 cubic) for images, label maps and logits."""

    order: int = 3
    order_labels: int = 1
    order_logits: int = 1
    order_z: int = 0
    anisotropy: float = 3.0
    """Largest ratio between two spacings for which all axes are treated alike."""

    def __post_init__(self) -> None:
        for name in ("order", "order_labels", "order_logits", "order_z"):
            if getattr(self, name) not in _separable.ORDERS:
                raise ValueError(f"{name} must be one of {_separable.ORDERS}, found {getattr(self, name)}")
        bounded(self, "anisotropy", least=0)

    def separate_axis(self, spacing: Sequence[float], new_spacing: Sequence[float]) -> int | None:
        """The axis resampled on its own with ``order_z``, or None.

        The coarsest axis of the spacing that is too anisotropic: that of the array, else that aimed at. Two equally
        coarse axes (0.24, 1.25, 1.25) are no slice axis.
        """
        for candidate in (spacing, new_spacing):
            if max(candidate) / min(candidate) > self.anisotropy:
                coarsest = [axis for axis in range(3) if candidate[axis] == max(candidate)]
                return coarsest[0] if len(coarsest) == 1 else None
        return None

    def resample_image(
        self, array: np.ndarray, shape: tuple[int, int, int], spacing: Sequence[float], new_spacing: Sequence[float]
    ) -> np.ndarray:
        """``array`` (channels, z, y, x) float32 at ``shape``, clipped to what each channel held before."""
        return self._resample(array, shape, self.order, self.separate_axis(spacing, new_spacing))

    def resample_logits(
        self, array: np.ndarray, shape: tuple[int, int, int], spacing: Sequence[float], new_spacing: Sequence[float]
    ) -> np.ndarray:
        """``array`` (heads, z, y, x) float32 at ``shape``, all at once; ``matrices`` does the same in parts."""
        return self._resample(array, shape, self.order_logits, self.separate_axis(spacing, new_spacing))

    def resample_labels(
        self, indices: np.ndarray, shape: tuple[int, int, int], spacing: Sequence[float], new_spacing: Sequence[float]
    ) -> np.ndarray:
        """``indices`` (z, y, x) integer at ``shape``: at each voxel the label whose interpolated indicator is largest.

        A tie goes to the nearest voxel's label, as in batchgenerators 0.25.
        """
        if indices.shape == tuple(shape):
            return indices
        axis = self.separate_axis(spacing, new_spacing)
        resized = _resize_labels(indices, _keeping(axis, indices.shape, shape), self.order_labels)
        return resized if axis is None else _resize_labels(resized, shape, self.order_z)

    def matrices(
        self, shape_in: Sequence[int], shape_out: Sequence[int], order: int, separate_axis: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One float32 matrix (out, in) per axis (z, y, x), whose product with the array is the resampled array.

        The separate axis gets the matrix of ``order_z``, whose rows pick single slices. Row ranges of a matrix give
        slabs of the output. Orders up to 1 never leave the range of the input; a cubic result still has to be clipped.
        """
        z, y, x = (
            _separable.dense(shape_in[axis], shape_out[axis], self.order_z if axis == separate_axis else order)
            for axis in range(3)
        )
        return z, y, x

    def _resample(self, array: np.ndarray, shape: tuple[int, int, int], order: int, axis: int | None) -> np.ndarray:
        if array.shape[1:] == tuple(shape):
            return array
        array = array.astype(np.float32, copy=False)
        resized = _separable.resize(array, _keeping(axis, array.shape[1:], shape), order)
        if order > 1 and resized is not array:
            # what is interpolated together is clipped together: the channel, or each slice when slices stand alone
            together = tuple(i + 1 for i in range(3) if i != axis)
            np.clip(resized, array.min(together, keepdims=True), array.max(together, keepdims=True), out=resized)
        return resized if axis is None else _separable.resize_axis(resized, 1 + axis, shape[axis], self.order_z)


def _keeping(axis: int | None, old: Sequence[int], new: Sequence[int]) -> tuple[int, int, int]:
    """``new``, but the separate axis stays as it is for now."""
    z, y, x = (old[i] if i == axis else new[i] for i in range(3))
    return z, y, x


def _resize_labels(indices: np.ndarray, shape: tuple[int, int, int], order: int) -> np.ndarray:
    if indices.shape == shape:
        return indices
    nearest = indices[np.ix_(*(_separable.nearest(indices.shape[axis], shape[axis]) for axis in range(3)))]
    if order == 0:
        return nearest
    present = np.unique(indices)
    if len(present) == 1:
        return nearest
    winner, best = np.empty_like(nearest), np.full(shape, -1, np.float32)
    for label in present:
        score = _separable.resize((indices == label).astype(np.float32), shape, order)
        if order > 1:
            np.clip(score, 0, 1, out=score)
        score += np.float32(TIE) * (nearest == label)
        better = score > best
        winner[better] = label
        np.copyto(best, score, where=better)
    return winner
