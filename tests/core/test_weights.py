"""A weights file that is not what was written is found; others' files are taken as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save, save_file

from autoseg.core.weights import is_whole, metadata, read_weights, sealed
from autoseg.errors import ModelError

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.arange(5), "c": torch.ones(3, dtype=torch.half)}
CONTENT = sealed(save(TENSORS), {"iteration": "3", "run": "2d/fold_0"})


def test_what_is_written_comes_back_and_is_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(CONTENT)
    read = load(read_weights(path, "2d/fold_0", "cure"))
    assert read.keys() == TENSORS.keys() and all(torch.equal(read[name], TENSORS[name]) for name in read)
    assert metadata(path) == {"iteration": "3", "run": "2d/fold_0"} and is_whole(path)


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_every_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, place: int, change: int) -> None:
    path = tmp_path_factory.getbasetemp() / "weights.safetensors"
    changed = CONTENT[:place] + bytes([CONTENT[place] ^ change]) + CONTENT[place + 1 :]
    path.write_bytes(changed)
    try:
        content = read_weights(path, "2d/fold_0", "cure")
    except ModelError as error:
        assert "cure" in str(error) and str(path) in str(error)
    else:  # the word `checksum` itself
        assert all(torch.equal(value, TENSORS[name]) for name, value in load(content).items())


@given(st.integers(0, len(CONTENT) - 1))
def test_every_cut_is_found_without_reading_all(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(CONTENT[:size])
    assert not is_whole(path)
    path.write_bytes(CONTENT + b"x")
    assert not is_whole(path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * 8, b"\0" * 100, b"[" * 2000])
def test_what_is_no_weights_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors is damaged.*cure"):
        read_weights(path, "2d/fold_0", "cure")
    with pytest.raises(ModelError, match=r"cannot be read.*cure"):
        read_weights(tmp_path, "2d/fold_0", "cure")


def test_weights_of_another_fold_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(CONTENT)
    with pytest.raises(ModelError, match="weights of 2d/fold_0, not those of 2d/fold_1"):
        read_weights(tmp_path / "weights.safetensors", "2d/fold_1", "cure")


def test_a_file_without_a_checksum_is_taken(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "weights.safetensors")
    assert load(read_weights(tmp_path / "weights.safetensors", "2d/fold_0", "cure")).keys() == TENSORS.keys()
