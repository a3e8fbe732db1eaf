# SPDX-License-Identifier: MIT
"""wsgi.file_wrapper: what reaches the client is what read() would give."""

import contextlib
import itertools
import pathlib
import socket
import struct
from collections.abc import Iterator

import pytest
from harness import Answer, Server, parallel, read_to_end, server

APP = """
    import bz2
    import gzip
    import io
    import os
    import pathlib
    import tempfile
    from types import SimpleNamespace

    HERE = pathlib.Path(__file__).parent
    DATA = bytes(range(256)) * 1024  # 256 KiB

    (HERE / "data").write_bytes(DATA)
    (HERE / "data.gz").write_bytes(gzip.compress(DATA))
    (HERE / "data.bz2").write_bytes(bz2.compress(DATA))
    (HERE / "empty").write_bytes(b"")

    def big(name, size):
        with open(HERE / name, "wb") as file:
            file.truncate(size)
            file.seek(size - 3)
            file.write(b"end")

    big("big", 64 << 20)
    with open(HERE / "sparse", "wb") as file:
        file.truncate(100_000)

    class Counted:
        '''A file that tells when it was closed; only what wrappers need.'''

        def __init__(self, file, name):
            self.file, self.name = file, name
            self.read = file.read

        def close(self):
            self.file.close()
            print("closed", self.name, flush=True)

    class CountedWithDescriptor(Counted):
        def fileno(self):
            return self.file.fileno()

        def tell(self):
            return self.file.tell()

    class Unlike:
        '''Its read() is not what is on the disk.'''

        def __init__(self, file):
            self.fileno, self.tell = file.fileno, file.tell
            self.file = file

        def read(self, size):
            return self.file.read(size).swapcase()

    class Subclass(io.FileIO):
        def read(self, size=-1):
            return super().read(size).swapcase()

    def temporary(kind, **options):
        file = kind(**options)
        file.write(DATA)
        file.seek(0)
        return file

    def read_some(file):
        assert file.read(1000) == DATA[:1000]
        return file

    def seek(file, position):
        file.seek(position)
        return file

    def pipe():
        read, write = os.pipe()
        os.write(write, b"through a pipe")
        os.close(write)
        return os.fdopen(read, "rb")

    def closed():
        file = open(HERE / "data", "rb")
        file.close()
        return file

    FILES = {
        "buffered": lambda: open(HERE / "data", "rb"),
        "unbuffered": lambda: open(HERE / "data", "rb", buffering=0),
        "update": lambda: open(HERE / "data", "r+b"),
        "descriptor": lambda: os.fdopen(
            os.open(HERE / "data", os.O_RDONLY), "rb"),
        "bytesio": lambda: io.BytesIO(DATA),
        "temporary": lambda: temporary(tempfile.TemporaryFile),
        "named": lambda: temporary(tempfile.NamedTemporaryFile),
        "spooled": lambda: temporary(tempfile.SpooledTemporaryFile),
        "spooled over": lambda: temporary(
            tempfile.SpooledTemporaryFile, max_size=1),
        "gzip": lambda: gzip.open(HERE / "data.gz"),
        "bz2": lambda: bz2.open(HERE / "data.bz2"),
        "buffered gzip": lambda: io.BufferedReader(
            gzip.open(HERE / "data.gz")),
        "own": lambda: Counted(open(HERE / "data", "rb"), "own"),
        "own fileno": lambda: CountedWithDescriptor(
            open(HERE / "data", "rb"), "own"),
        "partly read": lambda: read_some(open(HERE / "data", "rb")),
        "partly read raw": lambda: read_some(
            open(HERE / "data", "rb", buffering=0)),
        "partly read bytesio": lambda: read_some(io.BytesIO(DATA)),
        "partly read gzip": lambda: read_some(gzip.open(HERE / "data.gz")),
        "at the end": lambda: seek(open(HERE / "data", "rb"), len(DATA)),
        "beyond": lambda: seek(open(HERE / "data", "rb"), 1 << 30),
        "empty": lambda: open(HERE / "empty", "rb"),
        "empty bytesio": lambda: io.BytesIO(),
        "pipe": pipe,
        "proc": lambda: open("/proc/sys/kernel/ostype", "rb"),
        "sys": lambda: open("/sys/kernel/fscaps", "rb"),
        "sparse": lambda: open(HERE / "sparse", "rb"),
        "unlike": lambda: Unlike(open(HERE / "data", "rb")),
        "subclass": lambda: Subclass(HERE / "data"),
        "closed": closed,
        "written only": lambda: open(HERE / "trash", "wb"),
        "text": lambda: io.StringIO("text"),
        "none": lambda: None,
    }

    def text(start_response, *extra):
        return start_response("200 OK", [("X-App", "1"), *extra])

    def wrap(environ, *block):
        return environ["wsgi.file_wrapper"](
            FILES[environ["HTTP_X_FILE"]](), *block)

    def plain(environ, start_response):
        text(start_response)
        return wrap(environ)

    def blocks(environ, start_response):
        text(start_response)
        return wrap(environ, 1000)

    def iterated(environ, start_response):
        text(start_response)
        return [b"".join(wrap(environ, 1000))]

    def length(environ, start_response):
        text(start_response, ("Content-Length", environ["QUERY_STRING"]))
        return wrap(environ)

    def after_write(environ, start_response):
        text(start_response)(b"before,")
        return wrap(environ)

    def not_modified(environ, start_response):
        start_response("304 Not Modified", [])
        return wrap(environ)

    def no_start(environ, start_response):
        return wrap(environ)

    def names(environ, start_response):
        text(start_response)
        return [",".join(FILES).encode()]

    def counted(environ, start_response):
        file = Counted(open(HERE / "big", "rb"), environ["QUERY_STRING"])
        text(start_response)
        return environ["wsgi.file_wrapper"](file)

    def closing(environ, start_response):
        text(start_response)
        file = open(HERE / environ["HTTP_X_FILE"], "rb")
        opened[environ["QUERY_STRING"]] = file
        return environ["wsgi.file_wrapper"](file)

    opened = {}

    def is_closed(environ, start_response):
        text(start_response)
        return [str(opened[environ["QUERY_STRING"]].closed).encode()]

    def shrinks(environ, start_response):
        big("shrinking", 48 << 20)
        text(start_response)
        return environ["wsgi.file_wrapper"](open(HERE / "shrinking", "rb"))

    def shrink(environ, start_response):
        os.truncate(HERE / "shrinking", 1000)
        text(start_response)
        return [b"done"]

    def wrong(environ, start_response):
        wrapper = environ["wsgi.file_wrapper"]
        for args in ((), (io.BytesIO(), 0), (io.BytesIO(), "1"), (1, 2, 3)):
            try:
                wrapper(*args)
            except (TypeError, ValueError):
                continue
            raise AssertionError(args)
        text(start_response)
        return wrapper(filelike=io.BytesIO(b"fine"), block_size=2)

    def sizeless(environ, start_response):
        file = SimpleNamespace(read=lambda size: 7)
        text(start_response)
        try:
            return [next(environ["wsgi.file_wrapper"](file))]
        except Exception as error:
            return [type(error).__name__.encode()]

    def hello(environ, start_response):
        text(start_response)
        return [b"hello"]

    def application(environ, start_response):
        return globals()[environ["PATH_INFO"][1:]](environ, start_response)
"""
DATA = bytes(range(256)) * 1024
WHOLE = [
    "buffered",
    "unbuffered",
    "update",
    "descriptor",
    "bytesio",
    "temporary",
    "named",
    "spooled",
    "spooled over",
    "gzip",
    "bz2",
    "buffered gzip",
    "own",
    "own fileno",
]
PARTLY = [
    "partly read",
    "partly read raw",
    "partly read bytesio",
    "partly read gzip",
]
EXPECTED = {
    **dict.fromkeys(WHOLE, DATA),
    **dict.fromkeys(PARTLY, DATA[1000:]),
    "at the end": b"",
    "beyond": b"",
    "empty": b"",
    "empty bytesio": b"",
    "pipe": b"through a pipe",
    "proc": b"Linux\n",
    "sys": pathlib.Path("/sys/kernel/fscaps").read_bytes(),
    "sparse": bytes(100_000),
    "unlike": DATA.swapcase(),
    "subclass": DATA.swapcase(),
}
BROKEN = ["closed", "written only", "text", "none"]
NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param, allow_traceback=True) as running:
        yield running


def fetch(s: Server, path: str, file: str, method: str = "GET") -> Answer:
    return s.request(method, path, headers={"X-File": file})


def test_the_list_of_files_is_whole(s: Server) -> None:
    assert s.get("/names").text.split(",") == [*EXPECTED, *BROKEN]


@pytest.mark.parametrize("path", ["/plain", "/blocks", "/iterated"])
@pytest.mark.parametrize("file", EXPECTED)
def test_content(s: Server, path: str, file: str) -> None:
    answer = fetch(s, path, file)
    assert answer.status == 200
    assert answer.body == EXPECTED[file]


@pytest.mark.parametrize("file", EXPECTED)
def test_head(s: Server, file: str) -> None:
    with contextlib.closing(s.client()) as client:
        client.request("HEAD", "/plain", headers={"X-File": file})
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"")
        length = response.headers["Content-Length"]
        assert length in (None, str(len(EXPECTED[file])))
        client.request("GET", "/hello")
        assert client.getresponse().read() == b"hello"


@pytest.mark.parametrize("file", ["buffered", "unbuffered", "partly read"])
def test_length_of_a_real_file_is_known(s: Server, file: str) -> None:
    for method in ("GET", "HEAD"):
        answer = fetch(s, "/plain", file, method)
        assert answer.headers["Content-Length"] == str(len(EXPECTED[file]))
        assert answer.headers["Transfer-Encoding"] is None


@pytest.mark.parametrize("file", ["empty", "at the end", "empty bytesio"])
def test_head_of_nothing_says_no_length(s: Server, file: str) -> None:
    """RFC 9110, 8.6: as for every other body, whatever the kind of file."""
    assert fetch(s, "/plain", file).headers["Content-Length"] == "0"
    answer = fetch(s, "/plain", file, "HEAD")
    assert answer.headers["Content-Length"] is None


@pytest.mark.parametrize("file", EXPECTED)
def test_after_write(s: Server, file: str) -> None:
    assert fetch(s, "/after_write", file).body == b"before," + EXPECTED[file]


@pytest.mark.parametrize("file", EXPECTED)
def test_http_10(s: Server, file: str) -> None:
    raw = s.raw(f"GET /plain HTTP/1.0\r\nX-File: {file}\r\n\r\n".encode())
    assert raw.partition(b"\r\n\r\n")[2] == EXPECTED[file]


@pytest.mark.parametrize("file", WHOLE + PARTLY)
@pytest.mark.parametrize("length", [0, 1, 70_000])
def test_shorter_content_length(s: Server, file: str, length: int) -> None:
    answer = fetch(s, f"/length?{length}", file)
    assert answer.headers["Content-Length"] == str(length)
    assert answer.body == EXPECTED[file][:length]


@pytest.mark.parametrize("file", ["buffered", "bytesio", "empty"])
def test_longer_content_length_closes(s: Server, file: str) -> None:
    raw = s.raw(
        b"GET /length?1000000 HTTP/1.1\r\nHost: x\r\n"
        b"X-File: " + file.encode() + b"\r\n\r\n"
    )
    assert b"Content-Length: 1000000\r\n" in raw
    assert raw.partition(b"\r\n\r\n")[2] == EXPECTED[file]


@pytest.mark.parametrize("file", ["buffered", "bytesio", "gzip"])
def test_not_modified(s: Server, file: str) -> None:
    answer = fetch(s, "/not_modified", file)
    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize("file", BROKEN)
def test_a_file_that_cannot_be_read(s: Server, file: str) -> None:
    answer = fetch(s, "/plain", file)
    assert (answer.status, answer.body) == (500, b"Internal Server Error")


@pytest.mark.parametrize("file", ["buffered", "bytesio", "pipe"])
def test_without_start_response(s: Server, file: str) -> None:
    assert fetch(s, "/no_start", file).status == 500


def test_arguments(s: Server) -> None:
    assert s.get("/wrong").body == b"fine"


def test_a_read_that_gives_no_bytes(s: Server) -> None:
    assert s.get("/sizeless").body == b"TypeError"


def is_closed(s: Server, number: int) -> bool:
    return s.get(f"/is_closed?{number}").body == b"True"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("file", ["data", "empty"])
def test_the_file_is_closed(s: Server, method: str, file: str) -> None:
    number = next(NUMBERS)
    fetch(s, f"/closing?{number}", file, method)
    assert is_closed(s, number)


@pytest.mark.parametrize("path", ["/closing", "/counted"])
def test_a_slow_reader_gets_all(s: Server, path: str) -> None:
    number = next(NUMBERS)
    with s.connect() as sock:
        sock.sendall(
            f"GET {path}?{number} HTTP/1.0\r\nX-File: big\r\n\r\n".encode()
        )
        received = [sock.recv(100_000)]
        for _ in range(50):
            received.append(sock.recv(100_000))
            assert s.get("/hello", timeout=5).seconds < 2
        received.append(read_to_end(sock))
    body = b"".join(received).partition(b"\r\n\r\n")[2]
    assert len(body) == 64 << 20
    assert body.endswith(b"\0end")
    assert body.count(b"\0") == (64 << 20) - 3


@pytest.mark.parametrize("path", ["/closing", "/counted"])
def test_the_file_is_closed_when_the_reader_left(s: Server, path: str) -> None:
    number = next(NUMBERS)
    request = f"GET {path}?{number} HTTP/1.0\r\nX-File: big\r\n\r\n"
    with s.connect() as sock:
        sock.sendall(request.encode())
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        linger = struct.pack("ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    if path == "/counted":
        s.wait_for(f"closed {number}")
        return
    for _ in range(1000):
        if is_closed(s, number):
            return
    pytest.fail("the file stays open")


def test_a_file_that_shrinks_closes_the_connection(s: Server) -> None:
    with s.connect() as sock:
        sock.sendall(b"GET /shrinks HTTP/1.1\r\nHost: x\r\n\r\n")
        first = sock.recv(65536)
        assert f"Content-Length: {48 << 20}\r\n".encode() in first
        assert s.get("/shrink").body == b"done"
        rest = read_to_end(sock)
    assert len(first) + len(rest) < 48 << 20
    assert s.get("/hello").body == b"hello"


def test_many_readers_of_one_file(s: Server) -> None:
    answers = parallel(12, lambda _: fetch(s, "/plain", "buffered").body)
    assert answers == [DATA] * 12
