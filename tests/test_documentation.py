"""What the pages say holds: commands parse, Python names what exists, links lead somewhere, no flag is forgotten."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from pages import (
    DOCS,
    PAGES,
    README,
    ROOT,
    Block,
    anchors,
    blocks,
    flags,
    inline,
    lines_of,
    links,
    name_of,
    sentences,
    text_of,
)

import autoseg
from autoseg.cli import parser
from autoseg.core.family import Family

MOST_LINES = 260
MOST_LINES_OF_README = 250
OTHER_PROGRAMS = {"conda", "docker", "pip", "python", "python3", "source", "touch"}
FLAGS_OF_OTHERS = {
    "--help",  # argparse's
    "--dist", "--long", "--ignore",  # pytest's
    "--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint",  # torchrun's
    "--signal",  # sbatch's
    "--npz", "--c",  # nnU-Net's
    "--no-deps", "--no-index", "--find-links", "--wheel-dir", "--index-url", "--extra-index-url",  # pip's
    "--rm", "--gpus", "--shm-size",  # docker's
}  # fmt: skip
OBJECTS = {"autoseg": autoseg, "model": autoseg.Model, "found": autoseg.Prediction}
"""What the names of the Python blocks stand for."""
FAMILIES = {
    "autoseg.planners": "PLANNER",
    "autoseg.inference.outputs": "Spec",
    **{
        f"autoseg.parts.{family}": "Spec"
        for family in ("augmentations", "baselines", "explanations", "filters", "losses", "networks", "normalizers",
                       "objectives", "optimizers", "schedules")
    },
}  # fmt: skip


def commands() -> dict[str, argparse.ArgumentParser]:
    steps = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(steps.choices)


def known_flags() -> set[str]:
    """Those that a user may know of."""
    return {
        flag
        for command in commands().values()
        for action in command._actions
        if action.help != argparse.SUPPRESS
        for flag in action.option_strings
        if flag.startswith("--")
    }


def of_autoseg(words: list[str]) -> list[str] | None:
    """The arguments of a command line that runs autoseg; None for another program's."""
    if words[0] == "autoseg" or words[0].endswith("/autoseg"):
        return words[1:]
    if words[0] in {"torchrun", "python"} and "autoseg" in words and words[words.index("autoseg") - 1] == "-m":
        return words[words.index("autoseg") + 1 :]
    return None


def parses(arguments: list[str]) -> None:
    try:
        parser().parse_args(arguments)
    except SystemExit as end:
        if end.code:
            raise AssertionError(f"autoseg {' '.join(arguments)} is no command") from None


def shell_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page, "bash")]


@pytest.mark.parametrize("block", shell_blocks(), ids=lambda block: f"{name_of(block.page)}: {block.text[:40]!r}")
def test_every_command_in_a_block_can_be_run(block: Block) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in lines_of(block):
        arguments = of_autoseg(words)
        if arguments is not None:
            parses(arguments)
        elif words[0] == "make":
            assert set(words[1:]) <= set(targets)
        else:
            program = words[0].rpartition("/")[2]
            assert program in OTHER_PROGRAMS, f"{words[0]} is no program that the pages use"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_within_the_text_is_one(page: Path) -> None:
    for text in inline(page):
        words = text.split()
        if words[0] != "autoseg" or len(words) < 2 or re.search(r"\.\.\.|\[|COMMAND", text):
            continue
        assert words[1] in commands(), text
        if len(words) > 2 and "|" not in text:
            parses(text.replace("'", "").split()[1:])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_flag_that_is_named_exists(page: Path) -> None:
    others = FLAGS_OF_OTHERS | (flags_of_scripts() if page.parent.name == "benchmarks" else set())
    assert flags(page) - known_flags() - others == set()


def flags_of_scripts() -> set[str]:
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests" / "faults").glob("*.py")]
    return {flag for path in scripts for flag in re.findall(r'"(--[a-z][a-z0-9-]*)"', path.read_text(encoding="utf-8"))}


def test_every_flag_and_every_command_is_documented() -> None:
    assert known_flags() - {"--help"} - set().union(*map(flags, [README, *DOCS])) == set()
    page = text_of(ROOT / "docs" / "commands.md")
    listed = {name for line in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)", line)}
    assert set(commands()) - listed == set()


@pytest.mark.parametrize(("family", "attribute"), FAMILIES.items())
def test_every_part_that_can_be_chosen_is_documented(family: str, attribute: str) -> None:
    told = {word for page in [README, *DOCS] for text in inline(page) for word in re.findall(r"\w+", text)}
    assert set(Family(family, attribute)) - told == set()


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page, "python")], ids=lambda b: name_of(b.page))
def test_python_compiles_and_names_what_exists(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OBJECTS:
            owner = OBJECTS[node.value.id]
            assert hasattr(owner, node.attr) or node.attr in getattr(owner, "__dataclass_fields__", {}), node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.keywords:
            assert isinstance(node.func.value, ast.Name)
            taken = inspect.signature(getattr(OBJECTS[node.func.value.id], node.func.attr)).parameters
            assert {keyword.arg for keyword in node.keywords} <= set(taken), node.func.attr


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page, "json")], ids=lambda b: name_of(b.page))
def test_json_can_be_read(block: Block) -> None:
    assert isinstance(json.loads(block.text), dict)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists() and path.is_relative_to(ROOT), f"{name_of(page)} links to {target}, which is not there"
        assert not anchor or anchor in anchors(path), f"{name_of(page)} links to {target}: there is no such heading"


def test_the_first_page_leads_to_every_other() -> None:
    assert {name_of(page) for page in DOCS} <= {target.partition("#")[0] for target in links(README)}


@pytest.mark.parametrize("page", [README, *DOCS], ids=name_of)
def test_pages_are_short_and_begin_with_what_they_answer(page: Path) -> None:
    lines = text_of(page).splitlines()
    assert len(lines) <= (MOST_LINES_OF_README if page == README else MOST_LINES)
    assert lines[0].startswith("# ") and not any(line.startswith("# ") for line in _outside_blocks(page)[1:])
    if page != README:
        assert re.match(r"This page answers [^.]+\.", text_of(page).split("\n\n")[1])


def _outside_blocks(page: Path) -> list[str]:
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL).splitlines()


def test_nothing_is_said_twice() -> None:
    counted = Counter(sentence for page in PAGES for sentence in sentences(page))
    assert {sentence for sentence, times in counted.items() if times > 1} == set()


def test_code_names_pages_that_exist() -> None:
    for folder in ("autoseg", "planners", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for page in re.findall(r"\bdocs/[\w-]+\.md", path.read_text(encoding="utf-8")):
                assert (ROOT / page).is_file(), f"{name_of(path)} names {page}"


def test_the_version_to_install_is_the_one_there_is() -> None:
    assert set(re.findall(r"autoseg-(\d[\w.]*?)-py3", text_of(README))) == {autoseg.__version__}
