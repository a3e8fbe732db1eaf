# SPDX-License-Identifier: MIT
"""Answers to readers that are slow, or stop, or leave.

A body waits for its client with bounded memory; who takes nothing for
--socket-timeout seconds is dropped, who takes a little is served.
"""

from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import (
    cpu_while,
    descriptors,
    descriptors_at_rest,
    kernel_takes,
    open_wire,
    request,
    reset,
    resident_bytes,
    slow_wire,
    wait_until,
)

MIB = 1 << 20
APP = """
    import pathlib
    MIB = 1 << 20
    WHOLE = bytes(range(256)) * (100 * MIB // 256)
    PIECE = WHOLE[:65536]
    pathlib.Path("file").write_bytes(WHOLE[:8 * MIB])
    taken = closed = 0

    class Pieces:
        def __init__(self, count):
            self.left = count
        def __iter__(self):
            return self
        def __next__(self):
            global taken
            if self.left == 0:
                raise StopIteration
            self.left -= 1
            taken += 1
            return PIECE
        def close(self):
            global closed
            closed += 1
            print("closed", flush=True)

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        write = start_response("200 OK", [])
        if path == "/pieces":
            return Pieces(100 * MIB // 65536)
        if path == "/whole":
            return [WHOLE]
        if path == "/write":
            for _ in range(100 * MIB // 65536):
                write(PIECE)
            return []
        if path == "/file":
            return environ["wsgi.file_wrapper"](open("file", "rb"))
        if path == "/few":
            return Pieces(128)
        return [f"{taken} {closed}".encode()]
"""
WAYS = ["/pieces", "/whole", "/write"]


@pytest.fixture(
    scope="module", params=["asyncio", "uvloop"], ids=["asyncio", "uvloop"]
)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param) as running:
        yield running


@pytest.mark.parametrize("path", WAYS)
def test_100_mb_to_a_reader_that_reads_nothing(s: Server, path: str) -> None:
    """No copy is made, no item is asked for ahead, nobody else waits."""
    assert s.get("/").status == 200
    before = resident_bytes(s.pid)
    taken = int(s.get("/").text.split()[0])
    wires = [slow_wire(s) for _ in range(5)]
    for wire in wires:
        wire.send(request("GET", path))
        wire.await_unread()
    for _ in range(50):  # turns in which memory could grow
        now = int(s.get("/").text.split()[0])
    assert cpu_while(s.pid) < 0.2
    assert resident_bytes(s.pid) - before < 24 * MIB
    assert int(s.get("/").text.split()[0]) == now  # it stands still
    assert (now - taken) * 65536 < 5 * 16 * MIB
    for wire in wires:
        reset(wire.sock)
    assert s.get("/").status == 200


@pytest.mark.parametrize("path", WAYS)
def test_100_mb_to_a_reader_that_reads(s: Server, path: str) -> None:
    with open_wire(s) as wire:
        wire.send(request("GET", path, "Connection: close"))
        total = 0
        while piece := wire.sock.recv(MIB):
            total += len(piece)
    assert 100 * MIB < total < 100 * MIB + 40_000  # framing of chunks


@pytest.mark.parametrize("path", ["/few", "/file"])
def test_every_byte_reaches_a_slow_reader(s: Server, path: str) -> None:
    size = 4096
    wire = slow_wire(s)
    with wire.sock:
        wire.send(request("GET", path))
        assert s.get("/").status == 200
        body = wire.reply().body
    assert len(body) == 8 * MIB
    assert body[:size] * (len(body) // size) == body


@pytest.mark.parametrize("path", [*WAYS, "/file"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_reader_leaves(s: Server, path: str, how: str) -> None:
    """The rest is dropped, close() is called, nothing is logged."""
    wire = slow_wire(s)
    closed = int(s.get("/").text.split()[1])
    wire.send(request("GET", path))
    wire.await_unread()
    if how == "reset":
        reset(wire.sock)
    else:
        wire.sock.close()  # with unread bytes, which is a reset too
    if path == "/pieces":
        wait_until(
            lambda: int(s.get("/").text.split()[1]) == closed + 1,
            "close() is called",
        )
    assert s.get("/").status == 200


def test_who_takes_nothing_is_dropped() -> None:
    """Also from an only core, which then serves the next."""
    options = ["--socket-timeout", "0.5", "--asyncio", "1"]
    with server(APP, *options) as s:
        before = descriptors_at_rest(s)
        for path in ("/pieces", "/whole", "/file"):
            wire = slow_wire(s)
            with wire.sock:
                wire.send(request("GET", path))
                wire.await_unread()
                assert s.get("/", timeout=10).status == 200
                wait_until(lambda: descriptors(s.pid) == before, "dropped")
        assert "error in a request" not in s.err  # it is the client's


def test_who_takes_a_little_is_served() -> None:
    with server(APP, "--socket-timeout", "0.5") as s, open_wire(s) as wire:
        wire.send(request("GET", "/pieces", "Connection: close"))
        for _ in range(6):  # longer than the timeout
            wire.take(8 * MIB)
            cpu_while(s.pid, 0.2)
        rest = wire.rest()
        assert len(rest) > 52 * MIB and rest.endswith(b"\r\n0\r\n\r\n")


def test_who_takes_little_by_little_is_served() -> None:
    """Long before the kernel calls the socket writable again."""
    with server(APP, "--socket-timeout", "0.4") as s:
        wire = slow_wire(s)
        wire.send(request("GET", "/few", "Connection: close"))
        for _ in range(15):
            wire.take(8192)
            cpu_while(s.pid, 0.1)
        assert wire.rest().endswith(b"\r\n0\r\n\r\n")


def test_a_kept_answer_that_nobody_takes_is_dropped() -> None:
    """Bytes that the client sends meanwhile do not count as taking."""
    app = """
        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"x" * int(environ["QUERY_STRING"] or 0)]
    """
    with server(app, "--socket-timeout", "0.5", "-L") as s:
        before = descriptors_at_rest(s)
        size = kernel_takes(s, "/?8000000")
        sizes = [size + 10_000 * number for number in range(-2, 30)]
        wires = [slow_wire(s) for _ in sizes]
        for wire, size in zip(wires, sizes, strict=True):
            # A little more than the kernel takes: the request is over.
            wire.send(request("GET", f"/?{size}"))
            wire.await_unread()
        for _ in range(10):
            for wire in wires:
                wire.drip(b"G")
            cpu_while(s.pid, 0.1)

        def whole() -> int:
            """Those whose answers left; the kernel forgets dropped ones."""
            return sum(
                wire.unread_bytes() > size
                for wire, size in zip(wires, sizes, strict=True)
            )

        wait_until(
            lambda: descriptors(s.pid) <= before + whole(), "the others end"
        )
        assert whole() < 25
        for wire in wires:
            reset(wire.sock)
