"""Regions that painting loses are refused, and what the message proposes keeps them all."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tasks import decoded

from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.regions import refuse_lossy
from autoseg.errors import DatasetError

VALUES = range(1, 7)
some_values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=6, unique=True).map(tuple)
any_regions = st.lists(some_values, min_size=1, max_size=5)


@st.composite
def nested_or_disjoint(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """Every region is a part of one before it, or has no value in common with any."""
    left, regions = set(VALUES), []
    for _ in range(draw(st.integers(1, 5))):
        inside = draw(st.sampled_from([tuple(left), *regions]))
        if not inside:
            continue
        values = draw(st.lists(st.sampled_from(sorted(inside)), min_size=1, unique=True))
        others = [set(region) for region in regions]
        if all(set(values) <= other or other <= set(values) or not other & set(values) for other in others):
            regions.append(tuple(sorted(values)))
            left -= set(values)
    assume(regions)
    return draw(st.permutations(regions))


def labels_of(regions: list[tuple[int, ...]], order: list[int]) -> RegionLabels:
    return RegionLabels({f"r{number}": values for number, values in enumerate(regions)}, tuple(order))


def is_kept(labels: RegionLabels) -> bool:
    """By painting a perfect prediction of every value and reading it back."""
    table = labels.index_table
    painted = decoded(labels, np.where(table, 1.0, -1.0))
    known = np.isin(labels.class_order, labels.values).all()
    return bool(known) and bool((table[:, labels.encode(painted)] == table).all())


def refusal(labels: RegionLabels) -> str | None:
    try:
        refuse_lossy(labels, "dataset.json")
    except DatasetError as error:
        return str(error)
    return None


def proposed(labels: RegionLabels, message: str) -> RegionLabels:
    order = json.loads(re.search(r'"regions_class_order": (\[.*\])', message)[1])
    named = re.search(r"in the order (.*) and write", message)
    names = named[1].split(", ") if named else list(labels.regions)
    return RegionLabels({name: labels.regions[name] for name in names}, tuple(order), labels.background)


@given(any_regions, st.data())
def test_what_is_refused_is_what_painting_loses(regions: list[tuple[int, ...]], data: st.DataObject) -> None:
    order = data.draw(st.lists(st.integers(0, 8), min_size=len(regions), max_size=len(regions)))
    labels = labels_of(regions, order)
    message = refusal(labels)
    assert (message is None) == is_kept(labels)
    if message is not None and "No order" not in message:
        assert is_kept(proposed(labels, message))


@given(nested_or_disjoint(), st.data())
def test_regions_inside_one_another_always_have_an_order(regions: list[tuple[int, ...]], data: st.DataObject) -> None:
    order = data.draw(st.lists(st.sampled_from(VALUES), min_size=len(regions), max_size=len(regions)))
    labels = labels_of(regions, order)
    message = refusal(labels)
    if message is not None:
        assert is_kept(proposed(labels, message))


@given(any_regions)
def test_where_no_order_keeps_all_the_regions_that_are_missing_are_named(regions: list[tuple[int, ...]]) -> None:
    message = refusal(labels_of(regions, [99] * len(regions)))
    assert message is not None
    if "No order" in message:
        sets = message.split("sets of values: ")[1].split("; ")
        more = [*regions, *(tuple(map(int, values.split(", "))) for values in sets)]
        labels = labels_of(more, [99] * len(more))
        again = refusal(labels)
        assert again is not None and is_kept(proposed(labels, again))


@pytest.mark.parametrize(
    ("regions", "order", "said"),
    [
        ([(1, 2, 3, 4), (1, 2, 3), (1,)], [1, 2, 3], 'Write "regions_class_order": [4, 2, 1]'),
        ([(1, 2), (2,)], [7, 9], "regions_class_order writes 7 for 'r0', which is the value of no region"),
        ([(1, 2), (2,)], [7, 9], 'Write "regions_class_order": [1, 2]'),
        ([(2,), (1, 2)], [2, 1], 'Name the regions in the order r1, r0 and write "regions_class_order": [1, 2]'),
        ([(1, 2), (2, 3)], [1, 2], "Name one more region for each of these sets of values: 2"),
    ],
)  # fmt: skip
def test_the_message_says_what_to_write(regions: list[tuple[int, ...]], order: list[int], said: str) -> None:
    message = refusal(labels_of(regions, order))
    assert message is not None and message.startswith("dataset.json: ") and said in message


def test_an_order_that_nnunet_users_write_and_exclusive_labels_pass() -> None:
    refuse_lossy(labels_of([(1, 2, 3), (2, 3), (3,)], [1, 2, 3]), "")
    refuse_lossy(labels_of([(1, 2), (1,), (2,)], [0, 1, 2]), "")  # what is in neither part is background
    refuse_lossy(ExclusiveLabels({"background": 0, "a": 5}), "")


@pytest.mark.slow
def test_ten_thousand_regions_take_no_time() -> None:
    regions = [(value,) for value in range(1, 3000)]
    assert refusal(labels_of(regions, [1] * len(regions))) is not None
