# SPDX-License-Identifier: MIT
"""`import uwsgi`: suspend(), async_sleep(), waits for descriptors.

In the original's asyncio engine the last two do nothing, or fail always.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from harness import Server, parallel, server
from websocket_peer import TEXT, Frame, open_peer

HEAD = """
    import asyncio
    import os
    import socket
    import time

    import greenlet
    import greenloop
    import uwsgi

    def answer(start, text):
        start("200 OK", [("Content-Type", "text/plain")])
        return [str(text).encode()]
"""
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    return kind


def outcome(s: Server, path: str = "/") -> list[str]:
    answer = s.get(path)
    assert answer.status == 200, s.log
    return answer.text.split("|")


# --- suspend ---------------------------------------------------------------


def test_suspend_until_somebody_switches_back(loop: str) -> None:
    app = f"""{HEAD}
    def application(environ, start):
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        loop.call_later(0.05, me.switch, "ignored")
        begin = time.monotonic()
        first = uwsgi.suspend()
        loop.call_soon(me.switch)
        second = uwsgi.green_schedule()
        took = time.monotonic() - begin
        return answer(start, f"{{first}}|{{second}}|{{took > 0.04}}")
    """
    with server(app, "--loop", loop, "--asyncio", "4") as s:
        assert outcome(s) == ["True", "True", "True"]
        for got in parallel(4, lambda _n: outcome(s)):
            assert got == ["True", "True", "True"]


def test_what_is_thrown_in_ends_a_suspend() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        loop.call_soon(me.throw, KeyError, "thrown")
        reader, writer = os.pipe()
        uwsgi.wait_fd_read(reader)
        try:
            uwsgi.suspend()
        except KeyError as error:
            text = repr(error)
        os.close(reader)
        os.close(writer)
        # Nothing of the first wait is left: only the switch ends this one.
        loop.call_soon(me.switch)
        uwsgi.suspend()
        return answer(start, text + "|" + str(uwsgi.ready_fd()))
    """
    with server(app) as s:
        assert outcome(s) == ["KeyError('thrown')", "-1"]


def test_no_request_no_suspend() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        results = []
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        context = uwsgi.request_context()

        def attempt(call, *args, **kwargs):
            try:
                results.append(call(*args, **kwargs))
            except Exception as error:
                results.append(f"{{type(error).__name__}}: {{error}}")

        async def task():
            for kwargs in ({{}}, {{"request_context": context}}):
                attempt(uwsgi.suspend, **kwargs)
                attempt(uwsgi.async_sleep, 0.01, **kwargs)
            me.switch()

        handle = loop.create_task(task())
        me.parent.switch()
        return answer(start, "|".join(results))
    """
    with server(app) as s:
        original = (
            "SystemError: you can call uwsgi api function only from the "
            "main callable"
        )
        *lost, suspend, sleep = outcome(s)
        assert lost == [original, original]
        assert suspend.startswith("RuntimeError: uwsgi.suspend() can only")
        assert sleep.startswith("RuntimeError: uwsgi.async_sleep() can only")


# --- async_sleep -----------------------------------------------------------


def test_async_sleep_waits(loop: str) -> None:
    """Alone, before suspend(), and yielded: each waits once."""
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        begin = time.monotonic()
        assert uwsgi.async_sleep(0.1) == b""
        uwsgi.suspend()
        uwsgi.async_sleep(0)
        yield uwsgi.async_sleep(0.1)
        yield b"%.3f" % (time.monotonic() - begin)
    """
    with server(app, "--loop", loop) as s:
        begin = time.monotonic()
        for text in parallel(10, lambda _n: s.get().text):
            assert 0.2 <= float(text) < 2.0
        assert time.monotonic() - begin < 1.9


def test_async_sleep_ends_no_later_suspend() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        yield uwsgi.async_sleep(0.01)
        me = greenlet.getcurrent()
        asyncio.get_event_loop().call_later(0.1, me.switch)
        begin = time.monotonic()
        uwsgi.suspend()
        yield b"%.3f" % (time.monotonic() - begin)
    """
    with server(app) as s:
        assert float(s.get().text) >= 0.09


def test_async_sleep_refuses_nonsense() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        results = []
        for bad in (-1, float("nan"), "1"):
            try:
                uwsgi.async_sleep(bad)
            except (TypeError, ValueError) as error:
                results.append(type(error).__name__)
        return answer(start, "|".join(results))
    """
    with server(app) as s:
        assert outcome(s) == ["ValueError", "ValueError", "TypeError"]


# --- descriptors -----------------------------------------------------------


def test_the_first_descriptor_ends_a_suspend(loop: str) -> None:
    """Two are noted, as the chat example does; either may be first."""
    app = f"""{HEAD}
    def application(environ, start):
        one, two = socket.socketpair(), socket.socketpair()
        for pair in (one, two):
            uwsgi.wait_fd_read(pair[0].fileno(), 5)
        number = int(environ["PATH_INFO"][1:])
        chosen = (one, two)[number]
        loop = asyncio.get_event_loop()
        loop.call_later(0.02, chosen[1].send, b"x")
        uwsgi.suspend()
        results = [
            uwsgi.ready_fd() == chosen[0].fileno(),
            environ["uwsgi.ready_fd"] == chosen[0].fileno(),
            environ["x-wsgiorg.fdevent.timeout"],
            chosen[0].recv(9),
        ]
        for sock in one + two:
            sock.close()
        return answer(start, "|".join(map(str, results)))
    """
    with server(app, "--loop", loop) as s:
        for number in (0, 1, 0):
            assert outcome(s, f"/{number}") == ["True", "True", "None", "b'x'"]


def test_ready_though_others_hold_up() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        one, other = socket.socketpair()
        first, to_first = socket.socketpair()
        def hold_up():
            time.sleep(0.05)
            to_first.send(b"x")
        def turn_before():
            greenloop.wait_readable(first)
            other.send(b"y")
        greenloop.spawn(turn_before)
        greenloop.sleep(0)
        asyncio.get_event_loop().call_soon(hold_up)
        uwsgi.wait_fd_read(one.fileno(), 0.02)
        uwsgi.suspend()
        results = [uwsgi.ready_fd() == one.fileno(),
                   environ["x-wsgiorg.fdevent.timeout"]]
        for sock in (one, other, first, to_first):
            sock.close()
        return answer(start, "|".join(map(str, results)))
    """
    with server(app) as s:
        assert outcome(s) == ["True", "None"]


def test_the_timeout_ends_a_wait() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        one, other = socket.socketpair()
        uwsgi.wait_fd_read(one.fileno(), 60)
        uwsgi.wait_fd_read(one.fileno(), 0.1)
        begin = time.monotonic()
        uwsgi.suspend()
        took = time.monotonic() - begin
        results = [0.09 < took < 5, uwsgi.ready_fd(),
                   environ["x-wsgiorg.fdevent.timeout"]]
        # The timeout is gone with it: B7 was a flag that stuck.
        uwsgi.wait_fd_write(one.fileno())
        uwsgi.suspend()
        results += [uwsgi.ready_fd() == one.fileno(),
                    environ["x-wsgiorg.fdevent.timeout"]]
        # async_sleep() sets the timeout of what is noted.
        uwsgi.wait_fd_read(one.fileno())
        begin = time.monotonic()
        uwsgi.async_sleep(0.1)
        results.append(time.monotonic() - begin < 0.09)
        uwsgi.suspend()
        results += [time.monotonic() - begin > 0.09, uwsgi.ready_fd()]
        one.close()
        other.close()
        return answer(start, "|".join(map(str, results)))
    """
    with server(app) as s:
        assert outcome(s) == [
            *["True", "-1", "True"],
            *["True", "None"],
            *["True", "True", "-1"],
        ]


def test_a_yield_waits_as_well(loop: str) -> None:
    """By the callables in environ, as the x-wsgiorg.fdevent text has it."""
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        one, other = socket.socketpair()
        readable = environ["x-wsgiorg.fdevent.readable"]
        writable = environ["x-wsgiorg.fdevent.writable"]
        yield writable(one.fileno())
        yield b"%d|" % (uwsgi.ready_fd() == one.fileno())
        yield readable(one.fileno(), 0.05)
        yield b"%r|" % environ["x-wsgiorg.fdevent.timeout"]
        asyncio.get_event_loop().call_later(0.02, other.send, b"late")
        yield readable(one.fileno(), 5)
        yield b"%r|" % environ["x-wsgiorg.fdevent.timeout"]
        yield one.recv(9)
        one.close()
        other.close()
    """
    with server(app, "--loop", loop) as s:
        assert outcome(s) == ["1", "True", "None", "late"]


def test_a_switch_ends_a_suspend_with_descriptors() -> None:
    """The original's: until someone switches back; also of another request."""
    app = f"""{HEAD}
    parked = []

    def application(environ, start):
        if environ["PATH_INFO"] == "/other":
            parked.pop().switch()
            return answer(start, "switched")
        one, other = socket.socketpair()
        me = greenlet.getcurrent()
        results = []
        for wake in (asyncio.get_event_loop().call_soon, None):
            uwsgi.wait_fd_read(one.fileno(), 30)
            if wake:
                wake(me.switch)
            else:
                parked.append(me)
                print("parked", flush=True)
            uwsgi.suspend()
            results += [uwsgi.ready_fd(), environ["x-wsgiorg.fdevent.timeout"]]
        # The waits that were switched away left nothing behind.
        other.send(b"x")
        uwsgi.async_sleep(0.02)
        results.append(uwsgi.ready_fd())
        one.close()
        other.close()
        return answer(start, "|".join(map(str, results)))
    """
    with server(app) as s:
        results: list[list[str]] = []
        first = threading.Thread(target=lambda: results.append(outcome(s)))
        first.start()
        s.wait_for("parked")
        assert s.get("/other").text == "switched"
        first.join(10)
        assert results == [["-1", "None", "-1", "None", "-1"]]


def test_strange_descriptors() -> None:
    """Closed ones are errors, regular files are always ready."""
    app = f"""{HEAD}
    import tempfile

    def application(environ, start):
        results = []
        reader, writer = os.pipe()
        os.close(writer)
        os.close(reader)
        for fd in (reader, -1):
            try:
                uwsgi.wait_fd_read(fd)
            except OSError as error:
                results.append(error.errno)
        with tempfile.TemporaryFile() as file:
            uwsgi.wait_fd_read(file.fileno())
            uwsgi.suspend()
            results.append(uwsgi.ready_fd() == file.fileno())
            copy = os.dup(file.fileno())
            uwsgi.wait_fd_read(copy)
            os.close(copy)
            try:
                uwsgi.suspend()
            except OSError as error:
                results.append(error.errno)
        # It is forgotten by now.
        asyncio.get_event_loop().call_soon(greenlet.getcurrent().switch)
        results.append(uwsgi.suspend())
        return answer(start, "|".join(map(str, results)))
    """
    with server(app) as s:
        assert outcome(s) == ["9", "9", "True", "9", "True"]


@contextlib.contextmanager
def half_sent(s: Server) -> Iterator[socket.socket]:
    with s.connect() as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"
        )
        yield sock


def test_a_greenlet_that_waits_for_an_ended_request() -> None:
    """It is ended with the request, before its connection goes on."""
    app = f"""{HEAD}
    def application(environ, start):
        if environ["REQUEST_METHOD"] == "GET":
            return answer(start, "get")
        me = greenlet.getcurrent()

        def read():
            try:
                environ["wsgi.input"].read()
            except greenlet.GreenletExit:
                print("ended", flush=True)

        child = greenlet.greenlet(read)
        asyncio.get_event_loop().call_soon(me.switch)
        child.switch()
        return answer(start, "post")
    """
    with server(app) as s:
        with half_sent(s) as sock:
            s.wait_printed("ended", 1)
            sock.sendall(b"cdGET / HTTP/1.1\r\nHost: a\r\n")
            sock.sendall(b"Connection: close\r\n\r\n")
            text = sock.makefile("rb").read()
            assert b"post" in text and text.endswith(b"get")


def test_the_stop_ends_a_suspend() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        one, other = socket.socketpair()
        print("parked", flush=True)
        try:
            uwsgi.wait_fd_read(one.fileno())
            uwsgi.suspend()
        finally:
            one.close()
            other.close()
            print("unwound", flush=True)
        return answer(start, "never")
    """
    with server(app, "--graceful-timeout", "1") as s:
        client = threading.Thread(target=lambda: s.get("/"))
        client.start()
        s.wait_for("parked")
        s.stop()
        client.join(10)
        s.wait_printed("unwound", 1)
        assert "ended by the server's stop" in s.err


def test_a_websocket_and_another_descriptor() -> None:
    """The original's own chat: both are noted, and ready_fd() is asked."""
    app = f"""{HEAD}
    def application(environ, start):
        uwsgi.websocket_handshake()
        client = uwsgi.connection_fd()
        one, other = socket.socketpair()
        loop = asyncio.get_event_loop()
        while True:
            uwsgi.wait_fd_read(client, 5)
            uwsgi.wait_fd_read(one.fileno())
            uwsgi.suspend()
            ready = uwsgi.ready_fd()
            if ready == client:
                text = uwsgi.websocket_recv_nb()
                if text == b"end":
                    break
                if text:
                    loop.call_later(0.01, other.send, text)
            elif ready == one.fileno():
                uwsgi.websocket_send(one.recv(100))
            else:
                uwsgi.websocket_send("silent")
        one.close()
        other.close()
        return []
    """
    with server(app) as s, open_peer(s, "/") as peer:
        for text in (b"one", b"two", b"three"):
            peer.send(TEXT, text)
            assert peer.frame() == Frame(TEXT, text)
        # What comes together is announced as often as it takes (B15).
        for text in (b"a", b"b", b"c"):
            peer.send(TEXT, text)
        got = b""
        while len(got) < 3:
            got += peer.frame().payload
        assert sorted(got) == sorted(b"abc")
        peer.send(TEXT, b"end")
        assert peer.frame().code == 1000
