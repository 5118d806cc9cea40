"""Filters of a plan on whole cases: where they apply, that training and prediction see the same, and what is kept."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.configuration import MOST_FILTERS, Configuration
from autoseg.core.geometry import Geometry, Image
from autoseg.core.records import from_json, to_json
from autoseg.errors import DatasetError, RecordError
from autoseg.parts.filters import gaussian, median, n4
from autoseg.parts.normalizers import none, zscore
from autoseg.plan import Plan
from autoseg.preprocessing.estimates import Estimates, remove_others
from autoseg.preprocessing.filtering import filtered, names_of_filters
from autoseg.preprocessing.prepare import prepare
from autoseg.task import Task

SHAPE, SPACING = (20, 24, 22), (2.0, 1.0, 1.5)
MASKED = zscore.Spec(mask=True)
QUICK = n4.Spec(iterations=(3, 3))


def image(channels: int = 2, absent: tuple[int, ...] = ()) -> Image:
    """A ball in exact zeros, brighter at one side, with noise."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    ball = (z**2 + y**2 + x**2 < 0.7) * np.exp(0.4 * y) * 100
    noise = 1 + 0.05 * np.random.default_rng(0).standard_normal((channels, *SHAPE))
    array = (ball * noise).astype(np.float32)
    array[list(absent)] = 0
    return Image(array, Geometry.plain(SHAPE, SPACING), absent)


def plan_with(plan: Plan, filters: tuple[tuple[Any, ...], ...], normalizer: Any = MASKED) -> Plan:
    configuration = replace(
        plan.configurations["3d_fullres"], filters=filters, normalizers=(normalizer,) * len(filters)
    )
    channels = tuple(f"M{number}" for number in range(len(filters)))
    return replace(plan, channels=channels, configurations={"3d_fullres": configuration})


def task_with(plan: Plan, filters: tuple[tuple[Any, ...], ...], normalizer: Any = MASKED) -> Task:
    return plan_with(plan, filters, normalizer).task()


def configuration_with(plan: Plan, filters: tuple[tuple[Any, ...], ...]) -> Configuration:
    return plan_with(plan, filters).configurations["3d_fullres"]


def test_each_channel_goes_through_its_own_filters_in_order_on_the_files_grid(small_plan: Plan) -> None:
    before = image()
    untouched = before.array.copy()
    first, second = median.Spec(), gaussian.Spec(sigma=1.5)
    found = filtered(before, configuration_with(small_plan, ((first, second), ())))
    inside = untouched[0] > 0
    expected = second.apply(first.apply(untouched[0], SPACING), SPACING)
    np.testing.assert_array_equal(found.array[0][inside], expected[inside])
    np.testing.assert_array_equal(found.array[1], untouched[1])
    np.testing.assert_array_equal(before.array, untouched)


def test_an_image_of_a_plan_without_filters_is_not_even_copied(small_plan: Plan) -> None:
    before = image()
    assert filtered(before, configuration_with(small_plan, ((), ()))) is before
    assert filtered(before, replace(configuration_with(small_plan, ((), ())), filters=())) is before


def test_zeros_around_the_body_stay_zeros_and_channels_that_are_not_there_too(small_plan: Plan) -> None:
    before = image(3, absent=(2,))
    found = filtered(before, configuration_with(small_plan, ((gaussian.Spec(sigma=3.0),),) * 3))
    outside = (before.array == 0).all(axis=0)
    assert outside.any() and (found.array[:, outside] == 0).all()
    assert (found.array[2] == 0).all() and found.absent == (2,)
    assert gaussian.Spec(sigma=3.0).apply(before.array[0], SPACING)[outside].any()


def test_training_and_prediction_prepare_the_same_bits(small_plan: Plan, tmp_path: Path) -> None:
    """With labels and what was kept, without either, and once more from what was kept."""
    task, labels = task_with(small_plan, ((QUICK, median.Spec()), (QUICK,))), np.zeros(SHAPE, np.uint8)
    labels[8:12, 10:14, 9:13] = 7
    kept = Estimates(tmp_path / "estimates")
    training, again = (prepare(image(), labels, task, kept) for _ in range(2))
    prediction = prepare(image(), None, task)
    np.testing.assert_array_equal(training.image, prediction.image)
    np.testing.assert_array_equal(training.image, again.image)
    assert len([*kept.folder.iterdir()]) == 2
    unfiltered = prepare(image(), None, task_with(small_plan, ((), ())))
    assert unfiltered.image.shape == prediction.image.shape and (unfiltered.image != prediction.image).any()


CALLS: list[float] = []


@dataclass(frozen=True)
class Counted:
    """N4, whose runs are counted."""

    part: n4.Spec = QUICK

    def estimate(self, channel: np.ndarray, spacing: Any) -> np.ndarray:
        CALLS.append(float(channel.sum()))
        return self.part.estimate(channel, spacing)

    def apply_estimate(self, channel: np.ndarray, spacing: Any, estimate: np.ndarray) -> np.ndarray:
        return self.part.apply_estimate(channel, spacing, estimate)

    def apply(self, channel: np.ndarray, spacing: Any) -> np.ndarray:
        return self.apply_estimate(channel, spacing, self.estimate(channel, spacing))


@pytest.fixture
def kept(tmp_path: Path) -> Estimates:
    CALLS.clear()
    return Estimates(tmp_path / "estimates")


def test_what_was_kept_of_cases_and_files_that_are_gone_is_removed_and_nothing_else(tmp_path: Path) -> None:
    channel = image().array[0]
    for content in ("there", "gone"):
        Estimates(tmp_path / content).applied(QUICK, channel, SPACING)
    (tmp_path / f"{'0' * 32}.npz").write_bytes(b"of a version before")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("not autoseg's")
    remove_others(tmp_path, {"there", "another"})
    assert {path.name for path in tmp_path.iterdir()} == {"there", "mine"}
    assert len([*(tmp_path / "there").iterdir()]) == 1 and [*(tmp_path / "mine").iterdir()]
    remove_others(tmp_path / "nowhere", set())


@pytest.mark.slow
def test_an_estimate_is_found_once_for_the_same_voxels_spacing_and_settings(kept: Estimates) -> None:
    channel = image().array[0]
    first = kept.applied(Counted(), channel, SPACING)
    np.testing.assert_array_equal(kept.applied(Counted(), channel.copy(), SPACING), first)
    np.testing.assert_array_equal(Counted().apply(channel, SPACING), first)
    assert len(CALLS) == 2  # the second of them is the last line
    changed = channel.copy()
    changed[10, 12, 11] += 1
    kept.applied(Counted(), changed, SPACING)
    kept.applied(Counted(), channel, (2.0, 1.0, 1.0))
    kept.applied(Counted(n4.Spec(iterations=(3, 2))), channel, SPACING)
    assert len(CALLS) == 5 and len([*kept.folder.iterdir()]) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another array"])
def test_a_damaged_estimate_is_found_anew(kept: Estimates, damage: str) -> None:
    channel = image().array[0]
    first = kept.applied(Counted(), channel, SPACING)
    (path,) = kept.folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    broken = {"cut": bytes(content[:-40]), "flipped": bytes(content), "empty": b""}
    if damage == "another array":
        with path.open("wb") as file:
            np.savez(file, something=np.zeros(3))
    else:
        path.write_bytes(broken[damage])
    np.testing.assert_array_equal(kept.applied(Counted(), channel, SPACING), first)
    np.testing.assert_array_equal(kept.applied(Counted(), channel, SPACING), first)
    assert len(CALLS) == 2


@pytest.mark.parametrize("other", ["of other voxels", "on another grid", "of an earlier version"])
def test_an_estimate_in_the_place_of_another_is_not_used(kept: Estimates, other: str) -> None:
    channel, spacing = image().array[0], SPACING
    first = kept.applied(Counted(), channel, spacing)
    (path,) = kept.folder.iterdir()
    if other == "of an earlier version":  # which did not say of what it is
        with path.open("wb") as file:
            np.savez_compressed(file, estimate=np.ones((3, 3, 3), np.float32))
    else:
        different = channel * np.float32(1.5) if other == "of other voxels" else channel[:, :17]
        kept.applied(Counted(), different, spacing)
        (foreign,) = {*kept.folder.iterdir()} - {path}
        path.write_bytes(foreign.read_bytes())
    CALLS.clear()
    np.testing.assert_array_equal(kept.applied(Counted(), channel, spacing), first)
    assert len(CALLS) == 1


@pytest.mark.slow
def test_an_estimate_that_unpacks_to_more_than_its_channel_is_not_unpacked(
    kept: Estimates, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = image().array[0]
    first = kept.applied(Counted(), channel, SPACING)
    (path,) = kept.folder.iterdir()
    with np.load(path) as arrays:
        record = {name: arrays[name] for name in arrays.files if name != "estimate"}
    with path.open("wb") as file:
        np.savez_compressed(file, estimate=np.zeros((300, 300, 300), np.float32), **record)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it is unpacked"))
    np.testing.assert_array_equal(kept.applied(Counted(), channel, SPACING), first)


def test_threads_that_find_the_same_leave_one_whole_file(kept: Estimates) -> None:
    channel, results = image().array[0], []
    threads = [
        threading.Thread(target=lambda: results.append(kept.applied(Counted(), channel, SPACING))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (path,) = kept.folder.iterdir()
    assert path.suffix == ".npz" and all((result == results[0]).all() for result in results) and len(results) == 3


@dataclass(frozen=True)
class Wrong:
    value: float = np.nan

    def apply(self, channel: np.ndarray, spacing: Any) -> np.ndarray:
        return np.full(channel.shape if np.isnan(self.value) else (1, 1, 1), self.value)


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_a_filter_that_gives_no_image_is_an_error_that_names_it(small_plan: Plan, value: float) -> None:
    with pytest.raises(DatasetError, match=r"the filter .* of channel 1"):
        prepare(image(), None, task_with(small_plan, ((), (Wrong(value),))))


def test_filters_are_told_by_name(small_plan: Plan) -> None:
    configuration = configuration_with(small_plan, ((n4.Spec(), median.Spec()), (), (n4.Spec(),)))
    assert names_of_filters(configuration, ("FLAIR", "T1", "T2")) == "n4, median of FLAIR; n4 of T2"
    assert names_of_filters(replace(configuration, filters=()), ("FLAIR", "T1", "T2")) == ""


def test_a_plan_with_filters_survives_json_and_one_of_before_is_read(small_plan: Plan) -> None:
    plan = plan_with(small_plan, ((n4.Spec(iterations=(20, 10)), median.Spec(radius=2)), ()), none.Spec())
    record = to_json(plan)
    assert [part["name"] for part in record["configurations"]["3d_fullres"]["filters"][0]] == ["n4", "median"]
    assert from_json(Plan, record) == plan
    before = to_json(small_plan)
    del before["configurations"]["3d_fullres"]["filters"]
    assert from_json(Plan, before) == small_plan


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ([[], [], []], "3 lists for 2 channels"),
        ([[{"name": "n4", "iterations": [10**7]}], []], r"filters\[0\]\[0\]: iterations must be at most"),
        ([[{"name": "median"}] * (MOST_FILTERS + 1), []], "a channel may have"),
        ([[{"name": "nope"}], []], "no 'nope'"),
        ([{"name": "n4"}, []], "a list"),
        ([["n4"], []], "an object with a name"),
        ([[{"name": "os.path"}], []], "not a part of autoseg"),
    ],
)
def test_hostile_filters_in_a_plan_are_refused(small_plan: Plan, filters: Any, said: str) -> None:
    record = to_json(plan_with(small_plan, ((), ()), none.Spec()))
    record["configurations"]["3d_fullres"]["filters"] = filters
    with pytest.raises(RecordError, match=said):
        from_json(Plan, record)
