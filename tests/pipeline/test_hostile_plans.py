"""`plan --from` and `plan --from-fingerprint`: a stranger's files are planned with, or refused in a sentence."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_models import VALUES, places, replaced

from autoseg.cli import main
from autoseg.pipeline.demo import NAME, make_dataset

LONGEST = 2000  # characters of a message
STORED = json.loads(gzip.decompress((Path(__file__).parents[1] / "planners" / "nnunet_plans.json.gz").read_bytes()))
FINGERPRINT, DESCRIBED = STORED[0]["fingerprint"], STORED[0]["dataset"]
Said = Callable[..., str]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the demo's dataset is measured, and nnU-Net's plans for it."""
    folder = tmp_path_factory.mktemp("measured")
    raw = make_dataset(folder / "raw" / NAME, cases=4, tests=0)
    at = ["--workspace", str(folder / "workspace")]
    assert main(["fingerprint", str(raw), *at]) == 0
    words = ["plan", NAME, "--planner", "plain_unet", "--format", "nnunet", "-o", str(folder / "plans.json")]
    assert main([*words, *at]) == 0
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    capsys.readouterr()
    code = main([*map(str, words)])
    said = capsys.readouterr().err
    assert code in (0, 2)
    assert len(said) < LONGEST * 4 if code == 0 else len(said) < LONGEST
    return code, said


@pytest.mark.slow
def test_a_configuration_called_like_a_path_is_refused_and_nothing_is_written(
    measured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plans = json.loads((measured / "plans.json").read_text())
    full = plans["configurations"]["3d_fullres"]
    for number, name in enumerate(("../../escaped", "/tmp/escaped", "..", "a/b", "con", "", "x" * 300, "a\x1b[2Jb")):
        path = tmp_path / f"plans_{number}.json"
        path.write_text(json.dumps(plans | {"configurations": plans["configurations"] | {name: full}}))
        before = sorted(measured.rglob("*"))
        code, said = run(capsys, "plan", NAME, "--from", path, "--workspace", measured / "workspace")
        assert code == 2
        assert str(path) in said and "configuration" in said and "cannot be the name of a file" in said
        assert sorted(measured.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_plans_with_any_value_replaced_are_a_plan_or_a_message(
    seed: int, measured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plans = json.loads((measured / "plans.json").read_text())
    every = [(path, value) for path in places(plans) for value in VALUES]
    for path, value in random.Random(seed).sample(every, 25):
        (tmp_path / "plans.json").write_text(json.dumps(replaced(plans, path, value)))
        run(capsys, "plan", NAME, "--from", tmp_path / "plans.json", "--workspace", measured / "workspace")


@pytest.mark.parametrize(
    "content", ["", "[]", "5", "{}", '{"configurations": []}', "[" * 9999, "{" * 9999, "nul", "\0"]
)
def test_what_are_no_plans_is_said(
    content: str, measured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "plans.json").write_text(content)
    code, said = run(capsys, "plan", NAME, "--from", tmp_path / "plans.json", "--workspace", measured / "workspace")
    assert code == 2
    assert "plans.json" in said


def from_fingerprint(
    folder: Path, measured: Any, described: Any, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    (folder / "dataset_fingerprint.json").write_text(json.dumps(measured))
    (folder / "dataset.json").write_text(json.dumps(described))
    words = ("plan", "--from-fingerprint", folder / "dataset_fingerprint.json", "--format", "nnunet")
    return run(capsys, *words, "-o", folder / "plans.json")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_fingerprint_with_any_value_replaced_is_a_plan_or_a_message(
    seed: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    every = [(True, path, value) for path in places(FINGERPRINT) for value in VALUES]
    every += [(False, path, value) for path in places(DESCRIBED) for value in VALUES]
    for first, path, value in random.Random(seed).sample(every, 60):
        changed = replaced(FINGERPRINT if first else DESCRIBED, path, value)
        from_fingerprint(tmp_path, *((changed, DESCRIBED) if first else (FINGERPRINT, changed)), capsys)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spacings": [], "shapes_after_crop": []}, "0 spacings for 0 shapes_after_crop"),
        ({"spacings": [[-1, 1, 1]], "shapes_after_crop": [[9, 9, 9]]}, "spacings must lie in"),
        ({"spacings": [[1, 1, 1]], "shapes_after_crop": [[0, 9, 9]]}, "shapes_after_crop must lie in"),
        ({"spacings": [[1, 1, 1]], "shapes_after_crop": [[10**9, 9, 9]]}, "shapes_after_crop must lie in"),
        ({"median_relative_size_after_cropping": 2}, "above 0 and at most 1"),
    ],
)
def test_measures_that_cannot_be_are_named(
    changes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, found = from_fingerprint(tmp_path, FINGERPRINT | changes, DESCRIBED, capsys)
    assert code == 2
    assert "dataset_fingerprint.json" in found and said in found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_pipes_are_no_files(measured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    at = ("--workspace", measured / "workspace")
    for words in (("plan", NAME, "--from", tmp_path / "pipe.json", *at),
                  ("plan", "--from-fingerprint", tmp_path / "pipe.json")):  # fmt: skip
        code, said = run(capsys, *words)
        assert code == 2
        assert "pipe.json" in said


def test_a_fingerprint_too_large_is_not_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text("[" + "[]," * 5_000_000 + "[]]")
    (tmp_path / "dataset.json").write_text(json.dumps(DESCRIBED))
    code, said = run(capsys, "plan", "--from-fingerprint", tmp_path / "large.json")
    assert code == 2
    assert "too many for such a file" in said
