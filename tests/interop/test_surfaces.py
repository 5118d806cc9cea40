"""Surfaces lie where the header puts the label, are closed, look outward, and enclose what formulas say."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.interop.surface_files import WRITERS
from autoseg.interop.surfaces import Surface

PLAIN = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def ellipsoid(shape: tuple[int, ...], spacing: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Centred; voxels whose centre lies inside. All (z, y, x)."""
    axes = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing)), indexing="ij")
    inside: np.ndarray = sum((axis / radius) ** 2 for axis, radius in zip(axes, radii)) <= 1
    return inside


def plain(mask: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Geometry:
    return Geometry(mask.shape, spacing, (0.0, 0.0, 0.0), PLAIN)


def assert_closed(surface: Surface) -> None:
    """Every edge is used once in either direction, so that all triangles look to the same side."""
    edges = Counter(
        (int(triangle[a]), int(triangle[b])) for triangle in surface.triangles for a, b in ((0, 1), (1, 2), (2, 0))
    )
    assert set(edges.values()) == {1}
    assert all((second, first) in edges for first, second in edges)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(
    ("shape", "spacing", "radii"),
    [((50, 50, 50), (1.0, 1.0, 1.0), (20.0, 20.0, 20.0)), ((22, 60, 90), (3.0, 1.0, 0.8), (28.0, 25.0, 32.0))],
    ids=["sphere", "ellipsoid"],
)
def test_a_sphere_and_an_ellipsoid_have_the_volume_of_the_formula(shape, spacing, radii, smooth: bool) -> None:
    mask = ellipsoid(shape, spacing, radii)
    surface = Surface.of(mask, plain(mask, spacing))
    if smooth:
        surface = surface.smoothed(np.count_nonzero(mask) * math.prod(spacing))
    assert surface.volume == pytest.approx(4 / 3 * math.pi * math.prod(radii), rel=0.01)
    assert_closed(surface)


def test_a_box_has_the_volume_of_its_voxels_but_for_its_edges() -> None:
    mask = np.zeros((30, 40, 50), bool)
    mask[5:25, 6:36, 7:47] = True
    surface = Surface.of(mask, plain(mask, (2.0, 1.0, 0.5)))
    assert surface.volume == pytest.approx(np.count_nonzero(mask), rel=0.01)
    low, high = surface.points.min(0), surface.points.max(0)
    assert low == pytest.approx([3.25, 5.5, 9.0]) and high == pytest.approx([23.25, 35.5, 49.0])  # borders of voxels


def test_smoothing_takes_the_steps_away_and_keeps_the_volume() -> None:
    mask = ellipsoid((14, 60, 60), (4.0, 1.0, 1.0), (24.0, 26.0, 26.0))
    stepped = Surface.of(mask, plain(mask, (4.0, 1.0, 1.0)))
    voxels = 4.0 * np.count_nonzero(mask)
    smooth = stepped.smoothed(voxels)
    assert smooth.volume == pytest.approx(voxels, rel=1e-3) and smooth.volume == pytest.approx(stepped.volume, rel=0.01)
    areas = [np.linalg.norm(surface.faces, axis=1).sum() for surface in (stepped, smooth)]
    flattened = math.sqrt(1 - (24 / 26) ** 2)  # of a spheroid: its eccentricity
    true = 2 * math.pi * 26**2 * (1 + (1 - flattened**2) / flattened * math.atanh(flattened))
    assert true < areas[1] < 1.07 * true < 1.15 * true < areas[0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 5), (1, 6, 6)])
def test_labels_of_a_voxel_or_one_voxel_thin_keep_their_volume(shape: tuple[int, int, int]) -> None:
    mask = np.ones(shape, bool)
    surface = Surface.of(mask, plain(mask, (3.0, 1.0, 1.0))).smoothed(3.0 * mask.size)
    assert_closed(surface)
    assert surface.volume == pytest.approx(3.0 * mask.size, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_voxels_are_inside_the_surface_is_closed(seed: int) -> None:
    """Diagonal neighbours, holes, and voxels at the border."""
    mask = np.random.default_rng(seed).random((9, 10, 11)) < 0.5
    assert_closed(Surface.of(mask, plain(mask)))


def rotated(flips: tuple[int, int, int], order: tuple[int, int, int]) -> np.ndarray:
    """A direction that is oblique, with axes reversed and exchanged."""
    angles = np.radians([20, -35, 50])
    (a, b, c), (d, e, f) = np.cos(angles), np.sin(angles)
    turn = np.array([[1, 0, 0], [0, a, -d], [0, d, a]]) @ np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    turn = turn @ np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return turn @ np.diag(flips)[:, order]


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_points_lie_at_the_label_and_normals_look_outward(flips, order) -> None:
    import SimpleITK as sitk

    mask = np.zeros((12, 14, 16), np.uint8)
    mask[2:9, 3:12, 4:8] = mask[6:10, 5:7, 6:14] = 1
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing((0.7, 1.1, 2.5))
    image.SetOrigin((-31.0, 12.0, 250.0))
    image.SetDirection(rotated(flips, order).ravel().tolist())
    geometry = Geometry(mask.shape, (2.5, 1.1, 0.7), image.GetOrigin(), image.GetDirection())
    box = (slice(2, 10), slice(3, 12), slice(4, 14))
    surface = Surface.of(mask[box] > 0, geometry, (2, 3, 4))

    def inside(points: np.ndarray) -> np.ndarray:
        """By SimpleITK's own transform, nearest voxel."""
        found = [image.TransformPhysicalPointToIndex(point) for point in points.tolist()]
        padded = np.pad(mask, 5)
        return np.array([padded[z + 5, y + 5, x + 5] for x, y, z in found], bool)

    centres = surface.points[surface.triangles].mean(1)
    normals = surface.faces / np.linalg.norm(surface.faces, axis=1, keepdims=True)
    along = np.abs(normals @ np.reshape(geometry.direction, (3, 3))).max(1)
    flat = along > 0.999  # at borders of voxels; edges and corners are cut off
    assert surface.volume > 0 and flat.sum() > 100
    assert inside(centres - 0.3 * normals)[flat].all()
    assert not inside(centres + 0.3 * normals)[flat].any()


def test_files_hold_the_surface_and_say_where_it_lies(tmp_path) -> None:
    mask = ellipsoid((12, 14, 16), (1.0, 1.0, 1.0), (4.0, 5.0, 6.0))
    surface = Surface.of(mask, Geometry(mask.shape, (1.0, 1.0, 1.0), (100.0, -50.0, 7.0), PLAIN))
    for ending, write in WRITERS.items():
        write(surface, "Läsion\n", tmp_path / f"a{ending}")
    stl = (tmp_path / "a.stl").read_bytes()
    assert b"SPACE=LPS" in stl[:80] and not stl.startswith(b"solid")
    count = int.from_bytes(stl[80:84], "little")
    assert count == len(surface.triangles) and len(stl) == 84 + 50 * count
    facet = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    facets = np.frombuffer(stl, facet, offset=84)
    assert np.allclose(facets["corners"], surface.points[surface.triangles], atol=1e-4)
    first, second, third = np.moveaxis(facets["corners"], 1, 0)
    normals = np.cross(second - first, third - first)
    assert np.allclose(facets["normal"], normals / np.linalg.norm(normals, axis=1, keepdims=True), atol=1e-3)

    header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert [line for line in lines if line.startswith("comment")] == [
        "comment autoseg SPACE=LPS unit=mm label L\\xe4sion\\n"
    ]
    assert f"element vertex {len(surface.points)}" in lines and f"element face {count}" in lines
    points = np.frombuffer(body, "<f4", 3 * len(surface.points)).reshape(-1, 3)
    faces = np.frombuffer(body, np.dtype([("count", "u1"), ("corners", "<i4", 3)]), offset=points.nbytes)
    assert np.allclose(points, surface.points, atol=1e-4) and (faces["count"] == 3).all()
    assert np.array_equal(faces["corners"], surface.triangles)
