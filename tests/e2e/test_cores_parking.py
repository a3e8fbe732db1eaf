# SPDX-License-Identifier: MIT
"""A core parks for one stated reason and resumes for it.

Whatever else switches to it meanwhile is dropped; what is thrown into it is
delivered, and what it had registered is gone then.
"""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, read_to_end, server

APP = """
    import asyncio, json, time
    import greenlet, greenloop

    class Thrown(Exception):
        pass

    def body_read(environ):
        return len(environ["wsgi.input"].read())

    def slept(environ):
        begin = time.monotonic()
        greenloop.sleep(0.1)
        return time.monotonic() - begin >= 0.1

    def awaited(environ):
        return greenloop.await_(asyncio.sleep(0.1, "awaited"))

    WAITS = {"slept": slept, "awaited": awaited, "body_read": body_read}
    parked = {}

    def wait(environ, name):
        '''Waits while callbacks of the loop switch to this greenlet.'''
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        returned = parked[name] = []
        for n in range(5):
            loop.call_later(
                0.01 * n, lambda: returned.append(repr(me.switch("early"))))
        result = WAITS[name](environ)
        while len(returned) < 5:
            greenloop.sleep(0.005)
        return [result, returned]

    def thrown(environ, name):
        '''Something is thrown in; then the same thing is waited for.'''
        me = greenlet.getcurrent()
        asyncio.get_event_loop().call_later(0.02, me.throw, Thrown)
        try:
            WAITS[name](environ)
        except Thrown:
            begin = time.monotonic()
            greenloop.sleep(0.15)  # nothing late ends this
            assert time.monotonic() - begin >= 0.15
            return "thrown"

    def child(environ):
        '''A greenlet of the application's own is switched to early.'''
        begin = time.monotonic()
        took = []
        def run():
            greenloop.sleep(0.1)
            took.append(time.monotonic() - begin)
        waits = greenlet.greenlet(run)
        for n in range(5):
            asyncio.get_event_loop().call_later(0.01 * n, waits.switch)
        while not took:
            greenloop.sleep(0.005)
        return took[0] >= 0.1

    def big(environ):
        '''A response that a slow client takes, with foreign switches.'''
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        def switch():
            if not parked.get("ended"):
                parked["switches"] += me.switch("early") is None
                loop.call_later(0.005, switch)
        parked.update(switches=0, ended=False)
        loop.call_soon(switch)
        try:
            yield b"x" * 8_000_000
            yield b"y" * 1_000_000
        finally:
            parked["ended"] = True

    def big_thrown(environ):
        me = greenlet.getcurrent()
        asyncio.get_event_loop().call_later(0.05, me.throw, Thrown)
        parked.update(big="begun")
        try:
            yield b"x" * 30_000_000
        finally:
            parked["big"] = "ended"

    def state(environ, key):
        return parked.get(key)

    def application(environ, start_response):
        name, _, rest = environ["PATH_INFO"][1:].partition("/")
        if name.startswith("big"):
            start_response("200 OK", [])
            return globals()[name](environ)
        args = [rest] if rest else []
        result = globals()[name](environ, *args)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(result).encode()]
"""

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS, scope="module")
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(
        APP, "--loop", request.param, "-L", allow_traceback=True
    ) as running:
        yield running
        assert running.err.count("error in a request") <= 1  # big_thrown


def ask(s: Server, path: str) -> Any:
    answer = s.get(f"/{path}", timeout=10)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def ask_slowly(s: Server, path: str) -> Any:
    """Sends the second half of a body when the server waits for it."""
    with s.connect(10) as sock:
        head = f"POST /{path} HTTP/1.0\r\nContent-Length: 8\r\n\r\nhalf"
        sock.sendall(head.encode())
        time.sleep(0.1)  # the body is late: that is what is tested
        sock.sendall(b"half")
        head_bytes, _, body = read_to_end(sock).partition(b"\r\n\r\n")
        assert b" 200 " in head_bytes.splitlines()[0]
        return json.loads(body)


def test_switches_into_a_sleep_are_dropped(s: Server) -> None:
    """It would be over too early, and its timer wake a later wait."""
    assert ask(s, "wait/slept") == [True, ["None"] * 5]


def test_switches_into_a_sleep_of_a_child_are_dropped(s: Server) -> None:
    """Its class is not ours, so that only the wait itself can refuse."""
    assert ask(s, "child") is True


def test_switches_into_await_are_dropped(s: Server) -> None:
    assert ask(s, "wait/awaited") == ["awaited", ["None"] * 5]


def test_switches_into_a_body_read_are_dropped(s: Server) -> None:
    """It would look like the end of the body."""
    assert ask_slowly(s, "wait/body_read") == [8, ["None"] * 5]


def test_switches_into_a_slow_write_are_dropped(s: Server) -> None:
    """Bytes would be lost, or sent twice."""
    with s.connect(10) as sock:
        sock.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        deadline = time.monotonic() + 5
        while ask(s, "state/switches") in (None, 0, 1, 2):
            assert time.monotonic() < deadline
        head, _, body = read_to_end(sock).partition(b"\r\n\r\n")
    assert body == b"x" * 8_000_000 + b"y" * 1_000_000


@pytest.mark.parametrize("name", ["slept", "awaited"])
def test_what_is_thrown_is_delivered(s: Server, name: str) -> None:
    assert ask(s, f"thrown/{name}") == "thrown"


def test_what_is_thrown_into_a_body_read_is_delivered(s: Server) -> None:
    """The late half of the body must not wake the next wait."""
    assert ask_slowly(s, "thrown/body_read") == "thrown"


def test_what_is_thrown_into_a_slow_write_is_delivered(s: Server) -> None:
    with s.connect(10) as sock:
        sock.sendall(b"GET /big_thrown HTTP/1.0\r\n\r\n")
        deadline = time.monotonic() + 5
        while ask(s, "state/big") != "ended":
            assert time.monotonic() < deadline
        body = read_to_end(sock)  # cut off, so that the client can tell
    assert len(body) < 30_000_000
    assert ask(s, "wait/slept") == [True, ["None"] * 5]


# --- B12: the original used memory of a request after its end


B12 = """
    import asyncio
    import greenlet, greenloop

    def application(environ, start_response):
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/future":
            return [green_future(me, loop)]
        return generator(me, loop)

    def generator(me, loop):
        for n in range(5):
            loop.call_soon(me.switch)
            loop.call_soon(me.switch, "twice")
            yield b"%d" % n
            loop.call_soon(me.switch)
        loop.call_later(0.001, me.switch)

    def green_future(me, loop):
        '''A future that switches when it is done, and once more.'''
        future = loop.create_future()
        future.add_done_callback(lambda _: me.switch())
        future.add_done_callback(lambda _: me.switch())
        loop.call_soon(future.set_result, b"green")
        while not future.done():
            me.parent.switch()
        loop.call_soon(me.switch)
        greenloop.sleep(0.001)
        return future.result()
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_b12_switches_around_a_yield(loop: str) -> None:
    with server(B12, "--loop", loop, "--asyncio", "2") as s:
        for _ in range(30):
            assert s.get("/generator").body == b"01234"
            assert s.get("/future").body == b"green"


# --- B4: registrations for a descriptor outlive its connection


B4 = """
    import asyncio, json

    calls = []

    def application(environ, start_response):
        loop = asyncio.get_event_loop()
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/register":
            fd = environ["wsgi.input"].fileno()
            loop.add_reader(fd, calls.append, "reader")
            loop.add_writer(fd, calls.append, "writer")
            return [b"%d" % fd]
        if environ["PATH_INFO"] == "/calls":
            return [b"%d" % len(calls)]
        return [environ["wsgi.input"].read()]
"""


def number(s: Server, path: str) -> int:
    return int(s.get(path).body)


@pytest.mark.parametrize("loop", LOOPS)
def test_b4_readers_left_on_fileno_are_removed(loop: str) -> None:
    """The next connection with that number would hang, or its bytes be
    taken from it; and the loop would spin."""
    with server(B4, "--loop", loop) as s:
        descriptors = {number(s, "/register") for _ in range(5)}
        assert len(descriptors) < 5  # the number was used again
        before = number(s, "/calls")
        for _ in range(10):
            assert s.request("POST", "/", b"body").body == b"body"
        assert number(s, "/calls") == before
        used = cpu_seconds(s.pid)
        time.sleep(0.3)  # idle, which is what is measured
        assert cpu_seconds(s.pid) - used < 0.1


@pytest.mark.parametrize("loop", LOOPS)
def test_b4_on_a_connection_that_is_kept(loop: str) -> None:
    """The next request on it must not be stolen by the last one's."""
    with server(B4, "--loop", loop) as s, s.connect(5) as sock:
        for _ in range(3):
            sock.sendall(b"GET /register HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(sock).isdigit()
        before = number(s, "/calls")
        sock.sendall(b"GET /calls HTTP/1.1\r\nHost: x\r\n\r\n")
        assert int(read_answer(sock)) == before


def read_answer(sock: socket.socket) -> bytes:
    """The body of one response with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(
        line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:]
    )
    while len(body) < int(fields[b"content-length"]):
        body += sock.recv(65536)
    return body


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
