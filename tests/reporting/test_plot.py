"""`autoseg plot`: left is left, lengths are true, names and colours are those of the labels."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Pillow
from scipy.ndimage import find_objects
from scipy.ndimage import label as components

from autoseg.cli import main
from autoseg.commands.plot import PLANES, TINT
from autoseg.errors import DatasetError, UsageError
from autoseg.evaluation import picture
from autoseg.reporting.figure import round_length
from autoseg.reporting.plot import NAMES, Wish, plot

ORANGE, BLUE = (230, 159, 0), (86, 180, 233)  # of the first and the second label
SHAPE, SPACING = (10, 16, 24), (4.0, 2.0, 1.5)  # z, y, x of LPS


def stored(folder: Path, orientation: str = "LPS") -> tuple[Path, Path]:
    """A grey patient, dark at the left, in front and above, labelled at the right, behind and below; both reach beyond
    the middle, where the label lies on top."""
    image, labels = np.full(SHAPE, 50, np.int16), np.zeros(SHAPE, np.uint8)
    image[4:, :10, 10:] = 25
    labels[:6, 6:, :14] = 1
    paths = []
    for name, array in (("image", image), ("labels", labels)):
        volume = sitk.GetImageFromArray(array)
        volume.SetSpacing(SPACING[::-1])
        volume.SetOrigin((-20.0, 5.0, 90.0))
        paths.append(folder / f"{name}_{orientation}.nii.gz")
        sitk.WriteImage(sitk.DICOMOrient(volume, orientation), str(paths[-1]))
    return paths[0], paths[1]


def pixels(path: Path) -> np.ndarray:
    with Pillow.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def like(seen: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    found: np.ndarray = np.abs(seen - np.array(colour)).max(-1) <= 3
    return found


def words(path: Path) -> list[str]:
    """All text of an SVG."""
    root = ElementTree.parse(path).getroot()
    return ["".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")]


def drawn(seen: np.ndarray) -> tuple[slice, slice]:
    """Where the slice is: the largest patch of its colours, whose like also stand in letters and the legend."""
    patches, _ = components(like(seen, (127, 127, 127)) | like(seen, (64, 64, 64)) | like(seen, ORANGE))
    sizes = np.bincount(patches.ravel())
    rows, columns = find_objects(patches)[int(sizes[1:].argmax())]
    return rows, columns


FULL: dict[str, Any] = {"window": (0.0, 100.0), "opacity": 1.0, "contours": False}


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SRA", "PIL"])
@pytest.mark.parametrize(("plane", "right", "below"), [("axial", 0, 1), ("coronal", 0, 1), ("sagittal", 1, 1)])
def test_the_patient_lies_as_radiologists_see_him(
    tmp_path: Path, orientation: str, plane: str, right: int, below: int
) -> None:
    image, labels = stored(tmp_path, orientation)
    middle = {"axial": 6, "coronal": 9, "sagittal": 13}[plane]
    plot([image], tmp_path / "p.png", labels=labels, wish=Wish(plane=plane, slice=middle, **FULL))
    seen = pixels(tmp_path / "p.png")
    inside = seen[drawn(seen)]
    height, width, _ = inside.shape
    where = {
        what: tuple(int(along) for along in np.argwhere(like(inside, colour)).mean(0) / (height, width) > 0.5)
        for what, colour in {"dark": (64, 64, 64), "label": ORANGE}.items()
    }
    assert where == {"label": (below, right), "dark": (1 - below, 1 - right)}  # row and column
    lengths = {"axial": (32, 36), "coronal": (40, 36), "sagittal": (40, 32)}[plane]  # mm
    assert height / width == pytest.approx(lengths[0] / lengths[1], rel=0.02)


def test_letters_slices_lengths_and_names_are_words(tmp_path: Path) -> None:
    image, labels = stored(tmp_path, "RAS")
    described = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "liver": 1, "spleen": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    plot([image], tmp_path / "a.svg", labels=labels, reference=labels)
    said = words(tmp_path / "a.svg")
    assert [word for word in said if word in "RLAPSI"] and said.count("R") == 2 and said.count("S") == 2
    assert {"axial, slice 1 of 10, from the feet", "coronal, slice 7 of 16, from the front"} <= {*said}
    assert {"5 mm", "liver", "reference"} <= {*said} and "spleen" not in said  # it is nowhere to be seen
    plot([image], tmp_path / "b.svg", labels=labels, reference=labels)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    text = (tmp_path / "a.svg").read_text()
    assert text.count("data:image/png;base64") == 6 and str(tmp_path) not in text  # three slices, three tints


def test_the_scale_bar_is_as_long_as_it_says(tmp_path: Path) -> None:
    image, _ = stored(tmp_path)
    plot([image], tmp_path / "p.png", wish=Wish(plane="axial", window=(0, 100)))
    seen = pixels(tmp_path / "p.png")
    rows, columns = drawn(seen)
    dark, _ = components(seen[rows.stop + 4 : rows.stop + 20, columns].max(-1) < 60)
    longest = max(along.stop - along.start for _, along in find_objects(dark))
    assert longest / (columns.stop - columns.start) == pytest.approx(5 / 36, rel=0.06)


def test_lengths_of_scale_bars_are_round() -> None:
    for most in (0.013, 0.9, 1.0, 4.9, 63.0, 1999.0):
        length = round_length(most)
        assert most / 2.5 <= length <= most and f"{length:.0e}"[0] in "125"


def test_a_sheet_shows_every_slice(tmp_path: Path) -> None:
    image, labels = stored(tmp_path, "PIL")
    plot([image], tmp_path / "p.png", labels=labels, wish=Wish(sheet=True, **FULL))
    assert components(like(pixels(tmp_path / "p.png"), ORANGE))[1] == 6  # of ten slices
    plot([image], tmp_path / "p.svg", labels=labels, wish=Wish(sheet=True, plane="coronal"))
    said = words(tmp_path / "p.svg")
    assert {str(number) for number in range(1, 17)} <= {*said} and "17" not in said
    assert "coronal, all 16 slices, from the front" in said


def test_outlines_and_tints_are_left_out_as_wanted(tmp_path: Path) -> None:
    image, labels = stored(tmp_path)
    counts = {}
    for name, opacity, contours in (("none", 0.0, False), ("lines", 0.0, True), ("all", 1.0, True)):
        wish = Wish(plane="axial", window=(0, 100), opacity=opacity, contours=contours)
        plot([image], tmp_path / f"{name}.png", labels=labels, wish=wish)
        seen = pixels(tmp_path / f"{name}.png")
        counts[name] = int(like(seen[: int(0.8 * len(seen))], ORANGE).sum())  # without the legend
    assert counts["none"] == 0 < counts["lines"] < counts["all"] / 5


def test_overlapping_masks_are_both_seen_and_the_later_one_lies_on_top() -> None:
    from autoseg.core.masks import MaskLabels

    layer = picture.overlay(np.array([[0, 1, 2, 3]]), MaskLabels(("lung", "nodule")), 0.5)
    assert layer[0, :, 3] == pytest.approx([0, 0.5, 0.5, 0.75])
    orange, blue = np.array(ORANGE) / 255, np.array(BLUE) / 255
    assert layer[0, 3, :3] == pytest.approx((0.5 * blue + 0.25 * orange) / 0.75, abs=1e-3)


def test_several_images_are_rows_of_their_names(tmp_path: Path) -> None:
    image, labels = stored(tmp_path)
    again = tmp_path / "T2.nii.gz"
    again.write_bytes(image.read_bytes())
    assert main(["plot", str(image), str(again), "--labels", str(labels), "-o", str(tmp_path / "p.svg")]) == 0
    said = words(tmp_path / "p.svg")
    assert {"image_LPS, axial, slice 1 of 10, from the feet", "T2, axial, slice 1 of 10, from the feet"} <= {*said}


def test_pictures_keep_their_colours_and_have_neither_sides_nor_lengths(tmp_path: Path) -> None:
    colours = np.zeros((12, 20, 3), np.uint8)
    colours[:, :10] = (250, 10, 10)
    Pillow.fromarray(colours).save(tmp_path / "a.png")
    labels = np.zeros((12, 20), np.uint8)
    labels[3:6, 12:16] = 2
    Pillow.fromarray(labels).save(tmp_path / "labels.png")
    plot([tmp_path / "a.png"], tmp_path / "p.svg", labels=tmp_path / "labels.png")
    assert words(tmp_path / "p.svg") == ["label_2"]
    plot([tmp_path / "a.png"], tmp_path / "p.png", labels=tmp_path / "labels.png", wish=Wish(window=(0, 255)))
    assert like(pixels(tmp_path / "p.png"), (250, 10, 10)).sum() > 1000
    with pytest.raises(UsageError, match="2-D"):
        plot([tmp_path / "a.png"], tmp_path / "q.png", wish=Wish(plane="axial"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-o", "p.jpg"], "must end in .png or .svg"),
        (["-o", "there.png"], "exists already"),
        (["-o", "p.png", "--slice", "11"], "there is no axial slice 11; they are counted from 1 to 10"),
        (["-o", "p.png", "--slice", "2", "--sheet"], "leave one of them out"),
        (["-o", "p.png", "--channel", "1"], "holds 1 channel;"),
        (["-o", "p.png", "--labels", "elsewhere.nii.gz"], "lies on another grid than"),
        (["-o", "p.png", "--labels", "gone.nii.gz"], "gone.nii.gz"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    tmp_path: Path, flags: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    image, labels = stored(tmp_path)
    (tmp_path / "there.png").write_text("mine")
    other = sitk.ReadImage(str(labels))
    other.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(other, "elsewhere.nii.gz")
    assert main(["plot", image.name, *flags]) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "there.png").read_text() == "mine" and not (tmp_path / "p.png").exists()


def test_values_that_no_label_has_are_told(tmp_path: Path) -> None:
    image, labels = stored(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 3}}))
    with pytest.raises(DatasetError, match=r"values \[1\] are not among"):
        plot([image], tmp_path / "p.png", labels=labels)


def test_an_image_of_one_value_or_none_can_be_drawn(tmp_path: Path) -> None:
    for name, value in (("nan", math.nan), ("same", 3.0)):
        volume = sitk.GetImageFromArray(np.full((3, 5, 7), value, np.float32))
        sitk.WriteImage(volume, str(tmp_path / f"{name}.nii.gz"))
        assert plot([tmp_path / f"{name}.nii.gz"], tmp_path / f"{name}.png").stat().st_size > 1000


def test_the_command_says_what_the_drawing_knows() -> None:
    assert (PLANES, TINT) == (NAMES, picture.TINT)
