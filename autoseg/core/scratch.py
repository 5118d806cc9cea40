"""Arrays larger than main memory should hold: an unnamed file, mapped, whose pages can be handed back at any time."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AutosegError


class Scratch:
    """An array of zeros in a file that has no name and vanishes with the array, whatever becomes of the process."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, folder: Path | None = None) -> None:
        """``folder`` None takes the system's folder for temporary files.

        Raises AutosegError when the disk is too full: writing to a mapped file without space would end the process.
        """
        where = str(folder or tempfile.gettempdir())
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if shutil.disk_usage(where).free < size:
            raise AutosegError(
                f"{where} has too little space for {size / 1e9:.1f} GB of intermediate results; "
                "free some, point TMPDIR to another disk, or allow more with --memory"
            )
        with tempfile.TemporaryFile(dir=where) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self.array: np.ndarray = np.frombuffer(self._map, dtype).reshape(shape)
        """Writable."""

    def release(self) -> None:
        """Hands the pages back to the system; they stay in the file and are read again when touched."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
        else:
            self._map.flush()
