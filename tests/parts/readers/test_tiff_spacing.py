"""Where the spacing of a TIFF stack stands, and what is told of lengths that stand elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from autoseg.errors import ImageFileError
from autoseg.parts.readers import read_header

STACK = np.zeros((6, 8, 9), np.uint8)


def stack(folder: Path, **options: object) -> Path:
    tifffile.imwrite(folder / "a_0000.tif", STACK, photometric="minisblack", **options)
    return folder / "a_0000.tif"


@pytest.mark.parametrize("name", ["a.json", "a_0000.json"])
def test_the_spacing_stands_beside_the_image(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"spacing": [5, 0.5, 0.25]}')
    assert read_header(stack(tmp_path)).geometry.spacing == (5, 0.5, 0.25)


@pytest.mark.parametrize(
    "text",
    [
        "", "[5, 1, 1]", "{}", '{"spacing": null}', '{"spacing": [5, 1]}', '{"spacing": [true, true, true]}',
        '{"spacing": ["5", "1", "1"]}', '{"spacing": "511"}', '{"spacing": {"5": 0, "1": 0, "2": 0}}',
        '{"spacing": [0, 1, 1]}', '{"spacing": [-5, 1, 1]}', '{"spacing": [NaN, 1, 1]}', '{"spacing": [1e999, 1, 1]}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_a_spacing_that_is_none_is_refused_with_the_name_of_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ImageFileError, match=r"a\.json"):
        read_header(stack(tmp_path))


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "device"])
def test_what_is_no_file_in_the_place_of_the_spacing_is_said(tmp_path: Path, kind: str) -> None:
    path, there = stack(tmp_path), tmp_path / "a.json"
    if kind == "pipe":
        os.mkfifo(there)
    elif kind == "folder":
        there.mkdir()
    else:
        there.symlink_to("/dev/zero" if kind == "device" else "nothing")
    with pytest.raises(ImageFileError, match=r"a\.json: (is a|there is no)"):
        read_header(path)


IMAGEJ = {"imagej": True, "resolution": (4.0, 2.0)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, None),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, None),
        (IMAGEJ | {"metadata": {"axes": "ZYX", "spacing": 5.0, "unit": "mm"}}, "5 x 0.5 x 0.25 mm"),
        (IMAGEJ | {"metadata": {"axes": "ZYX", "spacing": 5.0, "unit": "um"}}, "0.005 x 0.0005 x 0.00025 mm"),
        (IMAGEJ | {"metadata": {"axes": "ZYX", "spacing": 5.0, "unit": "\\u00B5m"}}, "0.005 x 0.0005 x 0.00025 mm"),
        (IMAGEJ | {"metadata": {"axes": "ZYX", "spacing": 5.0, "unit": "pixel"}}, None),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"axes": "ZYX", "spacing": 1.0, "unit": "mm"}}, None),
        ({"ome": True, "metadata": {"axes": "ZYX"}}, None),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 5}}, "0.005 x ? x ? mm"),
        (
            {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 5, "PhysicalSizeZUnit": "mm"}}, "5 x ? x ? mm",
        ),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 5, "PhysicalSizeZUnit": "pixel"}}, None),
    ],
)  # fmt: skip
def test_lengths_in_other_places_are_told_and_not_taken(tmp_path: Path, options: dict, told: str | None) -> None:
    header = read_header(stack(tmp_path, **options))
    assert header.geometry.spacing == (1, 1, 1)
    assert (f"states voxels of {told}, which is not read" in header.note) if told else not header.note
    (tmp_path / "a.json").write_text('{"spacing": [1, 1, 1]}')
    assert not read_header(tmp_path / "a_0000.tif").note
