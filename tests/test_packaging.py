"""setup.cfg lists what is on the disk; nothing but autoseg reaches a user's site-packages."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTED_AS = {  # unless by the name itself
    "scikit-image": "skimage",
    "pillow": "PIL",
    "acvl-utils": "acvl_utils",
    "connected-components-3d": "cc3d",
}


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


def test_every_requirement_is_imported() -> None:
    imported = set()
    for path in [*(ROOT / "autoseg").rglob("*.py"), *(ROOT / "planners").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).split(".")[0])
    lines = options()["options"]["install_requires"].split("\n")
    required = [re.split("[<>=!~;[ ]", line)[0] for line in lines if line]
    assert {IMPORTED_AS.get(name, name) for name in required} - imported == set()


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
