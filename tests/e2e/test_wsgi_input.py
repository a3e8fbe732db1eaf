# SPDX-License-Identifier: MIT
"""wsgi.input: every way to read a body, however it arrives."""

import ast
import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, read_to_end, server
from wire import real_memory

APP = """
    import hashlib
    import sys

    import greenlet
    import greenloop

    def text(start_response, *extra):
        start_response("200 OK", [("Content-Type", "text/plain"), *extra])

    def script(environ, start_response):
        '''Evaluates the query's calls on wsgi.input; returns all results.'''
        text(start_response)
        stream = environ["wsgi.input"]
        calls = environ["HTTP_X_CALLS"].split(";")
        return [repr([eval(call, {"f": stream}) for call in calls]).encode()]

    def digest(environ, start_response):
        text(start_response)
        size = int(environ["QUERY_STRING"])
        digest, total = hashlib.sha1(), 0
        while piece := environ["wsgi.input"].read(size):
            digest.update(piece)
            total += len(piece)
        return [f"{total} {digest.hexdigest()}".encode()]

    def echo(environ, start_response):
        text(start_response)
        return [environ["wsgi.input"].read()]

    def echo_lines(environ, start_response):
        text(start_response)
        for line in environ["wsgi.input"]:
            yield line

    def unread(environ, start_response):
        text(start_response)
        return [b"unread"]

    def partly(environ, start_response):
        text(start_response)
        environ["wsgi.input"].read(2)
        environ["wsgi.input"].readline(2)
        return [b"partly"]

    def caught(environ, start_response):
        print("reading", environ["QUERY_STRING"], flush=True)
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            print("caught", environ["QUERY_STRING"], *names, flush=True)
            raise

    def handled(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError:
            text(start_response)
            return [b"handled"]

    def bug_after_handling(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError:
            pass
        if environ["QUERY_STRING"] == "LookupError":
            raise LookupError("a bug of the application")
        open("/a bug of the application")

    def kept(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            first = error
        raise first

    def from_another(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            raise OSError("of a framework") from error

    def amid_handling(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError:
            raise OSError("a bug of the handler")

    def in_a_circle(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError:
            pass
        one, other = OSError("one"), OSError("a circle")
        one.__cause__, other.__cause__ = other, one
        raise other

    def two_readers(environ, start_response):
        text(start_response)
        me, words = greenlet.getcurrent(), []

        def second():
            try:
                environ["wsgi.input"].read(1)
            except RuntimeError as error:
                words.append(str(error))
            tried.append(1)

        other = greenlet.greenlet(second)
        import asyncio
        asyncio.get_event_loop().call_soon(other.switch)
        body = environ["wsgi.input"].read()
        return [body, b"|", "|".join(words).encode()]

    tried = []

    def second_tried(environ, start_response):
        text(start_response)
        return [b"%d" % len(tried)]

    def hello(environ, start_response):
        text(start_response)
        return [b"hello"]

    def application(environ, start_response):
        return globals()[environ["PATH_INFO"][1:]](environ, start_response)
"""
BODY = b"first\nsecond line\n\n\nfifth, longer than the others\nno end"
LINES = BODY.splitlines(keepends=True)
OPTIONS = ("--socket-timeout", "1", "--limit-post", str(300 << 20))


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(
        APP, "--loop", request.param, *OPTIONS, allow_traceback=True
    ) as running:
        yield running


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (*pieces, b""))


def post(path: str, length: int | None, **fields: str) -> bytes:
    """A request head; without a length the body is chunked."""
    lines = [f"POST {path} HTTP/1.1", "Host: x"]
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in fields.items()]
    lines += [
        "Transfer-Encoding: chunked"
        if length is None
        else f"Content-Length: {length}"
    ]
    return "\r\n".join((*lines, "", "")).encode()


def script(s: Server, calls: str, body: Any = BODY) -> list[Any]:
    answer = s.request("POST", "/script", body, {"X-Calls": calls})
    assert answer.status == 200, s.err
    results: list[Any] = ast.literal_eval(answer.text)
    return results


SCRIPTS = [
    ("f.read()", [BODY]),
    ("f.read(-1);f.read()", [BODY, b""]),
    ("f.read(None);f.read(5);f.read()", [BODY, b"", b""]),
    ("f.read(0);f.read(3);f.read(0);f.read()", [b"", b"fir", b"", BODY[3:]]),
    ("f.read(10**9)", [BODY]),
    ("f.read(len(f.read(7)))", [BODY[7:14]]),
    ("f.readline();f.readline();f.readline()", LINES[:3]),
    ("f.readline(0);f.readline(3);f.readline(3)", [b"", b"fir", b"st\n"]),
    ("f.readline(6);f.readline(-1)", [b"first\n", b"second line\n"]),
    ("f.readline(None)", [b"first\n"]),
    ("f.read(6);f.readline();f.read(1)", [LINES[0], LINES[1], b"\n"]),
    ("f.readline();f.read(4);f.readline()", [LINES[0], b"seco", b"nd line\n"]),
    ("f.readlines()", [LINES]),
    ("f.readlines();f.readlines();f.read()", [LINES, [], b""]),
    ("f.readlines(1);f.readlines(6)", [LINES[:1], LINES[1:2]]),
    ("f.readlines(7);f.readlines(-1)", [LINES[:2], LINES[2:]]),
    ("f.readlines(0)", [LINES]),
    ("f.readlines(None)", [LINES]),
    ("next(f);list(f);f.readline()", [LINES[0], LINES[1:], b""]),
    ("[*f]", [LINES]),
    ("f.readline(10**9);f.read(10**9)", [LINES[0], BODY[6:]]),
    ("f.readable();f.closed;f.close();f.read(5)", [1, 0, None, b"first"]),
    ("type(f.fileno()).__name__;iter(f) is f", ["int", True]),
]


@pytest.mark.parametrize(("calls", "results"), SCRIPTS)
def test_reading(s: Server, calls: str, results: list[Any]) -> None:
    assert script(s, calls) == results
    pieces = [BODY[n : n + 7] for n in range(0, len(BODY), 7)]
    assert script(s, calls, iter(pieces)) == results


@pytest.mark.parametrize("body", [None, b"", iter([])])
def test_reading_no_body(s: Server, body: Any) -> None:
    calls = "f.read();f.read(9);f.readline();f.readlines();list(f)"
    assert script(s, calls, body) == [b"", b"", b"", [], []]


@pytest.mark.parametrize(
    "call", ["read(1, 2)", "read('1')", "read(1.5)", "readline(1, 2)"]
)
def test_wrong_arguments(s: Server, call: str) -> None:
    calls = f"type(f).read.__name__;f.{call}"
    answer = s.request("POST", "/script", b"x", {"X-Calls": calls})
    assert answer.status == 500


def trickle(s: Server, path: str, *pieces: bytes) -> bytes:
    """Sends pieces one by one, each after the server answered others."""
    with s.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
            assert s.get("/hello", timeout=5).body == b"hello"
        sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


@pytest.mark.parametrize("path", ["/echo", "/echo_lines"])
def test_a_body_in_pieces_parks_only_its_request(s: Server, path: str) -> None:
    pieces = [BODY[n : n + 9] for n in range(0, len(BODY), 9)]
    raw = trickle(s, path, post(path, len(BODY)), *pieces)
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    wire = chunked(*pieces)
    cut = [wire[n : n + 9] for n in range(0, len(wire), 9)]
    again = trickle(s, path, post(path, None), *cut)
    assert again.startswith(b"HTTP/1.1 200 OK\r\n")
    if path == "/echo":
        assert raw.endswith(b"\r\n\r\n" + BODY)
        assert again.endswith(b"\r\n\r\n" + BODY)
    else:
        assert raw.partition(b"\r\n\r\n")[2] == chunked(*LINES)
        assert again.partition(b"\r\n\r\n")[2] == chunked(*LINES)


@pytest.mark.parametrize("path", ["/echo", "/unread", "/partly"])
@pytest.mark.parametrize("length", [len(BODY), None])
def test_the_next_request_is_not_eaten(
    s: Server, path: str, length: int | None
) -> None:
    body = BODY if length else chunked(BODY[:9], BODY[9:])
    last = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    raw = s.raw((post(path, length) + body) * 3 + last)
    expected = BODY if path == "/echo" else path[1:].encode()
    bodies = re.split(rb"HTTP/1\.1 200 OK\r\n.*?\r\n\r\n", raw, flags=re.S)
    assert bodies == [b"", expected, expected, expected, b"hello"]


def test_an_unread_body_may_come_late(s: Server) -> None:
    with contextlib.closing(s.client()) as client:
        for _ in range(3):
            client.request("POST", "/unread", b"x" * 100_000)
            assert client.getresponse().read() == b"unread"
            client.request("GET", "/hello")
            assert client.getresponse().read() == b"hello"


def test_expect_100_continue(s: Server) -> None:
    with s.connect() as sock, sock.makefile("rb") as file:
        sock.sendall(post("/echo", 4, Expect="100-continue"))
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert file.readline() == b"\r\n"
        sock.sendall(b"body")
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
    raw = s.raw(post("/unread", 4, Expect="100-continue"))
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n"), "nobody read: no 100"


@pytest.mark.parametrize("length", [100, None])
@pytest.mark.parametrize("hard", [False, True])
def test_early_close_is_client_disconnected(
    s: Server, length: int | None, hard: bool
) -> None:
    case = f"{length}-{hard}"
    with s.connect() as sock:
        sock.sendall(post(f"/caught?{case}", length) + b"5\r\nhal")
        s.wait_for(f"reading {case}")
        if hard:
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    # All words of the line at once: print() writes them one by one.
    s.wait_for(f"caught {case} ClientDisconnected ConnectionError OSError")
    assert s.get("/hello").body == b"hello"
    assert "error in a request: POST /caught" not in s.err


def test_malformed_chunks_are_a_400(s: Server) -> None:
    for wire in (
        b"zz\r\n",
        b"-1\r\n",
        b"5\r\nhello!\r\n",
        b"fffffffffffff" * 9,
    ):
        answer = s.raw(post("/echo", None) + wire)
        assert answer.startswith(b"HTTP/1.1 400 "), (wire, answer)
        assert answer.count(b"HTTP/1.1") == 1
        answer = s.raw(post("/handled", None) + wire)
        assert answer.endswith(b"handled"), "and the server closed"


def test_a_stalled_body_is_a_408(s: Server) -> None:
    def stall(
        path: str, length: int | None, answers: dict[Any, bytes]
    ) -> None:
        answers[path, length] = s.raw(post(path, length) + b"2\r\n")

    answers: dict[Any, bytes] = {}
    cases = [
        ("/echo", 9),
        ("/echo", None),
        ("/handled", 9),
        ("/handled", None),
    ]
    threads = [
        threading.Thread(target=stall, args=(*case, answers)) for case in cases
    ]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.9 < time.monotonic() - begin < 5
    for (path, _length), answer in answers.items():
        if path == "/handled":
            assert answer.endswith(b"handled")
        else:
            assert answer.startswith(b"HTTP/1.1 408 "), answer


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/bug_after_handling?LookupError", "LookupError: a bug of the appl"),
        ("/bug_after_handling?OSError", "directory: '/a bug of the appl"),
        ("/amid_handling", "OSError: a bug of the handler"),
        ("/in_a_circle", "OSError: a circle"),
    ],
)
def test_a_bug_after_a_failed_read_is_logged(
    s: Server, path: str, text: str
) -> None:
    answer = s.raw(post(path, None) + b"zz\r\n")
    assert answer.startswith(b"HTTP/1.1 500 "), answer
    s.wait_for(text)


@pytest.mark.parametrize("path", ["/kept", "/from_another"])
def test_a_failed_read_is_the_client_s_fault(s: Server, path: str) -> None:
    answer = s.raw(post(path, None) + b"zz\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert f"error in a request: POST {path}\n" not in s.err


def test_two_greenlets_cannot_read_at_once(s: Server) -> None:
    with s.connect() as sock:
        before = int(s.get("/second_tried").body)
        sock.sendall(post("/two_readers", 4, Connection="close"))
        while int(s.get("/second_tried").body) == before:
            pass
        sock.sendall(b"body")
        raw = read_to_end(sock)
    assert raw.endswith(b"body|another greenlet is reading this request")


def peak_memory(pid: int) -> int:
    """The highest resident memory of a process so far, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        [line] = (line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


BLOCK = bytes(range(256)) * 4096  # 1 MiB
BLOCKS = 200


@real_memory
@pytest.mark.parametrize("known", [True, False])
def test_a_large_upload_is_never_held_whole(s: Server, known: bool) -> None:
    expected = hashlib.sha1()
    for _ in range(BLOCKS):
        expected.update(BLOCK)
    before = peak_memory(s.pid)
    head = post("/digest?65536", BLOCKS << 20 if known else None)
    with s.connect() as sock:
        sock.sendall(head)
        framed = BLOCK if known else b"100000\r\n" + BLOCK + b"\r\n"
        slowest = 0.0
        for n in range(BLOCKS):
            sock.sendall(framed)
            if n % 20 == 0:
                slowest = max(slowest, s.get("/hello").seconds)
        sock.sendall(b"" if known else b"0\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        raw = read_to_end(sock)
    size = BLOCKS << 20
    assert raw.endswith(f"{size} {expected.hexdigest()}".encode())
    assert peak_memory(s.pid) - before < 16 << 20
    assert slowest < 2


@real_memory
def test_an_unread_large_upload_is_not_held_either(s: Server) -> None:
    before = peak_memory(s.pid)
    with s.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(post("/unread", BLOCKS << 20))
        for _ in range(BLOCKS):
            sock.sendall(BLOCK)
    assert peak_memory(s.pid) - before < 16 << 20


def test_limit_post() -> None:
    with server(APP, "--limit-post", "10") as s:
        assert s.request("POST", "/echo", b"x" * 10).body == b"x" * 10
        assert s.request("POST", "/echo", iter([b"x" * 10])).status == 200
        answer = s.raw(post("/echo", 11) + b"x" * 11)
        assert answer.startswith(b"HTTP/1.1 413 ")
        answer = s.raw(post("/echo", None) + chunked(b"x" * 6, b"x" * 6))
        assert answer.startswith(b"HTTP/1.1 413 ")
