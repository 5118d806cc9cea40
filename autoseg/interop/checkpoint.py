"""A file that torch.save wrote, read without torch.load: a zip with one pickle and the numbers of each tensor.

Tensors are read one by one, on demand: an optimizer's state, twice as large as the network, is never touched.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from ..errors import ModelError
from .pickles import Known, Named, read_pickle

LARGEST_PICKLE = 256 << 20  # bytes; the tensors are not in it
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


@dataclass(frozen=True)
class Storage:
    """The numbers that one or several tensors show."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that has not been read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint."""

    where: str
    values: dict[str, Any]
    """As saved; tensors are ``StoredTensor``."""
    archive: zipfile.ZipFile
    folder: str

    def tensor(self, stored: StoredTensor) -> torch.Tensor:
        """Reads the numbers of one tensor. Raises ModelError when they are not all there."""
        storage = stored.storage
        size = storage.count * storage.dtype.itemsize
        last = stored.offset + sum((n - 1) * step for n, step in zip(stored.shape, stored.stride))
        fits = len(stored.shape) == len(stored.stride) and min((stored.offset, *stored.stride)) >= 0
        entry = _entry(self.archive, f"{self.folder}/data/{storage.key}", self.where)
        if entry.file_size != size or not fits or last >= storage.count or min(stored.shape, default=1) < 1:
            raise ModelError(
                f"{self.where} is damaged: a tensor does not fit the {entry.file_size} bytes it is made of"
            )
        numbers = torch.frombuffer(bytearray(self.archive.read(entry)), dtype=storage.dtype)
        return numbers.as_strided(stored.shape, stored.stride, stored.offset).contiguous()


@contextmanager
def open_checkpoint(file: Path | IO[bytes], where: str | None = None) -> Iterator[Checkpoint]:
    """Reads everything but the tensors of ``file``; ``where`` names it in messages.

    Raises ModelError for a file of another kind, a damaged one, and one that holds more than tensors and plain values.
    """
    where = where or str(file)
    try:
        with zipfile.ZipFile(file) as archive:
            folder = _folder(archive, where)
            entry = _entry(archive, f"{folder}/data.pkl", where)
            if entry.file_size > LARGEST_PICKLE:
                raise ModelError(
                    f"{where} has {entry.file_size / 1e6:.0f} MB beside its tensors; this is no checkpoint"
                )
            with archive.open(entry) as pickled:
                values = read_pickle(pickled, where, KNOWN, _storage)
            if not isinstance(values, dict):
                raise ModelError(f"{where} holds a {type(values).__name__}; expected a checkpoint of nnU-Net")
            yield Checkpoint(where, values, archive, folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"{where} is no checkpoint of torch 1.6 or newer, or it is damaged ({error})") from None


def _folder(archive: zipfile.ZipFile, where: str) -> str:
    """torch names it after the file that was saved."""
    folders = {name.split("/")[0] for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1}
    if len(folders) != 1:
        raise ModelError(f"{where} is no checkpoint: there is no data.pkl in it")
    folder = folders.pop()
    if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
        raise ModelError(f"{where} was saved on a big-endian machine; save it again on another one")
    return folder


def _entry(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise ModelError(f"{where} is incomplete: {name} is missing; get it again") from None
    if entry.compress_type != zipfile.ZIP_STORED:  # so that no entry is larger than the file
        raise ModelError(f"{where} was not saved by torch: {name} is compressed")
    return entry


def _storage(identity: Any) -> Storage:
    """From torch's ``("storage", type, key, device, count)``. A ValueError means damage."""
    kind, storage, key, _, count = identity
    if kind != "storage" or not isinstance(storage, Named) or storage.name not in STORAGES:
        raise ValueError(f"{identity!r} is no storage")
    if not isinstance(key, str) or not isinstance(count, int):
        raise ValueError(f"{identity!r} is no storage")
    return Storage(key, STORAGES[storage.name], count)


def _tensor(storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("a tensor without numbers")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _ordered(*items: Any) -> dict[Any, Any]:
    """OrderedDict() or OrderedDict(pairs)."""
    return dict(*items)


def _numpy_type(name: Any, *_: Any) -> np.dtype[Any]:
    """Numbers only: an object type would hold anything."""
    kind: np.dtype[Any] = np.dtype(str(name))
    if kind.kind not in "biufS" or (kind.kind == "S" and kind.itemsize > 1 << 10):
        raise ValueError(f"{name} is no type of number")
    return kind


def _numpy_number(kind: Any, content: Any) -> Any:
    if not isinstance(kind, np.dtype) or not isinstance(content, bytes):
        raise ValueError("a number without its type")
    (number,) = np.frombuffer(content, kind).tolist()
    return number


def _latin1(text: str, coding: str) -> bytes:
    """How the pickles of torch hold bytes."""
    if coding != "latin1":
        raise ValueError(f"bytes in {coding}")
    return text.encode("latin1")


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
    "torch.Size": lambda sizes: tuple(sizes),
    "torch.device": lambda *parts: ":".join(map(str, parts)),
}
"""All that occurs in a checkpoint of nnU-Net v2: tensors, numpy's numbers in the log, the name of a device."""
