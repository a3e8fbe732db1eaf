# SPDX-License-Identifier: MIT
"""Where the server listens, and what happens when descriptors run out."""

import contextlib
import pathlib
import resource
import socket
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import (
    Wire,
    cpu_while,
    descriptors_at_rest,
    open_wire,
    request,
)

APP = """
    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        names = "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST"
        seen = [str(environ[name]) for name in names] + [str(len(body))]
        return ["|".join(seen).encode()]
"""


@contextlib.contextmanager
def unix_wire(path: str) -> Iterator[Wire]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        yield Wire(sock)


# --- Unix sockets ---------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_unix_socket(tmp_path: pathlib.Path, loop: str) -> None:
    path = str(tmp_path / "s")
    with server(APP, "--loop", loop, http=path) as s:
        assert s.listeners == [f"unix:{path}"]
        with unix_wire(path) as wire:
            assert wire.get("/").text.endswith("|||a|0")
            wire.send(request("POST", "/", body=b"x" * 500_000) * 3)
            for _ in range(3):
                assert wire.reply().text.endswith("|||a|500000")
            wire.half_close()
            wire.expect_end()
        with unix_wire(path) as wire:
            wire.send(b"rubbish\r\n\r\n")
            assert wire.reply().status == 400
            wire.expect_end()


def test_an_abstract_unix_socket(tmp_path: pathlib.Path) -> None:
    name = f"greenloop-test-{tmp_path.name}-{tmp_path.stat().st_ino}"
    with server(APP, http=f"@{name}"), unix_wire(f"\0{name}") as wire:
        assert wire.get("/").text.endswith("|||a|0")


def test_a_unix_socket_that_a_dead_server_left(
    tmp_path: pathlib.Path,
) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    with server(APP, http=path), unix_wire(path) as wire:
        assert wire.get("/").status == 200


def test_clients_of_a_unix_socket_leave(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "s")
    raw = request("POST", "/", body=b"0123456789")
    with server(APP, http=path) as s:
        for cut in range(len(raw)):
            with unix_wire(path) as wire:
                wire.send(raw[:cut])
        with unix_wire(path) as wire:
            assert wire.get("/").status == 200
        assert "error" not in s.err


# --- IPv6 -----------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_ipv6() -> None:
    with server(APP, http="[::1]:0") as s:
        with socket.create_connection(("::1", s.port), 20) as sock:
            host, port = sock.getsockname()[:2]
            text = Wire(sock).get("/").text
        assert text == f"{s.port}|{host}|{port}|a|0"


# --- no more descriptors --------------------------------------------------


@contextlib.contextmanager
def few_descriptors(s: Server, more: int) -> Iterator[None]:
    """Lets the server open so many descriptors more than it has."""
    limit = descriptors_at_rest(s) + more
    before = resource.prlimit(s.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    yield
    resource.prlimit(s.pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.once
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_out_of_descriptors(loop: str) -> None:
    """Accepting pauses, without spinning, and goes on by itself."""
    with server(APP, "--loop", loop) as s, few_descriptors(s, 5):
        wires = [Wire(s.connect()) for _ in range(20)]
        raw = request("GET", "/")
        for wire in wires[:5]:
            wire.send(raw[:-2])  # holds a descriptor
        for wire in wires[5:]:
            wire.send(raw)
        s.wait_for("accepting pauses")
        assert cpu_while(s.pid, 1.2) < 0.1
        assert s.err.count("accepting pauses") == 1
        assert all(wire.is_silent(0.01) for wire in wires)
        # Those that were accepted are served, and make room for the others,
        # who need not wait until a client closes.
        for wire in wires[:5]:
            wire.send(raw[-2:])
            assert wire.reply().closes
        for wire in wires[5:]:
            assert wire.reply().status == 200
        for wire in wires:
            wire.sock.close()
        with open_wire(s) as wire:
            assert not wire.get("/").closes
        s.wait_for("accepting goes on")
        assert s.err.count("accepting") == 2
        assert "ulimit -n" in s.err


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_idle_connections_give_their_descriptors(loop: str) -> None:
    with server(APP, "--loop", loop) as s, few_descriptors(s, 3):
        wires = []
        for _ in range(9):
            wires.append(Wire(s.connect()))
            assert wires[-1].get("/").status == 200
        for wire in wires[:6]:
            wire.expect_end()
        for wire in wires:
            wire.sock.close()
        s.wait_for("ulimit -n")


def test_no_file_can_be_opened_for_a_moment() -> None:
    """The limit is raised from outside: no connection has to end first."""
    with server(APP) as s:
        with few_descriptors(s, 0), open_wire(s) as wire:
            wire.send(request("GET", "/"))
            s.wait_for("accepting pauses")
            assert wire.is_silent(0.01)
        with open_wire(s) as wire:
            assert wire.get("/").status == 200
        s.wait_for("accepting goes on")
