"""Where a trained nnU-Net model lies: its own folder, a folder above it, or a zip that nnU-Net exported."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle.source import FolderSource, Source, ZipSource
from ..errors import ModelError
from .checkpoint import Checkpoint, open_checkpoint

FINAL = "checkpoint_final.pth"
LARGEST_JSON = 64 << 20  # bytes; a plans file has some hundred kB


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
        if self.sizes[name] > LARGEST_JSON:
            raise ModelError(f"{self.where}: {name} has {self.sizes[name] / 1e6:.0f} MB, which cannot be right")
        with self.source.open(self.root + name) as file:
            return file.read(LARGEST_JSON)

    def json(self, name: str) -> dict[str, Any]:
        """Raises ModelError when it is not there or holds no JSON object."""
        try:
            value = json.loads(self.read(name))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ModelError(f"{self.where}: {name} is not readable as JSON ({error})") from None
        if not isinstance(value, dict):
            raise ModelError(f"{self.where}: {name} holds a {type(value).__name__}, expected an object")
        return value

    def folds(self, checkpoint: str, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
        """The trained folds, or those ``wanted``; ``all`` counts where there is no other, as in nnU-Net.

        Raises ModelError when there is none.
        """
        there = [name.split("/") for name in self.sizes if name.startswith("fold_") and name.endswith(".pth")]
        found = sorted(parts[0].removeprefix("fold_") for parts in there if parts[1:] == [checkpoint])
        missing = [fold for fold in wanted or () if fold not in found]
        if missing or not found:
            others = sorted({parts[-1] for parts in there} - {checkpoint})
            hint = f"; there is {', '.join(others)}, which --checkpoint chooses" if others else ""
            what = f"fold {', '.join(missing)} has" if missing else "no fold has"
            raise ModelError(f"{self.where}: {what} {checkpoint}{hint}")
        return tuple(wanted or [fold for fold in found if fold != "all"] or found)

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
    if not path.exists():
        raise ModelError(f"{path} does not exist")
    source: Source = FolderSource(path) if path.is_dir() else ZipSource(path)
    names = source.sizes()
    trained = {name.rpartition("fold_")[0] for name in names if name.endswith(".pth") and "/" in name}
    roots = sorted(root for root in trained if f"{root}plans.json" in names)
    chosen = [root for root in roots if configuration is None or root.endswith(f"__{configuration}/")]
    if "" in roots:
        chosen = [""]
    if len(chosen) == 1:
        return _at(source, chosen[0])
    there = ", ".join(sorted(root.rstrip("/").rpartition("__")[2] for root in roots))
    if not roots:
        raise ModelError(f"{path} holds no trained model of nnU-Net: no folder with plans.json and fold_*/{FINAL}")
    if configuration is None:
        raise ModelError(f"{path} holds several models; choose one with -c: {there}")
    raise ModelError(f"{path} holds {len(chosen)} models of configuration {configuration}; there are {there}")


def _at(source: Source, root: str) -> ModelFiles:
    sizes = {name[len(root) :]: size for name, size in source.sizes().items() if name.startswith(root)}
    return ModelFiles(source, root, sizes)
