"""Rules that turn measurements into spacing, axes and normalisation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoseg.errors import PlanningError
from autoseg.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.parts.normalizers import ct, none, rescale, rgb, zscore
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
