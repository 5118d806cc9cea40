"""The network is told which channels are there."""

from __future__ import annotations

import numpy as np
import torch

from autoseg.core.geometry import Box
from autoseg.core.labels import ExclusiveLabels
from autoseg.parts.augmentations import none
from autoseg.parts.inputs import presence
from autoseg.training.draws import PatchMove

GROUP = presence.Spec().group(("T1", "T2", "FLAIR"), ExclusiveLabels({"background": 0, "a": 1}))


class Case:
    """Three channels, of which the second is missing."""

    shape, channels, absent, given = (9, 12, 10), 3, (1,), None
    image = np.zeros((3, *shape), np.float32)


def test_it_is_constant_and_takes_no_memory_until_it_is_needed() -> None:
    read = presence.Spec().read(Case(), Box((1, 2, 3), (5, 9, 8)))  # type: ignore[arg-type]
    made = presence.Spec().make(Case())  # type: ignore[arg-type]
    assert read.shape == (3, 4, 7, 5) and made.shape == (3, 9, 12, 10)
    for array in (read, made):
        assert array.base is not None and array.strides[1:] == (0, 0, 0)
        assert [{*each.flatten().tolist()} for each in array] == [{1}, {0}, {1}]


def test_a_batch_tells_what_it_lacks_and_not_what_its_cases_had() -> None:
    arrays, targets = [torch.ones(3, 10, 10)] * 3, torch.zeros(3, 8, 8, dtype=torch.uint8)
    move = PatchMove(none.Spec(), None, (8, 8), [(), (0, 2), (1,)])
    found = presence.Spec().apply(arrays, targets, [None] * 3, move)
    assert found.shape == (3, 3, 8, 8)
    assert found.amax((2, 3)).tolist() == found.amin((2, 3)).tolist() == [[1, 1, 1], [0, 1, 0], [1, 0, 1]]


def test_it_holds_beyond_the_image_too() -> None:
    padded = torch.zeros(2, 3, 6, 6)
    padded[0, :2, 2:4, 2:4] = padded[1, 2, 5, 5] = 1
    seen = presence.Spec().encode(padded, GROUP)
    assert seen.shape == padded.shape and seen[:, :, 0, 0].tolist() == [[1, 1, 0], [0, 0, 1]]
    assert torch.equal(seen, presence.Spec().encode(seen, GROUP))
