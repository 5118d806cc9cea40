"""Masks stay what they are on the way into one map, through the heads of a network and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoseg.core.labels import ExclusiveLabels, RegionLabels, each_mask, names_of
from autoseg.core.masks import MOST_MASKS, MaskLabels
from autoseg.core.records import from_json, to_json
from autoseg.core.regions import refuse_lossy
from autoseg.errors import DatasetError
from autoseg.parts.losses import dice_ce
from autoseg.parts.losses._voxels import Heads


def labels_of(count: int) -> MaskLabels:
    return MaskLabels(tuple(f"mask {number}" for number in range(count)))


counts = st.integers(1, MOST_MASKS)
drawn = counts.flatmap(lambda n: arrays(bool, (n, 2, 3, 4)))


@given(drawn)
def test_masks_through_map_heads_and_decision_are_the_same_masks(masks: np.ndarray) -> None:
    labels = labels_of(len(masks))
    whole = labels.joined(masks, masks.shape[1:])
    assert whole.dtype == (np.uint8 if len(masks) <= 8 else np.uint16)
    indices = labels.encode(whole)
    heads = labels.index_table[:, indices]  # what each head is to say
    np.testing.assert_array_equal(heads, masks)
    logits = torch.from_numpy(np.where(heads, 0.1, -0.1))
    for axis in (0, -1):
        decided = labels.written[labels.winners(logits.movedim(0, axis), axis).numpy()]
        np.testing.assert_array_equal(decided, whole)
    back = np.stack([*labels.split(decided)])
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, masks)


@given(drawn)
def test_a_loss_sees_the_masks_as_they_are(masks: np.ndarray) -> None:
    labels = labels_of(len(masks))
    target = torch.from_numpy(labels.joined(masks, masks.shape[1:]).astype(np.int32))[None]
    seen = Heads.of(labels).look(torch.zeros((1, *masks.shape)), target)
    np.testing.assert_array_equal(seen.on[0], masks)
    assert seen.counted is None


@given(drawn, st.integers(0, 2**32 - 1))
def test_every_voxel_of_every_mask_counts_in_a_loss(masks: np.ndarray, seed: int) -> None:
    labels = labels_of(len(masks))
    target = torch.from_numpy(labels.joined(masks, masks.shape[1:]).astype(np.int32))[None]
    loss = dice_ce.Spec(batch_dice=True).build(labels)
    logits = torch.from_numpy(np.where(masks, 5.0, -5.0)).float()[None]
    perfect = loss(logits, target)
    one = np.random.default_rng(seed).integers(0, logits.numel())
    logits.view(-1)[one] *= -1
    assert loss(logits, target) > perfect + 1e-3


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_names_of_what_a_case_holds(count: int, seed: int) -> None:
    labels = labels_of(count)
    held = np.flatnonzero(np.random.default_rng(seed).integers(0, 2, count))
    assert names_of(labels, (held + 1).tolist()) == tuple(labels.masks[number] for number in held)


def test_names_of_labels_and_regions_are_by_index() -> None:
    labels = ExclusiveLabels({"background": 0, "a": 9, "b": 4})
    assert names_of(labels, [1]) == ("b",)
    regions = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
    assert names_of(regions, [1]) == ("whole",)
    assert names_of(regions, [2]) == ("whole", "core")
    assert names_of(regions, []) == ()


def test_what_is_scored_is_each_mask_with_all_its_overlaps() -> None:
    labels = MaskLabels(("lung", "heart", "clavicle"))
    assert labels.foreground == {"lung": (1, 3, 5, 7), "heart": (2, 3, 6, 7), "clavicle": (4, 5, 6, 7)}
    assert labels.values[0] == 0 and len(labels.values) == 8
    assert [labels.bit(name) for name in labels.masks] == [1, 2, 4]
    refuse_lossy(labels, "anywhere")  # there is nothing to lose


@given(drawn)
def test_each_mask_is_changed_by_itself(masks: np.ndarray) -> None:
    labels = labels_of(len(masks))
    whole = labels.joined(masks, masks.shape[1:])
    turned = each_mask(whole, labels, lambda mask: mask[::-1, :, :2])
    np.testing.assert_array_equal(np.stack([*labels.split(turned)]), masks[:, ::-1, :, :2])


def test_labels_that_exclude_each_other_are_changed_together() -> None:
    found = []
    each_mask(np.array([0, 3]), ExclusiveLabels({"background": 0, "a": 3}), lambda all_: found.append(all_) or all_)
    assert len(found) == 1 and found[0].tolist() == [0, 3]


@pytest.mark.parametrize("value", [-1, 4, 255])
def test_a_value_of_a_mask_that_there_is_not_is_refused(value: int) -> None:
    with pytest.raises(DatasetError, match="from 0 to 3 only"):
        labels_of(2).encode(np.array([0, value]))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "at least one"),
        (tuple(f"m{number}" for number in range(40)), "40 masks, but at most 16"),
        (("Liver", "liver"), "one name, up to upper and lower case"),
        (("lung", "left_lung"), "one name ends in the other"),
        (("Left_Lung", "lung"), "one name ends in the other"),
        (("lung", "background"), "in no mask is background"),
        (("lung", "Ignore"), "in no mask is background"),
        (("../lung",), "holds '/'"),
        (("lung.",), "ends with a dot"),
        (("lung..left",), "two dots in a row"),
        (("nul",), "reserved"),
        (("x" * 61,), "more than 60 bytes"),
        (("",), "is empty"),
    ],
)
def test_names_that_cannot_be_are_refused(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MaskLabels(names)


def test_channels_of_one_file_may_end_alike() -> None:
    assert MaskLabels(("lung", "left_lung"), in_channels=True).heads == 2


def test_masks_are_a_kind_of_labels_in_records() -> None:
    from autoseg.core.labels import Labels

    labels = MaskLabels(("a", "b"), in_channels=True)
    stored = to_json(labels)
    assert stored == {"kind": "masks", "masks": ["a", "b"], "in_channels": True, "absent_are_empty": False}
    assert from_json(Labels, stored) == labels
