"""What cannot be prepared is known from numbers, before anything is allocated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tasks import task_of

from autoseg.core.geometry import Geometry, Image
from autoseg.core.machine import memory_bytes
from autoseg.core.process import MemoryPeak
from autoseg.data.dataset import Case
from autoseg.data.fingerprint import CaseFingerprint
from autoseg.errors import DatasetError
from autoseg.parts.readers import read_image, write_labels
from autoseg.plan import Plan
from autoseg.preprocessing.prepare import prepare
from autoseg.preprocessing.sizes import impossible_cases, refuse_impossible
from autoseg.preprocessing.spatial import Resample, resampled_shape

EDGES = st.floats(allow_nan=True, allow_infinity=True) | st.floats(1e-12, 1e12)

PIECES = 1 << 25  # bytes that the process may have had already, freed and kept for the next who asks


def case(spacing: tuple[float, float, float], shape: tuple[int, int, int] = (100, 90, 80)) -> CaseFingerprint:
    return CaseFingerprint(shape, spacing, shape, 1.0, "", orientation="LPS")


@given(st.tuples(*[st.integers(1, 10**6)] * 3), st.tuples(*[EDGES] * 3), st.tuples(*[EDGES] * 3))
def test_any_spacing_gives_a_shape_or_a_sentence(
    shape: tuple[int, int, int], old: tuple[float, float, float], new: tuple[float, float, float]
) -> None:
    try:
        found = resampled_shape(shape, old, new)
    except DatasetError as error:
        assert "mm" in str(error) and len(str(error)) < 500
    else:
        assert all(1 <= edge <= 2**31 for edge in found)


@pytest.mark.parametrize("spacing", [(1000.0,) * 3, (1e9,) * 3, (1e300,) * 3, (3e6, 1.0, 1.0)])
def test_a_header_in_other_units_is_refused_without_taking_memory(
    small_plan: Plan, spacing: tuple[float, float, float]
) -> None:
    image = Image(np.ones((1, 64, 64, 64), np.float32), Geometry.plain((64, 64, 64), spacing))
    peak = MemoryPeak()
    with pytest.raises(DatasetError, match=r"64 x 64 x 64 voxels of .* would become .*Correct the spacing"):
        prepare(image, None, small_plan.task())
    assert (peak.bytes() or 0) < 100e6


@pytest.mark.parametrize("spacing", [0.001, 1e-9, 1e-300])
def test_an_image_of_which_nothing_would_be_left_is_refused(small_plan: Plan, spacing: float) -> None:
    image = Image(np.ones((1, 64, 64, 64), np.float32), Geometry.plain((64, 64, 64), (spacing,) * 3))
    with pytest.raises(DatasetError, match="would become 1 x 1 x 1 of 2 x 2 x 2 mm: nothing would be left"):
        prepare(image, None, small_plan.task())


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 5, 5), (1, 40, 40), (15, 15, 15)])
def test_small_images_are_no_mistake(small_plan: Plan, shape: tuple[int, int, int]) -> None:
    image = Image(np.ones((1, *shape), np.float32), Geometry.plain(shape, (0.25, 0.25, 0.25)))
    prepare(image, None, small_plan.task())


def test_what_is_counted_is_about_what_is_taken(small_plan: Plan) -> None:
    geometry = Geometry.plain((40, 40, 40), (10.0,) * 3)
    image = Image(np.random.default_rng(0).normal(size=(1, 40, 40, 40)).astype(np.float32), geometry)
    small = Image(image.array[:, :4, :4, :4], Geometry.plain((4, 4, 4), (10.0,) * 3))
    prepare(small, None, small_plan.task())  # what is imported stays
    peak = MemoryPeak()
    prepare(image, None, small_plan.task())
    taken = peak.bytes()
    if taken is None:
        pytest.skip("the system does not tell the peak")
    resampling = Resample((40, 40, 40), (10.0,) * 3, (200, 200, 200), (2.0,) * 3)
    refuse_impossible(resampling, 1, labelled=False, memory=taken + PIECES)
    with pytest.raises(DatasetError, match="64 MB of memory where there are 30 MB"):
        refuse_impossible(resampling, 1, labelled=False, memory=30 * 10**6)


def test_what_stays_as_it_is_is_never_refused() -> None:
    refuse_impossible(Resample((500,) * 3, (1.0,) * 3, (500,) * 3, (1.0,) * 3), 4, labelled=True, memory=1)


def test_all_cases_that_cannot_be_prepared_are_found_at_once(small_plan: Plan) -> None:
    cases = {
        "fine": case((2.0, 1.0, 1.0)),
        "huge": case((2000.0, 1000.0, 1000.0)),
        "gone": case((1e-6, 1e-6, 1e-6)),
        "endless": case((1e7, 1.0, 1.0)),
    }
    wrong = impossible_cases(cases, small_plan.task())
    assert sorted(wrong) == ["endless", "gone", "huge"]
    assert "voxels (z, y, x)" not in wrong["huge"] and "1000 x 2000 x 1000 mm" in wrong["huge"]  # as the network sees


def test_images_that_are_turned_are_judged_as_they_will_lie(small_plan: Plan) -> None:
    configuration = replace(small_plan.configuration()[1], spacing=(1.0, 1.0, 1e-6))
    plan = replace(small_plan, axis_order=(0, 1, 2), orientation="LPS")
    long = {"a": replace(case((1.0, 1.0, 1.0), (3000, 2, 2)), orientation="SPL")}  # x of the turned image is z here
    memory = 10**30  # more voxels along one axis than can be counted
    assert impossible_cases(long, task_of(plan, configuration), memory)
    assert not impossible_cases({"a": replace(long["a"], orientation="LPS")}, task_of(plan, configuration), memory)


def test_memory_is_the_machines_unless_said(small_plan: Plan) -> None:
    edge = int((memory_bytes() / 8) ** (1 / 3))
    for new, fine in ((edge // 2, True), (edge * 2, False)):
        resampling = Resample((64,) * 3, (1.0,) * 3, (new,) * 3, (64 / new,) * 3)
        if fine:
            refuse_impossible(resampling, 1, labelled=False)
        else:
            with pytest.raises(DatasetError, match="GB"):
                refuse_impossible(resampling, 1, labelled=False)


def test_a_picture_is_no_volume(small_plan: Plan, tmp_path: Path) -> None:
    write_labels(np.ones((1, 40, 40), np.uint8), Geometry.plain_2d((40, 40)), tmp_path / "a.png")
    picture = read_image(Case.of_files("a", (str(tmp_path / "a.png"),)).image_files)
    with pytest.raises(DatasetError, match="the image is 2-D, but the network sees volumes"):
        prepare(picture, None, small_plan.task())
    network = replace(small_plan.configuration()[1].network, kernels=((3, 3),) * 2, strides=((1, 1), (2, 2)))
    flat = replace(small_plan.configuration()[1], patch_size=(8, 8), spacing=(None, 1.0, 1.0), network=network)
    with pytest.raises(DatasetError, match="sees slices of volumes across x"):
        prepare(picture, None, task_of(small_plan, flat))
    assert prepare(picture, None, task_of(replace(small_plan, axis_order=(0, 1, 2)), flat)).image.shape == (
        1,
        1,
        40,
        40,
    )
