"""Every kind of dataset has a page: regions, overlapping masks, pictures, several channels, missing channels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_datasets import EXAMPLES, make
from kinds_of_data import make_kind
from reported import pixels

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.reporting.blocks import Notice, Pictures, Scatter, Swarm, Table, Text
from autoseg.reporting.page import Page, json_in_page, render
from autoseg.reporting.source import Source, open_source
from autoseg.reporting.story import page_of
from autoseg.workspace import Workspace

GEOMETRY = Geometry.plain((8, 20, 24), (2.5, 1.0, 1.0))


def opened(raw: Path, folder: Path, **options: object) -> Source:
    """Planned, not trained."""
    words = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", "--workspace", str(folder)]
    assert main([*words, "--threads", "1", "--no-report"]) == 0
    return open_source(Workspace(folder).dataset_folder(raw.name), **options)


def blocks(page: Page, kind: type, section: str = "dataset") -> list:
    return [block for each in page.sections if each.name == section for block in each.blocks if isinstance(block, kind)]


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_example_has_a_page(example: Path, tmp_path: Path) -> None:
    raw = tmp_path / "Dataset001_Example"
    dataset = make(example, raw, GEOMETRY)
    page = page_of(opened(raw, tmp_path / "workspace"))
    assert not page.notices and [each.name for each in page.sections] == ["dataset", "plan"]
    assert not blocks(page, Notice) and "</html>" in render(page)
    (pictures,) = blocks(page, Pictures)
    assert 1 <= len(pictures.cases) <= 3
    labels = [*dataset.labels.foreground, *(["not annotated"] if dataset.labels.ignore is not None else [])]
    assert [name for name, _ in pictures.legend] == labels
    assert len(pictures.cases[0].views) == (1 if example.stem == "rgb_2d" or "infrared" in example.stem else 3)
    all_of_it = len(dataset.channels) == 1 or example.stem == "rgb_2d"
    assert ("; the image is " in pictures.cases[0].told) == (not all_of_it)
    assert "infrared" not in example.stem or "; the image is R, G, B" in pictures.cases[0].told


@pytest.mark.slow
def test_channels_that_cases_lack_are_counted(tmp_path: Path) -> None:
    raw = tmp_path / "Dataset001_Gaps"
    make(EXAMPLES / "mr_several_channels.json", raw, GEOMETRY)
    gone = sorted((raw / "imagesTr").glob("first_*"))[1]
    gone.unlink()
    text = json_in_page([str(block) for each in page_of(opened(raw, tmp_path / "w")).sections for block in each.blocks])
    channels = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))["channel_names"]
    assert "Availability of channels" in text and f"('first', '{channels['1']}')" in text


def test_a_page_has_no_more_pictures_than_fit(tmp_path: Path) -> None:
    raw = tmp_path / "Dataset001_Example"
    make(EXAMPLES / "ct_organ.json", raw, GEOMETRY)
    source = opened(raw, tmp_path / "workspace", room=1000)
    page = page_of(source)
    assert not blocks(page, Pictures) and "would be too large" in blocks(page, Notice)[0].text


def test_of_very_many_labels_the_rarest_are_drawn(tmp_path: Path) -> None:
    raw = tmp_path / "Dataset001_Atlas"
    make(EXAMPLES / "ct_organ.json", raw, GEOMETRY)
    description = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))
    description["labels"] |= {f"structure {value}": value for value in range(10, 80)}
    (raw / "dataset.json").write_text(json.dumps(description))
    page = page_of(opened(raw, tmp_path / "workspace"))
    sizes = next(block for block in blocks(page, Swarm) if block.title.startswith("Size per label (ml)"))
    assert len(sizes.choices[0].groups) == 40 and "The rarest 40 of" in sizes.note


@pytest.mark.slow
def test_colour_pictures_are_drawn_in_colour_and_measured_in_pixels(tmp_path: Path) -> None:
    page = page_of(open_source(make_kind("fundus", tmp_path)))
    for section in ("cross_validation", "dataset"):
        (pictures,) = blocks(page, Pictures, section)
        red, green, blue = pixels(pictures.cases[0].views[0].image)[40:56, 50:70].reshape(-1, 3).mean(0)
        assert red > green + 30 > blue + 60 and "the image is" not in pictures.cases[0].told
    (means,) = (table for table in blocks(page, Table, "cross_validation") if table.title == "Scores per label")
    assert not [column.name for column in means.columns if column.name.endswith("ml")]
    assert "A pixel of these pictures counts as 1 mm." in means.note
    (scatter,) = blocks(page, Scatter, "cross_validation")
    assert scatter.x == "size in the reference (pixels)"
    sizes = {block.title: [choice.name for choice in block.choices] for block in blocks(page, Swarm)}
    assert sizes["Grids"] == ["size (voxels)", "size without empty borders (voxels)"]
    assert sizes["Size per label in the validation cases of each fold"] == ["vessel (pixels)"]
    (told,) = blocks(page, Text, "cross_validation")
    assert "Intervals" not in told.text, "two cases have no interval"


@pytest.mark.slow
def test_pictures_say_how_many_and_overlapping_labels_are_seen(tmp_path: Path) -> None:
    (atlas,) = blocks(page_of(open_source(make_kind("atlas", tmp_path / "atlas"))), Pictures, "cross_validation")
    assert "Colours repeat after 7 labels" in atlas.note and "overlap" not in atlas.note
    assert atlas.cases[0].told.count("structure") == 5 and "(lowest of 30: structure" in atlas.cases[0].told
    (masks,) = blocks(page_of(open_source(make_kind("masks", tmp_path / "masks"))), Pictures, "cross_validation")
    assert "Where labels overlap, the last in the list is seen." in masks.note and "repeat" not in masks.note
