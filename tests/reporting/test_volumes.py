"""What the page's viewer gets of a case: bytes that come back, on one grid, no more than fit, told as it is."""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from packed_case import packed_case
from reported import NAME

import autoseg
from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.dataset import Case
from autoseg.data.images import read_case
from autoseg.data.label_maps import read_label_map
from autoseg.errors import DatasetError
from autoseg.reporting.blocks import Notice, Pictures
from autoseg.reporting.packed import Volume
from autoseg.reporting.pictures import ADDED, MISSED, OTHER, drawing_of
from autoseg.reporting.room import MOST_VOLUMES
from autoseg.reporting.source import OFTEN_SHOWN, open_source
from autoseg.reporting.story import page_of
from autoseg.reporting.volumes import CT_WINDOWS, joined, pack
from autoseg.workspace import DatasetFolder

LABELS = ExclusiveLabels({"background": 0, "organ": 5, "lesion": 2}, ignore=9)
PLENTY = 10_000_000
SHAPE = (6, 9, 8)


def values(packed: Volume, channel: int = 0) -> np.ndarray:
    """Of a channel, in the unit of its file, as a reader of RFC 1950 finds them."""
    found = packed.channels[channel]
    raw = np.frombuffer(zlib.decompress(base64.b64decode(found.data)), np.uint8).reshape(packed.shape)
    codes = np.cumsum(raw, axis=2, dtype=np.uint8)
    return np.interp(codes, *zip(*found.steps))


def numbers(packed: Volume, name: str) -> np.ndarray:
    (found,) = (layer.data for layer in packed.layers if layer.name == name)
    raw = zlib.decompress(base64.b64decode(found))
    kind = np.uint8 if len(raw) == math.prod(packed.shape) else "<u2"
    return np.frombuffer(raw, kind).reshape(packed.shape)


def image_of(*arrays: np.ndarray, spacing=(2.0, 1.0, 1.0), absent=()) -> Image:
    return Image(np.stack(arrays).astype(np.float32), Geometry.plain(arrays[0].shape, spacing), absent)


def drawn(shape=SHAPE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image and a label map."""
    random = np.random.default_rng(seed)
    return 40 + 100 * random.random(shape), random.choice([0, 2, 5, 9], shape).astype(np.uint8)


def test_what_is_packed_comes_back() -> None:
    array, reference = drawn()
    _, prediction = drawn(seed=1)
    prediction[prediction == 9] = 0
    packed = packed_case(
        "case", image_of(array), ["T1"], LABELS, reference=reference, prediction=prediction, most=PLENTY
    )
    assert packed.shape == SHAPE and packed.spacing == (2.0, 1.0, 1.0)
    step = (array.max() - array.min()) / 255
    assert np.abs(values(packed) - array).max() <= 0.51 * step and packed.channels[0].beyond == (False, False)
    assert f"{step:.2g} apart" in packed.channels[0].told
    seen = {0: 0, 2: 1, 5: 2, 9: 3}  # labels by value, then what is not annotated
    assert np.array_equal(numbers(packed, "reference"), np.vectorize(seen.get)(reference))
    assert np.array_equal(numbers(packed, "prediction"), np.vectorize(seen.get)(prediction))
    expected = np.where(prediction == reference, 0, OTHER)
    expected[(prediction != reference) & (prediction == 0)] = MISSED
    expected[(prediction != reference) & (reference == 0)] = ADDED
    expected[reference == 9] = 0
    assert np.array_equal(numbers(packed, "errors"), expected)


def test_a_prediction_alone_is_called_so() -> None:
    array, prediction = drawn()
    packed = packed_case("case", image_of(array), ["T1"], LABELS, prediction=prediction, most=PLENTY)
    assert [layer.name for layer in packed.layers] == ["prediction"]
    with pytest.raises(DatasetError, match="voxels"):
        packed_case("case", image_of(array), ["T1"], LABELS, prediction=prediction[1:], most=PLENTY)


def test_what_is_marked_may_be_other_than_errors() -> None:
    """Uncertainty of a prediction, for example; it opens where most is marked."""
    array, prediction = drawn()
    marks = np.zeros(SHAPE, np.uint8)
    marks[4, 7, 2] = 3
    image = image_of(array)
    drawing = replace(drawing_of(image, prediction, None, LABELS), errors=marks)
    names = {"first": "prediction", "last": "uncertainty", "nothing": "little"}
    packed = pack("case", image, drawing, ["T1"], most=PLENTY, at_errors=True, **names)
    assert [(layer.name, layer.marked, layer.nothing) for layer in packed.layers] == [
        ("prediction", False, "background"),
        ("uncertainty", True, "little"),
    ]
    assert np.array_equal(numbers(packed, "uncertainty"), marks) and packed.at == (4, 7, 2)


def test_single_bright_voxels_do_not_make_all_steps_coarse_and_it_is_told() -> None:
    array, reference = drawn((20, 30, 40))
    array[0, 0, 0] = 1e6
    packed = packed_case("case", image_of(array), ["T1"], LABELS, reference=reference, most=PLENTY)
    assert packed.channels[0].beyond == (False, True)
    assert np.abs(values(packed) - array)[array < 1e6].max() < 0.5


def test_hounsfield_units_are_finest_in_soft_tissue_and_have_windows() -> None:
    """Steps of 3 HU from -200 to 300: half of one is what a value may be off."""
    array = np.linspace(-1024, 1500, math.prod(SHAPE)).reshape(SHAPE)
    packed = packed_case("case", image_of(array), ["CT"], LABELS, reference=drawn()[1], most=PLENTY)
    off = np.abs(values(packed) - array)
    assert packed.channels[0].beyond == (False, False)
    assert off[(array > -200) & (array < 300)].max() < 1.51 and off.max() < 18.5
    assert "3 HU" in packed.channels[0].told
    names = [name for name, _, _ in packed.channels[0].windows]
    assert names[: len(CT_WINDOWS)] == [name for name, _, _ in CT_WINDOWS] and names[-1] == "whole range"


@pytest.mark.parametrize(("name", "scale"), [("T1", 1000.0), ("CT", 1.0)])
def test_what_is_no_ct_or_no_longer_has_its_unit_gets_no_windows_of_ct(name: str, scale: float) -> None:
    array, reference = drawn()
    packed = packed_case("case", image_of(scale * array / 140), [name], LABELS, reference=reference, most=PLENTY)
    assert [window[0] for window in packed.channels[0].windows] == ["most of the image", "whole range"]
    assert "HU" not in packed.channels[0].told


def test_channels_that_a_case_lacks_are_not_offered() -> None:
    array, reference = drawn()
    image = image_of(array, 0 * array, 2 * array, absent=(1,))
    packed = packed_case("case", image, ["T1", "T2", "FLAIR"], LABELS, reference=reference, most=PLENTY)
    assert [channel.name for channel in packed.channels] == ["T1", "FLAIR"]
    assert values(packed, 1).max() == pytest.approx(2 * array.max(), rel=1e-3)


@pytest.mark.parametrize("fill", [np.nan, np.inf, 7.0, -3e38])
def test_images_that_say_nothing_can_be_packed(fill: float) -> None:
    reference = drawn()[1]
    array = np.full(SHAPE, fill)
    packed = packed_case("case", image_of(array), ["T1"], LABELS, reference=reference, most=PLENTY)
    (_, low), (_, high) = packed.channels[0].steps
    assert high > low and all(width > 0 for _, width, _ in packed.channels[0].windows)
    if fill == 7.0:
        assert np.allclose(values(packed), 7)


def test_more_labels_than_a_byte_holds_take_two() -> None:
    labels = ExclusiveLabels({"background": 0} | {f"label {value}": value for value in range(1, 400)})
    reference = np.arange(math.prod(SHAPE), dtype=np.uint16).reshape(SHAPE) % 400
    packed = packed_case("case", image_of(drawn()[0]), ["T1"], labels, reference=reference, most=PLENTY)
    assert np.array_equal(numbers(packed, "reference"), reference)


def test_a_case_is_made_smaller_until_it_fits_and_labels_stay_on_the_image() -> None:
    """Noise that nothing compresses; the labelled block is the bright one, before and after."""
    shape = (40, 90, 100)
    reference = np.zeros(shape, np.uint8)
    reference[12:25, 33:61, 20:47] = 5
    array = np.random.default_rng(0).normal(size=shape) + 100 * (reference == 5)
    most = 100_000
    packed = packed_case(
        "case", image_of(array, spacing=(2.0, 1.0, 0.5)), ["T1"], LABELS, reference=reference, most=most
    )
    assert packed.characters <= most and packed.characters > most / 10
    factors = [round(small / length) for small, length in zip(packed.spacing, (2.0, 1.0, 0.5))]
    assert packed.shape == tuple(size // factor for size, factor in zip(shape, factors))
    assert factors[2] >= factors[1] >= factors[0] >= 1 and factors[2] > 1
    assert packed.shown.startswith(f"Shown at {factors[2]} x {factors[1]} x {factors[0]} voxels")
    bright, labelled = values(packed) > 50, numbers(packed, "reference") == 2
    assert bright.any() and (bright != labelled).mean() < 0.02
    off = np.argwhere(bright).mean(0) - np.argwhere(labelled).mean(0)
    assert np.abs(off).max() < 0.5
    there = np.argwhere(reference == 5).mean(0) / shape
    assert np.abs(np.argwhere(labelled).mean(0) / packed.shape - there).max() < 0.03


def test_what_would_be_too_small_to_see_is_left_out() -> None:
    array = np.random.default_rng(0).normal(size=(40, 90, 100))
    reference = np.zeros(array.shape, np.uint8)
    assert packed_case("case", image_of(array), ["T1"], LABELS, reference=reference, most=2000) is None
    small, labels = drawn()
    assert packed_case("case", image_of(small), ["T1"], LABELS, reference=labels, most=100) is None


@pytest.mark.parametrize(
    ("shape", "spacing", "most", "factors"),
    [
        ((10, 20, 20), (1.0, 1.0, 1.0), 4000, (1, 1, 1)),
        ((10, 20, 20), (1.0, 1.0, 1.0), 3999, (2, 1, 1)),
        ((10, 20, 20), (1.0, 1.0, 1.0), 1999, (2, 2, 2)),
        ((10, 20, 20), (3.0, 1.0, 1.0), 3999, (1, 2, 2)),
        ((10, 20, 20), (3.0, 1.0, 1.0), 360, (1, 3, 3)),
        ((1, 20, 20), (999.0, 1.0, 1.0), 1, (1, 11, 11)),
        ((10, 20, 20), (3.0, 1.0, 1.0), 0, (10, 20, 20)),
    ],
)
def test_voxels_are_joined_where_they_are_shortest(shape, spacing, most, factors) -> None:
    assert joined(shape, spacing, most) == factors


def test_pixels_of_a_picture_are_told_without_millimetres() -> None:
    image = Image(np.zeros((3, 1, 8, 10), np.float32), Geometry.plain_2d((8, 10)))
    labels = np.zeros((1, 8, 10), np.uint8)
    packed = packed_case("case", image, ["R", "G", "B"], LABELS, reference=labels, most=PLENTY)
    assert packed.shown == "Shown at 1 x 1 pixels: all that the file holds."
    assert [plane.name for plane in packed.planes] == ["image"] and packed.planes[0].letters is None


def test_a_file_that_lies_obliquely_is_turned_as_its_header_says(tmp_path: Path) -> None:
    """nibabel turns the same file to RAS+; x and y of ours run the other way."""
    array = np.random.default_rng(0).random((7, 8, 9)).astype(np.float32)
    angle = math.radians(20)
    tilt = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(tilt) @ [[0, 2, 0], [0, 0, -3], [1.5, 0, 0]]  # the axes run up, right and back
    labelled = (array > 0.5).astype(np.uint8)
    paths = [tmp_path / name for name in ("image.nii.gz", "label.nii.gz")]
    for path, data in zip(paths, (array, labelled)):
        nibabel.save(nibabel.Nifti1Image(data, affine), path)
    labels = ExclusiveLabels({"background": 0, "bright": 1})
    image = read_case(Case.of_files("case", [str(paths[0])], str(paths[1])))
    reference, _ = read_label_map((paths[1],), labels)
    packed = packed_case("case", image, ["T1"], labels, reference=reference, most=PLENTY)
    theirs = np.asarray(nibabel.as_closest_canonical(nibabel.load(paths[0])).dataobj)[::-1, ::-1].T
    assert np.abs(values(packed) - theirs).max() < 0.51 / 255
    assert np.array_equal(numbers(packed, "reference"), theirs > 0.5)
    assert packed.spacing == (1.5, 3.0, 2.0)


def test_a_volume_opens_where_most_is_labelled_or_wrong(made: DatasetFolder) -> None:
    page = page_of(open_source(made))
    blocks = [block for section in page.sections for block in section.blocks if isinstance(block, Pictures)]
    best, *_, worst = (case for block in blocks if block.errors for case in block.cases)
    for case, name in ((best, "reference"), (worst, "errors")):
        found = numbers(case.volume, name) != 0
        for axis in range(3):
            counts = found.sum(tuple(other for other in range(3) if other != axis))
            assert counts[case.volume.at[axis]] == counts.max() > 0
    assert all(case.volume.case == case.case for block in blocks for case in block.cases)


def test_pages_without_pictures_have_no_volumes(made: DatasetFolder, tmp_path: Path) -> None:
    for pictures in (True, False):
        path = autoseg.report(NAME, made.root.parent, output=tmp_path / "page.html", pictures=pictures)
        assert ('"volume":{' in path.read_text("utf-8")) == pictures


def test_a_page_says_which_cases_have_no_room_to_be_looked_through(made: DatasetFolder) -> None:
    whole = open_source(made)
    page_of(whole)
    taken = MOST_VOLUMES - whole.room_of_volumes
    assert 0 < taken and whole.room_of_one_volume() == MOST_VOLUMES // OFTEN_SHOWN
    source = open_source(made, room_of_volumes=taken // 2)
    blocks = [block for section in page_of(source).sections for block in section.blocks]
    shown = [case.volume for block in blocks if isinstance(block, Pictures) for case in block.cases]
    assert source.room_of_volumes >= 0 and None in shown and any(shown)
    assert any("cannot be looked through" in block.text for block in blocks if isinstance(block, Notice))
