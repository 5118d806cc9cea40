"""Commands on a small dataset of two modalities that is measured and not planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autoseg.cli import main
from autoseg.pipeline.demo import NAME
from autoseg.workspace import DatasetFolder, Workspace

HERE = ("--device", "cpu", "--threads", "1")
CARD = ("--target", "memory=2GB,bandwidth=100GB/s", "--time", "2h")  # nothing is timed here


def measured_in(root: Path, raw: Path) -> DatasetFolder:
    """A workspace in which the images are measured, and nothing is planned."""
    assert main(["fingerprint", str(raw), "--workspace", str(root)]) == 0
    return Workspace(root).dataset_folder(NAME)


def call(files: DatasetFolder, *words: str) -> int:
    return main([*words, "--workspace", str(files.root.parent)])


def plan_of(files: DatasetFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files.plan.read_text())
    return found
