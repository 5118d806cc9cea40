"""A page that is watched: written anew while a training runs, from what has changed; the last one does not reload."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from predicted import make_predictions
from reported import CONFIGURATION, NAME

import autoseg
from autoseg.cli import main
from autoseg.core.records import read_json, write_json
from autoseg.reporting.page import write
from autoseg.reporting.source import open_source
from autoseg.reporting.story import page_of, report_after
from autoseg.reporting.watch import watch
from autoseg.run_status import RunStatus
from autoseg.training.log import MetricsTable
from autoseg.workspace import DatasetFolder, Workspace

RELOADS = re.compile(r'<html lang="en" data-reload="(\d+)">')


@pytest.fixture
def running(made: DatasetFolder, tmp_path: Path) -> DatasetFolder:
    """Fold 0 is being trained, on another machine. Images are a copy, too."""
    shutil.copytree(made.root, tmp_path / "workspace" / NAME)
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    images = made.read_dataset().folder
    shutil.copytree(images, tmp_path / "images")
    record = json.loads(files.dataset.read_text(encoding="utf-8"))
    del record["checksum"]
    files.dataset.write_text(json.dumps(record).replace(images, str(tmp_path / "images")), encoding="utf-8")
    tell(files, "training")
    return files


def tell(files: DatasetFolder, phase: str) -> None:
    status = files.run(CONFIGURATION, "0").status
    before = read_json(status, RunStatus)
    write_json(status, replace(before, phase=phase, host="elsewhere", updated=time.time()), sealed=True)


def losses(path: Path) -> list[float]:
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"))
    (loss,) = (block for block in json.loads(data[1]) if block["title"] == "Loss")
    return loss["choices"][0]["series"][0]["y"]


def test_the_page_follows_a_training_to_its_end(running: DatasetFolder) -> None:
    run, page = running.run(CONFIGURATION, "0"), running.root / "report.html"
    seen: list[tuple[str | None, int, int]] = []

    def wait(seconds: float) -> None:
        text = page.read_text(encoding="utf-8")
        reload = RELOADS.search(text)
        seen.append((reload and reload[1], len(losses(page)), text.count("data:image/png")))
        if len(seen) == 1:
            shutil.rmtree(running.read_dataset().folder)
            row = {"epoch": 13, "iteration": 130, "seconds_trained": 65.0, "loss": 0.01}
            MetricsTable.open(run.metrics, 120).add(row)
        if len(seen) == 2:
            tell(running, "finished")
        assert seconds == 7

    assert watch(NAME, Workspace(running.root.parent), 7, wait=wait) == page
    first, second, third = seen  # the third look finds nothing running; the fourth, too, and ends it
    assert [each[0] for each in seen] == ["7"] * 3 and [each[1] for each in seen] == [12, 13, 13]
    assert first[2] == second[2] == third[2] > 0, "pictures are drawn once: the images are gone by then"
    text = page.read_text(encoding="utf-8")
    assert not RELOADS.search(text) and text.count("data:image/png") == first[2] and losses(page)[-1] == 0.01


def test_the_page_at_the_end_of_another_fold_goes_on_being_live(running: DatasetFolder) -> None:
    page = running.root / "report.html"
    write(page, replace(page_of(open_source(running, pictures=False)), reload=7))
    report_after(running, 1, pictures=False)
    assert RELOADS.search(page.read_text(encoding="utf-8"))[1] == "7"
    tell(running, "finished")
    report_after(running, 1, pictures=False)
    assert not RELOADS.search(page.read_text(encoding="utf-8"))


def test_what_has_changed_is_made_anew(running: DatasetFolder) -> None:
    page, found = running.root / "report.html", []

    def wait(seconds: float) -> None:
        found.append('id="cross_validation"' in page.read_text(encoding="utf-8"))
        if len(found) == 1:
            for fold in ("0", "1"):
                running.run(CONFIGURATION, fold).scores.unlink()
        if len(found) == 2:
            tell(running, "stopped")

    watch(NAME, Workspace(running.root.parent), 10, pictures=False, wait=wait)
    assert found[0] and "No fold has been validated yet" in page.read_text(encoding="utf-8")


def test_ctrl_c_ends_it_with_a_page_that_rests(running: DatasetFolder) -> None:
    page = running.root / "report.html"

    def wait(seconds: float) -> None:
        assert RELOADS.search(page.read_text(encoding="utf-8"))
        raise KeyboardInterrupt

    assert watch(NAME, Workspace(running.root.parent), 5, pictures=False, wait=wait) == page
    assert not RELOADS.search(page.read_text(encoding="utf-8"))


def test_another_signal_ends_it_likewise_and_goes_on_to_end_the_command(running: DatasetFolder) -> None:
    page = running.root / "report.html"

    def wait(seconds: float) -> None:
        raise KeyboardInterrupt(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        watch(NAME, Workspace(running.root.parent), 5, pictures=False, wait=wait)
    assert not RELOADS.search(page.read_text(encoding="utf-8"))


def test_where_nothing_runs_the_page_is_written_once(
    running: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(running, "stopped")
    words = ["report", NAME, "--no-pictures", "--workspace", str(running.root.parent)]
    assert main([*words, "--watch"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(running.root / "report.html") and "nothing is being trained" in said.err
    assert autoseg.report(NAME, running.root.parent, pictures=False, watch=3) == running.root / "report.html"
    assert not RELOADS.search((running.root / "report.html").read_text(encoding="utf-8"))


def test_the_page_of_predictions_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_predictions(tmp_path, uncertainty=False)
    words = ["report", str(folder), "--no-pictures", "--workspace", str(tmp_path / "workspace"), "--watch"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(folder / "report.html") and "nothing is being trained" in said.err
    assert not RELOADS.search((folder / "report.html").read_text(encoding="utf-8"))
