"""What `select` has compared stands on the page, ensembles too, with the numbers of selection.csv."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from cross_validated import SETTINGS, files

from autoseg.pipeline.select import select
from autoseg.reporting.blocks import Notice, Table, Text
from autoseg.reporting.pairs import Pairs
from autoseg.reporting.sections.comparison import blocks, made_of
from autoseg.reporting.source import open_source
from autoseg.workspace import DatasetFolder

__all__ = ["files"]


@pytest.mark.slow
def test_the_comparison_is_that_of_select_once_it_has_run(files: DatasetFolder) -> None:
    before = [type(block) for block in blocks(open_source(files))]
    selection = select(files, mirroring=False, settings=SETTINGS)
    source = open_source(files)
    told, table, *others = blocks(source)
    assert before == [Text, Table, Pairs] and [type(block) for block in others] == [Pairs]
    assert isinstance(told, Text) and f"compared {len(selection.compared)} models" in told.text
    assert f"chose {selection.chosen.name}." in told.text and "16 cases of fold 0, 1" in told.text
    assert isinstance(table, Table)
    with (files.selection / "selection.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert {row[0] for row in table.rows} == {*rows} and any(" + " in name for name in rows)
    names = {"Dice": "dice", "difference": "to_chosen", "p": "p", "Dice of organ": "organ"}
    columns = [column.name for column in table.columns]
    for row in table.rows:
        found = dict(zip(columns, row))
        for name, of_file in names.items():
            text = rows[row[0]][of_file]
            assert text == "" if found[name] is None else found[name] == float(text), (row[0], name)
        ends = [row[place] for place, name in enumerate(columns) if name in ("95 % from", "95 % to")]
        expected = [rows[row[0]][name] for name in ("low", "high", "to_chosen_low", "to_chosen_high")]
        assert ends == [float(text) if text else None for text in expected]
        assert (found["verdict"] == "chosen") == (row[0] == selection.chosen.name)
    assert files.selection / "selection.json" in made_of(source)
    assert not blocks(open_source(files, configuration="2d"))
    for fold in ("0", "1"):
        shutil.copytree(files.run("2d", fold).validation, files.baseline("gmm", fold).validation)
    found = blocks(open_source(files))
    assert found[:2] == [told, table] and not any(isinstance(block, Notice) for block in found)
    (beside,) = (block for block in found[2:] if isinstance(block, Table))
    assert "baseline gmm" in {row[0] for row in beside.rows}


@pytest.mark.slow
def test_what_select_has_not_seen_or_cannot_be_read_is_told(files: DatasetFolder) -> None:
    shutil.move(files.runs("2d"), files.root / "away")
    select(files, mirroring=False, settings=SETTINGS)
    assert not blocks(open_source(files)), "one model is not compared"
    shutil.move(files.root / "away", files.runs("2d"))
    select(files, mirroring=False, settings=SETTINGS)
    path = files.selection / "selection.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["compared"] = [model for model in record["compared"] if "2d" not in model["members"]] * 2
    path.write_text(json.dumps(record), encoding="utf-8")
    *_, notice = blocks(open_source(files))
    assert isinstance(notice, Notice) and "has not compared 2d; run it again" in notice.text
    path.write_text("{", encoding="utf-8")
    source = open_source(files)
    assert [type(block) for block in blocks(source)] == [Text, Table, Pairs]
    assert "selection.json" in source.damaged[0]
