"""A zip that is not what its directory says, or a folder that leads elsewhere, is refused or read as what it is."""

import os
import socket
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from strangers import Entries, good_entries, laid_out, mended, survived, zipped

from autoseg.bundle import source
from autoseg.bundle.bundle import read_bundle
from autoseg.cli import main
from autoseg.errors import ModelError

LOCAL, DIRECTORY, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
WEIGHTS = "2d/fold_0.safetensors"


@pytest.fixture
def entries(small_plan, tmp_path) -> Entries:
    return good_entries(small_plan, tmp_path / "author")


@pytest.fixture
def good(entries, tmp_path) -> bytes:
    """An archive without compression, so that its bytes lie where they are looked for."""
    return zipped(tmp_path / "good" / "stranger.zip", entries).read_bytes()


@pytest.fixture
def ends(tmp_path) -> Callable[[bytes], str]:
    def written(content: bytes) -> str:
        path = tmp_path / "stranger.zip"
        path.write_bytes(content)
        return survived(path, tmp_path / "models")

    return written


def patched(archive: bytes, signature: bytes, offset: int, value: bytes, number: int = 0) -> bytes:
    """With other bytes at ``offset`` of the header that begins with ``signature``, the ``number``-th of them."""
    place = -1
    for _ in range(number + 1):
        place = archive.index(signature, place + 1)
    return archive[: place + offset] + value + archive[place + offset + len(value) :]


DEFECTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda zip: b"",
    "one byte": lambda zip: b"P",
    "only an end": lambda zip: END + bytes(18),
    "no end": lambda zip: zip[: zip.rindex(END)],
    "half": lambda zip: zip[: len(zip) // 2],
    "twice": lambda zip: zip + zip,
    "bytes in front": lambda zip: b"#!/bin/sh\n" * 100 + zip,
    "bytes behind": lambda zip: zip + b"x" * 100,
    "comment of 64 kB": lambda zip: zip[:-2] + struct.pack("<H", 65535) + b"c" * 65535,
    "comment with an end inside": lambda zip: zip[:-2] + struct.pack("<H", 22) + END + bytes(18),
    "comment shorter than it says": lambda zip: zip[:-2] + struct.pack("<H", 500) + b"c",
    "fewer entries than it says": lambda zip: patched(zip, END, 10, b"\xff\xfe"),
    "directory elsewhere": lambda zip: patched(zip, END, 16, b"\xf0\xff\xff\x7f"),
    "directory larger than the file": lambda zip: patched(zip, END, 12, b"\xf0\xff\xff\x7f"),
    "directory empty": lambda zip: patched(zip, END, 12, bytes(4)),
    "zip64 that is not there": lambda zip: patched(zip, END, 16, b"\xff\xff\xff\xff"),
    "other disk": lambda zip: patched(zip, END, 4, b"\7\0\7\0"),
    "version of the future": lambda zip: patched(zip, DIRECTORY, 6, b"\xff\0"),
    "encrypted": lambda zip: patched(zip, DIRECTORY, 8, b"\1\0"),
    "encrypted strongly": lambda zip: patched(zip, DIRECTORY, 8, b"\x41\0"),
    "encrypted in the local header": lambda zip: patched(zip, LOCAL, 6, b"\1\0"),
    "patched data": lambda zip: patched(zip, DIRECTORY, 8, b"\x20\0"),
    "patched data in the local header": lambda zip: patched(zip, LOCAL, 6, b"\x20\0"),
    "strong encryption in the local header": lambda zip: patched(zip, LOCAL, 6, b"\x40\0"),
    "data descriptor that is not there": lambda zip: patched(zip, DIRECTORY, 8, b"\x08\0"),
    "deflated, says the directory": lambda zip: patched(zip, DIRECTORY, 10, b"\x08\0"),
    "bzip2": lambda zip: patched(zip, DIRECTORY, 10, b"\x0c\0"),
    "lzma": lambda zip: patched(zip, DIRECTORY, 10, b"\x0e\0"),
    "unknown compression": lambda zip: patched(zip, DIRECTORY, 10, b"\x63\0"),
    "unknown compression in the local header": lambda zip: patched(zip, LOCAL, 8, b"\x63\0"),
    "other checksum": lambda zip: patched(zip, DIRECTORY, 16, b"abcd"),
    "more packed bytes than there are": lambda zip: patched(zip, DIRECTORY, 20, b"\xf0\xff\xff\x7f", 2),
    "fewer packed bytes": lambda zip: patched(zip, DIRECTORY, 20, b"\1\0\0\0"),
    "more bytes than there are": lambda zip: patched(zip, DIRECTORY, 24, b"\xf0\xff\xff\x7f"),
    "no bytes": lambda zip: patched(zip, DIRECTORY, 24, bytes(4)),
    "sizes in zip64 that is not there": lambda zip: patched(zip, DIRECTORY, 20, b"\xff" * 8),
    "longer name": lambda zip: patched(zip, DIRECTORY, 28, b"\xff\x7f"),
    "no name": lambda zip: patched(zip, DIRECTORY, 28, bytes(2)),
    "longer extra field": lambda zip: patched(zip, DIRECTORY, 30, b"\xff\x7f"),
    "longer local name": lambda zip: patched(zip, LOCAL, 26, b"\xff\x7f"),
    "other local name": lambda zip: patched(zip, LOCAL, 30, b"PLAN"),
    "entry elsewhere": lambda zip: patched(zip, DIRECTORY, 42, b"\xf0\xff\xff\x7f"),
    "entry within the directory": lambda zip: patched(zip, DIRECTORY, 42, struct.pack("<I", zip.index(DIRECTORY))),
    "entries at one place": lambda zip: patched(zip, DIRECTORY, 42, bytes(4), 1),
    "no signature": lambda zip: patched(zip, DIRECTORY, 0, b"XX"),
    "no local signature": lambda zip: patched(zip, LOCAL, 0, b"XX"),
    "name in no encoding": lambda zip: patched(zip, DIRECTORY, 8, b"\0\x08").replace(
        b"model.json", b"model\xff\xfeson"
    ),
}


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_a_defect_archive_is_refused_or_read_as_what_it_is(good, ends, defect):
    ends(DEFECTS[defect](good))


@pytest.mark.parametrize("size", [1, 20, 1000])
def test_any_byte_may_be_another(good, ends, size):
    import random

    chance = random.Random(size)
    directory = good.index(DIRECTORY)
    for _ in range(12):
        content = bytearray(good)
        for _ in range(size):
            content[chance.randrange(directory, len(good))] = chance.randrange(256)
        ends(bytes(content))


@pytest.mark.slow
def test_a_directory_is_as_long_as_a_bundle_needs(tmp_path):
    path = tmp_path / "stranger.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number:040}", b"")
    assert "more entries than a bundle may have" in survived(path, tmp_path / "models")


def test_entries_that_share_their_bytes_are_refused(good, ends):
    """A few kilobytes could unpack to gigabytes, each entry by itself unsuspicious."""
    size = struct.pack("<II", len(good) - 200, len(good) - 200)
    assert "overlap" in ends(patched(patched(good, DIRECTORY, 20, size), DIRECTORY, 20, size, 1))


@pytest.mark.parametrize("name", ["Plan.json", "MODEL.JSON", "2D/fold_0.safetensors", "plan.json/x", "plan.json "])
def test_a_name_that_differs_in_little_is_refused(entries, tmp_path, name):
    assert "does not name" in survived(zipped(tmp_path / "stranger.zip", entries | {name: b"x"}), tmp_path / "models")


def test_a_folder_is_no_file(entries, tmp_path):
    path = zipped(tmp_path / "stranger.zip", {name: text for name, text in entries.items() if name != "plan.json"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("plan.json/", b"")
    assert "plan.json is missing" in survived(path, tmp_path / "models")


def test_any_mode_of_an_entry_is_that_of_a_file_or_refused(entries, tmp_path):
    for kind in range(16):
        path = zipped(tmp_path / "stranger.zip", entries)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (kind << 12 | 0o777) << 16
                archive.writestr(entry, content)
        said = survived(path, tmp_path / "models")
        assert said == "predicts" if kind << 12 in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a device" in said


@pytest.mark.parametrize("name", ["model.json", "plan.json", WEIGHTS, "2d"])
def test_a_link_that_leads_out_of_a_folder_is_not_followed(entries, tmp_path, name):
    folder, outside = laid_out(tmp_path / "stranger", entries), tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    assert "is a link that leads out of it" in survived(folder, tmp_path / "models")


@pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/nowhere", "."])
def test_weights_are_never_read_from_elsewhere(entries, tmp_path, target):
    folder = laid_out(tmp_path / "stranger", entries)
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(target)
    assert survived(folder, tmp_path / "models") != "predicts"


def test_a_link_within_a_folder_and_one_to_it_are_followed(entries, tmp_path):
    folder = laid_out(tmp_path / "there", entries)
    (folder / WEIGHTS).rename(folder / "weights")
    (folder / WEIGHTS).symlink_to("../weights")
    (tmp_path / "stranger").symlink_to(folder)
    assert survived(tmp_path / "stranger", tmp_path / "models") == "predicts"


@pytest.mark.parametrize("name", ["model.json", "plan.json", WEIGHTS])
def test_what_is_no_file_is_not_opened(entries, tmp_path, name):
    folder = laid_out(tmp_path / "stranger", entries)
    (folder / name).unlink()
    os.mkfifo(folder / name)  # opening it would wait for ever
    assert "model.json in it" in survived(folder, tmp_path / "models") or name != "model.json"
    (folder / name).unlink()
    (folder / name).mkdir()
    assert survived(folder, tmp_path / "models") != "predicts"


def test_a_folder_is_as_large_as_a_bundle_may_be(entries, tmp_path, monkeypatch):
    folder = laid_out(tmp_path / "stranger", entries)
    monkeypatch.setattr("autoseg.bundle.bundle.MOST_BYTES", 5000)
    assert "this is no model bundle" in survived(folder, tmp_path / "models")


def test_a_sparse_file_is_refused_before_it_is_read(entries, tmp_path):
    size = 1 << 40
    folder = laid_out(tmp_path / "stranger", mended(entries))
    os.truncate(folder / WEIGHTS, size)
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace(f'"size": {len(entries[WEIGHTS])}', f'"size": {size}'))
    assert "1100 GB" in survived(folder, tmp_path / "models")


def test_an_entry_without_a_name_is_refused(ends):
    """Found by fuzzing."""
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, *(0,) * 9)
    listed = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, *(0,) * 14)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(listed), len(local), 0)
    assert "has no name" in ends(local + listed + end)


def code_of(words: list[str]) -> int | str | None:
    try:
        return main(words)
    except SystemExit as ended:  # what argparse refuses by itself
        return ended.code


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
def test_anything_may_be_asked_what_it_is(tmp_path, capsys, size):
    text, fifo, plug = tmp_path / "text", tmp_path / "fifo", tmp_path / "plug"
    text.write_bytes(b"x" * size)
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(str(plug))
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o000)
        odd = [str(path) for path in (text, fifo, plug, tmp_path, closed, tmp_path / "nowhere", "/dev/null", "/proc/1")]
        for name in [*odd, "", ".", "..", "/", "~nobody_at_all", "a\0b", "x" * 5000, "\udcff", "*", "-", "fold_0"]:
            for command in ("info", "export"):
                assert code_of([command, "--workspace", str(tmp_path / "workspace"), "--", name]) == 2
                said = capsys.readouterr()
                assert not said.out and 20 < len(said.err) < 2000


def test_an_archive_that_may_not_be_read_is_refused(good, ends, monkeypatch):
    def forbidden(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(source, "_Sparing", forbidden)
    assert "cannot be read (Permission denied)" in ends(good)


@pytest.mark.parametrize("name", ["~", "ä", "model 2"])
def test_a_model_may_have_any_name_that_a_folder_may_have(entries, tmp_path, name):
    path = zipped(tmp_path / f"stranger {name}.zip", entries)
    assert survived(path, tmp_path / "models") == "predicts"
    with pytest.raises(ModelError, match="does not exist"):
        read_bundle(Path(str(path) + "x"))
