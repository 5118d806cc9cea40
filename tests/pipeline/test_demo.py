"""The demo goes from nothing to scores and pictures by the same functions as the commands."""

from __future__ import annotations

import pytest

from autoseg.cli import main
from autoseg.core.records import read_json
from autoseg.evaluation.scores import Summary
from autoseg.pipeline.demo import NAME, demo
from autoseg.settings import RunSettings

pytestmark = pytest.mark.slow


def test_one_epoch_finds_the_organ_in_cases_never_seen(tmp_path, caplog, capsys) -> None:
    shown = demo(tmp_path, epochs=1, settings=RunSettings(device="cpu"))
    summary = read_json(tmp_path / "predictions" / "scores.json", Summary)
    assert len(summary.cases) == 4 and summary.missing == ()
    assert summary.labels["organ"]["dice"].mean > 0.5
    assert "mean over labels" in shown and str(tmp_path / "predictions" / "pictures") in shown
    assert len(list((tmp_path / "predictions" / "pictures").glob("demo_*.png"))) == 4

    caplog.clear()
    capsys.readouterr()
    assert main(["demo", str(tmp_path), "--device", "cpu"]) == 0
    again = capsys.readouterr().out
    pages = [tmp_path / "workspace" / NAME / "report.html", tmp_path / "predictions" / "report.html"]
    assert all(page.is_file() for page in pages)
    assert all(f"the report is {page}" in caplog.messages for page in pages)
    assert again.splitlines()[:4] == shown.splitlines()[:4]
    assert not any(record.message.startswith("epoch ") for record in caplog.records)
