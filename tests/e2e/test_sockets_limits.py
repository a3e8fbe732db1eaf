# SPDX-License-Identifier: MIT
"""--max-connections, --max-queued and --queue-timeout, and what clients and
the log get to see of them."""

import contextlib
import pathlib
import re
import ssl
from collections.abc import Iterator

import pytest
import trustme
from harness import Server, server
from wire import Wire, cpu_while, open_wire, request, wait_until

pytestmark = pytest.mark.once

# Holds its core until the body has come.
APP = """
    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"%d" % len(body)]
"""
BODY = b"body"
HELD = request("POST", "/", body=BODY)[: -len(BODY)]
PAUSES = "accepting pauses: there are"
LOOPS = ["asyncio", "uvloop"]


@contextlib.contextmanager
def wires(s: Server, count: int) -> Iterator[list[Wire]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open_wire(s)) for _ in range(count)]


# --- connections ----------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_beyond_the_limit_wait(loop: str) -> None:
    options = "--max-connections", "3", "--loop", loop
    with server(APP, *options) as s, wires(s, 8) as clients:
        for wire in clients[:3]:
            wire.send(HELD)
        for wire in clients[3:]:
            wire.send(request("GET", "/"))
        s.wait_for(PAUSES)
        assert cpu_while(s.pid) < 0.1
        assert all(wire.is_silent(0.01) for wire in clients)
        for wire in clients[:3]:
            wire.send(BODY)
            assert wire.reply().closes
        for wire in clients[3:]:
            assert wire.reply().status == 200
        for wire in clients:
            wire.sock.close()
        with open_wire(s) as wire:
            assert not wire.get("/").closes
        s.wait_for("accepting goes on")
        assert s.logged(PAUSES) == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_idle_connections_make_room(loop: str) -> None:
    options = "--max-connections", "3", "--loop", loop
    with server(APP, *options) as s, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(6):
            clients.append(stack.enter_context(open_wire(s)))
            assert not clients[-1].get("/").closes
        for wire in clients[:3]:
            wire.expect_end()
        for wire in clients[3:]:
            assert wire.get("/").status == 200
        assert "accepting" not in s.err


def test_the_limit_is_one_of_all_listeners(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "s")
    options = "--max-connections", "1", "--http-socket", path
    with server(APP, *options) as s, open_wire(s) as first:
        first.send(HELD)
        assert first.is_silent(0.05)
        with open_wire(s) as second:
            second.send(request("GET", "/"))
            s.wait_for(PAUSES)
            first.send(BODY)
            assert first.reply().status == 200
            assert second.reply().status == 200


def is_rejected(s: Server, body: bytes = b"") -> bool:
    with open_wire(s) as wire:
        with contextlib.suppress(ConnectionError):
            wire.send(request("POST", "/", body=body))
        reply = wire.reply()
        if reply.status == 200:
            return False
        assert (reply.status, reply.closes) == (503, True)
        assert reply.field("Retry-After") == "1"
        return True


def test_connections_beyond_the_limit_are_rejected() -> None:
    options = "--max-connections", "2", "--max-connections-reject"
    with server(APP, *options) as s, wires(s, 2) as held:
        for wire in held:
            wire.send(HELD)
        wait_until(lambda: is_rejected(s), "both connections are taken")
        assert is_rejected(s, b"x" * 100_000)
        for wire in held:
            wire.send(BODY)
            assert wire.reply().status == 200
        assert not is_rejected(s)  # the idle ones make room
        s.wait_for("new connections are accepted again")
        assert s.logged("new connections are rejected") == 1


def test_a_tls_connection_is_rejected_without_an_answer(
    tmp_path: pathlib.Path,
) -> None:
    ca = trustme.CA()
    pair = ca.issue_cert("localhost")
    pair.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    address = f"127.0.0.1:0,{tmp_path / 'pem'},{tmp_path / 'pem'}"
    options = ["--max-connections", "1", "--max-connections-reject"]
    with server(APP, "--https-socket", address, *options) as s:
        found = re.search(r"https://127.0.0.1:(\d+)", s.err)
        assert found is not None
        context = ssl.create_default_context()
        ca.configure_trust(context)
        with open_wire(s) as held:
            held.send(HELD)
            wait_until(lambda: is_rejected(s), "the connection is taken")
            with (
                s.connect(port=int(found[1])) as sock,
                pytest.raises((ssl.SSLError, ConnectionError)),
            ):
                context.wrap_socket(sock, server_hostname="localhost")


# --- the queue ------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_waits_too_long(loop: str) -> None:
    options = "--asyncio", "1", "--queue-timeout", "0.2", "--loop", loop
    with server(APP, *options) as s, wires(s, 4) as clients:
        clients[0].send(HELD)
        assert clients[0].is_silent(0.05)
        for wire in clients[1:]:
            wire.send(request("GET", "/"))
        for wire in clients[1:]:
            reply = wire.reply()
            assert (reply.status, reply.closes) == (503, True)
            assert reply.field("Retry-After") == "1"
            wire.expect_end()
        s.wait_for("no request waits for a core any more")
        assert s.logged("all 1 cores are busy") == 1
        clients[0].send(BODY)
        assert clients[0].reply().text == "4"
        assert clients[0].get("/").status == 200


def test_too_many_requests_wait() -> None:
    options = "--asyncio", "1", "--max-queued", "2"
    with server(APP, *options) as s, wires(s, 5) as clients:
        for wire in clients:
            wire.send(HELD)
            wire.is_silent(0.05)
        refused = [wire for wire in clients if not wire.is_silent(0.05)]
        assert len(refused) == 2
        s.wait_for("all 1 cores are busy: requests get 503 (max_queued)")
        for wire in clients:
            with contextlib.suppress(ConnectionError):
                wire.send(BODY)
        statuses = [w.reply().status for w in clients if w not in refused]
        assert statuses == [200] * 3
