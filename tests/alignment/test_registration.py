"""Planted shifts are found again, the same each time, and what does not help is not used."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from two_channels import GRID, SHAPE, moved, phantom, rigid, save

from autoseg.alignment.grids import places_of
from autoseg.alignment.record import Alignment, AlignmentRequest, Registration
from autoseg.alignment.reference import Reference
from autoseg.alignment.registration import register
from autoseg.alignment.similarity import normalised_mutual_information
from autoseg.alignment.volume import Volume
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case
from autoseg.data.images import read_aligned, read_case
from autoseg.errors import DatasetError

pytestmark = pytest.mark.slow

FIRST, SECOND, _ = phantom()
RIGID = Alignment(0, "rigid")
PLANTED = [
    ((0.0, 0.0, 0.0), (9.0, -8.0, 8.0)),
    ((0.26, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((-0.12, 0.15, 0.17), (6.0, 9.0, -10.0)),
]


def error(found: Registration, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Millimetres by which the corners of the phantom are off."""
    box = np.stack(np.meshgrid(*[(0.15 * size, 0.85 * size) for size in SHAPE], indexing="ij"), -1).reshape(-1, 3)
    places = places_of(GRID, box)
    there = places @ np.array(found.matrix).reshape(3, 3).T + found.offset
    return np.linalg.norm(there - (places @ matrix.T + offset), axis=1)


@pytest.mark.parametrize(
    ("turn", "shift", "method"), [*((*each, "rigid") for each in PLANTED), (*PLANTED[2], "affine")]
)
def test_a_planted_shift_is_found(turn, shift, method: str) -> None:
    matrix, offset = rigid(turn, shift)
    found = register(FIRST, GRID, SECOND, moved(GRID, matrix, offset), Alignment(0, method))
    assert found.used and found.after > found.before
    assert np.median(error(found, matrix, offset)) < 1.0
    back, same = Reference(FIRST, GRID, Alignment(0, method)).aligned(SECOND, moved(GRID, matrix, offset))
    assert same == found  # bit by bit
    body = FIRST > 0
    assert np.corrcoef(back[body], SECOND[body])[0, 1] > 0.95


def test_an_affine_transform_finds_what_a_rigid_one_cannot() -> None:
    wider = replace(GRID, spacing=tuple(length * 1.08 for length in GRID.spacing))
    matrix = np.array(GRID.direction).reshape(3, 3)
    matrix = matrix @ np.diag([1.08] * 3) @ matrix.T
    offset = np.array(GRID.origin) - matrix @ GRID.origin
    both = {method: register(FIRST, GRID, SECOND, wider, Alignment(0, method)) for method in ("rigid", "affine")}
    assert np.median(error(both["affine"], matrix, offset)) < 1.0 < np.median(error(both["rigid"], matrix, offset))
    assert both["affine"].after > both["rigid"].after


def test_channels_that_lie_together_stay_untouched() -> None:
    back, found = Reference(FIRST, GRID, RIGID).aligned(SECOND, GRID)
    assert found is not None
    if not found.used:
        assert back is SECOND
    assert error(found, np.eye(3), np.zeros(3)).max() < 1.0


def test_a_registration_that_does_not_help_is_not_used_and_is_told(tmp_path: Path, caplog) -> None:
    noise = np.random.default_rng(1).uniform(0, 100, SHAPE).astype(np.float32)
    flat = np.full(SHAPE, 7.0, np.float32)
    for channel in (noise, flat):
        back, found = Reference(FIRST, GRID, RIGID).aligned(channel, GRID)
        assert found is not None and not found.used
        assert back is channel
    files = [str(save(array, GRID, tmp_path / f"a_000{n}.nii.gz")) for n, array in enumerate((FIRST, flat))]
    with caplog.at_level(logging.WARNING, logger="autoseg"):
        image = read_case(Case.of_files("a", files), RIGID)
    assert "case a: channel 1 stays where its header puts it" in caplog.text
    np.testing.assert_array_equal(image.array[1], flat)


def test_what_is_known_is_not_computed_anew(tmp_path: Path, caplog) -> None:
    """A made-up transform is taken as it is; one that was asked for otherwise is not."""
    files = [str(save(array, GRID, tmp_path / f"a_000{n}.nii.gz")) for n, array in enumerate((FIRST, SECOND))]
    matrix, offset = rigid((0.0, 0.0, 0.1), (0.0, 20.0, 0.0))
    given = Registration(
        RIGID, tuple(matrix.ravel().tolist()), tuple(offset.tolist()), before=1.1, after=1.3, displacement=20.0
    )
    case = replace(Case.of_files("a", files), registrations=(None, given))
    image, found = read_aligned(case, RIGID)
    assert found == (None, given)
    np.testing.assert_array_equal(image.array[0], FIRST)
    assert np.abs(image.array[1] - SECOND).mean() > 5
    _, other = read_aligned(
        replace(case, registrations=(None, replace(given, alignment=Alignment(0, "affine")))), RIGID
    )
    assert other[1] is not None and other[1] != given


def test_flat_images_and_channels_that_are_nowhere_near_are_refused() -> None:
    far = replace(GRID, origin=(1000.0, 0.0, 0.0))
    with pytest.raises(DatasetError, match="no voxel in common"):
        Reference(FIRST, GRID, Alignment(0)).aligned(SECOND, far)
    picture = type(GRID).plain_2d((20, 20))
    other = type(GRID).plain_2d((20, 20), (2.0, 2.0))
    array = np.zeros((1, 20, 20), np.float32)
    assert Reference(array, picture, Alignment(0)).aligned(array, picture)[0] is array
    with pytest.raises(DatasetError, match="only volumes are resampled"):
        Reference(array, picture, Alignment(0)).aligned(array, other)
    with pytest.raises(DatasetError, match="only volumes are registered"):
        Reference(array, picture, RIGID).aligned(array, picture)


def test_records_come_back_from_json_and_refuse_what_is_none() -> None:
    found = register(FIRST, GRID, SECOND, GRID, RIGID, quick=True)
    assert from_json(Registration, to_json(found)) == found
    with pytest.raises(ValueError, match="method must be one of header, rigid, affine"):
        Alignment(0, "elastic")
    with pytest.raises(ValueError, match="method"):
        AlignmentRequest("elastic")
    with pytest.raises(ValueError, match="reference"):
        Alignment(-1)


def test_normalised_mutual_information_is_what_its_formula_says() -> None:
    generator = np.random.default_rng(0)
    a = generator.integers(0, 8, 100_000).astype(float)
    assert normalised_mutual_information(a, 7 - a, 8) == pytest.approx(2)
    assert normalised_mutual_information(a, generator.permutation(a), 8) == pytest.approx(1, abs=1e-3)
    half = a // 4  # one bit of three
    assert normalised_mutual_information(a, half, 8) == pytest.approx((3 + 1) / 3, abs=1e-3)
    assert normalised_mutual_information(a, np.zeros_like(a)) == 1
    assert normalised_mutual_information(a[:0], a[:0]) == 1


def test_coarser_voxels_are_means_at_their_places() -> None:
    volume = Volume(FIRST, GRID)
    found = volume.coarser(8.0)
    assert found.geometry.spacing == (8.0, 9.0, 7.0)
    np.testing.assert_allclose(found.array[1, 2, 3], FIRST[2:4, 6:9, 6:8].mean(), rtol=1e-5)
    middle = places_of(GRID, np.array([[2.5, 7.0, 6.5]]))
    np.testing.assert_allclose(places_of(found.geometry, np.array([[1.0, 2.0, 3.0]])), middle)
    linear = np.add.outer(np.add.outer(np.arange(34), np.arange(48)), np.arange(42)).astype(np.float32)
    assert Volume(linear, GRID).coarser(1.0).array is not None
