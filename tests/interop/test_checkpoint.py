"""Checkpoints of torch are read number by number, and nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoseg.errors import ModelError
from autoseg.interop.checkpoint import StoredTensor, open_checkpoint


def saved(value: Any, path: Path) -> Path:
    torch.save(value, path)
    return path


def test_every_tensor_is_what_torch_reads(tmp_path: Path) -> None:
    base = torch.randn(6, 8)
    tensors = {
        "float": torch.randn(2, 3, 4),
        "double": torch.randn(3).double(),
        "half": torch.randn(5).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "whole": torch.arange(4),
        "byte": torch.arange(4, dtype=torch.uint8),
        "truth": torch.tensor([True, False]),
        "number": torch.tensor(3.5),
        "turned": base.T,
        "part": base[2:5, ::3],
        "parameter": nn.Parameter(torch.randn(2, 2)),
    }
    with open_checkpoint(saved({"network_weights": tensors}, tmp_path / "a.pth")) as checkpoint:
        stored = checkpoint.values["network_weights"]
        assert list(stored) == list(tensors)
        read = dict(checkpoint.tensors(stored))
        for name, expected in tensors.items():
            found = read[name]
            assert found.dtype == expected.dtype
            torch.testing.assert_close(found, expected.detach(), rtol=0, atol=0)


def test_a_network_and_its_optimizer_are_plain_values_and_tensors(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    optimizer = torch.optim.AdamW(network.parameters(), 0.1)
    network(torch.randn(1, 1, 5, 5, 5)).sum().backward()
    optimizer.step()
    content = {"network_weights": network.state_dict(), "optimizer_state": optimizer.state_dict(), "device": "cpu"}
    with open_checkpoint(saved(content, tmp_path / "a.pth")) as checkpoint:
        assert type(checkpoint.values["network_weights"]) is dict
        group = checkpoint.values["optimizer_state"]["param_groups"][0]
        assert (group["lr"], group["params"]) == (0.1, [0, 1, 2, 3])
        assert isinstance(checkpoint.values["optimizer_state"]["state"][0]["exp_avg"], StoredTensor)


def test_what_a_log_holds_comes_back_as_plain_numbers(tmp_path: Path) -> None:
    log = {
        "dice": [np.float32(0.5), np.float64(0.25), np.int64(7), np.bool_(True)],
        "device": torch.device("cuda", 0),
        "size": torch.Size([2, 3]),
        "kind": torch.float32,
    }
    with open_checkpoint(saved(log, tmp_path / "a.pth")) as checkpoint:
        values = checkpoint.values
    assert values["dice"] == [0.5, 0.25, 7, True]
    assert [type(number) for number in values["dice"]] == [float, float, int, bool]
    assert values["device"] == "cuda:0"
    assert values["size"] == (2, 3)


class Hostile:
    """Loaded in the usual way, it makes a file."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.sign}",)


@pytest.mark.parametrize("place", ["network_weights", "optimizer_state", "logging", "anything"])
def test_a_malicious_checkpoint_is_refused_and_nothing_runs(place: str, tmp_path: Path) -> None:
    sign = tmp_path / "it_ran"
    content: dict[str, Any] = {"network_weights": {"w": torch.zeros(1)}, "logging": {}}
    path = saved(content | {place: {"deep": [Hostile(sign)]}}, tmp_path / "a.pth")
    with (
        pytest.raises(ModelError, match=r"a\.pth is not loaded: it asks for (posix|nt)\.system"),
        open_checkpoint(path),
    ):
        pass
    assert not sign.exists()
    torch.load(path, weights_only=False)  # so that the test is about something
    assert sign.exists()


def test_arrays_of_a_log_are_left_out_and_objects_in_them_still_refused(tmp_path: Path) -> None:
    with open_checkpoint(saved({"log": [np.arange(3.0), 1]}, tmp_path / "a.pth")) as checkpoint:
        assert checkpoint.values["log"] == [None, 1]
    hostile = np.array([Hostile(tmp_path / "it_ran")], object)
    with pytest.raises(ModelError, match="O8 is no type"), open_checkpoint(saved({"log": hostile}, tmp_path / "b.pth")):
        pass
    assert not (tmp_path / "it_ran").exists()


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], method: int = zipfile.ZIP_STORED) -> Path:
    """The archive with other content; None drops an entry."""
    target = path.with_name("changed.pth")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def opened(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        dict(checkpoint.tensors(checkpoint.values["network_weights"]))


@pytest.mark.parametrize(
    ("change", "method", "said"),
    [
        (lambda name, old: old[:-1] if "/data/" in name else old, zipfile.ZIP_STORED, "does not fit"),
        (lambda name, old: None if "/data/" in name else old, zipfile.ZIP_STORED, "is missing"),
        (lambda name, old: None if "data.pkl" in name else old, zipfile.ZIP_STORED, "no data.pkl"),
        (lambda name, old: old[:40] if "data.pkl" in name else old, zipfile.ZIP_STORED, "damaged"),
        (lambda name, old: b"big" if "byteorder" in name else old, zipfile.ZIP_STORED, "big-endian"),
        (lambda name, old: old, zipfile.ZIP_DEFLATED, "compressed"),
        (lambda name, old: pickle.dumps([1], 2) if "data.pkl" in name else old, zipfile.ZIP_STORED, "holds a list"),
    ],
)
def test_damage_is_named(change: Any, method: int, said: str, tmp_path: Path) -> None:
    path = saved({"network_weights": {"w": torch.randn(5)}}, tmp_path / "a.pth")
    opened(path)
    with pytest.raises(ModelError, match=said):
        opened(rewritten(path, change, method))


def claims(*arguments: Any) -> Callable[[str, bytes], bytes]:
    """A pickle in which a tensor of five numbers claims another offset, shape or stride."""
    offset, shape, stride = arguments

    class Pickler(pickle._Pickler):
        def persistent_id(self, value: Any) -> Any:
            return value.identity if isinstance(value, Kept) else None

    class Kept:
        identity = ("storage", torch.FloatStorage, "0", "cpu", 5)

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Kept(), offset, shape, stride, False, {})

    file = io.BytesIO()
    Pickler(file, 2).dump({"network_weights": {"w": Tensor()}})
    return lambda name, old: file.getvalue() if "data.pkl" in name else old


@pytest.mark.parametrize(
    "arguments",
    [(1, (5,), (1,)), (0, (6,), (1,)), (0, (2, 3), (3, 1)), (0, (5,), (-1,)), (-1, (5,), (1,)), (0, (5,), (1, 1))],
)
def test_a_tensor_stays_within_its_numbers(arguments: Any, tmp_path: Path) -> None:
    path = saved({"network_weights": {"w": torch.randn(5)}}, tmp_path / "a.pth")
    opened(rewritten(path, claims(1, (2, 2), (2, 1))))
    with pytest.raises(ModelError, match="does not fit"):
        opened(rewritten(path, claims(*arguments)))


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps({"network_weights": {}}))
    with pytest.raises(ModelError, match="is no checkpoint"):
        opened(path)
    torch.save({"network_weights": {}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="is no checkpoint"):
        opened(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match=r"no data\.pkl"):
        opened(path)
