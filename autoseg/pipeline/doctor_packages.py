"""Python and the packages that autoseg needs, against the ranges of setup.cfg; and the optional ones."""

from __future__ import annotations

import importlib
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

FINE, NOTE, PROBLEM = "fine", "note", "problem"
OPTIONAL = {
    "shtab": ("completion", "tab completion (`autoseg completion`)"),
    "monai": ("zoo", "networks of MONAI (`autoseg plan --network segresnet`)"),
    "einops": ("zoo", "its networks unetr and swin_unetr"),
}
"""Package to the extra that installs it, and what it is for."""
COMPILERS = ("g++", "clang++", "cl")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    state: str
    """``fine``, ``note`` (autoseg works, and may work better) or ``problem`` (it does not)."""
    found: str
    advice: str = ""
    """What to change."""


def packages() -> list[Finding]:
    """Python, what is required, what is optional."""
    return [
        Finding("Python", FINE, f"{platform.python_version()} on {platform.platform()}"),
        *_required(),
        *_optional(),
    ]


def _required() -> Iterator[Finding]:
    try:
        from packaging.requirements import Requirement

        ranges = [Requirement(line) for line in metadata.requires("autoseg") or ()]
    except metadata.PackageNotFoundError:  # which is an ImportError, too
        yield Finding("packages", NOTE, "autoseg is not installed, only found", "pip install -e FOLDER_OF_AUTOSEG")
        ranges = []
    except ImportError:
        yield Finding("packaging", PROBLEM, "not installed", "pip install packaging")
        return
    fine = []
    for each in ranges:
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        version, cure = _version(each.name), f'pip install "{each}"'
        if version is None:
            yield Finding(each.name, PROBLEM, "not installed", cure)
        elif not each.specifier.contains(version, prereleases=True):
            yield Finding(each.name, PROBLEM, f"{version} is installed, {each.specifier} is needed", cure)
        elif each.name == "torch" and (why := _not_loaded("torch")):
            yield Finding(each.name, PROBLEM, f"{version} cannot be loaded: {why}", "install it again")
        else:
            fine.append(f"{each.name} {version}")
    if fine:
        yield Finding("packages", FINE, ", ".join(fine))


def _optional() -> Iterator[Finding]:
    for name, (extra, use) in OPTIONAL.items():
        version = _version(name)
        if version is None:
            yield Finding(name, FINE, f"not installed; only for {use}", f'pip install "autoseg[{extra}]"')
        else:
            yield Finding(name, FINE, f"{version}, for {use}")
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    found = f"{compiler}, for --compile on" if compiler else "none; only for --compile on, on a processor"
    yield Finding("C++ compiler", FINE, found)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _not_loaded(module: str) -> str:
    """Why it cannot be imported; nothing where it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a library that is damaged may raise anything
        return f"{type(error).__name__}: {error}"
    return ""
