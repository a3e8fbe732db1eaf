# SPDX-License-Identifier: MIT
"""Big files and slow clients: no memory, no core; files that change."""

import contextlib
import os
import pathlib
import re
import ssl
import time
from collections.abc import Iterator

import pytest
import trustme
from harness import Server, server
from wire import (
    Wire,
    descriptors,
    descriptors_at_rest,
    open_wire,
    request,
    reset,
    resident_bytes,
    slow_wire,
    wait_until,
)

pytestmark = pytest.mark.once

APP = """
    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/wrapped"):
            start_response("200 OK", [("Content-Type", "text/plain")])
            file = open(environ["HTTP_X_NAME"], "rb")
            return environ["wsgi.file_wrapper"](file)
        fields = [("Content-Type", "text/plain")]
        if path.startswith("/named"):
            fields += [("X-Sendfile", environ["HTTP_X_NAME"])]
        start_response("200 OK", fields)
        return [b"hello"]
"""
BIG = 200 << 20
MIDDLE = 20 << 20
CLIENTS = 50
KINDS = ["/s/big", "/named", "/wrapped"]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("slow")
    for name, size in (("big", BIG), ("middle", MIDDLE)):
        with open(folder / name, "wb") as file:
            file.truncate(size)
            file.seek(size - 3)
            file.write(b"end")
    ca = trustme.CA()
    made = ca.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(folder / "pair"))
    ca.cert_pem.write_to_path(str(folder / "ca"))
    return folder


@contextlib.contextmanager
def serving(top: pathlib.Path, *options: str) -> Iterator[Server]:
    with server(
        APP,
        *("--asyncio", "1"),
        *("--static-map", f"/s={top}"),
        *("--x-sendfile", str(top)),
        *("--https-socket", f"127.0.0.1:0,{top}/pair,{top}/pair"),
        *options,
    ) as running:
        yield running


def ask(top: pathlib.Path, path: str, name: str = "big") -> bytes:
    return request("GET", path, f"X-Name: {top}/{name}")


def tls_wire(s: Server, top: pathlib.Path) -> Wire:
    s.wait_for("listening on https://")
    found = re.search(r"listening on https://[^:]+:(\d+)", s.err)
    assert found is not None
    context = ssl.create_default_context(cafile=str(top / "ca"))
    return Wire(
        context.wrap_socket(
            s.connect(port=int(found[1])), server_hostname="127.0.0.1"
        )
    )


@pytest.mark.parametrize("path", KINDS)
def test_fifty_slow_clients(top: pathlib.Path, path: str) -> None:
    with serving(top) as s, contextlib.ExitStack() as stack:
        for _ in range(3):  # what the first requests allocate for good
            assert s.get("/").body == b"hello"
            with open_wire(s) as wire:
                wire.send(ask(top, path.replace("/big", "/middle"), "middle"))
                assert len(wire.reply().body) == MIDDLE
        open_before = descriptors_at_rest(s)
        before = resident_bytes(s.pid)
        wires = []
        for _ in range(CLIENTS):
            wire = slow_wire(s)
            stack.callback(wire.sock.close)
            wire.send(ask(top, path))
            wires.append(wire)
        for _ in range(5):
            for wire in wires:
                wire.take(2000)
            assert s.get("/", timeout=5).body == b"hello"
        assert resident_bytes(s.pid) - before < 8 << 20
        for wire in wires:
            reset(wire.sock)
        wait_until(lambda: descriptors(s.pid) == open_before, "all is closed")


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("tls", [False, True])
def test_all_of_it_comes(top: pathlib.Path, path: str, tls: bool) -> None:
    """A slow start, then quickly; and the connection serves on."""
    path = path.replace("/big", "/middle")
    with serving(top) as s, contextlib.ExitStack() as stack:
        wire = tls_wire(s, top) if tls else slow_wire(s)
        stack.callback(wire.sock.close)
        wire.send(ask(top, path, "middle"))
        wire.await_unread()
        for _ in range(3):
            assert s.get("/", timeout=5).body == b"hello"
        body = wire.reply().body
        assert len(body) == MIDDLE and body.endswith(b"\0end")
        assert body.count(b"\0") == MIDDLE - 3
        assert wire.get("/").body == b"hello"
        s.wait_for(f"generated {MIDDLE} bytes")


@pytest.mark.parametrize("path", KINDS)
def test_pipelined_behind_a_big_file(top: pathlib.Path, path: str) -> None:
    path = path.replace("/big", "/middle")
    with serving(top) as s, open_wire(s) as wire:
        wire.send(
            ask(top, path, "middle")
            + request("GET", "/")
            + request("GET", "/s/middle", "Range: bytes=-3")
            + ask(top, path, "middle")
        )
        assert len(wire.reply().body) == MIDDLE
        assert wire.reply().body == b"hello"
        assert wire.reply().body == b"end"
        assert len(wire.reply().body) == MIDDLE


@pytest.mark.parametrize("tls", [False, True])
def test_multipart_to_a_slow_client(top: pathlib.Path, tls: bool) -> None:
    with serving(top) as s, contextlib.ExitStack() as stack:
        wire = tls_wire(s, top) if tls else slow_wire(s)
        stack.callback(wire.sock.close)
        wire.send(
            request("GET", "/s/middle", "Range: bytes=0-9999999, 10000000-")
        )
        wire.await_unread()
        reply = wire.reply()
        assert reply.status == 206
        assert reply.body.count(b"\0") == MIDDLE - 3
        assert b"\0end\r\n--" in reply.body


@pytest.mark.parametrize("path", KINDS)
def test_who_takes_nothing_is_closed(top: pathlib.Path, path: str) -> None:
    with serving(top, "--socket-timeout", "0.3") as s:
        before = descriptors_at_rest(s)
        wire = slow_wire(s)
        wire.send(ask(top, path))
        wait_until(lambda: descriptors(s.pid) > before, "it is sent")
        wait_until(lambda: descriptors(s.pid) == before, "it is closed")
        wire.sock.close()


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("tls", [False, True])
def test_a_file_that_becomes_shorter(
    top: pathlib.Path, path: str, tls: bool
) -> None:
    """The connection ends: no bytes are made up for those that are gone."""
    name = "shrinking"
    with serving(top) as s, contextlib.ExitStack() as stack:
        with open(top / name, "wb") as file:
            file.truncate(BIG)
        wire = tls_wire(s, top) if tls else slow_wire(s)
        stack.callback(wire.sock.close)
        wire.send(ask(top, path.replace("/big", f"/{name}"), name))
        received = wire.take(300)  # the head: the file is open
        assert f"Content-Length: {BIG}\r\n".encode() in received
        os.truncate(top / name, 100_000)
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            received += wire.rest()
        assert len(received) < BIG
        assert s.get("/").body == b"hello"


@pytest.mark.parametrize("path", KINDS)
def test_a_file_that_is_replaced(top: pathlib.Path, path: str) -> None:
    """What was begun goes on with the file that it began with."""
    name = "replaced"
    path = path.replace("/big", f"/{name}")
    with serving(top) as s:
        (top / name).write_bytes(b"1" * MIDDLE)
        wire = slow_wire(s)
        wire.send(ask(top, path, name))
        wire.await_unread()
        (top / "new").write_bytes(b"2" * 10)
        os.rename(top / "new", top / name)
        assert wire.reply().body == b"1" * MIDDLE
        wire.send(ask(top, path, name))
        assert wire.reply().body == b"2" * 10
        wire.sock.close()


@pytest.mark.parametrize("path", KINDS)
def test_stopping_ends_downloads_in_time(top: pathlib.Path, path: str) -> None:
    with serving(top, "--graceful-timeout", "1") as s:
        wire = slow_wire(s)
        wire.send(ask(top, path))
        wire.await_unread()
        begin = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - begin < 5
        wire.sock.close()


@pytest.mark.parametrize("path", KINDS)
def test_stopping_waits_for_downloads(top: pathlib.Path, path: str) -> None:
    path = path.replace("/big", "/middle")
    with serving(top) as s:
        wire = slow_wire(s)
        wire.send(ask(top, path, "middle"))
        wire.await_unread()
        s.send_signal(2)
        s.wait_for("stopping")
        assert len(wire.reply().body) == MIDDLE
        wire.sock.close()
        assert s.wait_exit() == 0
