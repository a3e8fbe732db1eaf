# SPDX-License-Identifier: MIT
"""What an application may return, how it is framed, when it is sent."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from harness import Server, read_to_end, server

APP = """
    import greenloop

    def text(start_response, *extra):
        return start_response(
            "200 OK", [("Content-Type", "text/plain"), *extra]
        )

    def length(n):
        return ("Content-Length", str(n))

    class Sized:
        def __init__(self, *items):
            self.items = items

        def __len__(self):
            return len(self.items)

        def __getitem__(self, n):
            return self.items[n]

    class MyList(list):
        pass

    class MyBytes(bytes):
        pass

    RESULTS = {
        "list": lambda: [b"one,", b"two"],
        "list of one": lambda: [b"one,two"],
        "list of empties": lambda: [b"", b"one,", b"", b"two", b""],
        "list of many": lambda: [b"one,"] + [b""] * 300 + [b"two"],
        "tuple": lambda: (b"one,", b"two"),
        "bytes": lambda: b"one,two",
        "list subclass": lambda: MyList([b"one,", b"two"]),
        "bytes subclass": lambda: [MyBytes(b"one,"), MyBytes(b"two")],
        "set": lambda: {b"one,two"},
        "dict": lambda: {b"one,": 1, b"two": 2},
        "sequence": lambda: Sized(b"one,", b"two"),
        "iterator": lambda: iter([b"one,", b"", b"two"]),
        "map": lambda: map(bytes, [b"one,", b"two"]),
        "generator": lambda: (item for item in [b"", b"one,", b"two", b""]),
    }
    EMPTY = {
        "list": lambda: [],
        "tuple": lambda: (),
        "bytes": lambda: b"",
        "list of empty": lambda: [b""],
        "list of empties": lambda: [b"", b""],
        "generator": lambda: iter(()),
        "generator of empties": lambda: iter([b"", b""]),
    }

    def result(environ, start_response):
        text(start_response)
        return RESULTS[environ["HTTP_X_CASE"]]()

    def result_length(environ, start_response):
        text(start_response, length(7))
        return RESULTS[environ["HTTP_X_CASE"]]()

    def empty(environ, start_response):
        text(start_response)
        return EMPTY[environ["HTTP_X_CASE"]]()

    def names(environ, start_response):
        text(start_response)
        return ["|".join(
            ",".join(cases) for cases in (RESULTS, EMPTY)).encode()]

    def too_long(environ, start_response):
        text(start_response, length(4))
        return RESULTS[environ["HTTP_X_CASE"]]()

    def too_short(environ, start_response):
        text(start_response, length(10))
        return RESULTS[environ["HTTP_X_CASE"]]()

    def written_too_long(environ, start_response):
        write = text(start_response, length(4))
        write(b"one,")
        write(b"two")
        return [b"three"]

    def nothing_for_length(environ, start_response):
        text(start_response, length(3))
        return []

    def bodiless(environ, start_response):
        start_response(environ["HTTP_X_STATUS"], [("X-A", "b")])
        return RESULTS[environ["HTTP_X_CASE"]]()

    def not_modified_with_length(environ, start_response):
        start_response("304 Not Modified", [length(1234)])
        return []

    def lazy(environ, start_response):
        text(start_response)
        for n in range(4):
            print("made", n, flush=True)
            yield b"item %d," % n
            greenloop.await_(gates[n].wait())

    def gate(environ, start_response):
        gates[int(environ["QUERY_STRING"])].set()
        text(start_response)
        return [b"open"]

    def big(environ, start_response):
        size = int(environ["QUERY_STRING"])
        text(start_response)
        return [b"x" * size]

    def big_pieces(environ, start_response):
        text(start_response)
        print("big_pieces begins", flush=True)
        for n in range(400):
            yield b"%06d|" % n * 10000
            progress.append(n)

    def progressed(environ, start_response):
        text(start_response)
        return [str(len(progress)).encode()]

    def endless(environ, start_response):
        text(start_response)
        while True:
            yield b"x" * int(environ["QUERY_STRING"])

    def endless_write(environ, start_response):
        write = text(start_response)
        while True:
            write(b"x" * int(environ["QUERY_STRING"]))

    def changed(environ, start_response):
        '''A list of which an item becomes none while the first is sent.'''
        how = environ["QUERY_STRING"]
        write = text(start_response)
        if how == "written":
            write(b"before,")
        global items
        items = [b"x" * (8 << 20), b",one", b",two"]
        print(f"changed begins: {how}", flush=True)
        return items

    def change(environ, start_response):
        items[1:] = [bytearray(b"A" * 2000), None]
        text(start_response)
        return [b"changed"]

    def hello(environ, start_response):
        text(start_response)
        return [b"hello"]

    import asyncio

    gates = [asyncio.Event() for _ in range(4)]
    progress = []

    def application(environ, start_response):
        return globals()[environ["PATH_INFO"][1:]](environ, start_response)
"""
RESULTS = [
    "list",
    "list of one",
    "list of empties",
    "list of many",
    "tuple",
    "bytes",
    "list subclass",
    "bytes subclass",
    "set",
    "dict",
    "sequence",
    "iterator",
    "map",
    "generator",
]
EMPTY = [
    "list",
    "tuple",
    "bytes",
    "list of empty",
    "list of empties",
    "generator",
    "generator of empties",
]
KNOWN_LENGTH = {*RESULTS[:6], "bytes subclass"}


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param) as running:
        yield running


def head_and_body(s: Server, request: str, *fields: str) -> tuple[str, bytes]:
    """Sends a request; what came until the server closed."""
    lines = (request, "Host: x", *fields, "", "")
    raw = s.raw("\r\n".join(lines).encode())
    head, _, body = raw.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def test_the_lists_of_results_are_whole(s: Server) -> None:
    names = s.get("/names").text.split("|")
    assert [part.split(",") for part in names] == [RESULTS, EMPTY]


@pytest.mark.parametrize("case", RESULTS)
def test_result(s: Server, case: str) -> None:
    for path in ("/result", "/result_length"):
        with contextlib.closing(s.client()) as client:
            for _ in range(2):
                client.request("GET", path, headers={"X-Case": case})
                response = client.getresponse()
                assert (response.status, response.read()) == (200, b"one,two")
                assert client.sock is not None, "kept alive"
            known = case in KNOWN_LENGTH or path == "/result_length"
            assert (response.headers["Content-Length"] == "7") is known
            assert response.chunked is (not known)


@pytest.mark.parametrize("case", RESULTS)
def test_result_to_http_10(s: Server, case: str) -> None:
    head, body = head_and_body(s, "GET /result HTTP/1.0", f"X-Case: {case}")
    assert body == b"one,two"
    assert "chunked" not in head
    assert "Connection: close" in head


@pytest.mark.parametrize("case", RESULTS)
def test_result_to_head(s: Server, case: str) -> None:
    for path in ("/result", "/result_length"):
        with contextlib.closing(s.client()) as client:
            client.request("HEAD", path, headers={"X-Case": case})
            response = client.getresponse()
            assert (response.status, response.read()) == (200, b"")
            known = case in KNOWN_LENGTH or path == "/result_length"
            assert (response.headers["Content-Length"] == "7") is known
            client.request("GET", "/hello")
            assert client.getresponse().read() == b"hello"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("case", EMPTY)
def test_empty_result(s: Server, case: str, method: str) -> None:
    with contextlib.closing(s.client()) as client:
        for _ in range(2):
            client.request(method, "/empty", headers={"X-Case": case})
            response = client.getresponse()
            assert (response.status, response.read()) == (200, b"")
            # To HEAD, GET might have more (RFC 9110, section 8.6).
            known = "0" if method == "GET" else None
            assert response.headers["Content-Length"] == known
            assert response.headers["Transfer-Encoding"] is None
            assert client.sock is not None


@pytest.mark.parametrize("case", RESULTS)
def test_too_long_is_cut(s: Server, case: str) -> None:
    head, body = head_and_body(s, "GET /too_long HTTP/1.1", f"X-Case: {case}")
    assert "Content-Length: 4" in head
    assert body == b"one,"
    s.wait_for("longer than its Content-Length: cut: GET /too_long")


def test_written_too_long_is_cut(s: Server) -> None:
    assert head_and_body(s, "GET /written_too_long HTTP/1.1")[1] == b"one,"


@pytest.mark.parametrize("case", RESULTS)
def test_too_short_is_closed(s: Server, case: str) -> None:
    head, body = head_and_body(s, "GET /too_short HTTP/1.1", f"X-Case: {case}")
    assert "Content-Length: 10" in head
    assert body == b"one,two"
    assert head_and_body(s, "GET /nothing_for_length HTTP/1.1")[1] == b""
    for path in ("/too_short", "/nothing_for_length"):
        s.wait_for(f"the client sees it cut: GET {path}")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("case", RESULTS)
def test_bodiless_status(s: Server, status: str, case: str) -> None:
    with contextlib.closing(s.client()) as client:
        headers = {"X-Status": status, "X-Case": case}
        client.request("GET", "/bodiless", headers=headers)
        response = client.getresponse()
        assert f"{response.status} {response.reason}" == status
        assert response.read() == b""
        assert response.headers["Transfer-Encoding"] is None
        assert response.headers["Content-Length"] is None
        client.request("GET", "/hello")
        assert client.getresponse().read() == b"hello"


def test_not_modified_may_tell_a_length(s: Server) -> None:
    answer = s.get("/not_modified_with_length")
    assert answer.status == 304
    assert answer.headers["Content-Length"] == "1234"


def test_each_item_is_sent_before_the_next_is_asked_for(s: Server) -> None:
    with s.connect() as sock, sock.makefile("rb") as file:
        sock.sendall(b"GET /lazy HTTP/1.1\r\nHost: x\r\n\r\n")
        while file.readline() != b"\r\n":
            pass
        for n in range(4):
            assert file.readline() == b"7\r\n"
            assert file.readline() == b"item %d,\r\n" % n
            # The generator now waits: it made nothing beyond this item.
            s.wait_for(f"made {n}")
            assert f"made {n + 1}" not in s.out
            assert s.get(f"/gate?{n}").body == b"open"
        assert file.readline() == b"0\r\n"


@pytest.mark.parametrize("size", [1 << 16, (1 << 16) + 1, 1 << 20, 8 << 20])
def test_big_item(s: Server, size: int) -> None:
    answer = s.get(f"/big?{size}")
    assert answer.body == b"x" * size
    assert answer.headers["Content-Length"] == str(size)


def test_a_slow_client_is_waited_for(s: Server) -> None:
    begin = int(s.get("/progressed").text)
    with s.connect() as sock:
        sock.sendall(b"GET /big_pieces HTTP/1.0\r\n\r\n")
        s.wait_for("big_pieces begins")
        made = settled_progress(s)
        assert made - begin < 400, "the generator did not run ahead"
        body = read_to_end(sock).partition(b"\r\n\r\n")[2]
    assert body == b"".join(b"%06d|" % n * 10000 for n in range(400))
    assert int(s.get("/progressed").text) - begin == 400


@pytest.mark.parametrize(
    ("how", "before"), [("whole", b""), ("written", b"before,")]
)
def test_a_list_is_sent_as_it_was_returned(
    s: Server, how: str, before: bytes
) -> None:
    with s.connect() as sock:
        sock.sendall(b"GET /changed?%s HTTP/1.0\r\n\r\n" % how.encode())
        s.wait_for(f"changed begins: {how}\n")
        assert s.get("/change").text == "changed"
        body = read_to_end(sock).partition(b"\r\n\r\n")[2]
    assert body == before + b"x" * (8 << 20) + b",one,two"


def settled_progress(s: Server) -> int:
    """How many items were made, once that number stays the same."""
    last, same = -1, 0
    while same < 3:
        now = int(s.get("/progressed").text)
        same = same + 1 if now == last else 0
        last = now
        time.sleep(0.01)
    return last


@pytest.mark.parametrize("path", ["/endless", "/endless_write"])
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_an_endless_body_starves_nobody(
    s: Server, path: str, size: int
) -> None:
    with s.connect() as greedy:
        greedy.sendall(f"GET {path}?{size} HTTP/1.0\r\n\r\n".encode())
        received = 0
        for _ in range(20):
            received += len(greedy.recv(1 << 16))
            answer = s.get("/hello", timeout=5)
            assert answer.body == b"hello"
            assert answer.seconds < 2
        assert received > 0
