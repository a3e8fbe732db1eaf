# SPDX-License-Identifier: MIT
"""Two who write one response: a piece of the body is never cut in two."""

import contextlib
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import Wire, request, slow_wire

SIZE = 8 << 20
LENGTH = 1 << 20
APP = f"""
    import asyncio
    import pathlib
    import greenloop
    import uwsgi

    SIZE = {SIZE}
    LENGTH = {LENGTH}
    BIG = b"x" * SIZE
    pathlib.Path("file").write_bytes(BIG)
    answer = {{}}

    def item(start):
        start()
        yield BIG
        yield b"end"

    def items(start):
        start()
        return [BIG, b"end"]

    def written(start):
        start()(BIG)
        return [b"end"]

    def raw(start):
        head = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n"
        uwsgi.send(head + BIG)
        uwsgi.send(b"end")
        return []

    def file(start):
        start()
        uwsgi.sendfile("file")
        return [b"end"]

    def by_write():
        answer["write"](b"BETWEEN")

    def by_send():
        uwsgi.send(b"BETWEEN", request_context=answer["context"])

    def by_sendfile():
        uwsgi.sendfile("app.py", request_context=answer["context"])

    def by_disconnect():
        uwsgi.disconnect(request_context=answer["context"])

    def fill(start):
        '''Waits while others write, and adds the rest.'''
        start(("Content-Length", str(LENGTH)))
        answer["full"] = asyncio.Event()
        print("to be filled", flush=True)
        greenloop.await_(answer["full"].wait())
        yield b"z" * (LENGTH - answer["taken"])

    def by_nothing():
        pass

    def by_bytes():
        answer["taken"] = 0
        try:
            for n in range(LENGTH):
                answer["write"](b"y")
                answer["taken"] += 1
        finally:
            answer["full"].set()

    def application(environ, start_response):
        function = globals()[environ["PATH_INFO"][1:]]
        def start(*fields):
            answer["write"] = start_response(
                "200 OK", [("Content-Type", "text/plain"), *fields])
            return answer["write"]
        if environ["QUERY_STRING"] == "first":
            answer["context"] = uwsgi.request_context()
            return function(start)
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            function()
        except Exception as error:
            return [f"{{type(error).__name__}}: {{error}}".encode()]
        return [b"sent"]
"""
REFUSED = "RuntimeError: another greenlet is writing this response"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param) as running:
        yield running


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("item", "by_write"),
        ("items", "by_write"),
        ("written", "by_write"),
        ("file", "by_write"),
        ("raw", "by_send"),
        ("item", "by_send"),
        ("item", "by_sendfile"),
        ("file", "by_sendfile"),
        ("item", "by_disconnect"),
    ],
)
def test_nothing_comes_amid_a_piece(
    s: Server, first: str, second: str
) -> None:
    with contextlib.closing(slow_wire(s).sock) as sock:
        wire = Wire(sock)
        wire.send(request("GET", f"/{first}?first", "Connection: close"))
        wire.await_unread()
        for _ in range(5):
            assert s.get(f"/{second}").text == REFUSED
        reply = wire.reply()
        assert reply.body == b"x" * SIZE + b"end"


def test_a_piece_of_which_nothing_has_left_never_was() -> None:
    with (
        server(APP, "--socket-sndbuf", "4096") as s,
        contextlib.closing(slow_wire(s).sock) as sock,
    ):
        wire = Wire(sock)
        wire.send(request("GET", "/fill?first"))
        s.wait_for("to be filled")
        refused = s.get("/by_bytes").text
        assert refused.startswith("RuntimeError: only the greenlets of a")
        body = wire.reply().body
        assert body.rstrip(b"z").strip(b"y") == b""
        assert body.startswith(b"y") and body.endswith(b"z")
        assert wire.get("/by_nothing").text == "sent"
