# SPDX-License-Identifier: MIT
"""N cores serve N requests at once; further ones wait their turn."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
from harness import Server, parallel, read_to_end, server

APP = """
    import json
    import greenloop

    order = []
    running = 0
    most = 0

    def application(environ, start_response):
        global running, most
        path = environ["PATH_INFO"]
        start_response("200 OK", [("Content-Type", "application/json")])
        if path == "/order":
            return [json.dumps([order, most]).encode()]
        running += 1
        most = max(most, running)
        order.append(path[1:])
        greenloop.sleep(float(environ["QUERY_STRING"]))
        running -= 1
        return [b"slept"]
"""

LOOPS = ["asyncio", "uvloop"]


@contextlib.contextmanager
def started(s: Server, names: "list[str]") -> Iterator[list[socket.socket]]:
    """One connection after the other, each with its request sent."""
    with contextlib.ExitStack() as stack:
        socks = []
        for name in names:
            sock = stack.enter_context(s.connect())
            sock.sendall(f"GET /{name}?0.02 HTTP/1.0\r\n\r\n".encode())
            socks.append(sock)
        yield socks


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("cores", [1, 3])
def test_the_next_one_waits_its_turn(loop: str, cores: int) -> None:
    """First come, first served: nobody is refused, passed over or lost."""
    names = [f"r{n:02}" for n in range(15)]
    with server(APP, "--loop", loop, "--asyncio", str(cores)) as s:
        with started(s, names) as socks:
            for sock in socks:
                assert read_to_end(sock).endswith(b"slept")
        order, most = json.loads(s.get("/order").body)
    assert order == names
    assert most == cores


@pytest.mark.parametrize("loop", LOOPS)
def test_b2_a_full_pool_does_not_spin(loop: str) -> None:
    """The original's loop uses a whole processor while its pool is full."""
    with server(APP, "--loop", loop, "--asyncio", "2") as s:
        used, begin = cpu_seconds(s.pid), time.monotonic()
        answers = parallel(6, lambda n: s.get(f"/{n}?0.3"))
        assert {a.body for a in answers} == {b"slept"}
        assert time.monotonic() - begin >= 0.9
        assert cpu_seconds(s.pid) - used < 0.2


@pytest.mark.parametrize("loop", LOOPS)
def test_b19_one_core(loop: str) -> None:
    """The original refuses to start with it."""
    with server(APP, "--loop", loop, "--asyncio", "1") as s:
        assert s.get("/one?0").body == b"slept"


@pytest.mark.parametrize("loop", LOOPS)
def test_b3_abandoned_requests_give_their_cores_back(loop: str) -> None:
    """Three clients that leave would make a dead server of three cores."""
    app = """
        import greenlet, greenloop
        def application(environ, start_response):
            if environ["PATH_INFO"] == "/park":
                greenlet.getcurrent().parent.switch()
            start_response("200 OK", [])
            return [b"served"]
    """
    options = ["--loop", loop, "--asyncio", "3", "--cancel-on-disconnect"]
    with server(app, *options) as s:
        for _ in range(2):
            socks = [s.connect() for _ in range(3)]
            for sock in socks:
                sock.sendall(b"GET /park HTTP/1.0\r\n\r\n")
            for sock in socks:
                sock.close()
        assert s.get("/", timeout=5).body == b"served"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_thousand_sleeps_at_once(loop: str) -> None:
    with server(APP, "--loop", loop, "-L") as s:  # 1000 cores by default
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(s.connect()) for _ in range(1000)]
            for sock in socks:
                sock.sendall(b"GET /s?1.5 HTTP/1.0\r\n\r\n")
            for sock in socks:
                assert read_to_end(sock).endswith(b"slept")
        took = time.monotonic() - begin
        order, most = json.loads(s.get("/order").body)
    assert most > 900 and len(order) == 1000
    assert 1.5 <= took < 15  # one after the other: 1500


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
