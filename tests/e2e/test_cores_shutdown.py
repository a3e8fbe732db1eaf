# SPDX-License-Identifier: MIT
"""The end of parked requests when the server stops.

GreenletExit is thrown while the loop still runs; what cleans up may park
until the graceful time is over; after that no request may wait any more.
"""

import concurrent.futures
import signal
import time
from collections.abc import Callable

import pytest
from harness import Server, read_to_end, server
from wire import open_wire, request

APP = """
    import asyncio, sys
    import greenlet, greenloop

    def say(text):
        print(text, flush=True)

    def sleeps(environ):
        '''Its finally block may wait, for a coroutine as well.'''
        try:
            say("parked")
            greenloop.sleep(60)
        finally:
            say("exit: " + type(sys.exc_info()[1]).__name__)
            greenloop.sleep(0.05)
            greenloop.await_(asyncio.sleep(0.05))
            say("cleaned up")

    def awaits(environ):
        async def endless():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("cancelled")
                raise
        say("parked")
        greenloop.await_(endless())

    def seed_style(environ):
        say("parked")
        try:
            greenlet.getcurrent().parent.switch()
        except greenlet.GreenletExit:
            say("thrown")
            raise

    def ends_in_time(environ):
        say("parked")
        greenloop.sleep(0.3)
        say("ended by itself")

    def never_ends(environ):
        '''Swallows whatever it is told.'''
        say("parked")
        for n in range(1000):
            try:
                greenloop.sleep(60)
            except greenlet.GreenletExit as error:
                say("refused" if error.args else "thrown")
        say("gave up")

    def never_ends_in_the_hub(environ):
        '''Parks by itself, so that only the server's end can end it.'''
        say("parked")
        while True:
            try:
                greenlet.getcurrent().parent.switch()
            except greenlet.GreenletExit:
                say("swallowed")

    def with_a_child(environ):
        '''One of its greenlets waits; the request waits for that one.'''
        def run():
            try:
                say("parked")
                greenloop.sleep(60)
            finally:
                say("child ended")
        greenlet.greenlet(run).switch()
        greenloop.sleep(60)

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        globals()[environ["PATH_INFO"][1:]](environ)
        return [b"ok"]
"""

LOOPS = ["asyncio", "uvloop"]


def stopped(name: str, loop: str, seconds: float) -> "tuple[Server, bytes]":
    """Starts a server, a request to `name`, and stops in the middle of it;
    the log is free of tracebacks and the exit status 0."""
    options = ["--loop", loop, "--graceful-timeout", str(seconds), "-L"]
    with server(APP, *options) as s, s.connect() as sock:
        sock.sendall(f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        s.wait_for("parked")
        begin = time.monotonic()
        s.send_signal(signal.SIGINT)
        answer = read_to_end(sock)
        s.wait_exit()
        assert time.monotonic() - begin < seconds + 1.0
    return s, answer


Check = Callable[[str], None]


def finally_blocks_may_wait(loop: str) -> None:
    s, answer = stopped("sleeps", loop, 1)
    assert "exit: GreenletExit\ncleaned up" in s.out
    assert b" 503 " in answer.splitlines()[0]


def awaited_coroutines_are_cancelled(loop: str) -> None:
    s, answer = stopped("awaits", loop, 0.6)
    assert "cancelled" in s.out
    assert b" 503 " in answer.splitlines()[0]


def parked_as_the_seed_does(loop: str) -> None:
    s, answer = stopped("seed_style", loop, 0.6)
    assert s.out.count("thrown") == 1
    assert b" 503 " in answer.splitlines()[0]


def requests_may_end_in_time(loop: str) -> None:
    s, answer = stopped("ends_in_time", loop, 5)
    assert "ended by itself" in s.out
    assert answer.endswith(b"ok") and b" 200 " in answer.splitlines()[0]


def no_wait_after_the_graceful_time(loop: str) -> None:
    s, _ = stopped("never_ends", loop, 0.6)
    assert "thrown\nthrown\nrefused\n" in s.out
    assert "gave up" in s.out


def a_request_that_will_not_end(loop: str) -> None:
    s, _ = stopped("never_ends_in_the_hub", loop, 0.6)
    assert s.out.count("swallowed") >= 1


def children_end_with_the_request(loop: str) -> None:
    s, _ = stopped("with_a_child", loop, 0.6)
    assert "child ended" in s.out


def a_second_signal_does_not_wait(loop: str) -> None:
    options = ["--loop", loop, "--graceful-timeout", "30"]
    with server(APP, *options) as s, s.connect() as sock:
        sock.sendall(b"GET /seed_style HTTP/1.1\r\nHost: x\r\n\r\n")
        s.wait_for("parked")
        s.send_signal(signal.SIGTERM)
        s.wait_for("stopping")
        s.send_signal(signal.SIGTERM)
        s.wait_exit(5)
        assert "thrown" in s.out


def queued_requests(loop: str) -> None:
    """They were read, so they are served, within the graceful time."""
    options = ["--loop", loop, "--asyncio", "1", "--graceful-timeout", "5"]
    with server(APP, *options) as s:
        socks = [s.connect() for _ in range(3)]
        for sock in socks:
            sock.sendall(b"GET /ends_in_time HTTP/1.0\r\n\r\n")
        s.wait_for("parked")
        s.send_signal(signal.SIGINT)
        answers = [read_to_end(sock) for sock in socks]
        s.wait_exit(8)
        for sock in socks:
            sock.close()
    # One that was not accepted yet is the next process's, or nobody's.
    assert answers[0].endswith(b"ok")
    assert all(a == b"" or a.endswith(b"ok") for a in answers)


CHECKS: list[Check] = [
    finally_blocks_may_wait,
    awaited_coroutines_are_cancelled,
    parked_as_the_seed_does,
    requests_may_end_in_time,
    no_wait_after_the_graceful_time,
    a_request_that_will_not_end,
    children_end_with_the_request,
    a_second_signal_does_not_wait,
    queued_requests,
]

Outcomes = dict[tuple[str, str], "concurrent.futures.Future[None]"]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """All at the same time: most of what they do is waiting."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        return {
            (check.__name__, loop): pool.submit(check, loop)
            for check in CHECKS
            for loop in LOOPS
        }


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
def test_shutdown(outcomes: Outcomes, name: str, loop: str) -> None:
    outcomes[name, loop].result(60)


def test_keyboard_interrupt_in_a_request() -> None:
    """It stops the server gracefully, as Ctrl-C does."""
    app = """
        def application(environ, start_response):
            raise KeyboardInterrupt
    """
    with server(app, allow_traceback=True) as s:
        assert s.get().status == 500
        assert s.wait_exit(10) == 0
        assert "stopping" in s.err and "SystemError" not in s.err


def test_system_exit_in_a_request() -> None:
    """The original ends its worker; here it is one failed request."""
    app = """
        def application(environ, start_response):
            if environ["PATH_INFO"] == "/exit":
                raise SystemExit(3)
            start_response("200 OK", [])
            return [b"alive"]
    """
    with server(app, allow_traceback=True) as s:
        assert s.get("/exit").status == 500
        s.wait_for("SystemExit: 3")
        assert s.get("/").body == b"alive"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", ["await", "run", "background"])
def test_system_exit_in_a_task(loop: str, way: str) -> None:
    """asyncio lets it out of the loop; here the others go on."""
    app = """
        import asyncio, sys, greenloop

        async def leave():
            await asyncio.sleep(0.01)
            sys.exit(3)

        def application(environ, start_response):
            path = environ["PATH_INFO"]
            if path == "/await":
                greenloop.await_(leave())
            if path == "/run":
                asyncio.run(leave())
            if path == "/background":
                application.task = asyncio.create_task(leave())
            greenloop.sleep(0.1)
            start_response("200 OK", [])
            return [b"alive"]
    """
    with server(app, "--loop", loop, allow_traceback=True) as s:
        status = 200 if way == "background" else 500
        for _ in range(2):
            with open_wire(s) as wire:
                wire.send(request("GET", "/"))
                assert s.get(f"/{way}").status == status
                assert wire.reply().body == b"alive"
        s.wait_for("sys.exit(3) was called in the event loop")
        assert s.get("/").body == b"alive"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_system_exit_at_the_end(loop: str) -> None:
    """A task that is cancelled then has no say in the exit status."""
    app = """
        import asyncio, sys

        async def stays():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                sys.exit(3)

        task = asyncio.get_event_loop().create_task(stays())

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"alive"]
    """
    with server(app, "--loop", loop, allow_traceback=True) as s:
        assert s.get("/").body == b"alive"


def test_nobody_is_accepted_any_more() -> None:
    with server(APP, "--graceful-timeout", "5") as s, s.connect() as sock:
        sock.sendall(b"GET /ends_in_time HTTP/1.0\r\n\r\n")
        s.wait_for("parked")
        s.send_signal(signal.SIGINT)
        s.wait_for("stopping")
        with pytest.raises(ConnectionRefusedError):
            while True:  # what the kernel took before is reset
                try:
                    s.connect(1).close()
                except ConnectionResetError:
                    continue
        assert read_to_end(sock).endswith(b"ok")
        s.wait_exit()
