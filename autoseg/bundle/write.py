"""Writing a bundle: complete with its checksums, or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Union

from ..core.files import atomic_file, atomic_folder
from ..core.names import short
from ..core.records import to_json
from ..errors import ModelError
from ..plan import Plan
from .bundle import BLOCK, Bundle, read_bundle
from .manifest import MANIFEST, PLAN, Manifest, StoredFile, weights_name

Weights = Mapping[str, Mapping[str, Union[Path, bytes]]]
"""Configuration to fold to a safetensors file, or its content."""
Content = Union[Path, Iterable[bytes]]
Add = Callable[[str, Content], StoredFile]
"""Puts a file of this name and content into the bundle that is being written."""


def write_bundle(
    target: Path,
    manifest: Manifest,
    plan: Plan,
    weights: Weights,
    *,
    overwrite: bool = False,
    trusted: tuple[str, ...] = (),
) -> Bundle:
    """Writes a zip where ``target`` ends so, else a folder, and returns what can be read back from it.

    ``plan`` needs the configurations of the manifest; others are left out. ``manifest.files`` is filled in here. In a
    folder, weights that lie on the same disk are linked instead of copied: no weight file is ever changed in place.
    Raises ModelError when ``target`` exists and ``overwrite`` is False, or when weights and manifest do not name the
    same folds.
    """
    named = {name: tuple(folds) for name, folds in weights.items()}
    if named != manifest.configurations:
        raise ModelError(f"weights are there for {named}, but the manifest names {manifest.configurations}")
    kept = {name: plan.configurations[name] for name in named}
    default = plan.default if plan.default in kept else next(iter(manifest.ensemble))
    with _new(target, overwrite) as add:
        files = {PLAN: add(PLAN, [_text(replace(plan, configurations=kept, default=default))])}
        for configuration, folds in weights.items():
            for fold, content in folds.items():
                name = weights_name(configuration, fold)
                files[name] = add(name, [content] if isinstance(content, bytes) else content)
        add(MANIFEST, [_text(replace(manifest, files=files))])
    return read_bundle(target, trusted)


def copy_bundle(bundle: Bundle, target: Path, manifest: Manifest | None = None) -> None:
    """Writes a bundle anew, as zip or folder, every byte checked on its way; ``manifest`` replaces its own.

    Raises ModelError when ``target`` exists or a checksum is wrong.
    """
    with _new(target) as add:
        for name in bundle.manifest.files:
            add(name, bundle.blocks(name))
        add(MANIFEST, [_text(manifest or bundle.manifest)])


MARKS = ('"format"', '"configurations"', '"files"')  # names in every manifest


@contextmanager
def _new(target: Path, overwrite: bool = False) -> Iterator[Add]:
    """What another process has put into the place of ``target`` in the meantime is not overwritten either."""
    _refuse_taken(target, overwrite)
    if target.suffix.lower() == ".zip":
        with atomic_file(target) as temporary:
            with zipfile.ZipFile(temporary, "w") as archive:
                yield lambda name, content: _add_to_zip(archive, name, content)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # which may take long
            _refuse_taken(target, overwrite)
    else:
        with atomic_folder(target, mark=MANIFEST, words=MARKS) as folder:
            yield lambda name, content: _add_to_folder(folder, name, content)
            _refuse_taken(target, overwrite)


def _refuse_taken(target: Path, overwrite: bool) -> None:
    if os.path.lexists(target) and not overwrite:
        raise ModelError(f"{target} exists already; remove it or choose another name")


def _add_to_zip(archive: zipfile.ZipFile, name: str, content: Content) -> StoredFile:
    entry = zipfile.ZipInfo(name)  # without the time, so that the same model is the same file
    entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
    entry.external_attr = 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as file:
        return _copied(content, file.write)


def _add_to_folder(folder: Path, name: str, content: Content) -> StoredFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        try:
            os.link(content, path)
        except OSError:  # another disk, or one that knows no links
            shutil.copyfile(content, path)
        return _copied(path, lambda block: None)
    with path.open("wb") as file:
        stored = _copied(content, file.write)
        file.flush()
        os.fsync(file.fileno())
    return stored


def _copied(content: Content, write: Callable[[bytes], Any]) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    for block in _blocks(content) if isinstance(content, Path) else content:
        digest.update(block)
        size += len(block)
        write(block)
    return StoredFile(size, digest.hexdigest())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _text(record: Any) -> bytes:
    try:
        return (json.dumps(to_json(record), indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError as error:  # of a flag or a file name in another encoding
        raise ModelError(f"{short(ascii(error.object), 300)} holds text that is no Unicode; write it anew") from None
