"""Every kind of dataset has a page: regions, overlapping masks, pictures, several channels, missing channels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_datasets import EXAMPLES, make

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.reporting.blocks import Notice, Pictures, Swarm
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
    assert ("; the image is " in pictures.cases[0].told) == (len(dataset.channels) > 1)


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
