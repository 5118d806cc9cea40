"""Left is left: slices lie as radiologists see them, however their file is stored."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from reported import pixels

from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.dataset import Case
from autoseg.data.images import read_case
from autoseg.data.label_maps import read_label_map
from autoseg.reporting.pictures import drawing_of, picture
from autoseg.reporting.planes import PLANES, turned, turned_spacing

LABELS = ExclusiveLabels({"background": 0, "left": 1})
SHAPE = (9, 12, 15)  # x, y, z of RAS+
ORIENTATIONS = [
    "".join(letters[axis][end] for axis, end in zip(order, ends))
    for letters in [("RL", "AP", "SI")]
    for order in permutations(range(3))
    for ends in product(range(2), repeat=3)
]


def stored(folder: Path, orientation: str) -> Case:
    """A patient whose left, front, upper corner is bright and labelled; the file's axes point to ``orientation``."""
    array = np.zeros(SHAPE, np.float32)
    array[:3, 9:, 12:] = 100  # in RAS+ the left has the lowest x
    array += np.arange(array.size).reshape(SHAPE) / array.size
    canonical = nibabel.Nifti1Image(array, np.diag([1.0, 2.0, 3.0, 1.0]))
    paths = []
    for name, data in (("image", array), ("label", (array > 50).astype(np.uint8))):
        image = nibabel.Nifti1Image(data, canonical.affine)
        start = nibabel.orientations.io_orientation(image.affine)
        end = nibabel.orientations.axcodes2ornt(tuple(orientation))
        path = folder / f"{name}_{orientation}.nii.gz"
        nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform(start, end)), path)
        paths.append(path)
    return Case.of_files("case", [str(paths[0])], str(paths[1]))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_slices_are_those_of_the_canonical_volume_in_radiological_convention(tmp_path: Path, orientation: str) -> None:
    """nibabel turns the same file to RAS+; from there every plane is two reversals away."""
    case = stored(tmp_path, orientation)
    image = read_case(case)
    ours = turned(image.array[0], image.geometry)
    canonical = nibabel.as_closest_canonical(nibabel.load(case.image_files[0]))
    theirs = np.asarray(canonical.dataobj)  # x to the right, y to the front, z upwards
    axial, coronal, sagittal = PLANES
    assert np.allclose(axial.cut(ours, 4), theirs[::-1, ::-1, 4].T)
    assert np.allclose(coronal.cut(ours, 4), theirs[::-1, -1 - 4, ::-1].T)
    assert np.allclose(sagittal.cut(ours, 4), theirs[-1 - 4, ::-1, ::-1].T)
    assert turned_spacing(image.geometry) == pytest.approx((3.0, 2.0, 1.0))


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SRA", "PIR"])
def test_what_is_left_in_front_and_up_in_the_patient_is_drawn_there(tmp_path: Path, orientation: str) -> None:
    case = stored(tmp_path, orientation)
    image = read_case(case)
    reference, _ = read_label_map(case.label_files, LABELS)
    drawn = picture("case", "", drawing_of(image, reference, reference, LABELS), LABELS)
    where = {"axial": (0, 1), "coronal": (0, 1), "sagittal": (0, 0)}  # row 0: top; column 1: right of the picture
    letters = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
    for view in drawn.views:
        grey, label = pixels(view.image), pixels(view.reference)
        assert "".join(view.letters or ()) == letters[view.plane]
        assert view.aspect == pytest.approx({"axial": 9 / 24, "coronal": 9 / 45, "sagittal": 24 / 45}[view.plane])
        for found in (np.argwhere(grey > 200), np.argwhere(label)):
            rows, columns = found.mean(0) / grey.shape
            assert (int(rows > 0.5), int(columns > 0.5)) == where[view.plane], view.plane


def test_a_picture_has_one_plane_and_no_letters() -> None:
    image = Image(np.zeros((1, 1, 8, 10), np.float32), Geometry.plain_2d((8, 10)))
    labels = np.zeros((1, 8, 10), np.uint8)
    labels[0, 2, 3] = 1
    (view,) = picture("case", "", drawing_of(image, labels, None, LABELS), LABELS).views
    assert (view.width, view.height, view.letters, view.prediction) == (10, 8, None, None)
    assert pixels(view.reference)[2, 3] == 1 and pixels(view.reference).sum() == 1
