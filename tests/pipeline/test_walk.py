"""The walk of the first page, command by command as it stands, on fewer cases and for seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import README, blocks, lines_of

from autoseg.cli import main
from autoseg.pipeline.demo import NAME, make_dataset

HEADING = "A walk of five minutes"
BESIDE = {"train": ["--time", "3s"]}


def walk() -> list[list[str]]:
    """The commands of the section, without their first word."""
    commands = [words for block in blocks(README, "bash", under=HEADING) for words in lines_of(block)]
    return [words[1:] for words in commands if words[0] == "autoseg"]


@pytest.mark.slow
def test_every_command_of_the_walk_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOSEG_WORKSPACE", raising=False)
    make_dataset(Path("autoseg_demo", NAME), cases=5, tests=1)
    commands = walk()
    assert [words[0] for words in commands] == [
        "demo", "check", "plan_and_preprocess", "train", "predict", "evaluate", "report"
    ]  # fmt: skip
    for words in commands[1:]:  # test_demo.py runs the first one
        assert main([*words, *BESIDE.get(words[0], [])]) == 0, " ".join(words)
    assert "mean over labels" in capsys.readouterr().out
    assert [path.name for path in Path("results").glob("*.nii.gz")] == ["demo_005.nii.gz"]
    folder = Path("autoseg_workspace", NAME)
    assert json.loads((folder / "plan.json").read_text(encoding="utf-8"))["planner"] == "tiny"
    assert (folder / "report.html").stat().st_size > 10_000
