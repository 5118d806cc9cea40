"""A picture shows the slices that matter at their true proportions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.evaluation import picture

LABELS = ExclusiveLabels({"background": 0, "organ": 1, "lesion": 2})


def case(shape=(8, 30, 40), spacing=(3.0, 1.0, 1.0), channels=2):
    array = np.random.default_rng(0).random((channels, *shape)).astype(np.float32)
    reference = np.zeros(shape, np.uint8)
    reference[2:6, 5:15, 5:20] = 1
    reference[3, 5:20, 5:25] = 2
    return Image(array, Geometry.plain(shape, spacing)), reference


def size_of(path) -> tuple[int, int]:
    from PIL import Image as PillowImage

    with PillowImage.open(path) as opened:
        assert opened.format == "PNG"
        return opened.size


@pytest.mark.slow
def test_a_second_row_appears_where_reference_and_prediction_differ_most(tmp_path) -> None:
    image, reference = case()
    prediction = reference.copy()
    picture.overview(tmp_path / "same.png", image, reference, prediction, LABELS, "same")
    prediction[5] = 0
    picture.overview(tmp_path / "differ.png", image, reference, prediction, LABELS, "differ")
    (_, one_row), (_, two_rows) = size_of(tmp_path / "same.png"), size_of(tmp_path / "differ.png")
    assert two_rows > 1.5 * one_row


@pytest.mark.parametrize(("axis", "expected"), [(0, [3, 5]), (1, [7, 7])])
def test_rows_are_the_fullest_slice_and_the_worst_slice(axis, expected) -> None:
    _, reference = case()
    prediction = reference.copy()
    if axis == 0:
        prediction[5] = 0
    else:
        reference[:, 7] = prediction[:, 7] = 1
    rows = picture._rows(reference, prediction, LABELS, axis)
    assert [index for _, index in rows] == expected[: len(rows)]
    assert len(rows) == (2 if axis == 0 else 1)


def test_a_difference_that_is_ignored_is_no_difference() -> None:
    labels = ExclusiveLabels({"background": 0, "organ": 1}, ignore=9)
    reference, prediction = np.zeros((2, 5, 6, 6), np.uint8)
    reference[1, 2:4], prediction[1, 2:4] = 1, 1
    reference[4], prediction[4] = 9, 1
    assert picture._rows(reference, prediction, labels, 0) == [("most foreground", 1)]


@pytest.mark.parametrize(
    "labels",
    [LABELS, RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2)), ExclusiveLabels({"background": 0, "a": 1}, 2)],
    ids=["exclusive", "regions", "ignore"],
)
def test_every_kind_of_labels_is_drawn(tmp_path, labels) -> None:
    image, reference = case()
    picture.overview(tmp_path / "p.png", image, reference, np.where(reference == 2, 1, 0), labels, "x", ["T1", "T2"])
    assert size_of(tmp_path / "p.png")[0] > 500


@pytest.mark.slow
def test_a_colour_tints_what_a_label_covers_and_nothing_else(tmp_path) -> None:
    from PIL import Image as PillowImage

    image, reference = case(channels=1)
    grey = Image(np.zeros_like(image.array), image.geometry)

    def coloured(prediction) -> int:
        picture.overview(tmp_path / "p.png", grey, None, prediction, ExclusiveLabels({"background": 0, "a": 1}), "x")
        with PillowImage.open(tmp_path / "p.png") as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(int)
        return int(((pixels.max(axis=2) - pixels.min(axis=2)) > 40).sum())

    none, small, large = (np.zeros_like(reference) for _ in range(3))
    small[3, 10:14, 10:14], large[3, 5:25, 5:35] = 1, 1
    assert coloured(none) < coloured(small) < coloured(large)


def test_images_without_a_slice_axis_values_or_labels_can_be_drawn(tmp_path) -> None:
    flat = Image(np.full((3, 1, 20, 30), np.nan, np.float32), Geometry.plain_2d((20, 30)))
    nothing = np.zeros((1, 20, 30), np.uint8)
    picture.overview(tmp_path / "flat.png", flat, nothing, nothing, LABELS, "nothing at all")
    assert size_of(tmp_path / "flat.png")[0] > 0


def test_the_slicing_axis_is_the_coarsest(tmp_path) -> None:
    sizes = []
    for spacing in ((3.0, 1.0, 1.0), (1.0, 1.0, 3.0)):
        image, reference = case((10, 40, 20), spacing)
        picture.overview(tmp_path / "p.png", image, reference, reference, LABELS, "x")
        width, height = size_of(tmp_path / "p.png")
        sizes.append(width / height)
    assert sizes[1] > 1.5 * sizes[0]  # 40 x 10 mm slices lie broader than 20 x 40 mm ones


@pytest.mark.slow
def test_a_matplotlibrc_in_the_current_folder_decides_nothing(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.facecolor: red\n")
    code = """
import sys
import numpy as np
from pathlib import Path
from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels
from autoseg.evaluation.picture import overview
image = Image(np.zeros((1, 4, 8, 8), np.float32), Geometry.plain((4, 8, 8), (1.0, 1.0, 1.0)))
labels = np.zeros((4, 8, 8), np.uint8)
labels[1, 2:5, 2:5] = 1
overview(Path(sys.argv[1]), image, None, labels, ExclusiveLabels({"background": 0, "organ": 1}), "a title")
"""
    for cwd in (tmp_path, tmp_path.parent):
        words = [sys.executable, "-c", code, str(tmp_path / f"{cwd.name}.png")]
        subprocess.run(words, cwd=cwd, check=True)
    assert (tmp_path / f"{tmp_path.name}.png").read_bytes() == (tmp_path / f"{tmp_path.parent.name}.png").read_bytes()
