"""The pages of the documentation, and what stands in them: blocks of code, flags, links, headings, sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    page: Path
    language: str
    text: str


def blocks(page: Path, language: str, under: str | None = None) -> list[Block]:
    """``under``: of the section with this title only."""
    text = text_of(page) if under is None else text_of(page).partition(f"\n## {under}\n")[2].partition("\n## ")[0]
    return [Block(page, found, inside) for found, inside in _BLOCK.findall(text) if found == language]


def prose(page: Path) -> str:
    """Without blocks of code."""
    return _BLOCK.sub("", text_of(page))


def lines_of(block: Block) -> Iterator[list[str]]:
    """The words of every command of a block for the shell, without comments and without where its output goes."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = list(takewhile(lambda word: word not in {">", ">>", "|"}, shlex.split(line, comments=True)))
        if words:
            yield words


def inline(page: Path) -> list[str]:
    """What stands between backticks in a page's text."""
    return [text.replace("\\|", "|") for text in _INLINE.findall(prose(page))]


def flags(page: Path) -> set[str]:
    """Every ``--flag`` that a page names, in code only."""
    code = [*inline(page), *(text for _, text in _BLOCK.findall(text_of(page)))]
    return {flag for text in code for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)}


def links(page: Path) -> list[str]:
    """Those that lead to a place in the repository."""
    return [target for target in _LINK.findall(prose(page)) if not re.match(r"[a-z]+:", target)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of headings, as hosts of repositories make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)


def sentences(page: Path) -> list[str]:
    """Of text and tables, without what is too short to be said twice by mistake."""
    text = re.sub(r"^#.*$|^\|[-| ]+\|$", "", prose(page), flags=re.MULTILINE)
    pieces = re.split(r"(?<=[.!?:;])\s|\n\n|\s\|\s|^\|\s|^- ", text, flags=re.MULTILINE)
    plain = (" ".join(piece.strip(" |").split()) for piece in pieces)
    return [piece for piece in plain if len(piece) >= 60]
