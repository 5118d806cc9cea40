"""Where a trained nnU-Net model lies: its own folder, a folder above it, or a zip that nnU-Net exported."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle.source import FolderSource, Source, ZipSource
from ..core.json_text import parse_json
from ..core.names import short
from ..errors import ModelError
from .checkpoint import Checkpoint, open_checkpoint
from .nnunet_json import LARGEST

LOG = logging.getLogger("autoseg")
FINAL = "checkpoint_final.pth"
LONGEST_ROOT = 500  # characters
FOLD = re.compile(r"fold_([A-Za-z0-9]{1,20})")  # a number, or all


@dataclass(frozen=True)
class ModelFiles:
    """The files of one trained configuration."""

    source: Source
    root: str
    """What the names of its files begin with: nothing, or ``.../nnUNetTrainer__nnUNetPlans__3d_fullres/``."""
    sizes: dict[str, int]
    """Name without the root to bytes."""

    @property
    def where(self) -> str:
        return str(self.source.path / self.root)

    @property
    def name(self) -> str:
        """``nnUNetTrainer__nnUNetPlans__3d_fullres``, unless somebody has renamed the folder."""
        return (self.source.path / self.root).name

    def read(self, name: str) -> bytes:
        """Raises ModelError when it is not there or too large to be read whole."""
        if name not in self.sizes:
            raise ModelError(f"{self.where} is no trained model of nnU-Net: there is no {name} in it")
        if self.sizes[name] > LARGEST:
            raise ModelError(f"{self.where}: {name} has {self.sizes[name] / 1e6:.0f} MB, which cannot be right")
        with self.source.open(self.root + name) as file:
            return file.read(LARGEST)

    def json(self, name: str) -> dict[str, Any]:
        """Raises ModelError when it is not there or is no JSON object, RecordError when it is no JSON."""
        value = parse_json(self.read(name), f"{self.where}/{name}")
        if not isinstance(value, dict):
            raise ModelError(f"{self.where}: {name} holds a {type(value).__name__}, expected an object")
        return value

    def folds(self, checkpoint: str, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
        """The trained folds, or those ``wanted``; ``all`` counts where there is no other, as in nnU-Net.

        Folds whose training did not end are left out, and the log names them. Raises ModelError when there is none.
        """
        there = [name.split("/") for name in self.sizes if name.endswith(".pth") and name.count("/") == 1]
        trained = [(fold[1], name) for folder, name in there if (fold := FOLD.fullmatch(folder))]
        found = sorted(fold for fold, name in trained if name == checkpoint)
        missing = [fold for fold in wanted or () if fold not in found]
        if missing or not found:
            others = sorted({name for _, name in trained} - {checkpoint})
            hint = f"; there is {short(', '.join(others))}, which --checkpoint chooses" if others else ""
            what = f"fold {', '.join(missing)} has" if missing else "no fold has"
            raise ModelError(f"{self.where}: {what} {checkpoint}{hint}")
        if (begun := self._begun() - {*found}) and not wanted:
            LOG.warning("left out: fold %s of %s has no %s", short(", ".join(sorted(begun))), self.where, checkpoint)
        return tuple(wanted or [fold for fold in found if fold != "all"] or found)

    def _begun(self) -> set[str]:
        """Folds that hold any file."""
        folders = (name.partition("/")[0] for name in self.sizes if "/" in name)
        return {fold[1] for folder in folders if (fold := FOLD.fullmatch(folder))}

    @contextmanager
    def checkpoint(self, fold: str, name: str) -> Iterator[Checkpoint]:
        """An open checkpoint; a zip within a zip is unpacked to a temporary file for as long as it is open."""
        inside = self.root + f"fold_{fold}/{name}"
        if isinstance(self.source, FolderSource):
            with open_checkpoint(self.source.path / inside) as checkpoint:
                yield checkpoint
            return
        with tempfile.TemporaryFile() as copy:
            with self.source.open(inside) as packed:
                shutil.copyfileobj(packed, copy)
            copy.flush()
            with open_checkpoint(copy, f"{self.source.path}/{inside}") as checkpoint:
                yield checkpoint

    def sibling(self, configuration: str) -> ModelFiles:
        """The model of another configuration, trained by the same trainer with the same plans."""
        title = self.name.rpartition("__")[0] + f"__{configuration}"
        if self.root:
            return _at(self.source, self.root[: -len(self.name) - 1] + f"{title}/")
        return find_model(self.source.path.absolute().parent / title)


def find_model(path: Path, configuration: str | None = None) -> ModelFiles:
    """The model in a folder or zip; ``configuration`` chooses where there are several. Raises ModelError."""
    if not path.is_dir() and not path.is_file():
        raise ModelError(f"{path} does not exist" if not path.exists() else f"{path} is neither a folder nor a file")
    source: Source = FolderSource(path) if path.is_dir() else ZipSource(path)
    names = source.sizes()
    odd = [name for name in names if not name.isprintable() or len(name) > LONGEST_ROOT]
    if odd and isinstance(source, ZipSource):
        raise ModelError(f"{path} holds a file with the odd name {short(ascii(odd[0]))}; it was not made by nnU-Net")
    trained = {name.rpartition("fold_")[0] for name in names if name.endswith(".pth") and "/" in name}
    roots = sorted(root for root in trained if f"{root}plans.json" in names)
    chosen = [root for root in roots if configuration is None or root.endswith(f"__{configuration}/")]
    if "" in roots:
        chosen = [""]
    if len(chosen) == 1:
        return _at(source, chosen[0])
    there = short(", ".join(sorted(root.rstrip("/").rpartition("__")[2] for root in roots)), 500)
    if not roots:
        raise ModelError(f"{path} holds no trained model of nnU-Net: no folder with plans.json and fold_*/{FINAL}")
    if configuration is None:
        raise ModelError(f"{path} holds several models; choose one with -c: {there}")
    raise ModelError(f"{path} holds {len(chosen)} models of configuration {configuration}; there are {there}")


def _at(source: Source, root: str) -> ModelFiles:
    sizes = {name[len(root) :]: size for name, size in source.sizes().items() if name.startswith(root)}
    return ModelFiles(source, root, sizes)
