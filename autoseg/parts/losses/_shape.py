"""Terms that look at more than a voxel by itself: how far it lies from a border, what a skeleton is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from ._on_processor import border_distances, signed_distances, tubed_skeletons
from ._recompute import parts_along, recomputed, unkept
from ._terms import FLOOR, Term, mean
from ._voxels import Voxels


def boundary(*, start: float) -> Term:
    """Mean of distance to the true border times what is wrong there, over foreground heads, in mm.

    Of the share ``start`` when the training begins, and more and more, as it goes on, to all of it.
    """

    def measure(voxels: Voxels, distances: Tensor) -> Tensor:
        probability, on = voxels.probability[:, voxels.foreground], voxels.on[:, voxels.foreground]
        total, count = voxels.sums(distances * (probability - on.to(probability.dtype))).unbind(1)
        return torch.stack(((start + (1.0 - start) * voxels.progress) * total, count), 1)

    return Term(measure, mean, lambda voxels: signed_distances(voxels.on[:, voxels.foreground], voxels.spacing))


def hausdorff(*, exponent: float) -> Term:
    """Mean of ``(p - truth) ** 2 * (d ** exponent + d_predicted ** exponent)`` over foreground heads.

    d is the distance to the true border in mm, d_predicted that to the border of where p is above 0.5.
    """

    def distances(voxels: Voxels) -> Tensor:
        predicted = voxels.probability[:, voxels.foreground] > 0.5
        if voxels.counted is not None:
            predicted &= voxels.counted
        far = border_distances(voxels.on[:, voxels.foreground], voxels.spacing).pow_(exponent)
        return far.add_(border_distances(predicted, voxels.spacing).pow_(exponent))

    def measure(voxels: Voxels, far: Tensor) -> Tensor:
        probability, on = voxels.probability[:, voxels.foreground], voxels.on[:, voxels.foreground]
        return voxels.sums((probability - on.to(probability.dtype)) ** 2 * far)

    return Term(measure, mean, distances)


def skeleton_recall(*, batch: bool, smooth: float) -> Term:
    """1 - mean share of the tubed skeleton of the truth that is found, over foreground heads."""

    def measure(voxels: Voxels, skeleton: Tensor) -> Tensor:
        axes = tuple(range(2, skeleton.dim()))
        found = torch.where(skeleton, voxels.probability[:, voxels.foreground], 0.0).sum(axes)
        return torch.stack((found, skeleton.sum(axes).to(found.dtype)), 1)

    def judge(measured: Tensor) -> Tensor:
        found, length = (measured.sum(0, keepdim=True) if batch else measured).unbind(1)
        return 1.0 - _share(found, length, smooth).mean()

    return Term(measure, judge, lambda voxels: tubed_skeletons(voxels.on[:, voxels.foreground]))


def cl_dice(*, iterations: int, batch: bool, smooth: float) -> Term:
    """1 - mean over foreground heads of the harmonic mean of how much of the predicted soft skeleton lies in the truth,
    and how much of the truth's soft skeleton is predicted."""

    def of_heads(probability: Tensor, on: Tensor) -> list[Tensor]:
        truth = on.to(probability.dtype)
        found, wanted = soft_skeleton(probability, iterations), soft_skeleton(truth, iterations)
        volumes = (found * truth, found, wanted * probability, wanted)
        return [torch.stack([volume.flatten(2).sum(2) for volume in volumes], 1)]

    def measure(voxels: Voxels) -> Tensor:
        probability, on = voxels.probability[:, voxels.foreground], voxels.on[:, voxels.foreground]
        if voxels.counted is not None:
            probability = torch.where(voxels.counted, probability, 0.0)
        return torch.cat([each for (each,) in recomputed(of_heads, parts_along(on, 1), probability, on)], 2)

    def judge(measured: Tensor) -> Tensor:
        right, predicted, found, present = (measured.sum(0, keepdim=True) if batch else measured).unbind(1)
        precision, recall = _share(right, predicted, smooth), _share(found, present, smooth)
        return 1.0 - (2.0 * precision * recall / (precision + recall).clamp_min(FLOOR)).mean()

    return Term(measure, judge, additive=False)


def soft_skeleton(image: Tensor, iterations: int) -> Tensor:
    """Of an image (B, channels, *patch) from 0 to 1: what opening takes away from it and, again and again, from what
    erosion leaves of it. A tube whose radius is more than ``iterations`` voxels is not thinned to its core."""
    skeleton = relu(image - _opened(image))
    for _ in range(iterations):  # of each a backward pass keeps two images, and computes the rest again
        image, skeleton = unkept(_thinned, image, skeleton)
    return skeleton


def _thinned(image: Tensor, skeleton: Tensor) -> tuple[Tensor, Tensor]:
    image = _eroded(image)
    lost = relu(image - _opened(image))
    return image, skeleton + relu(lost - skeleton * lost)


def _opened(image: Tensor) -> Tensor:
    """Eroded by the cross of three voxels along each axis, then widened by a cube of three."""
    image = _eroded(image)
    for axis in range(2, image.dim()):
        image = torch.maximum(torch.maximum(_moved(image, axis, 1), image), _moved(image, axis, -1))
    return image


def _eroded(image: Tensor) -> Tensor:
    least = image
    for axis in range(2, image.dim()):
        least = torch.minimum(torch.minimum(_moved(image, axis, 1), least), _moved(image, axis, -1))
    return least


def _moved(image: Tensor, axis: int, by: int) -> Tensor:
    """By one voxel; what lies at the edge stays there, too. (Not by pooling: its gradient differs from run to run.)"""
    last = image.shape[axis] - 1
    if by > 0:
        return torch.cat((image.narrow(axis, 0, 1), image.narrow(axis, 0, last)), axis)
    return torch.cat((image.narrow(axis, 1, last), image.narrow(axis, last, 1)), axis)


def _share(part: Tensor, whole: Tensor, smooth: float) -> Tensor:
    return (part + smooth) / (whole + smooth).clamp_min(FLOOR)
