"""The page tells what a search has tried, with its numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cross_validated import files

from autoseg.core.records import write_json
from autoseg.pipeline.search_front import RECORD, Found, Tried
from autoseg.reporting.blocks import Notice, Scatter, Table, Text
from autoseg.reporting.sections.search import blocks, made_of
from autoseg.reporting.source import open_source
from autoseg.workspace import DatasetFolder

__all__ = ["files"]
TRIED = (
    Tried("t0_30s", 0, {}, 30.0, 35.0, 0.8, 0.5, 0.79),
    Tried("t1_30s", 1, {"loss": "focal"}, 30.0, 34.0, 0.7, 0.6),
    Tried("t0_90s", 0, {}, 90.0, 95.0, 0.85, 0.5),
)


@pytest.mark.slow
def test_all_trainings_stand_in_table_and_plot(files: DatasetFolder) -> None:
    assert not blocks(open_source(files)) and not made_of(open_source(files))
    path = files.searches / "fold_1" / RECORD
    try:
        write_json(path, Found("Dataset", "1", 30.0, (), tried=TRIED))
        source = open_source(files)
        _, told, plot, table = blocks(source)
        assert isinstance(told, Text) and "3 trainings; no other beats 2 of them" in told.text
        assert isinstance(plot, Scatter) and [each.name for each in plot.series] == ["trained 30 s", "trained 90 s"]
        assert [each.y for each in plot.series] == [(0.8, 0.7), (0.85,)]
        assert isinstance(table, Table)
        assert [row[:2] for row in table.rows] == [("t0_90s", "yes"), ("t0_30s", "yes"), ("t1_30s", "no")]
        assert [row[-2:] for row in table.rows] == [
            (None, "nothing: the planner's plan"), (0.79, "nothing: the planner's plan"), (None, "loss focal")
        ]  # fmt: skip
        assert made_of(source) == [path] and not blocks(open_source(files, configuration="2d"))
        Path(path).write_text("{")
        (notice,) = blocks(open_source(files))
        assert isinstance(notice, Notice) and RECORD in notice.text
    finally:
        shutil.rmtree(files.searches)
