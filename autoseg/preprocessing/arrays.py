"""Arrays in compressed files (Blosc2), chunked so that a box is read alone.

Blosc2's Python package holds the interpreter lock while it reads a box (4.14.1): no other thread runs meanwhile, and
several threads read no faster than one. So boxes are read by the C library that the package brings, called through
ctypes, which lets go of the lock. Where it brings none, the package reads them.

Zstd level 1 and byte shuffle: of LZ4, LZ4HC and zstd it gave the smallest files at 1 ms per small case.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageFileError

BLOCK_VOXELS = 1 << 14  # 32 KB of float16: one block stays in the first-level cache while it is unpacked
CHUNK_VOXELS = 1 << 18  # of several slices
IN_MEMORY = 64 << 20  # bytes: up to these an array is compressed in memory, since Blosc2 opens its file for every chunk
C_LIBRARY = {"win32": "libblosc2.dll", "darwin": "libblosc2.dylib"}.get(sys.platform, "libblosc2.so")


def chunks_and_blocks(shape: Sequence[int], patch_size: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk (unit of the file) and block (unit of reading) of an array ([channels,] z, y, x).

    A chunk is a patch of all channels, or of slices as many as ``CHUNK_VOXELS`` allow: every chunk costs 0.3 ms to
    write. A block is a part of one channel, and of one slice where patches are slices, that has at most
    ``BLOCK_VOXELS`` voxels.
    """
    patch = (1,) * (3 - len(patch_size)) + tuple(patch_size)
    edges = [min(size, edge) for size, edge in zip(shape[-3:], patch)]
    slices = 1 if len(patch_size) == 3 else CHUNK_VOXELS // math.prod((*shape[:-3], *edges))
    chunk = (*shape[:-3], min(shape[-3], max(edges[0], slices)), *edges[1:])
    while math.prod(edges) > BLOCK_VOXELS:
        largest = edges.index(max(edges))
        edges[largest] = (edges[largest] + 1) // 2
    return chunk, (*(1 for _ in shape[:-3]), *edges)


def write_array(path: Path, array: np.ndarray, patch_size: tuple[int, ...]) -> None:
    """Writes ``array`` ([channels,] z, y, x) as a Blosc2 file."""
    import blosc2

    chunks, blocks = chunks_and_blocks(array.shape, patch_size)
    compression: dict[str, Any] = {
        "codec": blosc2.Codec.ZSTD,
        "clevel": 1,
        "filters": [blosc2.Filter.SHUFFLE],
        "filters_meta": [0],
        "typesize": array.itemsize,
        "nthreads": 1,  # cases are already spread over threads
    }
    small = array.nbytes <= IN_MEMORY
    there: dict[str, Any] = {} if small else {"urlpath": str(path), "mode": "w"}
    written = blosc2.asarray(np.ascontiguousarray(array), chunks=chunks, blocks=blocks, cparams=compression, **there)
    if small:
        path.write_bytes(written.to_cframe())


def read_array(path: Path, slices: tuple[slice, ...]) -> np.ndarray:
    """A box of a file that ``write_array`` wrote and nobody has changed, while other threads go on.

    Raises ImageFileError for another file.
    """
    import blosc2

    try:
        # opened anew for every read (0.1 ms): an open array keeps one decompressor, which threads must not share
        array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        library = _library()
        box: np.ndarray = array[slices] if library is None else _box(library, path, array.shape, array.dtype, slices)
    except (RuntimeError, OSError, ValueError) as error:
        raise ImageFileError(f"{path} is damaged ({error}); run the command that wrote it again") from None
    return box


def _box(
    library: ctypes.CDLL, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], slices: tuple[slice, ...]
) -> np.ndarray:
    """``slices`` of the array in ``path``. Raises RuntimeError with the library's error code."""
    limits = [chosen.indices(size)[:2] for chosen, size in zip(slices, shape, strict=True)]
    box = np.empty([max(0, stop - start) for start, stop in limits], dtype)
    if not box.size:
        return box
    numbers = ctypes.c_int64 * box.ndim
    start, stop, size = (numbers(*values) for values in (*zip(*limits), box.shape))
    array = ctypes.c_void_p()
    _refuse(library.b2nd_open(os.fsencode(path), ctypes.byref(array)))
    try:
        target = ctypes.c_void_p(box.ctypes.data)
        _refuse(library.b2nd_get_slice_cbuffer(array, start, stop, target, size, ctypes.c_int64(box.nbytes)))
    finally:
        library.b2nd_free(array)
    return box


def _refuse(code: int) -> None:
    if code < 0:
        raise RuntimeError(f"error {code} of Blosc2")


@cache
def _library() -> ctypes.CDLL | None:
    """The C library of exactly the version that the Python package is of; None where the package brings none."""
    import blosc2

    package = Path(blosc2.__file__).parent
    for path in (package / "lib" / C_LIBRARY, package.parent / "lib64" / C_LIBRARY):  # since 4, in 3.3
        try:
            library = ctypes.CDLL(str(path))
            library.b2nd_open, library.b2nd_get_slice_cbuffer, library.b2nd_free  # noqa: B018
        except (OSError, AttributeError):
            continue
        library.blosc2_init()
        return library
    return None
