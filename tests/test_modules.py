"""Every module has tests, in a file of its name, in one of its room, or in the one that a list names."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from covered import COVERED

TESTS = Path(__file__).parent
ROOT = TESTS.parent
MODULES = sorted(
    path
    for path in [*(ROOT / "autoseg").rglob("*.py"), *(ROOT / "planners").rglob("*.py")]
    if path.name not in {"__init__.py", "__main__.py"}
)


def place(path: Path) -> Path:
    """The module within autoseg; planners are a room of it."""
    return path.relative_to(ROOT if path.is_relative_to(ROOT / "planners") else ROOT / "autoseg")


@cache
def imported(test: Path) -> frozenset[str]:
    """Full names of the modules that a test file imports, and of what it takes from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(test.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def has_tests(module: Path) -> bool:
    inside = place(module)
    if (TESTS / inside.parent / f"test_{inside.stem.lstrip('_')}.py").exists():
        return True
    name = ".".join(["autoseg", *inside.with_suffix("").parts])
    room = TESTS / inside.parts[0] if len(inside.parts) > 1 else TESTS
    if any(name in imported(test) for test in room.rglob("test_*.py")):
        return True
    files = {file for pattern, file in COVERED.items() if fnmatch(inside.as_posix(), pattern)}
    return bool(files) and all((TESTS / file).is_file() for file in files)


def test_every_module_has_tests() -> None:
    without = [place(module).as_posix() for module in MODULES if not has_tests(module)]
    assert not without, "write tests for them, or name in tests/covered.py where they are"


def test_the_list_names_what_is_there() -> None:
    inside = [place(module).as_posix() for module in MODULES]
    for pattern, file in COVERED.items():
        assert any(fnmatch(each, pattern) for each in inside), f"{pattern} is gone"
        assert (TESTS / file).is_file(), f"{file} is gone"
