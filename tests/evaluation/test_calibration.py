"""Expected calibration errors, computed by hand and voxel by voxel."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.records import read_json, write_json
from autoseg.errors import RecordError
from autoseg.evaluation.calibration import (
    BINS,
    Bins,
    Calibration,
    binned,
    error_interval,
    expected_error,
    overconfidence,
    pooled,
)


def counted(codes: np.ndarray, has: np.ndarray, one: int = 255) -> Bins:
    return binned(np.bincount(codes, minlength=one + 1), np.bincount(codes[has], minlength=one + 1))


def test_the_error_is_that_of_a_calculation_by_hand() -> None:
    """4 voxels of probability 0, one of them with the label; 5 of 0.2, of which 2 have it; 2 of 1, of which one has."""
    codes = np.repeat([0, 51, 255], [4, 5, 2])
    has = np.array([1, 0, 0, 0] + [1, 1, 0, 0, 0] + [1, 0], bool)
    bins = counted(codes, has)
    assert bins.voxels == (4, 0, 5, *[0] * 11, 2) and bins.hits == (1, 0, 2, *[0] * 11, 1)
    assert bins.probability == pytest.approx((0, 0, 1, *[0] * 11, 2))
    assert expected_error(bins) == pytest.approx((4 * abs(1 / 4 - 0) + 5 * abs(2 / 5 - 0.2) + 2 * abs(1 / 2 - 1)) / 11)
    assert expected_error(bins, 1) == pytest.approx((1 + 1) / 7)
    assert overconfidence(bins, 1) == pytest.approx((1 + 2 - 2 - 1) / 7)
    assert overconfidence(bins) == pytest.approx((0 + 1 + 2 - 1 - 2 - 1) / 11)


def test_the_interval_draws_whole_patients() -> None:
    """Of cases that are all alike it is a point; one patient's cases come and go together; of two there is none."""
    alike = counted(np.repeat([51, 255], [5, 2]), np.array([1, 1, 0, 0, 0, 1, 0], bool))
    exact = expected_error(alike)
    assert error_interval([alike] * 4, np.arange(4)) == pytest.approx((exact, exact))
    perfect = counted(np.repeat([51, 255], [5, 2]), np.array([1, 0, 0, 0, 0, 1, 1], bool))
    apart = error_interval([alike, alike, perfect, perfect, perfect, perfect], np.arange(6))
    together = error_interval([alike, alike, perfect, perfect, perfect, perfect], np.array([0, 0, 1, 1, 2, 2]))
    assert apart is not None and together is not None and together[1] - together[0] > apart[1] - apart[0] > 0
    assert apart[0] <= expected_error(pooled([alike] * 2 + [perfect] * 4)) <= apart[1]
    assert error_interval([alike, perfect], np.arange(2)) is None


@pytest.mark.parametrize("one", [255, 65535])
def test_every_code_lies_in_the_bin_of_its_probability(one: int) -> None:
    for code in (*range(260), one // 2, one - 1, one):
        if code > one:
            continue
        counts = np.zeros(one + 1, np.int64)
        counts[code] = 1
        (place,) = np.flatnonzero(binned(counts, counts).voxels)
        p = Fraction(code, one)
        assert Fraction(int(place), BINS) < p <= Fraction(int(place) + 1, BINS) or (code, place) == (0, 0)


def test_the_error_is_that_of_all_voxels_one_by_one() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, 5000)
    has = random.random(5000) < (codes / 255) ** 2
    p, expected = codes / 255, 0.0
    places = np.digitize(p, np.arange(1, BINS) / BINS + 1e-9)
    for place in range(BINS):
        inside = places == place
        expected += inside.mean() * abs(has[inside].mean() - p[inside].mean())
    assert expected_error(counted(codes, has)) == pytest.approx(expected) and expected > 0.1
    parts = [counted(codes[part], has[part]) for part in (slice(0, 7), slice(7, 5000))]
    assert expected_error(pooled(parts)) == pytest.approx(expected)


def test_without_voxels_there_is_no_error() -> None:
    nothing = counted(np.zeros(0, int), np.zeros(0, bool))
    assert expected_error(nothing) is None and overconfidence(nothing) is None
    assert expected_error(counted(np.zeros(3, int), np.zeros(3, bool)), 1) is None


def test_the_record_comes_back_and_impossible_counts_are_refused(tmp_path: Path) -> None:
    found = Calibration({"a": {"organ": counted(np.array([0, 3, 200, 255]), np.array([0, 1, 1, 1], bool))}})
    write_json(tmp_path / "calibration.json", found, sealed=True)
    assert read_json(tmp_path / "calibration.json", Calibration) == found
    for voxels, hits in (((1,) * BINS, (2,) * BINS), ((1,) * 3, (1,) * 3), ((-1,) * BINS, (0,) * BINS)):
        with pytest.raises(ValueError, match=r"bins|bin cannot"):
            Bins(voxels, (0.0,) * len(voxels), hits)
    text = (tmp_path / "calibration.json").read_text().replace("0.011", "0.9", 1)
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(RecordError):
        read_json(tmp_path / "calibration.json", Calibration)
