"""An array in a file without a name: it keeps what was written, takes no memory once released, and leaves nothing."""

import numpy as np
import pytest

from autoseg.core.process import resident_bytes
from autoseg.core.scratch import Scratch
from autoseg.errors import AutosegError


def test_what_was_written_survives_releasing_it(tmp_path):
    scratch = Scratch((3, 4, 5), "float32", tmp_path)
    assert not scratch.array.any()
    scratch.array[1] = 7
    scratch.release()
    assert (scratch.array[1] == 7).all() and scratch.array.sum() == 7 * 20


def test_released_pages_are_not_resident(tmp_path):
    if resident_bytes() == 0:
        pytest.skip("this system does not tell what is resident")
    size = 64 << 20
    scratch = Scratch((size,), "uint8", tmp_path)
    scratch.array[:] = 1
    full = resident_bytes()
    scratch.release()
    assert full - resident_bytes() > size // 2
    assert scratch.array[-1] == 1


def test_nothing_lies_in_the_folder(tmp_path):
    scratch = Scratch((8,), np.uint16, tmp_path)
    assert scratch.array.nbytes == 16 and not list(tmp_path.iterdir())


def test_a_full_disk_is_a_message_and_not_a_crash(tmp_path):
    with pytest.raises(AutosegError, match="too little space"):
        Scratch((1 << 60,), "uint8", tmp_path)
