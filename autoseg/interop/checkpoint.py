"""A file that torch.save wrote, read without torch.load: a zip with one pickle and the numbers of each tensor.

Tensors are read one by one, on demand: an optimizer's state, twice as large as the network, is never touched.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Union

import numpy as np
import torch

from ..bundle.bundle import BLOCK
from ..bundle.source import DAMAGED
from ..core.names import short
from ..errors import ModelError
from . import pickles
from .pickles import Known, Named, read_pickle

LARGEST_DIRECTORY = 4 << 20  # bytes in which the archive lists its entries, one per tensor
LONGEST_BYTEORDER = 16  # bytes; it says "little"
MOST_AXES = 8  # of a tensor
FARTHEST = 2**62  # torch counts in 64 bits
STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Storage:
    """The numbers that one or several tensors show."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor that has not been read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes, once read."""
        return prod(self.shape) * self.storage.dtype.itemsize


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint."""

    where: str
    values: dict[str, Any]
    """As saved; tensors are ``StoredTensor``. Not to be written out, compared or hashed: see ``pickles``."""
    archive: zipfile.ZipFile
    folder: str
    size: int
    """Bytes of the file."""

    def tensors(self, wanted: Mapping[str, StoredTensor]) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors, read one after the other, in any order; numbers that several show are read once.

        Raises ModelError when the numbers of one are not all there, or shown more than once.
        """
        by_storage: dict[Storage, list[str]] = {}
        for name, stored in wanted.items():
            self._refuse_unfit(stored)
            by_storage.setdefault(stored.storage, []).append(name)
        for storage, names in by_storage.items():
            numbers = torch.frombuffer(self._content(storage), dtype=storage.dtype)
            for name in names:
                stored = wanted[name]
                with _readable(self.where):
                    shown = numbers.as_strided(stored.shape, stored.stride, stored.offset)
                yield name, shown.clone(memory_format=torch.contiguous_format)  # a view would keep all numbers

    def _refuse_unfit(self, stored: StoredTensor) -> None:
        storage, numbers = stored.storage, (stored.offset, *stored.shape, *stored.stride)
        last = stored.offset + sum((n - 1) * step for n, step in zip(stored.shape, stored.stride))
        fits = len(stored.shape) == len(stored.stride) and 0 <= min(numbers) and max(numbers) < FARTHEST
        fits = fits and min(stored.shape, default=1) >= 1 and prod(stored.shape) <= storage.count
        there = self._entry_of(storage).file_size
        if there != storage.size or not fits or last >= storage.count:
            raise ModelError(f"{self.where} is damaged: a tensor does not fit the {there} bytes it is made of")

    def _content(self, storage: Storage) -> bytearray:
        content = bytearray()
        with _readable(self.where), self.archive.open(self._entry_of(storage)) as file:
            while piece := file.read(BLOCK):
                content += piece
            if len(content) != storage.size:
                raise EOFError("it ends too early")
        return content

    def _entry_of(self, storage: Storage) -> zipfile.ZipInfo:
        return _entry(self.archive, f"{self.folder}/data/{storage.key}", self.where)


@contextmanager
def open_checkpoint(file: Union[Path, IO[bytes]], where: str | None = None) -> Iterator[Checkpoint]:
    """Reads everything but the tensors of ``file``, a path or an open file; ``where`` names it in messages.

    Raises ModelError for a file of another kind, a damaged one, and one that holds more than tensors and plain values.
    """
    where = where or str(file)
    with _readable(where):
        opened = _Sparing(file if isinstance(file, Path) else file.fileno(), closefd=isinstance(file, Path))
    with opened:
        with _readable(where):
            archive, size = zipfile.ZipFile(opened), os.fstat(opened.fileno()).st_size
        opened.sparing = False
        folder = _folder(archive, where)
        entry = _entry(archive, f"{folder}/data.pkl", where)
        if entry.file_size > pickles.LARGEST:
            raise ModelError(f"{where} has {entry.file_size / 1e6:.0f} MB beside its tensors; this is no checkpoint")
        with _readable(where), archive.open(entry) as pickled:
            values = read_pickle(pickled, where, KNOWN, _storage)
        if not isinstance(values, dict):
            raise ModelError(f"{where} holds a {type(values).__name__}; expected a checkpoint of nnU-Net")
        yield Checkpoint(where, values, archive, folder, size)


class _Sparing(io.FileIO):
    """zipfile reads the directory of an archive whole, however long it claims to be, before anybody can ask."""

    sparing = True
    """Whether the directory is being read."""

    def read(self, size: int | None = -1) -> bytes:
        if self.sparing and size is not None and size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile("it has more entries than a network has tensors")
        return super().read(size)


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Whatever zipfile stumbles over becomes a ModelError."""
    try:
        yield
    except DAMAGED as error:
        said = short(str(error) or type(error).__name__, 200)
        raise ModelError(f"{where} is no checkpoint of torch 1.6 or newer, or it is damaged ({said})") from None


def _folder(archive: zipfile.ZipFile, where: str) -> str:
    """torch names it after the file that was saved."""
    names = archive.namelist()
    folders = {name.split("/")[0] for name in names if name.endswith("/data.pkl") and name.count("/") == 1}
    if len(folders) != 1:
        raise ModelError(f"{where} is no checkpoint: there is no data.pkl in it")
    if len(set(names)) < len(names):
        raise ModelError(f"{where} is damaged: names of entries are there twice")
    folder = folders.pop()
    if f"{folder}/byteorder" in names:
        entry = _entry(archive, f"{folder}/byteorder", where)
        with _readable(where):
            order = archive.read(entry) if entry.file_size <= LONGEST_BYTEORDER else b""
        if order != b"little":
            raise ModelError(f"{where} was saved on a big-endian machine; save it again on another one")
    return folder


def _entry(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise ModelError(f"{where} is incomplete: {short(name)} is missing; get it again") from None
    if entry.compress_type != zipfile.ZIP_STORED:  # so that no entry is larger than the file
        raise ModelError(f"{where} was not saved by torch: {short(name)} is compressed")
    if entry.file_size != entry.compress_size:
        raise ModelError(f"{where} is damaged: {short(name)} says two things about its length")
    return entry


def _storage(identity: Any) -> Storage:
    """From torch's ``("storage", type, key, device, count)``. A ValueError means damage."""
    if not isinstance(identity, tuple) or len(identity) != 5:
        raise ValueError("a storage is not described by five values")
    kind, storage, key, _, count = identity
    if kind != "storage" or not isinstance(storage, Named) or storage.name not in STORAGES:
        raise ValueError(f"{short(identity)} is no storage")
    if not isinstance(key, str) or type(count) is not int:
        raise ValueError(f"{short(identity)} is no storage")
    return Storage(key, STORAGES[storage.name], count)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage) or not (_whole((offset,)) and _whole(shape) and _whole(stride)):
        raise ValueError("a tensor without numbers")
    return StoredTensor(storage, offset, shape, stride)


def _whole(numbers: Any) -> bool:
    """Whether these are the few whole numbers that a shape is made of."""
    return isinstance(numbers, tuple) and len(numbers) <= MOST_AXES and all(type(number) is int for number in numbers)


def _ordered(*items: Any) -> dict[Any, Any]:
    """OrderedDict() or OrderedDict(pairs)."""
    pairs = items[0] if items else ()
    if (
        len(items) > 1
        or not isinstance(pairs, list | tuple)
        or not all(isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs)
    ):
        raise ValueError("an OrderedDict is not made of names and values")
    return dict(pairs)


def _size(sizes: Any) -> tuple[int, ...]:
    """torch.Size."""
    listed = tuple(sizes) if isinstance(sizes, list) and len(sizes) <= MOST_AXES else sizes
    if not _whole(listed):
        raise ValueError("a torch.Size without numbers")
    return listed


def _device(*parts: Any) -> str:
    """torch.device."""
    if not 1 <= len(parts) <= 2 or not all(type(part) in (str, int) for part in parts):
        raise ValueError("a device without a name")
    return short(":".join(map(str, parts)))


def _numpy_type(name: Any, *_: Any) -> np.dtype[Any]:
    """Numbers only: an object type would hold anything."""
    if not isinstance(name, str) or not NUMPY_TYPE.fullmatch(name):
        raise ValueError(f"{short(name)} is no type of number")
    return np.dtype(name)


def _numpy_number(kind: Any, content: Any) -> Any:
    if not isinstance(kind, np.dtype) or not isinstance(content, bytes) or len(content) != kind.itemsize:
        raise ValueError("a number without its type")
    (number,) = np.frombuffer(content, kind).tolist()
    return number


def _latin1(text: Any, coding: Any) -> bytes:
    """How the pickles of torch hold bytes."""
    if not isinstance(text, str) or not isinstance(coding, str) or coding != "latin1":
        raise ValueError(f"bytes in {short(coding)}")
    return text.encode("latin1")


NUMPY_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:[248]|16)|S\d{1,4})")
NUMPY_NUMBERS: Known = {
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray.scalar": _numpy_number,
    "numpy._core.multiarray.scalar": _numpy_number,
    "_codecs.encode": _latin1,
}
KNOWN: Known = {
    **NUMPY_NUMBERS,
    **dict.fromkeys(STORAGES, None),
    **{str(dtype): None for dtype in STORAGES.values()},
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "numpy.ndarray": None,  # an array of a log: its numbers are left out
    "numpy.core.multiarray._reconstruct": lambda *_: None,
    "numpy._core.multiarray._reconstruct": lambda *_: None,
    "torch.Size": _size,
    "torch.device": _device,
}
"""All that occurs in a checkpoint of nnU-Net v2: tensors, numpy's numbers in the log, the name of a device."""
