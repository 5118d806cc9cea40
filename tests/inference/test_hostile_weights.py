"""Weights that are not those of the plan's network, or no weights at all, are refused before they are loaded."""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from strangers import SMALL, Entries, good_entries, mended, survived, zipped

from autoseg.cli import main
from autoseg.errors import ModelError
from autoseg.inference.model import Model
from autoseg.parts.readers import write_channels

WEIGHTS = "2d/fold_0.safetensors"


@pytest.fixture
def entries(small_plan, tmp_path) -> Entries:
    return good_entries(small_plan, tmp_path / "author")


@pytest.fixture
def ends(entries, tmp_path) -> Callable[[bytes], str]:
    def written(content: bytes) -> str:
        path = zipped(tmp_path / "stranger.zip", mended(entries | {WEIGHTS: content}))
        return survived(path, tmp_path / "models")

    return written


def head(content: bytes) -> tuple[dict, bytes]:
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header: Any, tensors: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def with_header(change: Callable[[dict], Any]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        header, tensors = head(content)
        new = change(header)
        return joined(header if new is None else new, tensors)

    return changed


def first(header: dict) -> dict:
    return next(value for name, value in header.items() if name != "__metadata__")


def last(header: dict) -> dict:
    return max((value for name, value in header.items() if name != "__metadata__"), key=lambda v: v["data_offsets"])


DEFECTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda file: b"", "ends within its header"),
    "three bytes": (lambda file: b"abc", "ends within its header"),
    "no header": (lambda file: bytes(8), "ends within its header"),
    "a header of 2**63 bytes": (lambda file: struct.pack("<Q", 2**63) + file[8:], "header would have"),
    "a header of 100 MB": (lambda file: struct.pack("<Q", 100 << 20) + file[8:], "header would have"),
    "a header longer than the file": (lambda file: struct.pack("<Q", len(file)) + file[8:], "ends within its header"),
    "a header that is cut": (lambda file: struct.pack("<Q", 40) + file[8:], "not readable as JSON"),
    "no JSON": (lambda file: joined(b"\x80\x04.", b""), "not readable as JSON"),
    "deep JSON": (lambda file: joined(b"[" * 100_000, b""), "too deep"),
    "a list": (lambda file: joined([], b""), "expected an object"),
    "a number": (lambda file: joined(3, b""), "expected an object"),
    "no tensor": (lambda file: joined({}, b""), "too few for|is missing"),
    "a name twice": (
        lambda file: joined(json.dumps(head(file)[0]).replace("{", '{"a": 1, "a": 2, ', 1).encode(), head(file)[1]),
        "stands there twice",
    ),
    "metadata only": (lambda file: joined({"__metadata__": {"a": "b"}}, b""), "too few for|is missing"),
    "a huge header": (with_header(lambda h: h | {"__metadata__": {"a": "x" * (5 << 20)}}), "header would have"),
    "a tensor that is none": (with_header(lambda h: h | {"a": 3}), "expected an object"),
    "a tensor without offsets": (with_header(lambda h: first(h).pop("data_offsets")and None), "data_offsets"),
    "a tensor too many": (with_header(lambda h: h | {"evil": first(h)}), "evil is unknown"),
    "a tensor of nothing": (
        with_header(lambda h: h | {"evil": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
        "evil is unknown",
    ),
    "offsets that overlap": (with_header(lambda h: last(h).update(data_offsets=first(h)["data_offsets"])), "damaged"),
    "offsets with a gap": (
        with_header(lambda h: last(h).update(data_offsets=[n + 4 for n in last(h)["data_offsets"]])),
        "damaged",
    ),
    "offsets that go back": (
        with_header(lambda h: last(h).update(data_offsets=last(h)["data_offsets"][::-1])),
        "damaged",
    ),
    "offsets beyond the file": (with_header(lambda h: last(h).update(data_offsets=[0, 2**62])), "damaged"),
    "offsets below 0": (with_header(lambda h: last(h).update(data_offsets=[-4, 0])), "damaged"),
    "another shape": (with_header(lambda h: first(h).update(shape=[1, 2, 3])), "has shape"),
    "a shape below 0": (with_header(lambda h: first(h).update(shape=[-1])), "has shape"),
    "a shape of 2**62": (with_header(lambda h: first(h).update(shape=[2**62, 2**62])), "has shape"),
    "a long shape": (with_header(lambda h: first(h).update(shape=[1] * 100_000)), "has shape"),
    "an unknown type": (with_header(lambda h: first(h).update(dtype="X" * 5000)), "no floating-point numbers"),
    "whole numbers": (with_header(lambda h: first(h).update(dtype="I32")), "no floating-point numbers"),
    "numbers of 8 bits": (with_header(lambda h: first(h).update(dtype="F8_E4M3")), "no floating-point numbers"),
    "a type of another size": (with_header(lambda h: first(h).update(dtype="F16")), "damaged"),
    "fewer bytes": (lambda file: file[:-4], "damaged"),
    "more bytes": (lambda file: file + bytes(1 << 20), "damaged"),
    "a pickle": (lambda file: b"\x80\x04\x95" + bytes(500), "header would have"),
    "a zip": (lambda file: b"PK\3\4" + bytes(500), "header would have"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_defect_weights_are_refused(entries, ends, defect):
    change, said = DEFECTS[defect]
    assert re.search(said, ends(change(entries[WEIGHTS])))


def test_weights_whose_header_is_longer_than_a_block_are_read(entries, ends):
    header, tensors = head(entries[WEIGHTS])
    assert ends(joined(header | {"__metadata__": {"notes": "x" * (2 << 20)}}, tensors)) == "predicts"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_numbers_are_converted(entries, ends, kind):
    assert ends(save({name: value.to(kind) for name, value in load(entries[WEIGHTS]).items()})) == "predicts"


@pytest.mark.parametrize(("kind", "value"), [("float32", "nan"), ("float32", "inf"), ("float64", "1e300")])
def test_a_network_that_cannot_compute_is_refused(entries, ends, kind, value):
    tensors = load(entries[WEIGHTS])
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].to(getattr(torch, kind))
    tensors[name].view(-1)[0] = float(value)
    assert f"{name} holds values that are not finite" in ends(save(tensors))


def test_nothing_is_loaded_of_weights_that_do_not_fit(entries, tmp_path, monkeypatch):
    """Neither the network nor the file: both may be larger than memory."""
    other = save({f"layer{number}": torch.zeros(2) for number in range(50)})
    path = zipped(tmp_path / "stranger.zip", mended(entries | {WEIGHTS: other}))
    built = []
    monkeypatch.setattr("autoseg.bundle.weights.load", lambda content: built.append(len(content)) or load(content))
    with pytest.raises(ModelError, match=r"2d.* is missing; .* and \d+ more"):
        Model.read(path)
    assert len(other) not in built


def test_weights_that_this_machine_cannot_hold_are_refused(entries, tmp_path, monkeypatch):
    path = zipped(tmp_path / "stranger.zip", entries)
    monkeypatch.setattr("autoseg.inference.networks.memory_bytes", lambda: 10_000)
    with pytest.raises(ModelError, match=r"stranger\.zip: the weights take .* MB, this machine has"):
        Model.read(path)


def test_a_network_that_overflows_is_a_problem_of_each_case(entries, tmp_path, capsys):
    huge = {name: torch.full_like(value, 1e38) for name, value in load(entries[WEIGHTS]).items()}
    path = zipped(tmp_path / "stranger.zip", mended(entries | {WEIGHTS: save(huge)}))
    for case in ("a", "b"):
        write_channels(SMALL.array, SMALL.geometry, tmp_path / "in" / f"{case}_0000.nii.gz")
    words = ["predict", "-m", str(path), "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    fast = ["--precision", "float32", "--threads", "1", "--tta", "none"]
    assert main([*words, *fast, "--workspace", str(tmp_path / "workspace")]) == 1
    assert len(re.findall("(?m)^[ab]: network failed: .* not finite", capsys.readouterr().err)) == 2
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_predicting_never_writes_outside_its_folder(small_plan, tmp_path):
    """Even where nobody has looked at the plan."""
    from autoseg.inference.memory import Gate
    from autoseg.inference.options import DEFAULT
    from autoseg.inference.outputs import chosen
    from autoseg.pipeline.predict_stages import Stages
    from autoseg.pipeline.results import Results

    task, network, folder = small_plan.task(), small_plan.task().network(), tmp_path / "out"

    def target(ending: str) -> Path:
        model = Model(replace(task, file_ending=ending), (network,), ("0",))
        return Stages(model, folder, DEFAULT, chosen(), Gate(0), Results(folder), {}).target("case")

    for ending in ("/../../evil.nii.gz", "/../evil", "/../../../evil.nii.gz"):
        with pytest.raises(ModelError, match="outside"):
            target(ending)
    assert target(".nii.gz") == folder / "case.nii.gz"
