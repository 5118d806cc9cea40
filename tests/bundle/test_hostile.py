"""A bundle made to harm is refused before a byte of it reaches the place where models lie."""

import json
import stat
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autoseg.bundle import source
from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.install import install
from autoseg.bundle.manifest import Manifest
from autoseg.bundle.write import write_bundle
from autoseg.core.digests import content_hash
from autoseg.errors import ModelError, RecordError, UnknownPartError

Entries = dict[str, bytes]


@pytest.fixture
def good(small_plan, tmp_path) -> Path:
    made = tmp_path / "elsewhere" / "good.zip"
    name = small_plan.default
    write_bundle(made, Manifest("Small", {name: ("0",)}, {name: 1.0}), small_plan, {name: {"0": b"w" * 5000}})
    return made


@pytest.fixture
def refused(tmp_path) -> Callable[..., None]:
    """Installing fails with this message and leaves nothing behind, inside or outside the target."""

    def check(bundle: Path | str, match: str, error: type[Exception] = ModelError, **options: object) -> None:
        before = files(tmp_path)
        with pytest.raises(error, match=match):
            install(str(bundle), tmp_path / "models", **options)
        assert files(tmp_path) == before

    return check


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def unpacked(bundle: Path) -> Entries:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(bundle: Path, entries: Entries, *more: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        for entry, content in more:
            archive.writestr(entry, content)
    return bundle


def edited(bundle: Path, change: Callable[[dict], None]) -> Path:
    """The bundle with another manifest; its checksums of the other files stay right."""
    entries = unpacked(bundle)
    manifest = json.loads(entries["model.json"])
    change(manifest)
    return packed(bundle, entries | {"model.json": json.dumps(manifest).encode()})


def test_an_untouched_bundle_is_installed(good, tmp_path):
    folder = install(str(good), tmp_path / "models")
    assert folder == tmp_path / "models" / "Small"
    read_bundle(folder).verify()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/evil",
        "//server/evil",
        "C:/evil",
        "C:evil",
        "..\\evil",
        "\\evil",
        "x\0.json",
        "..",
    ],
)
def test_a_path_that_leaves_the_bundle_is_refused(good, refused, name):
    entry = zipfile.ZipInfo("placeholder")
    entry.filename = entry.orig_filename = name
    refused(packed(good, unpacked(good), (entry, b"evil")), "points outside")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(good, refused, kind):
    entry = zipfile.ZipInfo("notes")
    entry.external_attr = (kind | 0o777) << 16
    refused(packed(good, unpacked(good), (entry, b"/etc/passwd")), "is a link or a device")


@pytest.mark.parametrize(
    "name", ["run.py", "postprocessing.pkl", "model.so", "3d_fullres/fold_9.safetensors", "LICENCE"]
)
def test_a_file_that_the_manifest_does_not_name_is_refused(good, refused, name):
    refused(packed(good, unpacked(good) | {name: b"x"}), "does not name")


def test_an_entry_that_is_there_twice_is_refused(good, refused):
    entries = unpacked(good)
    with pytest.warns(UserWarning, match="Duplicate"):
        packed(good, entries, (zipfile.ZipInfo("plan.json"), b"{}"))
    refused(good, "is there twice")


def test_a_size_bomb_is_refused_before_it_is_unpacked(good, refused):
    entry = zipfile.ZipInfo("plan.json")
    entry.compress_type = zipfile.ZIP_DEFLATED
    entries = unpacked(good)
    del entries["plan.json"]
    refused(packed(good, entries, (entry, b" " * (50 << 20))), "would unpack to 52 MB")


def test_more_than_the_allowed_bytes_are_refused(good, refused, monkeypatch):
    monkeypatch.setattr(source, "MOST_BYTES", 5000)
    refused(good, "would unpack to")


def test_a_flood_of_entries_is_refused(good, refused):
    refused(packed(good, {f"{number}": b"" for number in range(2000)}), "2000 entries")


def test_a_wrong_checksum_is_refused(good, refused):
    entries = unpacked(good)
    refused(packed(good, entries | {"3d_fullres/fold_0.safetensors": b"v" * 5000}), "wrong checksum")


def test_another_size_than_announced_is_refused(good, refused):
    entries = unpacked(good)
    refused(packed(good, entries | {"3d_fullres/fold_0.safetensors": b"w" * 4999}), "has 4999 bytes")


def test_a_missing_file_is_refused(good, refused):
    entries = unpacked(good)
    del entries["3d_fullres/fold_0.safetensors"]
    refused(packed(good, entries), "fold_0.safetensors is missing")


def test_a_manifest_without_checksums_is_refused(good, refused):
    refused(edited(good, lambda manifest: manifest.update(files={})), "does not name|no checksums")


def test_a_truncated_archive_is_refused(good, refused):
    good.write_bytes(good.read_bytes()[:-200])
    refused(good, "no readable zip")


def test_a_flipped_byte_is_refused(good, refused):
    content = bytearray(good.read_bytes())
    content[content.index(b"wwww") + 100] ^= 1
    good.write_bytes(content)
    refused(good, "damaged")


def test_what_is_no_zip_at_all_is_refused(tmp_path, refused):
    (tmp_path / "model.zip").write_bytes(b"MZ" + bytes(500))
    refused(tmp_path / "model.zip", "no readable zip")


def test_a_zip_without_a_manifest_is_refused(good, refused):
    refused(packed(good, {"fold_0/checkpoint_final.pth": b"pickle"}), "no model.json at its top")


@pytest.mark.parametrize("name", ["../../evil", "/etc", "..", "a\\b"])
def test_a_model_cannot_choose_where_it_is_installed(good, refused, name):
    refused(edited(good, lambda manifest: manifest.update(name=name)), "cannot be the name", RecordError)


@pytest.mark.parametrize("fold", ["../../../evil", "0/../../x"])
def test_a_fold_cannot_choose_where_its_weights_lie(good, refused, fold):
    refused(edited(good, lambda m: m.update(configurations={"3d_fullres": [fold]})), "cannot be the name", RecordError)


def test_a_bundle_of_a_later_format_says_so(good, refused):
    refused(edited(good, lambda manifest: manifest.update(format=2, more="fields")), "format 2")


@pytest.mark.parametrize("text", [b"[" * 100_000, b"\xff\xfe", b"[]", b"{}", b'{"name": 3}'])
def test_a_manifest_that_is_no_manifest_is_refused(good, refused, text):
    refused(packed(good, unpacked(good) | {"model.json": text}), "model.json", RecordError)


def test_a_part_of_somebody_elses_package_is_refused(good, refused):
    step = {"label": None, "method": {"name": "antigravity.evil"}}
    refused(
        edited(good, lambda manifest: manifest.update(postprocessing=[step])), "--trust antigravity", UnknownPartError
    )


def test_a_model_is_never_replaced(good, refused, tmp_path):
    install(str(good), tmp_path / "models")
    refused(good, "exists already")


def test_another_digest_than_the_published_one_is_refused(good, refused):
    refused(good, "its SHA-256 is", sha256="0" * 64)


class Handler(BaseHTTPRequestHandler):
    content = b""

    def do_GET(self) -> None:
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/model.zip")
            self.end_headers()
            return
        self.send_response(200)
        if self.path.startswith("/sized") or self.path.startswith("/short"):
            self.send_header("Content-Length", str(len(self.content) + 10 * self.path.startswith("/short")))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(good):
    Handler.content = good.read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/sized", "/unsized"])
def test_a_model_is_installed_from_an_address(server, good, tmp_path, path):
    import hashlib

    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    assert digest != content_hash(good)  # that one separates files
    folder = install(server + path, tmp_path / "models", sha256=digest.upper())
    read_bundle(folder).verify()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["Small"]


def test_a_download_with_another_digest_is_refused(server, refused):
    refused(server + "/sized", "its SHA-256 is", sha256="0" * 64)


@pytest.mark.parametrize("path", ["/sized", "/unsized"])
def test_a_download_is_cut_off_at_its_limit(server, refused, path):
    refused(server + path, "downloaded at most", limit=1000)


def test_a_download_that_breaks_off_is_refused(server, refused):
    refused(server + "/short", "connection ended|could not be downloaded")


def test_a_redirection_to_an_unsafe_address_is_not_followed(server, refused):
    refused(server + "/redirect", "by https only")


@pytest.mark.parametrize(
    "address", ["http://example.invalid/m.zip", "ftp://example.invalid/m.zip", "file:///etc/passwd"]
)
def test_unsafe_addresses_are_refused(refused, address):
    refused(address, "by https only")
