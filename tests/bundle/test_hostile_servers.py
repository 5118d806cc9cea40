"""Whatever an address is and whatever its server does, it ends soon, with a sentence, and nothing stays."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.request import Request

import pytest
from strangers import Entries, good_entries, zipped

from autoseg.bundle import download
from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.install import install
from autoseg.errors import ModelError

PATIENCE = 0.4  # seconds
Answer = Callable[["Server"], object]


@pytest.fixture
def entries(small_plan, tmp_path) -> Entries:
    return good_entries(small_plan, tmp_path / "author")


@pytest.fixture
def content(entries, tmp_path) -> bytes:
    return zipped(tmp_path / "good" / "good.zip", entries).read_bytes()


@pytest.fixture
def refused(tmp_path) -> Callable[..., str]:
    """The message with which an address is refused; nothing lies where models lie."""

    def check(address: str, **options: object) -> str:
        with pytest.raises(ModelError) as caught:
            install(address, tmp_path / "models", **{"patience": 5.0, **options})
        assert not list((tmp_path / "models").iterdir())
        assert len(str(caught.value)) < 2000 and "\x1b" not in str(caught.value)
        return str(caught.value)

    return check


@pytest.mark.parametrize(
    "address",
    [
        "https://[::1", "https://]", "https://[x]/", "https://a..b/", "https://.", "https://\udcff/", "https://a:99999/",
        "https://a:-1/", "https://a:b/", "https://a:/b c", "https://", "https:///path", "https://a\x00b/", "https://a\nb/",
        "https://a/\x1b[2J", "https://a/\r\nHost: b", "https://a/ü", "https://" + "a" * 64 + "/",
        "https://a/" + "x" * 300_000,
        "https://" + "a." * 1000, "https://user:password@a/", "https://user@a/", "https://a%00b/x y",
        "http://example.invalid/m", "http://localhost@example.invalid/m", "http://localhost.example.invalid/m",
        "http://127.0.0.1.example.invalid/", "http://localhost\\@example.invalid/", "http://0x7f000001/", "http://",
        "ftp://example.invalid/m", "file:///etc/passwd", "FILE:///etc/passwd", "data://text/plain,x", "gopher://a/", "://",
        "https//a://b", "javascript://a", "jar:https://a!/b",
    ],
)  # fmt: skip
def test_an_address_that_is_none_or_unsafe_is_refused_without_asking_anybody(refused, address, monkeypatch):
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("somebody was asked"))
    message = refused(address)
    assert re.search("https only|is no address|no such|user name", message) and "password" not in message


class Server(BaseHTTPRequestHandler):
    """Answers as the test says."""

    answer: Answer

    def do_GET(self) -> None:
        try:
            type(self).answer(self)
        except OSError:
            pass  # who asked has gone

    def log_message(self, *arguments: object) -> None:
        pass

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def raw(self, text: bytes) -> None:
        self.wfile.write(text)
        self.close_connection = True


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Starts a server on this machine that answers so, and gives its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        handler = type("Answering", (Server,), {"answer": staticmethod(answer)})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/model.zip"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def endless(server: Server, piece: bytes = b"x" * 65536) -> None:
    while True:
        server.wfile.write(piece)


def trickle(server: Server, piece: bytes = b"x") -> None:
    for _ in range(200):
        server.wfile.write(piece)
        server.wfile.flush()
        time.sleep(0.02)


ANSWERS: dict[str, tuple[Answer, str]] = {
    "nothing": (lambda s: s.raw(b""), "could not be downloaded"),
    "no HTTP": (lambda s: s.raw(b"\x16\x03\x01" + b"\xff" * 500), "could not be downloaded"),
    "half a head": (lambda s: s.raw(b"HTTP/1.1 200 OK\r\nContent-"), "zip|could not be downloaded"),
    "an odd status": (lambda s: s.raw(b"HTTP/1.1 abc OK\r\n\r\n"), "could not be downloaded"),
    "a status line without end": (lambda s: s.raw(b"HTTP/1.1 200 " + b"x" * 100_000), "could not be downloaded"),
    "a header without end": (lambda s: s.raw(b"HTTP/1.1 200 OK\r\na: " + b"x" * 100_000), "could not be downloaded"),
    "a thousand headers": (lambda s: s.raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000), "could not be downloaded"),
    "not found": (lambda s: (s.head(404), s.raw(b"<html>no</html>")), "answers 404 Not Found"),
    "unauthorised": (lambda s: s.head(401, WWW_Authenticate='Basic realm="x"'), "answers 401"),
    "error": (lambda s: (s.head(500), endless(s)), "answers 500"),
    "an error that steers terminals": (
        lambda s: s.raw(b"HTTP/1.1 500 \x1b[2J" + b"x" * 5000 + b"\r\n\r\n"),
        "answers 500",
    ),
    "a page": (lambda s: (s.head(), s.raw(b"<html>log in</html>")), "no readable zip"),
    "no content": (lambda s: s.head(204), "no readable zip"),
    "packed": (lambda s: (s.head(Content_Encoding="gzip"), s.raw(b"\x1f\x8b")), "'gzip', which nobody asked for"),
    "endless": (lambda s: (s.head(), endless(s)), "sends more than the 100000 bytes"),
    "10**30 bytes": (lambda s: s.head(Content_Length=10**30), "more than the 100000"),
    "10**5000 bytes": (lambda s: s.head(Content_Length="1" + "0" * 5000), "no readable zip|slow|downloaded"),
    "-5 bytes": (lambda s: (s.head(Content_Length=-5), s.raw(b"x")), "no readable zip"),
    "more than it has": (lambda s: (s.head(Content_Length=5000), s.raw(b"x")), "ended after 1 of 5000 bytes"),
    "chunks that are none": (lambda s: (s.head(Transfer_Encoding="chunked"), s.raw(b"zz\r\nxx")), "not be downloaded"),
    "chunks of -5": (lambda s: (s.head(Transfer_Encoding="chunked"), s.raw(b"-5\r\nxx")), "not be downloaded"),
    "a chunk that ends": (lambda s: (s.head(Transfer_Encoding="chunked"), s.raw(b"ff\r\nxx")), "not be downloaded"),
    "round and round": (lambda s: s.head(302, Location="/model.zip"), "infinite loop"),
    "further and further": (lambda s: s.head(302, Location=s.path + "x"), "infinite loop|could not"),
    "nowhere": (lambda s: s.head(302), "answers 302"),
    "a file": (lambda s: s.head(302, Location="file:///etc/passwd"), "could not be downloaded|https only"),
    "another protocol": (lambda s: s.head(301, Location="ftp://localhost/"), "https only"),
    "no address": (lambda s: s.head(302, Location="https://[::1"), "could not be downloaded|no address"),
    "a bare protocol": (lambda s: s.head(307, Location="http://"), "https only|no address|loop"),
    "elsewhere by http": (lambda s: s.head(308, Location="http://example.invalid/"), "https only|answers 308"),
    "a user": (lambda s: s.head(303, Location="https://a:b@localhost/"), "user name"),
    "elsewhere with much to say": (
        lambda s: (s.head(302, Location="http://example.invalid/"), endless(s)),
        "https only",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
def test_a_server_that_does_it_wrong(serve, refused, kind):
    answer, said = ANSWERS[kind]
    assert re.search(said, refused(serve(answer), limit=100_000))


SLOW: dict[str, Answer] = {
    "says nothing": lambda s: time.sleep(3),
    "a head letter by letter": lambda s: (s.wfile.write(b"HTTP/1.1 200 OK\r\na: "), trickle(s)),
    "a header at a time": lambda s: (s.wfile.write(b"HTTP/1.1 200 OK\r\n"), trickle(s, b"a: b\r\n")),
    "a letter at a time": lambda s: (s.head(), trickle(s)),
    "a letter at a time, of so many": lambda s: (s.head(Content_Length=200), trickle(s)),
    "chunks of a letter": lambda s: (s.head(Transfer_Encoding="chunked"), trickle(s, b"1\r\nx\r\n")),
    "wait for it": lambda s: trickle(s, b"HTTP/1.1 100 Continue\r\n\r\n"),
    "elsewhere, slowly": lambda s: (s.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: "), trickle(s)),
}  # fmt: skip


@pytest.mark.parametrize("kind", SLOW, ids=str)
def test_a_slow_server_is_not_waited_for(serve, refused, kind):
    address = serve(SLOW[kind])
    start = time.monotonic()
    assert "too slow" in refused(address, patience=PATIENCE)
    assert time.monotonic() - start < 3  # the whole answer would take longer


def test_a_server_that_falls_asleep_is_not_waited_for(serve, refused):
    def answer(server: Server) -> None:
        server.head()
        server.wfile.write(b"x" * 100_000)
        server.wfile.flush()
        time.sleep(3)

    assert "too slow" in refused(serve(answer), patience=PATIENCE)


@pytest.mark.slow
def test_a_server_that_is_slow_but_not_too_slow_is_waited_for(serve, content, tmp_path, monkeypatch):
    pause = 3 * PATIENCE / (len(content) / 4000)
    monkeypatch.setattr(download, "SLOWEST", 100)

    def answer(server: Server) -> None:
        server.head()
        for start in range(0, len(content), 4000):
            server.wfile.write(content[start : start + 4000])
            server.wfile.flush()
            time.sleep(pause)

    folder = install(serve(answer), tmp_path / "models", patience=PATIENCE)
    read_bundle(folder).verify()


def chunked(server: Server, content: bytes) -> None:
    server.protocol_version = "HTTP/1.1"
    server.head(Transfer_Encoding="chunked")
    for start in range(0, len(content), 5000):
        piece = content[start : start + 5000]
        server.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    server.wfile.write(b"0\r\n\r\n")


def test_right_servers_are_understood(serve, content, tmp_path):
    first = serve(lambda s: (s.head(Content_Length=len(content)), s.wfile.write(content)))
    answers: list[Answer] = [
        lambda s: (s.head(Content_Length=len(content)), s.wfile.write(content + b"more"), time.sleep(3)),
        lambda s: (s.head(Content_Encoding="identity"), s.wfile.write(content)),
        lambda s: chunked(s, content),
        *(lambda s, code=code: s.head(code, Location=first) for code in (301, 302, 303, 307)),
    ]
    for number, answer in enumerate(answers):
        folder = install(serve(answer), tmp_path / str(number), patience=2.0)
        read_bundle(folder).verify()
        assert [path.name for path in folder.parent.iterdir()] == ["Small"]


def test_a_message_names_the_address_and_not_the_file_that_nobody_knows(serve, refused):
    address = serve(lambda s: (s.head(), s.raw(b"no zip")))
    message = refused(address)
    assert message.startswith(address) and "writing" not in message


def test_a_server_without_encryption_is_not_taken_for_one_with(serve, refused):
    assert "could not be downloaded" in refused(serve(lambda s: s.head()).replace("http:", "https:"))


def test_nobody_listens(serve, refused):
    assert "could not be downloaded" in refused("http://127.0.0.1:1/model.zip")


def redirected(sender: str, target: str) -> str:
    """The address that is asked when ``sender`` answers with a redirection to ``target``."""
    followed = download._SafeRedirects().redirect_request(Request(sender), BytesIO(), 302, "Found", Message(), target)
    assert followed is not None
    return followed.full_url


THIS_MACHINE = ("localhost", "LOCALHOST", "localhost:8080", "127.0.0.1", "[::1]", "127.1", "127.9.9.9", "2130706433",
                "0x7f000001", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fe80::1%lo]")  # fmt: skip


@pytest.mark.parametrize("host", THIS_MACHINE)
@pytest.mark.parametrize("protocol", ["http", "https", "HTTPS"])
def test_only_this_machine_sends_to_this_machine(protocol, host):
    """Whoever is asked by https must not make us ask what only this machine reaches."""
    sender = "https://models.invalid/model.zip"
    with pytest.raises(ModelError, match=r"^https://models\.invalid/model\.zip sends us"):
        redirected(sender, f"{protocol}://{host}/x")
    if protocol == "https" or host.lower().partition(":")[0] in download.OWN_MACHINE:
        assert redirected("http://localhost/model.zip", f"{protocol}://{host}/x")


def test_a_server_elsewhere_sends_elsewhere():
    assert redirected("https://models.invalid/m", "https://files.invalid/m") == "https://files.invalid/m"
    assert redirected("https://models.invalid/m", "https://192.0.2.1/m") == "https://192.0.2.1/m"


def test_a_name_that_differs_by_case_is_taken(entries, tmp_path):
    path: Path = zipped(tmp_path / "stranger.zip", entries)
    (tmp_path / "models" / "SMALL").mkdir(parents=True)
    with pytest.raises(ModelError, match="SMALL exists already"):
        install(str(path), tmp_path / "models")
    (tmp_path / "models" / "SMALL").rmdir()
    (tmp_path / "models" / "Small").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="Small exists already"):
        install(str(path), tmp_path / "models")


def test_a_full_disk_leaves_nothing(entries, tmp_path, monkeypatch):
    path = zipped(tmp_path / "stranger.zip", entries)
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ModelError, match="No space left on device"):
        install(str(path), tmp_path / "models")
    assert not list((tmp_path / "models").iterdir())


def test_where_no_model_can_lie_nothing_is_installed(entries, tmp_path):
    path = zipped(tmp_path / "stranger.zip", entries)
    for into in (path, path / "models", tmp_path / ("x" * 300), Path("/proc/models")):
        with pytest.raises(ModelError, match="cannot be installed into"):
            install(str(path), into)
