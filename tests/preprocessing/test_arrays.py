"""Compressed arrays: a box is that part of the whole, and other threads go on while it is read."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import blosc2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import ImageFileError
from autoseg.preprocessing import arrays as module
from autoseg.preprocessing.arrays import chunks_and_blocks, read_array, write_array

SHAPE = (2, 9, 20, 17)
ARRAY = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float16)


def written(folder: Path, array: np.ndarray = ARRAY, patch: tuple[int, ...] = (4, 8, 8)) -> Path:
    path = folder / "array.b2nd"
    write_array(path, array, patch)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("arrays"))


@given(data=st.data())
def test_a_box_is_that_part_of_the_whole_and_what_blosc2_reads(file: Path, data: st.DataObject) -> None:
    limits = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2))) for size in SHAPE]
    slices = tuple(slice(*each) for each in limits)
    box = read_array(file, slices)
    assert box.dtype == np.float16
    np.testing.assert_array_equal(box, ARRAY[slices])
    if box.size:
        np.testing.assert_array_equal(box, blosc2.open(str(file), mode="r")[slices])


def test_open_slices_are_the_whole(file: Path) -> None:
    np.testing.assert_array_equal(read_array(file, (slice(None),) * 4), ARRAY)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_kind_of_number_comes_back(tmp_path: Path, dtype: type) -> None:
    array = (1000 * np.abs(ARRAY[0])).astype(dtype)
    np.testing.assert_array_equal(read_array(written(tmp_path, array), (slice(1, 8),) * 3), array[1:8, 1:8, 1:8])


@pytest.mark.slow
def test_other_threads_go_on_while_a_box_is_read(tmp_path: Path) -> None:
    """Counted, not timed: a read that holds the interpreter lock lets another thread count to a few at most."""
    array = np.random.default_rng(0).integers(0, 1000, (128, 256, 512)).astype(np.uint16)
    path = written(tmp_path, array, (64, 64, 64))
    ended, counted = threading.Event(), [0]

    def count() -> None:
        while not ended.is_set():
            counted[0] += 1
            time.sleep(0)  # lets go of the lock

    thread = threading.Thread(target=count)
    thread.start()
    while not counted[0]:
        time.sleep(0)
    before = counted[0]
    try:
        read = read_array(path, (slice(None),) * 3)
    finally:
        during = counted[0] - before
        ended.set()
        thread.join()
    np.testing.assert_array_equal(read, array)
    assert during > 200


def test_threads_read_one_file_at_once(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 1000, (3, 60, 70, 80)).astype(np.uint16)
    path = written(tmp_path, array, (16, 16, 16))
    boxes = [
        (slice(0, 3), slice(i, i + 30), slice(j, j + 40), slice(j, 80))
        for i in range(0, 30, 3)
        for j in range(0, 30, 3)
    ]
    with ThreadPoolExecutor(8) as pool:
        for box, found in zip(boxes, pool.map(lambda box: read_array(path, box), boxes)):
            np.testing.assert_array_equal(found, array[box])


def test_where_the_package_brings_no_c_library_it_reads_itself(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_library", lambda: None)
    box = (slice(0, 2), slice(1, 5), slice(3, 20), slice(0, 9))
    np.testing.assert_array_equal(read_array(file, box), ARRAY[box])


@pytest.mark.parametrize("kept", [0, 40, 2000])
def test_a_cut_file_is_named(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ImageFileError, match=r"array\.b2nd is damaged"):
        read_array(path, (slice(None),) * 4)


def test_arrays_that_fit_into_memory_are_written_as_those_that_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_array(tmp_path / "small.b2nd", ARRAY, (4, 8, 8))
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    write_array(tmp_path / "large.b2nd", ARRAY, (4, 8, 8))
    assert (tmp_path / "small.b2nd").read_bytes() == (tmp_path / "large.b2nd").read_bytes()


@given(st.tuples(*[st.integers(1, 300)] * 3), st.tuples(*[st.integers(1, 300)] * 3), st.integers(1, 4))
def test_chunks_hold_a_patch_and_blocks_fit_the_cache(
    shape: tuple[int, int, int], patch: tuple[int, int, int], channels: int
) -> None:
    chunk, block = chunks_and_blocks((channels, *shape), patch)
    assert chunk == (channels, *(min(size, edge) for size, edge in zip(shape, patch)))
    assert np.prod(block) <= module.BLOCK_VOXELS
    assert all(1 <= small <= large for small, large in zip(block, chunk))


@given(st.tuples(*[st.integers(1, 300)] * 3), st.tuples(*[st.integers(1, 300)] * 2), st.integers(1, 4))
def test_chunks_of_slices_hold_several_and_blocks_one(
    shape: tuple[int, int, int], patch: tuple[int, int], channels: int
) -> None:
    chunk, block = chunks_and_blocks((channels, *shape), patch)
    assert chunk[2:] == tuple(min(size, edge) for size, edge in zip(shape[1:], patch))
    assert 1 <= chunk[1] <= shape[0]
    assert chunk[1] == 1 or np.prod(chunk) <= module.CHUNK_VOXELS
    assert chunk[1] == shape[0] or np.prod(chunk) // chunk[1] * (chunk[1] + 1) > module.CHUNK_VOXELS
    assert block[:2] == (1, 1) and np.prod(block) <= module.BLOCK_VOXELS
