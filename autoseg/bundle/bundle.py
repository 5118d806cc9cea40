"""Reading a bundle: every byte is checked against the manifest before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.records import from_json
from ..errors import ModelError, RecordError
from ..plan import Plan
from .manifest import FORMAT, MANIFEST, PLAN, Manifest, weights_name
from .source import FolderSource, Source, ZipSource

LARGEST_JSON = 16 << 20
BLOCK = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest and plan have been read and checked; weights are read on demand."""

    source: Source
    manifest: Manifest
    plan: Plan
    """With every configuration of the manifest."""

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def size(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(file.size for file in self.manifest.files.values())

    def weights(self, configuration: str, fold: str) -> bytes:
        """One network's safetensors. Raises ModelError when they are not what the manifest says."""
        return b"".join(self.blocks(weights_name(configuration, fold)))

    def where(self, configuration: str, fold: str) -> str:
        """Names these weights in a message."""
        return f"{self.path}: {weights_name(configuration, fold)}"

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of one file; raises ModelError, at the end at the latest, when they are not the right ones."""
        return checked_blocks(self.source, self.manifest, name)

    def verify(self) -> None:
        """Reads every file. Raises ModelError for the first one that is not what the manifest says."""
        for name in self.manifest.files:
            for _ in self.blocks(name):
                pass


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is meant as a bundle: a folder with a manifest, or any file."""
    return path.is_file() or (path / MANIFEST).is_file()


def read_bundle(path: Path, trusted: tuple[str, ...] = ()) -> Bundle:
    """Reads manifest and plan of a folder or zip. Raises ModelError or RecordError for anything that is not a bundle.

    Nothing of the bundle is executed: parts are looked up by name among autoseg's own, or in packages of ``trusted``.
    """
    if not path.exists():
        raise ModelError(f"{path} does not exist")
    if not is_bundle(path):
        raise ModelError(f"{path} is no model bundle: there is no {MANIFEST} in it")
    source: Source = FolderSource(path) if path.is_dir() else ZipSource(path)
    sizes = source.sizes()
    if MANIFEST not in sizes:
        raise ModelError(f"{path} is no model bundle: there is no {MANIFEST} at its top")
    manifest = _manifest(source, sizes[MANIFEST], trusted)
    _compare(path, sizes, manifest)
    text = b"".join(checked_blocks(source, manifest, PLAN))
    plan: Plan = from_json(Plan, _json(text, path, PLAN), where=f"{path.name}/{PLAN}", trusted=trusted)
    missing = sorted(set(manifest.configurations) - set(plan.configurations))
    if missing:
        raise ModelError(f"{path}: {PLAN} lacks the configurations {', '.join(missing)}")
    return Bundle(source, manifest, plan)


def checked_blocks(source: Source, manifest: Manifest, name: str) -> Iterator[bytes]:
    """The bytes of one file, never more than the manifest announces."""
    expected = manifest.files[name]
    digest, left = hashlib.sha256(), expected.size
    with source.open(name) as file:
        while left > 0 and (block := file.read(min(BLOCK, left))):
            digest.update(block)
            left -= len(block)
            yield block
    if left or digest.hexdigest() != expected.sha256:
        raise ModelError(f"{source.path}: {name} is not what {MANIFEST} says (wrong checksum); get the model again")


def _manifest(source: Source, size: int, trusted: tuple[str, ...]) -> Manifest:
    if size > LARGEST_JSON:
        raise ModelError(f"{source.path}: {MANIFEST} has {size / 1e6:.0f} MB; this is no model bundle")
    with source.open(MANIFEST) as file:
        value = _json(file.read(size), source.path, MANIFEST)
    version = value.get("format") if isinstance(value, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ModelError(f"{source.path} has bundle format {version}, this autoseg reads {FORMAT}; update it")
    manifest: Manifest = from_json(Manifest, value, where=f"{source.path.name}/{MANIFEST}", trusted=trusted)
    return manifest


def _compare(path: Path, sizes: dict[str, int], manifest: Manifest) -> None:
    """Raises ModelError when the files are not exactly those of the manifest."""
    expected = {name: file.size for name, file in manifest.files.items()}
    surplus = sorted(set(sizes) - set(expected) - {MANIFEST})
    if surplus and path.is_file():  # beside the files of a folder anyone may have put notes
        raise ModelError(f"{path} holds {surplus[0]!r}, which {MANIFEST} does not name; it is not loaded")
    missing = sorted((set(expected) | set(manifest.file_names)) - set(sizes))
    if missing:
        raise ModelError(f"{path} is incomplete: {missing[0]} is missing; get the model again")
    if expected.keys() != set(manifest.file_names):
        raise ModelError(f"{path}: {MANIFEST} has no checksums")
    wrong = [name for name, size in expected.items() if size != sizes[name]]
    if wrong:
        raise ModelError(f"{path}: {wrong[0]} has {sizes[wrong[0]]} bytes, {MANIFEST} says {expected[wrong[0]]}")
    if expected[PLAN] > LARGEST_JSON:
        raise ModelError(f"{path}: {PLAN} has {expected[PLAN] / 1e6:.0f} MB; this is no model bundle")


def _json(text: bytes, path: Path, name: str) -> object:
    try:
        return json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"{path}: {name} is not readable as JSON ({error})") from None
