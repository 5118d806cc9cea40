"""setup.cfg lists what is on the disk; nothing but autoseg reaches a user's site-packages."""

from __future__ import annotations

import configparser
import importlib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def options() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg", encoding="utf-8")
    return parsed


def test_every_package_on_the_disk_is_listed() -> None:
    listed = set(options()["options"]["packages"].split())
    on_disk = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "autoseg").rglob("__init__.py")} | {
        "autoseg.planners"
    }
    assert listed == on_disk


def test_planners_are_imported_as_part_of_autoseg_and_only_so() -> None:
    package = importlib.import_module("autoseg.planners")
    assert Path(package.__file__ or "").parent == ROOT / "planners"
    assert options()["options"]["package_dir"].split("=") == ["\nautoseg.planners ", " planners"]


def test_torch_is_pinned_for_development_and_ranged_for_users() -> None:
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "torch>=" in options()["options"]["install_requires"]


def test_the_build_file_only_names_the_build_system() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("[")] == ["[build-system]"]
