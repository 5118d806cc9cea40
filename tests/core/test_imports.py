"""A module that lies in the current folder is never imported, unless the user trusts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import autoseg

CHECKOUT = Path(autoseg.__file__).parents[1]
NAMES = ("argparse", "logging", "numpy", "torch", "json", "typing", "pathlib", "subprocess", "signal", "tempfile")
TRAP = "from pathlib import Path; Path({mark!r}).touch()"
TELL = "import sys, json, autoseg; print(json.dumps([sys.path, autoseg.__file__, sorted(sys.modules)]))"
AGAIN = "from autoseg.core.imports import again; import json; print(json.dumps(again()))"


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder somebody may have downloaded; ``trapped.parent / "fallen"`` exists once one of its modules has run."""
    folder = tmp_path / "Dataset001_Trap"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(TRAP.format(mark=str(tmp_path / "fallen")))
    return folder


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | more


def words_again(cwd: Path, *, start: tuple[str, ...] = ("-c",), **more: str) -> list[str]:
    """What a process in ``cwd`` that was started in some way would start."""
    done = subprocess.run(
        [sys.executable, *start, AGAIN], cwd=cwd, env=environment(**more), capture_output=True, text=True, check=True
    )
    words: list[str] = json.loads(done.stdout)
    return words


@pytest.mark.parametrize(
    "start", ["-m autoseg", "-mautoseg", "-u -m autoseg", "-umautoseg", "-Wdefault -Bqm autoseg", "-m autoseg.__main__"]
)
def test_python_m_autoseg_leaves_the_current_folder(start: str, trapped: Path) -> None:
    words = [sys.executable, *start.split(), "check", "--help"]
    done = subprocess.run(words, cwd=trapped, env=environment(), capture_output=True, text=True, check=True)
    assert "every problem of every case" in done.stdout
    assert not (trapped.parent / "fallen").exists()


def test_a_program_that_imports_autoseg_keeps_its_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("import autoseg")
    (tmp_path / "mine" / "__main__.py").write_text("import beside; print(beside.HERE)")
    (tmp_path / "beside.py").write_text("HERE = 'here'")
    words = [sys.executable, "-m", "mine"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "here\n"


@pytest.mark.parametrize("start", [("-c",), ("-I", "-c")])
def test_what_is_started_again_has_no_current_folder_on_its_path(trapped: Path, start: tuple[str, ...]) -> None:
    python, *flags, code = words_again(trapped.parent, start=start)
    assert flags == list(start)
    code = code.replace("from autoseg.cli import main", TELL).replace("sys.exit(main())", "import logging, argparse")
    done = subprocess.run([python, *flags, code], cwd=trapped, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path, file, _ = json.loads(done.stdout)
    assert "" not in path and str(trapped) not in path
    assert file == autoseg.__file__
    assert not (trapped.parent / "fallen").exists()


@pytest.mark.parametrize("through", ["PYTHONPATH", "current folder"])
def test_what_is_started_again_is_the_same_autoseg(through: str, tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "autoseg").symlink_to(CHECKOUT / "autoseg")
    (tmp_path / "checkout" / "planners").symlink_to(CHECKOUT / "planners")
    (tmp_path / "checkout" / "argparse.py").write_text(TRAP.format(mark=str(tmp_path / "fallen")))
    more = {"PYTHONPATH": str(tmp_path / "other") + os.pathsep + str(tmp_path / "checkout")}
    if through == "PYTHONPATH":
        (tmp_path / "checkout" / "argparse.py").unlink()
        words = words_again(tmp_path, **more)
    else:
        more = {}
        words = words_again(tmp_path / "checkout", **more)
    words[-1] = words[-1].replace("from autoseg.cli import main", TELL).replace("sys.exit(main())", "import argparse")
    done = subprocess.run(
        words, cwd=tmp_path / "checkout", env=environment(**more), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)[1] == str(tmp_path / "checkout" / "autoseg" / "__init__.py")
    assert not (tmp_path / "fallen").exists()


def test_a_trusted_package_in_the_current_folder_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "planner.py").write_text("PLANNER = 'lab'")
    (tmp_path / "argparse.py").write_text(TRAP.format(mark=str(tmp_path / "fallen")))
    words = words_again(tmp_path)
    loading = "imports.find_trusted(('lab',)); import lab.planner; print(lab.planner.PLANNER); import argparse"
    words[-1] = words[-1].replace("from autoseg.cli import main", loading).replace("sys.exit(main())", "")
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("lab\n", "")
    assert not (tmp_path / "fallen").exists()


def test_python_m_autoseg_finds_a_trusted_planner_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").write_text("raise SystemExit('lab was imported')")
    words = ["-m", "autoseg", "convert", "lab.kind", ".", "out", "--trust"]
    for trusted, said in (("lab", "lab was imported"), ("labs", "not a part of autoseg")):
        done = subprocess.run(
            [sys.executable, *words, trusted], cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert said in done.stderr and "Traceback" not in done.stderr
