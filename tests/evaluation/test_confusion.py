"""Which label was taken for which, counted by hand and by other counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.errors import DatasetError
from autoseg.evaluation import confusion as module
from autoseg.evaluation.confusion import Confusion, classes, confusion, most_confused
from autoseg.evaluation.counts import overlaps

EXCLUSIVE = ExclusiveLabels({"background": 0, "a": 3, "b": 70_000, "c": -1}, ignore=9)
REGIONS = RegionLabels({"whole": (1, 2, 3), "core": (2, 3), "other": (4,)}, (1, 2, 4), ignore=9)
MASKS = MaskLabels(("a", "b", "c"), in_channels=True)


def line(*values: int) -> np.ndarray:
    return np.array(values, np.int32).reshape(1, 1, -1)


def test_labels_are_counted_by_hand() -> None:
    reference = line(0, 3, 3, 3, 70_000, -1, 9, 9)
    found = confusion(reference, line(0, 3, 70_000, 0, 70_000, 3, 3, 0), EXCLUSIVE)
    assert classes(EXCLUSIVE) == ("background", "c", "a", "b")
    assert dict(found.pairs) == {
        ("background", "background"): 1, ("a", "a"): 1, ("a", "b"): 1, ("a", "background"): 1, ("b", "b"): 1,
        ("c", "a"): 1,
    }  # fmt: skip
    assert dict(found.totals) == {"background": 1, "a": 3, "b": 1, "c": 1}
    assert found.share(("a", "b")) == pytest.approx(1 / 3) and found.share(("b", "c")) == 0
    assert found.share(("nothing of it", "a")) is None
    assert most_confused(found) == [("a", "b"), ("a", "background"), ("c", "a")]


def test_a_value_of_regions_is_all_that_hold_it() -> None:
    assert classes(REGIONS) == ("background", "whole", "whole + core", "other")
    found = confusion(line(1, 2, 3, 0, 4), line(2, 3, 1, 1, 4), REGIONS)
    assert dict(found.pairs) == {
        ("whole", "whole + core"): 1, ("whole + core", "whole + core"): 1, ("whole + core", "whole"): 1,
        ("background", "whole"): 1, ("other", "other"): 1,
    }  # fmt: skip


def test_a_voxel_of_several_masks_is_of_each() -> None:
    found = confusion(line(0b011, 0b000, 0b100), line(0b001, 0b010, 0b000), MASKS)
    assert dict(found.pairs) == {
        ("a", "a"): 1, ("b", "a"): 1, ("background", "b"): 1, ("c", "background"): 1,
    }  # fmt: skip
    assert dict(found.totals) == {"a": 1, "b": 1, "c": 1, "background": 1}


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([EXCLUSIVE, REGIONS, MASKS]), st.integers(0, 2**20), st.booleans())
def test_what_is_right_is_what_other_counts_say(labels: Labels, seed: int, in_parts: bool) -> None:
    """Sums over what a label is part of are its overlap, its size and the size of what is predicted."""
    random = np.random.default_rng(seed)
    ignored = () if labels.ignore is None else (labels.ignore,)
    reference = random.choice([*labels.values, *ignored], (3, 4, 5))
    prediction = random.choice(list(labels.values), (3, 4, 5))
    with pytest.MonkeyPatch.context() as patch:
        if in_parts:
            patch.setattr(module, "COUNTED_AT_ONCE", 7)
            patch.setattr(module, "MOST_BINS", 5)
        found = confusion(reference, prediction, labels)
    expected = overlaps(labels.encode(prediction), labels.encode(reference), labels)
    for name, (both, _, true) in zip(labels.foreground, expected):
        parts = [each for each in classes(labels) if name in each.split(" + ")]
        assert sum(found.totals[each] for each in parts) == true
        if not isinstance(labels, MaskLabels):
            assert sum(found.pairs[one, other] for one in parts for other in parts) == both
        else:
            assert found.pairs[name, name] == both


def test_cases_are_added_up_with_the_size_of_their_voxels() -> None:
    total = Confusion()
    total.add(confusion(line(3, 3), line(3, 0), EXCLUSIVE), 0.5)
    total.add(confusion(line(3), line(0), EXCLUSIVE), 2.0)
    assert dict(total.pairs) == {("a", "a"): 0.5, ("a", "background"): 2.5} and total.totals["a"] == 3.0


def test_what_cannot_be_compared_is_told() -> None:
    with pytest.raises(DatasetError, match="1 x 1 x 2 voxels, the prediction 1 x 1 x 1"):
        confusion(line(0, 3), line(0), EXCLUSIVE)
    with pytest.raises(DatasetError, match="5 is the value of no label"):
        confusion(line(0), line(5), EXCLUSIVE)
