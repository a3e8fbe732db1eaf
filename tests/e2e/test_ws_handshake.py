# SPDX-License-Identifier: MIT
"""From a request to a WebSocket: RFC 6455, section 4.2."""

import socket
from collections.abc import Iterator

import pytest
from harness import Server, server
from websocket_peer import KEY, TEXT, Peer, accept_for, handshake, open_peer
from wire import open_wire, request

APP = """
    import greenloop

    def say(*words):
        print(*words, flush=True)

    def empty(environ):
        '''Drops what the client asked for, and takes its memory.'''
        sizes = [len(v) for k, v in environ.items() if "_SEC_" in k]
        environ.clear()
        for size in sizes:
            kept.extend(str(n).rjust(size, "x") for n in range(500))

    kept = []

    class Emptying:
        def __init__(self, environ):
            self.environ = environ

        def __contains__(self, origin):
            empty(self.environ)
            return True

    def emptying(environ):
        environ["HTTP_SEC_WEBSOCKET_PROTOCOL"] = ", ".join(["a", "v1"])
        empty(environ)
        yield "v1"

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/":
            start_response("200 OK", [])
            return [b"a page"]
        if path == "/origins":
            ws = greenloop.websocket(environ, origins=["https://a.example"])
        elif path == "/protocols":
            ws = greenloop.websocket(environ, subprotocols=("v2", "v1"))
            ws.send(f"{ws.subprotocol}")
            return
        elif path == "/caught":
            try:
                greenloop.websocket(environ)
            except greenloop.WebSocketError as error:
                start_response("404 Not Found", [])
                return [f"{error.status} {error}".encode()]
        elif path == "/loses-its-environ":
            ws = greenloop.websocket(
                environ, origins=Emptying(environ),
                subprotocols=emptying(environ))
            return []
        elif path == "/late":
            start_response("200 OK", [])
            greenloop.websocket(environ)
        elif path == "/wrong-arguments":
            for bad in (
                dict(subprotocols="chat"), dict(subprotocols=["a b"]),
                dict(subprotocols=[1]), dict(origins="x"),
                dict(max_size=0), dict(max_size="1"), dict(max_size=2**40),
                dict(ping_interval=-1), dict(pong_timeout="x"), dict(no=1),
            ):
                try:
                    greenloop.websocket(environ, **bad)
                except (TypeError, ValueError) as error:
                    say(type(error).__name__, *bad)
            try:
                greenloop.websocket({})
            except greenloop.WebSocketError as error:
                say("empty environ", error.status)
            ws = greenloop.websocket(environ)
        else:
            ws = greenloop.websocket(environ)
        try:
            greenloop.websocket(environ)
        except greenloop.WebSocketError as error:
            say("twice:", error.status)
        for use in (
            lambda: start_response("200 OK", []),
            lambda: environ["wsgi.input"].read(),
        ):
            try:
                use()
            except RuntimeError as error:
                say(error)
        for message in ws:
            ws.send(message)
        return [b"a body"] if path == "/body" else []
"""


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param, allow_traceback=True) as s:
        yield s


def fields(head: bytes) -> "dict[str, str]":
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }


@pytest.mark.smoke
def test_it_is_opened(s: Server) -> None:
    with open_peer(s, "/echo") as peer:
        head = fields(peer.head)
        assert head["upgrade"] == "websocket"
        assert head["connection"] == "Upgrade"
        assert head["sec-websocket-accept"] == accept_for(KEY)
        assert "sec-websocket-protocol" not in head
        assert "sec-websocket-extensions" not in head
        assert "content-length" not in head
        assert "transfer-encoding" not in head
        peer.send(TEXT, b"hello")
        assert peer.frame().payload == b"hello"
        assert peer.close().code == 1000
        assert peer.at_end()


def test_frames_that_came_with_the_request(s: Server) -> None:
    with s.connect() as sock:
        peer = Peer(sock)
        peer.open(
            handshake("/echo")
            + Peer.bytes_of(TEXT, b"early")
            + Peer.bytes_of(TEXT, b"and more")
        )
        assert peer.frame().payload == b"early"
        assert peer.frame().payload == b"and more"


@pytest.mark.parametrize(
    ("replace", "status"),
    [
        ("Upgrade", 400),
        ("Upgrade: h2c", 400),
        ("Connection", 400),
        ("Connection: keep-alive", 400),
        ("Sec-WebSocket-Version", 426),
        ("Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13, 8", 426),
        ("Sec-WebSocket-Key", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", 400),
        ("Sec-WebSocket-Key: c2hvcnQ=", 400),
        ("Content-Length: 3", 400),
    ],
)
def test_refused(s: Server, replace: str, status: int) -> None:
    before = s.err
    answer = s.raw(handshake("/echo", replace=replace) + b"abc")
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    if status == 426:
        head = fields(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert head["sec-websocket-version"] == "13"
        assert head["upgrade"] == "websocket"
    assert "Traceback" not in s.err[len(before) :]


@pytest.mark.parametrize(
    "line",
    [
        "Upgrade: WebSocket",
        "Upgrade: h2c, websocket",
        "Connection: keep-alive, upgrade",
    ],
)
def test_as_browsers_and_proxies_write_it(s: Server, line: str) -> None:
    with s.connect() as sock:
        peer = Peer(sock)
        peer.open(handshake("/echo", replace=line))
        assert peer.head.startswith(b"HTTP/1.1 101 ")


def test_method_and_version(s: Server) -> None:
    good = handshake("/echo")
    post = good.replace(b"GET", b"POST")
    old = good.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b" 400 " in s.raw(post.replace(b"Host: a", b"Connection: close"))
    assert b" 400 " in s.raw(old)


def test_origins(s: Server) -> None:
    with open_peer(s, "/origins", "Origin: https://a.example"):
        pass
    for lines in ((), ("Origin: https://b.example",), ("Origin: null",)):
        answer = s.raw(handshake("/origins", *lines))
        assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        (["Sec-WebSocket-Protocol: v1, v2"], "v2"),
        (["Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Protocol: x"], "v1"),
        (["Sec-WebSocket-Protocol: V1, v3"], None),
        ([], None),
    ],
)
def test_subprotocols(
    s: Server, offer: "list[str]", agreed: "str | None"
) -> None:
    with open_peer(s, "/protocols", *offer) as peer:
        assert fields(peer.head).get("sec-websocket-protocol") == agreed
        assert peer.frame().payload == str(agreed).encode()
        assert peer.frame().code == 1000


def test_the_application_may_answer_itself(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(request("GET", "/caught"))
        answer = wire.reply()
        assert answer.status == 404
        assert answer.body.startswith(b"400 ")
        assert wire.get("/").body == b"a page"  # the connection serves on


def test_after_start_response(s: Server) -> None:
    with s.connect() as sock:
        peer = Peer(sock)
        peer.open(handshake("/late"))
        assert peer.head.startswith(b"HTTP/1.1 500 ")
    s.wait_for("must be opened before start_response()")


def test_only_once_and_no_http_any_more(s: Server) -> None:
    with open_peer(s, "/echo") as peer:
        peer.send(TEXT, b"here")
        assert peer.frame().payload == b"here"
    s.wait_for("twice: 500")
    s.wait_for("this request has become a WebSocket")


def test_a_body_is_refused(s: Server) -> None:
    with open_peer(s, "/body") as peer:
        assert peer.close().code == 1000
        assert peer.at_end()
    s.wait_for("error in a request: GET /body\nRuntimeError: this request has")


def test_a_check_that_empties_the_environ(s: Server) -> None:
    lines = ("Origin: https://a.example", "Sec-WebSocket-Protocol: a, v1")
    with open_peer(s, "/loses-its-environ", *lines) as peer:
        head = fields(peer.head)
        assert head["sec-websocket-accept"] == accept_for(KEY)
        assert "sec-websocket-protocol" not in head


@pytest.mark.parametrize(
    "value",
    [
        "@@@",
        "permessage-deflate; ;",
        "permessage-deflate; =x",
        "permessage-deflate; a=",
        'permessage-deflate; a="',
        "permessage-deflate, a b",
    ],
)
def test_extensions_that_are_malformed(s: Server, value: str) -> None:
    """RFC 6455, section 9.1; what is only unknown is declined."""
    line = f"Sec-WebSocket-Extensions: {value}"
    assert s.raw(handshake("/echo", line)).startswith(b"HTTP/1.1 400 ")


def test_arguments(s: Server) -> None:
    with open_peer(s, "/wrong-arguments") as peer:
        peer.send(TEXT, b"still good")
        assert peer.frame().payload == b"still good"
    for line in (
        "TypeError subprotocols",
        "ValueError subprotocols",
        "TypeError origins",
        "ValueError max_size",
        "TypeError max_size",
        "ValueError ping_interval",
        "TypeError pong_timeout",
        "TypeError no",
        "empty environ 400",
    ):
        s.wait_for(line)


def test_a_client_that_leaves_in_the_handshake(s: Server) -> None:
    for _ in range(20):
        with s.connect() as sock:
            sock.sendall(handshake("/echo"))
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
    assert s.get("/").body == b"a page"
