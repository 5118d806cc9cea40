"""Rules that turn measurements into spacing, axes and normalisation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities, Structure
from autoseg.errors import PlanningError
from autoseg.parts.normalizers import ct, none, rescale, rgb, zscore
from autoseg.plan import Plan
from autoseg.planning import rules

USUAL = Intensities(
    mean=40.0, median=41.0, std=20.0, min=-900.0, max=900.0, percentile_00_5=-80.0, percentile_99_5=210.0
)
NOTHING = Intensities(*(math.nan,) * 7)


def measured(
    spacings: list[tuple[float, float, float]],
    shape: tuple[int, int, int] = (100, 100, 100),
    *,
    fraction: float = 1.0,
    intensities: tuple[Intensities, ...] = (USUAL,),
) -> Fingerprint:
    cases = {str(i): CaseFingerprint(shape, spacing, shape, fraction, "") for i, spacing in enumerate(spacings)}
    return Fingerprint(cases, intensities)


def test_target_spacing_is_the_median() -> None:
    assert rules.target_spacing(measured([(1.0, 1.0, 2.0), (1.2, 1.0, 1.0), (2.0, 1.0, 1.0)]))[0] == (1.2, 1.0, 1.0)


@pytest.mark.parametrize("spacing", [1e-3, 1e-9, 1e-300])
def test_voxels_so_small_that_no_machine_holds_the_image_are_refused(spacing: float) -> None:
    with pytest.raises(PlanningError, match=r"at .* mm, the "):
        rules.median_shape(measured([(1.0, 1.0, 1.0)] * 3), (spacing,) * 3)


def test_a_coarse_and_short_axis_takes_the_finer_scans() -> None:
    spacings = [(float(z), 1.0, 1.0) for z in range(5, 16)]
    assert rules.target_spacing(measured(spacings, (10, 200, 200)))[0] == (6.0, 1.0, 1.0)
    assert rules.target_spacing(measured(spacings, (100, 200, 200)))[0] == (10.0, 1.0, 1.0)


def test_a_coarse_axis_never_becomes_finer_than_the_others() -> None:
    spacings = [(0.5, 1.0, 1.0)] * 2 + [(9.0, 1.0, 1.0)] * 8
    assert rules.target_spacing(measured(spacings, (10, 200, 200)))[0] == pytest.approx((1.00001, 1.0, 1.0))


def test_the_coarsest_axis_comes_first() -> None:
    assert rules.axis_order((1.0, 1.0, 5.0)) == (2, 0, 1)
    assert rules.axis_order((1.0, 1.0, 1.0)) == (0, 1, 2)


def test_a_channels_name_chooses_its_normalizer_in_any_case() -> None:
    names = ("ct", "CT", "noNorm", "None", "Rescale_to_0_1", "RGB_to_0_1", "T1", "R")
    found, _ = rules.normalizers(names, measured([(1.0, 1.0, 1.0)], intensities=(USUAL,) * len(names)))
    window = ct.Spec(40.0, 20.0, -80.0, 210.0)
    expected = (window, window, none.Spec(), none.Spec(), rescale.Spec(), rgb.Spec(), zscore.Spec(), zscore.Spec())
    assert found == expected


@pytest.mark.parametrize(("fraction", "mask"), [(0.74, True), (0.75, False)])
def test_images_with_much_empty_space_are_normalised_inside_it(fraction: float, mask: bool) -> None:
    assert rules.normalizers(("T1",), measured([(1.0, 1.0, 1.0)], fraction=fraction))[0] == (zscore.Spec(mask),)


def test_ct_without_any_labelled_voxel_is_refused() -> None:
    with pytest.raises(PlanningError, match="no training case has any labelled voxel"):
        rules.normalizers(("CT",), measured([(1.0, 1.0, 1.0)], intensities=(NOTHING,)))


def test_finer_axes_grow_first_on_the_way_to_a_coarser_grid() -> None:
    spacing = np.array([5.0, 1.0, 1.0])
    grown, _, voxels = rules.coarser(spacing, spacing, np.array([20.0, 300.0, 300.0]))
    assert grown.tolist() == pytest.approx([5.0, 1.03, 1.03])
    assert voxels == pytest.approx(20 * 300 * 300 / 1.03**2)
    grown, _, _ = rules.coarser(np.ones(3), np.ones(3), np.array([300.0] * 3))
    assert grown.tolist() == pytest.approx([1.03] * 3)


def structures(count: int, edge: tuple[float, float, float], cases: int = 1) -> tuple[Structure, ...]:
    """Boxes of so large edges, in shares of the image, side by side along z."""
    spread = [size**2 / 12 for size in edge]
    return tuple(
        Structure(cases, math.prod(edge), ((index + 0.5) / count, 0.5, 0.5), (*spread, 0.0, 0.0, 0.0))
        for index in range(count)
    )


def test_labels_held_are_those_that_patches_anywhere_meet() -> None:
    fingerprint = replace(measured([(1.0, 1.0, 1.0)] * 4), structures=(*structures(20, (0.05, 0.3, 1.0), 4), None))
    random, met = np.random.default_rng(0), []
    for _ in range(20_000):  # patches of 20 % x 40 % x 50 % of the image, some beyond its border
        centre = random.uniform((0, 0, 0), (1, 1, 1))
        z = (np.arange(20) + 0.5) / 20
        near = (np.abs(z - centre[0]) < 0.125) & (abs(0.5 - centre[1]) < 0.35)
        met.append(near.sum())
    held, labels = rules.labels_held(fingerprint, (0.2, 0.4, 0.5))
    assert labels == 20 and held == pytest.approx(np.mean(met), rel=0.1)
    assert rules.labels_held(fingerprint, (1.0, 1.0, 1.0))[0] == 20
    half = replace(fingerprint, structures=structures(20, (0.05, 0.3, 1.0), 2))  # labels of every second case
    assert rules.labels_held(half, (1.0, 1.0, 1.0))[0] == 10


@pytest.mark.parametrize(
    ("patch", "order", "batch_dice"),
    [
        ((96, 96, 96), (0, 1, 2), False),
        ((32, 96, 96), (0, 1, 2), True),
        ((96, 96, 32), (0, 1, 2), False),
        ((96, 96, 32), (1, 2, 0), True),  # the network's last axis is the files' first, along which labels lie
    ],
)
def test_one_dice_over_the_batch_where_a_patch_holds_few_labels(
    small_plan: Plan, patch: tuple[int, int, int], order: tuple[int, int, int], batch_dice: bool
) -> None:
    fingerprint = replace(measured([(1.0, 1.0, 1.0)]), structures=structures(20, (0.05, 1.0, 1.0)))
    given = replace(small_plan.configuration()[1], patch_size=patch, median_shape=(100, 100, 100))
    found = rules.with_batch_dice(given, fingerprint, order)
    assert found.loss.batch_dice is batch_dice
    assert [reason.partition(":")[0] for reason in found.reasons] == ["loss"] * batch_dice
    assert rules.with_batch_dice(given, replace(fingerprint, structures=()), order) == given  # nothing was measured
