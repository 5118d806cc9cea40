"""Reading a bundle: every byte is checked against the manifest before it is used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.json_text import parse_json
from ..core.names import short
from ..core.records import from_json
from ..errors import AutosegError, ModelError, RecordError, UnknownPartError
from ..plan import Plan
from .manifest import FORMAT, MANIFEST, PLAN, Manifest, weights_name
from .source import MOST_BYTES, FolderSource, Source, ZipSource

LARGEST_JSON = 4 << 20  # bytes; scores of 118 labels take 60 kB
MOST_VALUES = 50_000  # in one of them; a thousand labels with their scores take half of them
LONGEST_MESSAGE = 1500  # characters of what a stranger's file is quoted with
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
        return b"".join(self.weight_blocks(configuration, fold))

    def weight_blocks(self, configuration: str, fold: str) -> Iterator[bytes]:
        """The same, piece by piece."""
        return self.blocks(weights_name(configuration, fold))

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
    return os.path.isfile(path) or os.path.isfile(path / MANIFEST)  # unlike Path's, false for what may not be looked at


def read_bundle(path: Path, trusted: tuple[str, ...] = ()) -> Bundle:
    """Reads manifest and plan of a folder or zip. Raises ModelError or RecordError for anything that is not a bundle.

    Nothing of the bundle is executed: parts are looked up by name among autoseg's own, or in packages of ``trusted``.
    """
    if not os.path.exists(path):
        raise ModelError(f"{short(str(path), LONGEST_MESSAGE)} does not exist, or you may not read it")
    if not is_bundle(path):
        raise ModelError(f"{path} is no model bundle: there is no {MANIFEST} in it")
    source: Source = FolderSource(path) if path.is_dir() else ZipSource(path)
    manifest = _manifest(source, trusted)
    _compare(source, manifest)
    text = b"".join(checked_blocks(source, manifest, PLAN))
    plan: Plan = _record(Plan, _json(text, source, PLAN), source, PLAN, trusted)
    missing = sorted(set(manifest.configurations) - set(plan.configurations))
    if missing:
        raise ModelError(f"{path}: {PLAN} lacks the configurations {short(', '.join(missing))}")
    known = {None, *plan.labels.foreground}
    if unknown := [step.label for step in manifest.postprocessing if step.label not in known]:
        raise RecordError(f"{path}: postprocessing corrects {short(unknown[0])!r}, which is no label of the plan")
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


def _manifest(source: Source, trusted: tuple[str, ...]) -> Manifest:
    size = source.size(MANIFEST)
    if size is None:
        raise ModelError(f"{source.path} is no model bundle: there is no {MANIFEST} at its top")
    if size > LARGEST_JSON:
        raise ModelError(f"{source.path}: {MANIFEST} has {size / 1e6:.0f} MB; this is no model bundle")
    with source.open(MANIFEST) as file:
        text = file.read(size)
    value = _json(text, source, MANIFEST)
    version = value.get("format") if isinstance(value, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ModelError(f"{source.path} has bundle format {version}, this autoseg reads {FORMAT}; update it")
    manifest: Manifest = _record(Manifest, value, source, MANIFEST, trusted)
    return manifest


def _compare(source: Source, manifest: Manifest) -> None:
    """Raises ModelError when the files are not exactly those of the manifest."""
    path, expected = source.path, {name: file.size for name, file in manifest.files.items()}
    if surplus := source.surplus({MANIFEST, *expected}):
        raise ModelError(f"{path} holds {short(surplus[0])!r}, which {MANIFEST} does not name; it is not loaded")
    for name in manifest.file_names:
        size = source.size(name)
        if size is None:
            raise ModelError(f"{path} is incomplete: {name} is missing; get the model again")
        if name not in expected:
            raise ModelError(f"{path}: {MANIFEST} has no checksums")
        if size != expected[name]:
            raise ModelError(f"{path}: {name} has {size} bytes, {MANIFEST} says {expected[name]}")
    if expected[PLAN] > LARGEST_JSON:
        raise ModelError(f"{path}: {PLAN} has {expected[PLAN] / 1e6:.0f} MB; this is no model bundle")
    if sum(expected.values()) > MOST_BYTES:
        raise ModelError(f"{path} has {sum(expected.values()) / 1e9:.0f} GB; this is no model bundle")


def _json(text: bytes, source: Source, name: str) -> Any:
    if text.count(b",") > MOST_VALUES:
        raise RecordError(f"{source.path}: {name} holds more than {MOST_VALUES} values; this is no model bundle")
    value = parse_json(text, f"{source.path}: {name}")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a letter, written as \\ud800: no file and no terminal could take it
        raise RecordError(f"{source.path}: {name} holds text that is no Unicode") from None
    return value


def _record(kind: Any, value: Any, source: Source, name: str, trusted: tuple[str, ...]) -> Any:
    """Raises RecordError, its message naming bundle and file and quoting little of what a stranger wrote."""
    where = f"{source.path.name}/{name}"
    try:
        return from_json(kind, value, where=where, trusted=trusted)
    except AutosegError as error:
        said = short(str(error), LONGEST_MESSAGE)
        refused = UnknownPartError if isinstance(error, UnknownPartError) else RecordError
        raise refused(said if said.startswith(where) else f"{where}: {said}") from None
