# SPDX-License-Identifier: MIT
"""What a connection can make the server keep: docs/limits.md, measured.

Many clients of one kind send as much as is taken from them, and read nothing;
then the server's resident memory has grown by no more than the page says for
each.  The kernel's own buffers are kept small, and are not counted: they are
the kernel's.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest
import trustme
from frames import frame, upgrade_request
from harness import Server, server
from wire import cpu_seconds, open_wire, request, resident_bytes

pytestmark = pytest.mark.once

CLIENTS = 200
KIB = 1024
SLACK = 3 * 1024 * KIB  # of the allocators, for all clients together
SECONDS = 60.0
QUIET_SECONDS = 0.3
OPTIONS = (
    *("--socket-rcvbuf", "131072", "--socket-sndbuf", "16384"),
    *("--graceful-timeout", "0.2", "--disable-logging"),
)
PING, BINARY = 9, 2
APP = """
    import greenloop

    ANSWER = b"x" * 60000
    LARGE = b"x" * 100000

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/socket":
            greenloop.websocket(environ)
            greenloop.sleep(3600)
        if path == "/receive":
            greenloop.websocket(environ).receive()
        if path == "/hold":
            greenloop.sleep(3600)
        if path == "/body":
            environ["wsgi.input"].read(1)
            greenloop.sleep(3600)
        start_response("200 OK", [])
        if path == "/endless":
            return iter(lambda: LARGE, None)
        return [ANSWER]
"""
REST = b"x" * 62000
HEAD = request("GET", "/", *(f"F{i}: {'x' * 6000}" for i in range(5)))
CHUNKS = (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 3


@dataclasses.dataclass(frozen=True)
class Kind:
    """first   what a client sends
    more     what it then sends for ever
    kib      what it may cost
    options  of the server
    mib      after so much of all clients together it is enough: pings, of
             which the newest alone is answered, are taken for ever
    """

    first: bytes
    more: bytes
    kib: int
    options: tuple[str, ...] = ()
    mib: int = 0


# Where a request runs, 16 KiB are its greenlet and its environ.
KINDS = {
    "idle": Kind(b"", b"", 2),
    "an answer that is not read": Kind(request("GET", "/"), b"", 2 + 60),
    "a part of a head": Kind(HEAD[:-2], b"", 32 + 6),
    "queued": Kind(
        request("GET", "/") + REST, REST, 64 + 4, ("--asyncio", "1")
    ),
    "a body that is not read": Kind(
        request("POST", "/body", f"Content-Length: {1 << 40}") + REST,
        REST,
        64 + 16,
    ),
    "chunks that are not read": Kind(
        request("POST", "/body", "Transfer-Encoding: chunked") + CHUNKS,
        CHUNKS,
        64 + 16,
    ),
    "answers that are not read": Kind(
        request("GET", "/"), request("GET", "/") * 100, 64 + 64 + 16
    ),
    "an endless answer": Kind(
        request("GET", "/endless") + REST, REST, 64 + 16
    ),
    "messages that are not received": Kind(
        upgrade_request("/socket"),
        frame(BINARY, b"x" * 60000),
        2 * 64 + 64 + 24,
        ("--websockets-max-size", "64", "--websockets-no-compression"),
    ),
    "pings": Kind(
        upgrade_request("/receive"),
        frame(PING, b"x" * 125) * 500,
        64 + 64 + 24,
        ("--websockets-max-unsent", "64"),
        mib=100,
    ),
}


def pour(sockets: list[socket.socket], kind: Kind) -> None:
    """Sends until nobody has taken a byte for a while."""
    rest = dict.fromkeys(sockets, kind.first or kind.more)
    give_up = time.monotonic() + SECONDS
    quiet = time.monotonic()
    total = 0
    while time.monotonic() - quiet < QUIET_SECONDS:
        if kind.mib and total >= kind.mib << 20:
            break
        assert time.monotonic() < give_up, "the server takes bytes for ever"
        wanting = [sock for sock, data in rest.items() if data]
        _r, ready, _x = select.select([], wanting, [], 0.05)
        for sock in ready:
            try:
                sent = sock.send(rest[sock])
            except (BlockingIOError, ssl.SSLWantWriteError):
                continue
            except ConnectionError:
                rest[sock] = b""
                continue
            total += sent
            quiet = time.monotonic()
            rest[sock] = rest[sock][sent:] or kind.more


def await_rest(s: Server) -> None:
    """Waits until the server has nothing more to do."""
    give_up = time.monotonic() + SECONDS
    before, now = -1.0, cpu_seconds(s.pid)
    while now != before:
        assert time.monotonic() < give_up, "the server does not rest"
        time.sleep(QUIET_SECONDS)
        before, now = now, cpu_seconds(s.pid)


@contextlib.contextmanager
def crowd(
    port: int, seal: "Callable[[socket.socket], socket.socket] | None" = None
) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(CLIENTS):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 131072)
            sock.settimeout(20)
            sock.connect(("127.0.0.1", port))
            if seal is not None:
                sock = seal(sock)
            stack.callback(sock.close)
            sock.setblocking(False)
            sockets.append(sock)
        yield sockets


def check(
    s: Server,
    port: int,
    kind: Kind,
    seal: "Callable[[socket.socket], socket.socket] | None" = None,
) -> None:
    before = resident_bytes(s.pid)
    with crowd(port, seal) as sockets:
        pour(sockets, kind)
        await_rest(s)
        grown = resident_bytes(s.pid) - before
        print(f"{grown / CLIENTS / KIB:.1f} KiB each, of {kind.kib}")
        # What a sanitizer keeps of freed memory is not the server's.
        sanitized = "libasan" in os.environ.get("LD_PRELOAD", "")
        assert sanitized or grown <= CLIENTS * kind.kib * KIB + SLACK


@pytest.mark.parametrize("name", KINDS)
def test_what_a_connection_costs(name: str) -> None:
    kind = KINDS[name]
    with (
        server(APP, *OPTIONS, *kind.options) as s,
        contextlib.ExitStack() as stack,
    ):
        wire = stack.enter_context(open_wire(s))
        assert wire.get("/").status == 200
        if name == "queued":
            wire.send(request("GET", "/hold"))
            assert wire.is_silent(0.05)
        check(s, s.port, kind)


# --- TLS ------------------------------------------------------------------

# OpenSSL keeps less than 64 KiB for a session, beside one record each way.  A
# ClientHello may have 128 KiB, for which it takes a third more.
SEALED = {
    "a sealed one, idle": Kind(b"", b"", 64),
    "answers that are not read": Kind(
        request("GET", "/"),
        request("GET", "/") * 100,
        64 + 2 * 17 + 64 + 64 + 16,
    ),
    "an endless answer": Kind(
        request("GET", "/endless"), b"x" * 16384, 64 + 2 * 17 + 64 + 16
    ),
}
RECORD = b"\x16\x03\x01\x40\x00"
HELLO = b"\x01\x01\xff\x00\x03\x03"  # of 0x1ff00 bytes
HANDSHAKE = Kind(
    RECORD + HELLO + b"x" * (0x4000 - len(HELLO)),
    RECORD + b"x" * 0x4000,
    171 + 64 + 2 * 17,
)


@contextlib.contextmanager
def sealed(
    folder: pathlib.Path,
) -> Iterator[tuple[Server, int, ssl.SSLContext]]:
    ca = trustme.CA()
    pem = folder / "pem"
    pair = ca.issue_cert("localhost")
    pair.private_key_and_cert_chain_pem.write_to_path(str(pem))
    options = "--https-socket", f"127.0.0.1:0,{pem},{pem}"
    with server(APP, *OPTIONS, *options) as s:
        found = re.search(r"https://127.0.0.1:(\d+)", s.err)
        assert found is not None
        context = ssl.create_default_context()
        ca.configure_trust(context)
        with (
            s.connect(port=int(found[1])) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as first,
        ):
            first.sendall(request("GET", "/", "Connection: close"))
            while first.recv(65536):
                pass
        yield s, int(found[1]), context


@pytest.mark.parametrize("name", SEALED)
def test_what_a_sealed_connection_costs(
    tmp_path: pathlib.Path, name: str
) -> None:
    with sealed(tmp_path) as (s, port, context):
        check(
            s,
            port,
            SEALED[name],
            lambda sock: context.wrap_socket(
                sock, server_hostname="localhost"
            ),
        )


def test_what_a_handshake_costs(tmp_path: pathlib.Path) -> None:
    with sealed(tmp_path) as (s, port, _context):
        check(s, port, HANDSHAKE)
