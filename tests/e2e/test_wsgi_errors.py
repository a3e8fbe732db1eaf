# SPDX-License-Identifier: MIT
"""Exceptions of applications, and close(), which is called whatever ends."""

import contextlib
import itertools
import signal
import socket
import struct
from collections.abc import Iterator

import pytest
from harness import Server, read_to_end, server

APP = """
    import sys

    import greenlet
    import greenloop

    class Own(BaseException):
        pass

    KINDS = {
        "ValueError": lambda: ValueError("wrong \\u20ac"),
        "SystemExit": lambda: SystemExit(3),
        "GreenletExit": lambda: greenlet.GreenletExit("own"),
        "GeneratorExit": lambda: GeneratorExit(),
        "StopIteration": lambda: StopIteration(),
        "Own": lambda: Own("no Exception"),
        "CancelledError": lambda: __import__("asyncio").CancelledError(),
        "MemoryError": lambda: MemoryError(),
        "RecursionError": lambda: RecursionError(),
        "ExceptionGroup": lambda: ExceptionGroup("several", [ValueError(1)]),
    }

    class Result:
        '''Items made by a generator; tells on stdout that it was closed.'''

        def __init__(self, name, items):
            self.name, self.items = name, iter(items)

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.items)

        def close(self):
            print("closed", self.name, flush=True)

    def text(start_response, *extra):
        return start_response("200 OK", [("X-App", "1"), *extra])

    def kind(environ):
        return KINDS[environ["HTTP_X_KIND"]]()

    def name(environ):
        return environ["QUERY_STRING"]

    def at_once(environ, start_response):
        raise kind(environ)

    def after_start(environ, start_response):
        text(start_response)
        raise kind(environ)

    def after_parking(environ, start_response):
        greenloop.sleep(0.01)
        raise kind(environ)

    def at_first_item(environ, start_response):
        text(start_response)

        def items():
            raise kind(environ)
            yield

        return Result(name(environ), items())

    def at_second_item(environ, start_response):
        text(start_response)

        def items():
            yield b"first"
            raise kind(environ)

        return Result(name(environ), items())

    def at_second_item_with_length(environ, start_response):
        text(start_response, ("Content-Length", "10"))

        def items():
            yield b"first"
            raise kind(environ)

        return Result(name(environ), items())

    def after_write(environ, start_response):
        text(start_response)(b"first")
        raise kind(environ)

    def in_close(environ, start_response):
        text(start_response)
        result = Result(name(environ), [b"first"])
        def close():
            raise kind(environ)
        result.close = close
        return result

    def in_iter(environ, start_response):
        text(start_response)

        class NoIterator:
            def __iter__(self):
                raise kind(environ)

            def close(self):
                print("closed", name(environ), flush=True)

        return NoIterator()

    ITEMS = {
        "str": "text", "int": 1, "None": None, "bytearray": bytearray(b"x"),
        "memoryview": memoryview(b"x"), "list": [b"x"], "str empty": "",
    }

    def item(environ, start_response):
        text(start_response)
        return [b"", ITEMS[environ["HTTP_X_KIND"]]]

    def generated_item(environ, start_response):
        text(start_response)
        item = ITEMS[environ["HTTP_X_KIND"]]
        return Result(name(environ), [b"", item])

    def late_item(environ, start_response):
        text(start_response)
        item = ITEMS[environ["HTTP_X_KIND"]]
        return Result(name(environ), [b"first", item])

    RESULTS = {
        "None": None, "int": 1, "str": "text", "object": object(),
        "exception": ValueError("returned"),
    }

    def result(environ, start_response):
        text(start_response)
        return RESULTS[environ["HTTP_X_KIND"]]

    def result_not_started(environ, start_response):
        return RESULTS[environ["HTTP_X_KIND"]]

    def fine(environ, start_response):
        text(start_response)
        return Result(name(environ), [b"first,", b"second"])

    def never_started(environ, start_response):
        return Result(name(environ), [b"first"])

    def bodiless(environ, start_response):
        start_response("204 No Content", [])
        return Result(name(environ), [b"ignored"] * 3)

    def endless(environ, start_response):
        text(start_response)

        def items():
            while True:
                yield b"x" * 100000

        print("sending", name(environ), flush=True)
        return Result(name(environ), items())

    def generator(environ, start_response):
        text(start_response)
        print("sending", name(environ), flush=True)
        try:
            while True:
                yield b"x" * 100000
        finally:
            greenloop.sleep(0.01)
            print("closed", name(environ), flush=True)

    def close_parks(environ, start_response):
        text(start_response)
        result = Result(name(environ), [b"first"])
        close = result.close

        def parking():
            greenloop.sleep(0.01)
            environ["PATH_INFO"]
            close()

        result.close = parking
        return result

    def close_needs_environ(environ, start_response):
        result = Result(name(environ), [b"first"])
        result.close = lambda: print("closed", environ["QUERY_STRING"],
            environ["wsgi.input"].read(), flush=True)
        text(start_response)
        return result

    def close_is_property(environ, start_response):
        text(start_response)

        class Odd(list):
            @property
            def close(self):
                raise LookupError("no close for you")

        return Odd([b"first"])

    def interrupt(environ, start_response):
        greenloop.sleep(0.05)
        raise KeyboardInterrupt

    def interrupt_in_close(environ, start_response):
        text(start_response)
        result = Result(name(environ), [b"first"])
        def close():
            raise KeyboardInterrupt
        result.close = close
        return result

    def slow(environ, start_response):
        text(start_response)
        print("slow began", flush=True)
        greenloop.sleep(0.3)
        return [b"slow"]

    def nested(environ, start_response):
        try:
            raise ValueError("the first")
        except ValueError:
            raise LookupError("the second")

    def application(environ, start_response):
        return globals()[environ["PATH_INFO"][1:]](environ, start_response)
"""
KINDS = [
    "ValueError",
    "SystemExit",
    "GreenletExit",
    "GeneratorExit",
    "StopIteration",
    "Own",
    "CancelledError",
    "MemoryError",
    "RecursionError",
]
ITEMS = ["str", "int", "None", "bytearray", "memoryview", "list", "str empty"]
RESULTS = ["None", "int", "object", "exception"]
PAGE = b"Internal Server Error"
NUMBERS = itertools.count()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    app = APP.replace("ExceptionGroup(", "Own(")
    with server(app, "--loop", request.param, allow_traceback=True) as running:
        yield running


def unique(path: str) -> str:
    return f"{path}?{next(NUMBERS)}."


def logged(s: Server, path: str, text: str, method: str = "GET") -> None:
    s.wait_for(f"error in a request: {method} {path}\n")
    assert text in s.err.partition(f" {path}\n")[2]


def closed(s: Server, path: str) -> None:
    """close() of the result was called, and once."""
    number = path.partition("?")[2]
    s.wait_for(f"closed {number}")
    assert s.out.count(f"closed {number}") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "path", ["/at_once", "/after_start", "/after_parking"]
)
def test_exception_before_the_head(s: Server, path: str, kind: str) -> None:
    path = unique(path)
    with contextlib.closing(s.client()) as client:
        client.request("GET", path, headers={"X-Kind": kind})
        response = client.getresponse()
        assert (response.status, response.read()) == (500, PAGE)
        assert response.headers["X-App"] is None
        assert client.sock is not None, "the connection is kept"
    logged(s, path, kind)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "StopIteration"])
@pytest.mark.parametrize("path", ["/at_first_item", "/in_iter"])
def test_exception_before_an_item(s: Server, path: str, kind: str) -> None:
    path = unique(path)
    answer = s.get(path, {"X-Kind": kind})
    assert (answer.status, answer.body) == (500, PAGE)
    logged(s, path, kind)
    closed(s, path)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "StopIteration"])
@pytest.mark.parametrize(
    "path", ["/at_second_item", "/at_second_item_with_length", "/after_write"]
)
def test_exception_after_the_head(s: Server, path: str, kind: str) -> None:
    path = unique(path)
    raw = s.raw(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Kind: {kind}\r\n\r\n".encode()
    )
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"first" if b"Content-Length" in raw else b"first\r\n")
    assert raw.count(b"HTTP/1.1") == 1
    logged(s, path, kind)
    if not path.startswith("/after_write"):
        closed(s, path)


@pytest.mark.parametrize("kind", KINDS)
def test_exception_in_close(s: Server, kind: str) -> None:
    path = unique("/in_close")
    answer = s.get(path, {"X-Kind": kind})
    assert (answer.status, answer.body) == (200, b"first")
    s.wait_for(f"close() of a response failed: GET {path}\n")
    assert kind in s.err.partition(f" {path}\n")[2]


def test_context_of_an_exception_is_logged(s: Server) -> None:
    path = unique("/nested")
    assert s.get(path).status == 500
    logged(s, path, "ValueError: the first")
    logged(s, path, "LookupError: the second")


@pytest.mark.parametrize("kind", ITEMS)
def test_item_that_is_not_bytes(s: Server, kind: str) -> None:
    for path in map(unique, ("/item", "/generated_item")):
        answer = s.get(path, {"X-Kind": kind})
        assert (answer.status, answer.body) == (500, PAGE)
        logged(s, path, "TypeError: the response's items must be bytes")
        if path.startswith("/generated"):
            closed(s, path)
    path = unique("/late_item")
    raw = s.raw(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Kind: {kind}\r\n\r\n".encode()
    )
    assert raw.endswith(b"\r\n5\r\nfirst\r\n"), "and no last chunk"
    logged(s, path, "TypeError: the response's items must be bytes")
    closed(s, path)


@pytest.mark.parametrize("kind", [*RESULTS, "str"])
def test_result_that_is_none(s: Server, kind: str) -> None:
    for path in map(unique, ("/result", "/result_not_started")):
        answer = s.get(path, {"X-Kind": kind})
        assert (answer.status, answer.body) == (500, PAGE)
        logged(s, path, "TypeError: ")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path", ["/fine", "/bodiless", "/close_parks", "/close_needs_environ"]
)
def test_close_is_called(s: Server, path: str, method: str) -> None:
    path = unique(path)
    answer = s.request(method, path)
    assert answer.status in (200, 204)
    closed(s, path)


def test_close_without_start_response(s: Server) -> None:
    path = unique("/never_started")
    assert s.get(path).status == 500
    closed(s, path)


def test_close_that_is_a_broken_property(s: Server) -> None:
    answer = s.get("/close_is_property")
    assert (answer.status, answer.body) == (200, b"first")
    s.wait_for("LookupError: no close for you")


@pytest.mark.parametrize("path", ["/endless", "/generator"])
@pytest.mark.parametrize("how", ["reset", "close", "half"])
def test_close_when_the_client_left(s: Server, path: str, how: str) -> None:
    path = unique(path)
    with s.connect() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif how == "half":
            sock.shutdown(socket.SHUT_WR)
            assert len(sock.recv(1000)) > 0, "a half-closed client is served"
    closed(s, path)
    assert f"error in a request: GET {path}" not in s.err


def test_keyboard_interrupt_stops_gracefully() -> None:
    with server(APP, allow_traceback=True) as s:
        with s.connect() as slow, s.connect() as other:
            slow.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            s.wait_for("slow began")
            other.sendall(b"GET /interrupt HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_to_end(other).startswith(b"HTTP/1.1 500 ")
            answer = read_to_end(slow)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"slow")
        assert s.wait_exit() == 0
        assert "KeyboardInterrupt" in s.err


def test_keyboard_interrupt_in_close_stops_too() -> None:
    with server(APP, allow_traceback=True) as s:
        assert s.get("/interrupt_in_close").body == b"first"
        assert s.wait_exit() == 0


def test_greenlet_exit_at_the_stop_is_a_503() -> None:
    app = """
        import greenloop

        def application(environ, start_response):
            try:
                print("waiting", flush=True)
                greenloop.sleep(30)
            finally:
                print("unwound", flush=True)
    """
    with server(app, "--graceful-timeout", "1") as s:
        with s.connect() as sock:
            sock.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            s.wait_for("waiting")
            s.send_signal(signal.SIGTERM)
            assert read_to_end(sock).startswith(b"HTTP/1.1 503 ")
        assert s.wait_exit() == 0
        assert "unwound" in s.out
