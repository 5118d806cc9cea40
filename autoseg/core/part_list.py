"""What a family of parts holds, read from the sources: nothing is imported, so no optional package has to be there."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from ..errors import UsageError
from .names import short

PARTS = "autoseg.parts"
BESIDE = {"outputs": "autoseg.inference.outputs", "planners": "autoseg.planners"}
"""Families that lie elsewhere."""
EXTRA = "EXTRA"
"""What a part that needs an optional package calls the extra that installs it, in its module or its ``Spec``."""
_SENTENCE = re.compile(r"(?<!\bal)(?<!e\.g)\.\s+(?=[A-Z0-9`\"])")
_NAME = r"(?:Mc|Mac)?[A-Z][a-z\u00df-\u017f]+(?:[-'][A-Z]?[a-z\u00df-\u017f]+)*"
_AUTHORS = rf"(?<![\w-]){_NAME}(?:(?:, {_NAME})* and {_NAME}| et al\.?)?"
_CITED = re.compile(rf"({_AUTHORS})(?:,)? \(?((?:19|20)\d\d)\b")
_TITLED = re.compile(rf"({_AUTHORS}), \"[^\"]+\",[^;()]*?((?:19|20)\d\d)\b")
_ARXIV = re.compile(r"arXiv:? ?(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class ListedPart:
    """One file of a family."""

    family: str
    name: str
    what: str
    """The first sentence of its docstring."""
    sources: tuple[str, ...]
    """Papers that its docstring names: authors and year, or a number of arXiv."""
    extra: str | None
    """Of autoseg, which has to be installed for it; None: none."""
    lacking: tuple[str, ...]
    """Packages of this extra that are not installed."""

    @property
    def install(self) -> str | None:
        """What to do where something lacks."""
        return f'pip install "autoseg[{self.extra}]"' if self.lacking else None


def families() -> dict[str, str]:
    """Name to package, sorted."""
    there = {module.name: f"{PARTS}.{module.name}" for module in _modules(PARTS) if module.ispkg}
    return dict(sorted({**there, **BESIDE}.items()))


def chosen_family(name: str) -> str:
    """``name``, if there is such a family. Raises UsageError."""
    if name not in families():
        raise UsageError(f"there is no family {short(name)!r}; choose one of {', '.join(families())}")
    return name


def parts_of(family: str) -> list[ListedPart]:
    """Sorted by name; ``family`` is one of ``families()``."""
    package = families()[family]
    names = sorted(module.name for module in _modules(package) if not module.name.startswith("_"))
    return [_listed(family, name, _folder(package) / f"{name}.py") for name in names]


def sources_in(text: str) -> tuple[str, ...]:
    """Papers that a text names, in its order."""
    text = " ".join(text.split())
    found = [(match.start(), f"{match[1]} {match[2]}") for match in _TITLED.finditer(text)]
    for match in _CITED.finditer(text):
        several = " and " in match[1] or " et al" in match[1]
        if several or not re.search(r"[A-Z]\w+,? $", text[: match.start()]):  # the end of a journal's name is no author
            found.append((match.start(), f"{match[1]} {match[2]}"))
    found += [(match.start(), f"arXiv {match[1]}") for match in _ARXIV.finditer(text)]
    return tuple(dict.fromkeys(name for _, name in sorted(found)))


def first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return _SENTENCE.split(paragraph)[0].rstrip(".")


def _listed(family: str, name: str, path: Path) -> ListedPart:
    try:
        tree = ast.parse((path if path.exists() else path.with_suffix("") / "__init__.py").read_bytes())
    except (OSError, SyntaxError, ValueError) as error:  # one that somebody is writing
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        return ListedPart(family, name, f"cannot be read: {getattr(error, 'msg', error)}{where}", (), None, ())
    said = ast.get_docstring(tree) or ""
    spec = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Spec"]
    of_spec = "".join(ast.get_docstring(node) or "" for node in spec)
    bodies = [tree.body, *(node.body for node in spec)]
    extra = next(filter(None, (_constant(body, EXTRA) for body in bodies)), None)
    lacking = _lacking(extra) if extra else ()
    return ListedPart(
        family, name, first_sentence(said) or "no description", sources_in(f"{said}\n\n{of_spec}"), extra, lacking
    )


def _constant(body: list[ast.stmt], name: str) -> str | None:
    """Of ``NAME = "text"``, with or without a type."""
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        value = getattr(node, "value", None)
        if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


@lru_cache
def _lacking(extra: str) -> tuple[str, ...]:
    """Packages of an extra that are not installed; where autoseg is not installed itself, the name of the extra."""
    from packaging.requirements import Requirement

    try:
        lines = [Requirement(line) for line in metadata.requires("autoseg") or ()]
    except metadata.PackageNotFoundError:
        lines = []
    names = [
        line.name
        for line in lines
        if line.marker is not None
        and line.marker.evaluate({"extra": extra})
        and not line.marker.evaluate({"extra": ""})
    ]
    return tuple(name for name in names if not _is_installed(name)) if names else (f"autoseg[{extra}]",)


def _is_installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


@lru_cache
def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def _modules(package: str) -> Iterator[pkgutil.ModuleInfo]:
    return pkgutil.iter_modules([str(_folder(package))])
