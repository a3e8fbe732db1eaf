# SPDX-License-Identifier: MIT
"""WebSockets through uwsgi's functions, without the original's bugs."""

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest
from harness import Server, server
from websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    accept_for,
    handshake,
    open_peer,
)
from websockets.sync.client import connect
from wire import reset, wait_until

APP = """
    import asyncio, greenlet, uwsgi

    sockets = {}

    def say(*words):
        print(*words, flush=True)

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/":
            start_response("200 OK", [])
            return [b"a page"]
        return globals()[path.strip("/")](environ)

    def echo(environ):
        uwsgi.websocket_handshake(
            environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
        while True:
            message = uwsgi.websocket_recv()
            uwsgi.websocket_send(message)

    def binary(environ):
        uwsgi.websocket_handshake()
        while True:
            message = uwsgi.websocket_recv()
            uwsgi.websocket_send_binary(message)

    def handshakes(environ):
        for f in (uwsgi.websocket_recv, uwsgi.websocket_recv_nb,
                  lambda: uwsgi.websocket_send("x"),
                  lambda: uwsgi.websocket_send_binary("x")):
            try:
                f()
            except OSError as error:
                say("before:", error)
        proto = environ["QUERY_STRING"]
        uwsgi.websocket_handshake(None, None, proto)
        try:
            uwsgi.websocket_handshake()
        except OSError as error:
            say("twice:", error)
        return b""

    def refused(environ):
        uwsgi.websocket_handshake("not a key")

    def kinds(environ):
        uwsgi.websocket_handshake(b"%s" % environ[
            "HTTP_SEC_WEBSOCKET_KEY"].encode())
        uwsgi.websocket_send("text")
        uwsgi.websocket_send(b"text too")
        uwsgi.websocket_send_binary(b"\\xff")
        uwsgi.websocket_send_binary("str")
        for bad in (None, 3, b"\\xff"):
            try:
                uwsgi.websocket_send(bad)
            except (TypeError, ValueError) as error:
                say("bad:", type(error).__name__)
        say("nothing:", uwsgi.websocket_recv_nb())
        uwsgi.websocket_send("end")

    def ends(environ):
        uwsgi.websocket_handshake()
        for i in range(2):
            try:
                while True:
                    uwsgi.websocket_recv()
            except OSError as error:
                say("recv:", error)
        try:
            uwsgi.websocket_recv_nb()
        except OSError as error:
            say("recv_nb:", error)
        try:
            uwsgi.websocket_send("x")
        except OSError as error:
            say("send:", error)

    def watched(environ):
        '''As the well-known chat: one recv_nb() for each call of a reader.'''
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        uwsgi.websocket_handshake()
        ready = []
        def readable():
            ready.append(1)
            me.switch()
        loop.add_reader(uwsgi.connection_fd(), readable)
        uwsgi.websocket_send("watching")
        while True:
            me.parent.switch()
            if ready:
                ready.clear()
                message = uwsgi.websocket_recv_nb()
                if message:
                    uwsgi.websocket_send(message)

    def watched_to_the_end(environ):
        try:
            watched(environ)
        except OSError as error:
            say("watched:", error)

    def spurious(environ):
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        uwsgi.websocket_handshake()
        for n in range(5):
            loop.call_later(0.01 * n, me.switch)
        uwsgi.websocket_send("waiting")
        uwsgi.websocket_send(uwsgi.websocket_recv())

    def idle_then_large(environ):
        uwsgi.websocket_handshake()
        uwsgi.websocket_recv()
        for n in range(8):
            uwsgi.websocket_send_binary(b"x" * 1000000)
        say("all sent")

    def contexts(environ):
        uwsgi.websocket_handshake()
        context = uwsgi.request_context()
        loop = asyncio.get_event_loop()
        async def from_task():
            uwsgi.websocket_send("from a task", request_context=context)
            say("task:", uwsgi.websocket_recv_nb(request_context=context))
            try:
                uwsgi.websocket_recv(request_context=context)
            except RuntimeError as error:
                say("task:", error)
        task = loop.create_task(from_task())
        try:
            loop.call_soon(lambda: uwsgi.websocket_send("no request"))
        finally:
            uwsgi.websocket_send(uwsgi.websocket_recv())

    def body(environ):
        uwsgi.websocket_handshake()
        uwsgi.websocket_send(uwsgi.websocket_recv())
        fd = uwsgi.connection_fd()
        for read in (uwsgi.chunked_read, uwsgi.chunked_read_nb,
                     lambda: uwsgi.recv(fd)):
            try:
                say("read:", read())
            except RuntimeError as error:
                say("no body:", error)
        uwsgi.websocket_send(uwsgi.websocket_recv())

    def ready_fds(environ):
        uwsgi.websocket_handshake()
        fd = uwsgi.connection_fd()
        while True:
            uwsgi.wait_fd_read(fd, 10)
            uwsgi.suspend()
            if uwsgi.ready_fd() == fd:
                message = uwsgi.websocket_recv_nb()
                if message:
                    uwsgi.websocket_send(message)
"""
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module", params=LOOPS)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    options = ("--loop", request.param, "--asyncio", "50")
    with server(APP, *options, allow_traceback=True) as running:
        yield running


def fields(head: bytes) -> "dict[str, str]":
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    pairs = (line.partition(": ") for line in lines)
    return {name.lower(): value for name, _, value in pairs}


@pytest.mark.smoke
@pytest.mark.parametrize("compression", ["deflate", None])
def test_echo(s: Server, compression: "str | None") -> None:
    before = len(s.err)
    address = f"ws://127.0.0.1:{s.port}/echo"
    with connect(address, compression=compression, max_size=None) as ws:
        for message in ("hello", "é" * 40000, "x" * 1048576):
            ws.send(message)
            assert ws.recv(timeout=20) == message
    assert s.get("/").body == b"a page"
    assert "Traceback" not in s.err[before:]  # clients leave: no bug


@pytest.mark.parametrize(
    ("query", "offer", "agreed"),
    [
        ("", (), None),
        ("", ("Sec-WebSocket-Protocol: a, b",), "a"),
        ("b,a", ("Sec-WebSocket-Protocol: a, b",), "b"),
        ("c", ("Sec-WebSocket-Protocol: a, b",), None),
    ],
)
def test_handshake(
    s: Server, query: str, offer: "tuple[str, ...]", agreed: "str | None"
) -> None:
    with open_peer(s, f"/handshakes?{query}", *offer) as peer:
        head = fields(peer.head)
        assert head["sec-websocket-accept"] == accept_for(KEY)
        assert head.get("sec-websocket-protocol") == agreed
        assert peer.frame().code == 1000
    s.wait_for("twice: unable to complete websocket handshake")
    s.wait_for("before: unable to receive websocket message")
    s.wait_for("before: unable to send websocket message")


@pytest.mark.parametrize(
    ("path", "replace", "status"),
    [
        ("/echo", "Sec-WebSocket-Version: 8", 426),
        ("/binary", "Sec-WebSocket-Key", 400),
        ("/echo", "Upgrade", 400),
        ("/refused", "Host: b", 400),
    ],
)
def test_a_request_that_is_none(
    s: Server, path: str, replace: str, status: int
) -> None:
    answer = s.raw(handshake(path, replace=replace))
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


def test_text_and_binary(s: Server) -> None:
    with open_peer(s, "/kinds") as peer:
        assert peer.frame() == Frame(TEXT, b"text")
        assert peer.frame() == Frame(TEXT, b"text too")
        assert peer.frame() == Frame(BINARY, b"\xff")
        assert peer.frame() == Frame(BINARY, b"str")
        assert peer.frame() == Frame(TEXT, b"end")
        assert peer.frame().code == 1000
    s.wait_for("bad: TypeError\nbad: TypeError\nbad: ValueError\n")
    s.wait_for("nothing: b''")


def test_ends(s: Server) -> None:
    with open_peer(s, "/ends") as peer:
        peer.send(PING, b"answered while it waits")
        assert peer.frame() == Frame(PONG, b"answered while it waits")
        assert peer.close(4000).code == 4000
        assert peer.at_end()
    s.wait_for("recv: unable to receive websocket message\nrecv: unable to")
    s.wait_for("recv_nb: unable to receive websocket message")
    s.wait_for("send: unable to send websocket message")


@pytest.mark.parametrize("path", ["/watched", "/ready_fds"])
def test_b15_messages_that_came_together(s: Server, path: str) -> None:
    """A reader is told of each, also of what came in one segment."""
    with open_peer(s, path) as peer:
        if path == "/watched":
            assert peer.frame().payload == b"watching"
        for burst in range(20):
            texts = [b"%d.%d" % (burst, n) for n in range(5)]
            peer.sock.sendall(
                b"".join(peer.bytes_of(TEXT, text) for text in texts)
            )
            assert [peer.frame().payload for _ in texts] == texts


def test_a_reset_is_told_at_the_first_call_of_a_reader(s: Server) -> None:
    """uvloop calls a reader once for it, maybe before the engine knows."""
    for _ in range(5):
        with open_peer(s, "/watched_to_the_end") as peer:
            assert peer.frame().payload == b"watching"
            reset(peer.sock)
    s.wait_printed("watched: unable to receive", 5)


def test_b15_messages_that_came_with_the_handshake(s: Server) -> None:
    with s.connect() as sock:
        peer = Peer(sock)
        texts = [b"%d" % n for n in range(5)]
        frames = b"".join(peer.bytes_of(TEXT, text) for text in texts)
        peer.open(handshake("/echo") + frames)
        assert [peer.frame().payload for _ in texts] == texts


@pytest.mark.parametrize("cut", range(1, 12, 3))
def test_b15_pieces(s: Server, cut: int) -> None:
    """Segments that end anywhere in a frame."""
    with open_peer(s, "/watched") as peer:
        assert peer.frame().payload == b"watching"
        stream = b"".join(peer.bytes_of(TEXT, b"hello") for _ in range(6))
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(stream), cut):
            peer.sock.sendall(stream[at : at + cut])
        for _ in range(6):
            assert peer.frame().payload == b"hello"


def test_b13_a_switch_from_elsewhere(s: Server) -> None:
    """websocket_recv() parks again."""
    with open_peer(s, "/spurious") as peer:
        assert peer.frame().payload == b"waiting"
        peer.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.frame()
        peer.sock.settimeout(20)
        peer.send(TEXT, b"now")
        assert peer.frame().payload == b"now"


def test_b14_fragments(s: Server) -> None:
    """Of each client by itself, and whole messages only."""
    with open_peer(s, "/echo") as one, open_peer(s, "/echo") as two:
        one.send(TEXT, b"A", fin=False)
        two.send(TEXT, b"B", fin=False)
        one.send(PING)
        assert one.frame() == Frame(PONG, b"")
        two.send(CONTINUATION, b"b")
        assert two.frame().payload == b"Bb"
        one.send(CONTINUATION, b"a")
        assert one.frame().payload == b"Aa"


def test_b7_a_large_message_after_an_idle_time() -> None:
    """What timed out before does not fail a later wait."""
    options = ("--websockets-ping-freq", "0.1")
    with (
        server(APP, *options) as s,
        open_peer(s, "/idle_then_large", receive_bytes=4096) as peer,
    ):
        for _ in range(2):
            assert peer.frame().opcode == PING
            peer.send(PONG)
        peer.send(TEXT, b"go")
        total = 0
        while (frame := peer.frame()).opcode != CLOSE:
            total += len(frame.payload) if frame.opcode == BINARY else 0
        assert total == 8000000
        s.wait_for("all sent")


def test_contexts(s: Server) -> None:
    with open_peer(s, "/contexts") as peer:
        assert peer.frame().payload == b"from a task"
        s.wait_for("task: b''")
        s.wait_for("task: waiting for a WebSocket can only be called by code")
        s.wait_for("you can call uwsgi api function only from the main")
        peer.send(TEXT, b"the request's own")
        assert peer.frame().payload == b"the request's own"


def test_frames_are_no_body(s: Server) -> None:
    with open_peer(s, "/body") as peer:
        peer.sock.sendall(
            peer.bytes_of(TEXT, b"first") + peer.bytes_of(TEXT, b"second")
        )
        assert peer.frame().payload == b"first"
        assert peer.frame().payload == b"second"
    s.wait_printed("no body: this request has become a WebSocket", 3)


def test_readers_are_removed(s: Server) -> None:
    """B4, for the reader that the chat example never removes."""
    for _ in range(3):
        with open_peer(s, "/watched") as peer:
            assert peer.frame().payload == b"watching"
            peer.send(CLOSE, struct.pack("!H", 1000))
            with contextlib.suppress(EOFError):
                assert peer.frame().opcode == CLOSE
        assert s.get("/").body == b"a page"
    wait_until(lambda: s.get("/").body == b"a page", "it serves")
