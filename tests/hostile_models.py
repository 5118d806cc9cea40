"""Makes strangers' nnU-Net models for tests: a sound one with one thing in it changed, by name and seed."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

SOUND = Path(__file__).parent / "interop" / "models"
Files = dict[str, bytes]
"""Name below the model's folder to content."""
DEEP: Any = []
for _ in range(40):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**7, 2**31, 2**62, 1.5, -0.5, 1e-300, 1e300, "", "x", "3", "../../x",
    "a\0b\x1b[2J", "y" * 3000, [], [[]], [1], [0, 0, 1], [0, 1, 2], ["x"], [None], [2**62] * 3, [1] * 5000, {},
    {"x": [1]}, {"0": {}}, {"": None}, DEEP,
)  # fmt: skip
"""What stands in the place of a value."""


def sound(name: str) -> Files:
    """A stored model of nnU-Net: turned, cropped or regions_2d."""
    with zipfile.ZipFile(SOUND / f"{name}.zip") as archive:
        root = next(entry.rpartition("/")[0] for entry in archive.namelist() if entry.endswith("plans.json"))
        return {entry.removeprefix(f"{root}/"): archive.read(entry) for entry in archive.namelist()}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value within ``value`` is; of a list, the first and the last."""
    yield path
    inner = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        inner = [(index, value[index]) for index in sorted({0, len(value) - 1}) if value]
    for key, item in inner:
        yield from places(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """A copy with ``other`` at this place."""
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], other) if path[1:] else other
    return copy


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy that lacks this place."""
    copy = value.copy()
    if len(path) > 1:
        copy[path[0]] = without(value[path[0]], path[1:])
    else:
        del copy[path[0]]
    return copy


def changed_json(files: Files, name: str) -> Iterator[tuple[str, Files]]:
    """The model with every value of a JSON file replaced by each of ``VALUES``, and left out."""
    described = json.loads(files[name])
    for path in places(described):
        title = f"{name}:{'.'.join(map(str, path))}"
        for number, other in enumerate(VALUES):
            content = json.dumps(replaced(described, path, other)).encode()
            yield f"{title}={number}", files | {name: content}
        if path:
            yield f"{title} left out", files | {name: json.dumps(without(described, path)).encode()}


def archive_of(files: Files, path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(f"Dataset001_X/nnUNetTrainer__nnUNetPlans__x/{name}", content)
    return path


def folder_of(files: Files, path: Path) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def checkpoint_name(files: Files) -> str:
    return next(name for name in sorted(files) if name.endswith(".pth"))


def with_checkpoint(files: Files, change: Callable[[dict[str, Any]], Any]) -> Files:
    """``change`` gets the values of the checkpoint and returns those to save."""
    name = checkpoint_name(files)
    values = torch.load(io.BytesIO(files[name]), weights_only=False)
    target = io.BytesIO()
    torch.save(change(values), target)
    return files | {name: target.getvalue()}


def with_entries(files: Files, change: Callable[[str, bytes], bytes | None]) -> Files:
    """``change`` gets name and content of every entry of the checkpoint; None drops it."""
    name = checkpoint_name(files)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files[name])) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            if (content := change(entry, old.read(entry))) is not None:
                new.writestr(entry, content)
    return files | {name: target.getvalue()}


def with_pickle(files: Files, content: bytes) -> Files:
    return with_entries(files, lambda name, old: content if name.endswith("/data.pkl") else old)


def patched(files: Files, offset: int, new: bytes, record: bytes = b"PK\1\2") -> Files:
    """The checkpoint with bytes replaced in every record of its zip that begins so."""
    name = checkpoint_name(files)
    content, at = bytearray(files[name]), -1
    while (at := content.find(record, at + 1)) >= 0:
        content[at + offset : at + offset + len(new)] = new
    return files | {name: bytes(content)}


def _shared(depth: int, leaf: bytes = b"K\x01") -> bytes:
    """A tuple that holds a tuple twice, and so on: written out, it has 2**depth numbers."""
    return leaf + b"2\x86" * depth


def _identity(count: bytes) -> bytes:
    return b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu" + count + b"tQ"


def _tensor(shape: bytes, stride: bytes, count: bytes = b"K\x08", offset: bytes = b"K\0") -> bytes:
    """A dict with one weight that claims this."""
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + _identity(count) + offset + shape + stride + b"\x89}tR"
    return b"\x80\x02}(X\x0f\0\0\0network_weights}X\x01\0\0\0w" + call + b"su."


PICKLES: dict[str, bytes] = {
    "shared identity": b"\x80\x02" + _shared(60) + b"Q.",
    "shared identity in text": b"\x80\x02(X\x07\0\0\0storage" + _shared(60) + b"K\x01K\x01K\x01tQ.",
    "shared key": b"\x80\x02}" + _shared(60) + b"K\x01s.",
    "shared member": b"\x80\x04\x8f(" + _shared(60) + b"\x90.",
    "shared device": b"\x80\x02ctorch\ndevice\n" + _shared(60) + b"R.",
    "shared sizes": b"\x80\x02ctorch\nSize\n" + _shared(60) + b"\x85R.",
    "shared dtype": b"\x80\x02cnumpy\ndtype\n" + _shared(60) + b"\x85R.",
    "shared coding": b"\x80\x02c_codecs\nencode\nX\x01\0\0\0a" + _shared(60) + b"\x86R.",
    "shared weights": b"\x80\x02}X\x0f\0\0\0network_weights" + _shared(60) + b"s.",
    "shared arguments": b"\x80\x02}X\x09\0\0\0init_args" + _shared(60) + b"s.",
    "shared axes": b"\x80\x02}(X\x09\0\0\0init_args}X\x0d\0\0\0configurationX\x06\0\0\0turneds"
    b"X!\0\0\0inference_allowed_mirroring_axes" + _shared(60) + b"u.",
    "numbers as names": b"\x80\x02}X\x0f\0\0\0network_weights}K\x01K\x02ss.",
    "text of 2**60 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"a.",
    "bytes of 2**62 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.",
    "negative length": b"\x80\x02T\xff\xff\xff\xffa.",
    "long of 4 MB": b"\x80\x02\x8b" + struct.pack("<i", 1 << 22) + b"\x7f" * (1 << 22) + b".",
    "digits": b"I" + b"9" * 100_000 + b"\n.",
    "digits of a long": b"L" + b"9" * 5000 + b"L\n.",
    "digits of a place": b"]g" + b"9" * 5000 + b"\n.",
    "a frame of 2**60": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
    "protocol 99": b"\x80\x63N.",
    "many sets": b"\x80\x04](" + b"\x8f" * 800_000 + b"e.",
    "many marks": b"\x80\x04" + b"(" * 200_000 + b".",
    "many lists in lists": b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "many calls": b"\x80\x02ccollections\nOrderedDict\nq\0]q\1(" + b"h\0)R" * 100_000 + b"e.",
    "copies of a long list": b"\x80\x02c_codecs\nencode\nq\0X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    + b"q\1X\6\0\0\0latin1q\2](" + b"h\0h\1h\2\x86R" * 100_000 + b"e.",
    "many instructions": b"\x80\x02" + b"N0" * 1_300_000 + b"N.",
    "numbers that meet": b"\x80\x02}(" + b"".join(
        b"\x8a\x0a" + (number * (2**61 - 1)).to_bytes(10, "little") + b"N" for number in range(30_000)
    ) + b"u.",
    "no end": b"\x80\x02}",
    "nothing": b"",
    "a huge name": b"c" + b"a" * 1_000_000 + b"\nb\n.",
    "an unprintable name": b"c\x1b[2J\nb\n.",
    "an object of numpy": b"\x80\x02cnumpy\ndtype\nX\x02\0\0\0O8\x85R.",
    "a type of numpy in words": b"\x80\x02cnumpy\ndtype\nX\x08\0\0\0(9,9)f4(\x85R.",
    "a tensor without numbers": _tensor(b")", b")", b"N"),
    "stride 0": _tensor(b"(J\xff\xff\xff\x7fK\x01t", b"(K\0K\x01t"),
    "strides that overlap": _tensor(b"(K\x08K\x08t", b"(K\0K\x01t"),
    "a stride of 2**70": _tensor(b"(K\x01t", b"(\x8a\x09" + (2**70).to_bytes(9, "little") + b"t"),
    "a shape of shapes": _tensor(b"(" + _shared(60) + b"t", b"(K\x01t"),
    "a count of 2**62": _tensor(b"(K\x08t", b"(K\x01t", b"\x8a\x08" + (2**62).to_bytes(8, "little")),
    "a thousand axes": _tensor(b"(" + b"K\x01" * 1000 + b"t", b"(" + b"K\x01" * 1000 + b"t"),
    "an empty shape": _tensor(b"(K\0t", b"(K\x01t"),
}  # fmt: skip
"""Programs for the machine that reads pickles; torch would run each of them."""


def changed_checkpoints(files: Files) -> Iterator[tuple[str, Files]]:
    """The model with a checkpoint that is not as it should be."""
    for name, content in PICKLES.items():
        yield f"pickle: {name}", with_pickle(files, content)
    for key, values in {
        "inference_allowed_mirroring_axes": ("x", [7], [-1], [0, 0], [True], [0.5], 5, {}, [[0]], [2**70], [0] * 1000),
        "init_args": (None, [], {}, {"configuration": 5}, {"configuration": "../x"}, {"configuration": "y" * 10**6}),
        "network_weights": (
            None,
            [],
            {},
            {"w": 1},
            {1: torch.zeros(1)},
            {"z" * 10**6: torch.zeros(1)},
            "x",
            {"": None},
        ),
    }.items():
        for number, value in enumerate(values):
            yield f"checkpoint: {key}={number}", with_checkpoint(files, lambda old, k=key, v=value: old | {k: v})
    for title, weight in {
        "whole numbers": lambda tensor: torch.zeros(tensor.shape, dtype=torch.int32),
        "truths": lambda tensor: torch.zeros(tensor.shape, dtype=torch.bool),
        "expanded": lambda tensor: torch.zeros(1).expand(tensor.shape),
        "expanded further": lambda tensor: torch.zeros(1).expand(60_000, 60_000),
        "flat": lambda tensor: tensor.reshape(-1),
    }.items():

        def every(old: dict[str, Any], weight: Any = weight) -> dict[str, Any]:
            return old | {"network_weights": {name: weight(tensor) for name, tensor in old["network_weights"].items()}}

        yield f"weights: {title}", with_checkpoint(files, every)
    yield "checkpoint: a list", with_checkpoint(files, lambda old: [old])
    yield from _changed_archives(files)


def _changed_archives(files: Files) -> Iterator[tuple[str, Files]]:
    """What is wrong is the zip."""
    name = checkpoint_name(files)
    for title, offset, new in (
        ("flags: encrypted", 8, b"\1\0"), ("flags: patched", 8, b"\x20\0"), ("flags: strong", 8, b"\x41\0"),
        ("method: deflated", 10, b"\x08\0"), ("method: unknown", 10, b"\x63\0"), ("version", 6, b"\xff\xff"),
        ("checksum", 16, b"\1\2\3\4"), ("packed size", 20, b"\1\0\0\0"), ("size", 24, b"\xf0\xff\xff\x7f"),
        ("both sizes", 20, b"\xf0\xff\xff\x7f\xf0\xff\xff\x7f"), ("both sizes in 64 bits", 20, b"\xff" * 8),
        ("length of a name", 28, b"\xff\xff"), ("length of extras", 30, b"\xff\xff"),
        ("place", 42, b"\xf0\xff\xff\x7f"),
        ("place 0", 42, b"\0\0\0\0"), ("a name that is no text", 46, b"\xff\xfe"),
    ):  # fmt: skip
        yield f"directory: {title}", patched(files, offset, new)
    for title, offset, new in (
        ("signature", 0, b"XX"), ("flags: encrypted", 6, b"\1\0"), ("method", 8, b"\x63\0"), ("name", 30, b"\xff"),
        ("length of a name", 26, b"\xff\xff"), ("length of extras", 28, b"\xff\xff"),
    ):  # fmt: skip
        yield f"entries: {title}", patched(files, offset, new, b"PK\3\4")
    for title, offset, new in (
        ("entries", 8, b"\xff\xff\xff\xff"), ("size", 12, b"\xf0\xff\xff\x7f"), ("place", 16, b"\xf0\xff\xff\x7f"),
        ("disk", 4, b"\5\0"), ("comment", 20, b"\xff\xff"), ("64 bits", 8, b"\xff" * 12),
    ):  # fmt: skip
        yield f"end of directory: {title}", patched(files, offset, new, b"PK\5\6")
    for share in (0, 1, 30, 50, 90, 99):
        cut = len(files[name]) * share // 100
        yield f"cut after {share} %", files | {name: files[name][:cut]}
    yield "order of bytes: 50 MB", with_entries(files, lambda n, old: b"l" * 50_000_000 if "byteorder" in n else old)
    yield "order of bytes: big", with_entries(files, lambda n, old: b"big" if "byteorder" in n else old)
    yield "no pickle", with_entries(files, lambda n, old: None if n.endswith("data.pkl") else old)
    yield "no tensors", with_entries(files, lambda n, old: None if "/data/" in n else old)
    yield "short tensors", with_entries(files, lambda n, old: old[:-1] if "/data/" in n else old)
    yield "many entries", files | {name: _many_entries()}
    yield "a pickle instead of a zip", files | {name: pickle.dumps({"network_weights": {}})}


def _many_entries() -> bytes:
    """A directory of 6 MB for entries that all are the same byte."""
    first = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 1, 1, 1, 0) + b"aa"
    one = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count = 130_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, count * len(one), len(first), 0)
    return first + one * count + end


POSTPROCESSING: dict[str, bytes] = {
    "shared arguments": b"\x80\x02]cnnunetv2.postprocessing.remove_connected_components\n"
    b"remove_all_but_largest_component_from_segmentation\na]" + _shared(60) + b"a\x86.",
    "shared values": b"\x80\x02]cnnunetv2.postprocessing.remove_connected_components\n"
    b"remove_all_but_largest_component_from_segmentation\na]}X\x11\0\0\0labels_or_regions" + _shared(60) + b"sa\x86.",
    "shared background": b"\x80\x02]cnnunetv2.postprocessing.remove_connected_components\n"
    b"remove_all_but_largest_component_from_segmentation\na]}(X\x11\0\0\0labels_or_regionsK\1X\x10\0\0\0background_label"
    + _shared(60) + b"ua\x86.",
    "shared functions": b"\x80\x02" + _shared(60) + b"]\x86.",
    "shared function": b"\x80\x02]" + _shared(60) + b"a]}a\x86.",
    "shared whole": b"\x80\x02" + _shared(60) + b".",
    "a number": b"K\1.",
    "nothing": b"",
    "other lengths": b"\x80\x02](K\1K\2e]\x86.",
}  # fmt: skip


def changed_postprocessing(files: Files) -> Iterator[tuple[str, Files]]:
    """The model with a postprocessing that is not as it should be."""
    name = next(name for name in files if name.endswith("postprocessing.pkl"))
    for title, content in POSTPROCESSING.items():
        yield f"postprocessing.pkl: {title}", files | {name: content}
    plain = {name: content for name, content in files.items() if not name.endswith("postprocessing.pkl")}
    described = {
        "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
        "postprocessing_kwargs": [{"labels_or_regions": [1], "background_label": 0}],
    }
    told = name.replace(".pkl", ".json")
    yield from changed_json(plain | {told: json.dumps(described).encode()}, told)
