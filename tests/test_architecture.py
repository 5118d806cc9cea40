"""The house keeps its shape: imports go down only, files stay small, one place reads the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "autoseg").rglob("*.py"), *(ROOT / "planners").rglob("*.py")])

# Lowest first. A module may import modules of lower floors and of its own package; within a floor, packages and
# modules are blind to each other.
FLOORS: list[set[str]] = [
    {"errors"},
    {"core"},
    {"parts"},
    {"alignment", "configuration"},
    {"task"},
    {"corrections", "data", "plan", "settings"},
    {"run_folder", "changes"},
    {"workspace"},
    {"dataset_names", "newest", "run_status"},
    {"model_names"},
    {"planning", "preprocessing", "inspection", "bundle"},
    {"planners", "training", "inference", "evaluation", "interop"},
    {"pipeline"},
    {"reporting"},
    {"commands", "api"},
    {"cli", "__init__"},
    {"__main__"},
]
MAY_LOOK_ASIDE = {("inference", "preprocessing")}
LONGEST_MODULE = 300
LONGEST_FUNCTION = 50


def room(path: Path) -> str:
    """The package or module of autoseg that a file belongs to."""
    if path.is_relative_to(ROOT / "planners"):
        return "planners"
    return path.relative_to(ROOT / "autoseg").parts[0].removesuffix(".py")


def package_of(path: Path) -> list[str]:
    if path.is_relative_to(ROOT / "planners"):
        return ["autoseg", "planners"]
    return ["autoseg", *path.relative_to(ROOT / "autoseg").parts[:-1]]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Full dotted names of everything a file imports, inside functions too."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package_of(path)[: len(package_of(path)) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def floor(name: str) -> int:
    return next(height for height, rooms in enumerate(FLOORS) if name in rooms)


def inside(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# One test asks all files and names all that break its rule: one for each file and rule would be a fifth of all tests.
def test_imports_go_down_only() -> None:
    wrong = []
    for path in FILES:
        here = room(path)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "autoseg" or len(parts) < 2 or parts[1].startswith("__version__"):
                continue
            there = parts[1]
            if there != here and (here, there) not in MAY_LOOK_ASIDE and floor(there) >= floor(here):
                wrong.append(f"{inside(path)} imports {name}: {here} may not look at {there}")
    assert not wrong


def test_families_of_parts_are_blind_to_each_other() -> None:
    wrong = []
    for path in sorted((ROOT / "autoseg" / "parts").rglob("*.py")):
        family = path.relative_to(ROOT / "autoseg" / "parts").parts[0]
        for name in imports(path):
            if name.startswith("autoseg.parts.") and len(name.split(".")) > 2:
                if name.split(".")[2] not in (family, "contracts"):
                    wrong.append(f"{inside(path)} imports {name}")
    assert not wrong


def test_modules_and_functions_stay_small() -> None:
    wrong = []
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_MODULE:
            wrong.append(f"{inside(path)} has {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                told = len((ast.get_docstring(node, clean=False) or "").splitlines())  # what it says is no code
                length = (node.end_lineno or node.lineno) - node.lineno + 1 - told
                if length > LONGEST_FUNCTION:
                    wrong.append(f"{inside(path)}: {node.name} has {length} lines")
    assert not wrong


def test_one_module_reads_the_environment_and_nothing_prints() -> None:
    wrong = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            reads = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            if reads and path.name != "environment.py":
                wrong.append(f"{inside(path)}:{node.lineno} reads the environment")
            if isinstance(node, ast.Name) and node.id == "print":
                wrong.append(f"{inside(path)}:{node.lineno} prints")
    assert not wrong


def test_a_module_says_what_it_is() -> None:
    assert not [inside(path) for path in FILES if not ast.get_docstring(tree(path))]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("autoseg.cli", ("numpy", "torch", "SimpleITK", "pandas")),
        ("autoseg.pipeline.plan_and_preprocess", ("torch", "pandas", "matplotlib", "skimage")),
    ],
)
def test_what_is_not_needed_is_not_imported(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(sorted(set(sys.modules) & set({heavy!r})))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
