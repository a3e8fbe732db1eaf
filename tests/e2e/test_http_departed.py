# SPDX-License-Identifier: MIT
"""Clients that leave, half-close, reset or stall, at any moment.

A FIN is no end: who half-closes still gets the answer, unless
--cancel-on-disconnect says otherwise.  Nothing spins, no core and no
descriptor stays behind, nobody else notices.
"""

import contextlib
import signal
import socket
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import (
    Wire,
    cpu_while,
    descriptors,
    descriptors_at_rest,
    open_wire,
    request,
    reset,
    wait_until,
)

APP = """
    import greenloop, socket

    def say(text):
        print(text, flush=True)

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        departed = environ["greenloop.client_disconnected"]
        if path == "/watch":
            say(f"departed {departed()}")
            for _ in range(1000):
                greenloop.sleep(0.01)
                if departed():
                    say(f"seen {departed()}")
                    break
        elif path == "/parked":
            say("parked")
            try:
                greenloop.sleep(60)
            except greenloop.ClientDisconnected:
                say("cancelled")
                raise
            finally:
                say("unwound")
        elif path == "/nap":
            say("napping")
            greenloop.sleep(0.3)
            say("awake")
        elif path == "/part":
            greenloop.sleep(0.1)
            try:
                environ["wsgi.input"].read(50)
            except greenloop.ClientDisconnected:
                pass
        elif path == "/read":
            say("reading")
            try:
                environ["wsgi.input"].read()
            except greenloop.ClientDisconnected:
                say("left while reading it")
                raise
        else:
            environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"answer"]
"""
CHUNKED = "Transfer-Encoding: chunked"
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module", params=LOOPS, ids=LOOPS)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param) as running:
        yield running


@pytest.fixture(params=["close", "reset"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def leave(wire: Wire, how: str) -> None:
    if how == "reset":
        reset(wire.sock)
    else:
        wire.sock.close()


def count(s: Server, text: str) -> int:
    """How often the application has printed this."""
    return s.out.count(text)


def wait_for_count(s: Server, text: str, expected: int) -> None:
    wait_until(lambda: count(s, text) >= expected, f"{expected} x {text}")
    assert count(s, text) == expected


# --- told of it -----------------------------------------------------------


@pytest.mark.parametrize("end", ["half-close", "close", "reset"])
def test_the_application_can_ask(s: Server, end: str) -> None:
    before, begun = count(s, "seen True"), count(s, "departed False")
    with open_wire(s) as wire:
        wire.send(request("GET", "/watch"))
        wait_for_count(s, "departed False", begun + 1)
        if end == "half-close":
            wire.half_close()
            assert wire.reply().body == b"answer"
            wire.expect_end()
        else:
            leave(wire, end)
        wait_for_count(s, "seen True", before + 1)
    assert "departed True" not in s.out


@pytest.mark.parametrize("lines", [["Content-Length: 5"], [CHUNKED]])
def test_who_leaves_within_a_body(
    s: Server, how: str, lines: list[str]
) -> None:
    before, begun = count(s, "left while"), count(s, "reading\n")
    wire = Wire(s.connect())
    wire.send(request("POST", "/read", *lines) + b"2")
    wait_for_count(s, "reading\n", begun + 1)
    leave(wire, how)
    wait_for_count(s, "left while", before + 1)


def test_a_half_closed_body_is_answered(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(request("POST", "/", body=b"x" * 300_000))
        wire.half_close()
        assert wire.reply().body == b"answer"
        wire.expect_end()


def test_a_half_close_within_a_body_ends_the_connection(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(request("POST", "/", "Content-Length: 5") + b"abc")
        wire.half_close()
        wire.expect_end()


@pytest.mark.parametrize("lines", [["Content-Length: 50"], [CHUNKED]])
def test_the_rest_of_a_cut_body_is_not_waited_for(
    s: Server, lines: list[str]
) -> None:
    """The end has been seen while a part was read; nothing tells it again."""
    with open_wire(s) as wire:
        wire.send(request("POST", "/part", *lines) + b"5\r\nhello\r\n")
        wire.half_close()
        assert wire.reply().body == b"answer"
        wire.expect_end()


# --- b3: a parked request whose client left -------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("end", ["half-close", "close", "reset"])
def test_b3_a_departed_client_frees_its_core(loop: str, end: str) -> None:
    """uWSGI does not notice: abandoned requests end up holding all cores."""
    options = ["--cancel-on-disconnect", "--asyncio", "1", "--loop", loop]
    with server(APP, *options) as s:
        for number in range(1, 4):
            wire = Wire(s.connect())
            wire.send(request("GET", "/parked"))
            wait_for_count(s, "parked", number)
            if end == "half-close":
                wire.half_close()
                wire.expect_end()  # for who cancels there is no answer
            leave(wire, "reset" if end == "reset" else "close")
            wait_for_count(s, "unwound", number)
            assert count(s, "cancelled") == number
            assert s.get("/", timeout=5).body == b"answer"


def test_b3_without_the_option_the_request_goes_on(
    s: Server, how: str
) -> None:
    before = count(s, "awake")
    wire = Wire(s.connect())
    wire.send(request("GET", "/nap"))
    wait_for_count(s, "napping", before + 1)
    leave(wire, how)
    wait_for_count(s, "awake", before + 1)
    assert s.get("/").body == b"answer"


# --- b1: sending to a closed peer -----------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_b1_a_broken_pipe_of_the_application(loop: str) -> None:
    """In uWSGI, send() to a closed peer kills the worker by SIGPIPE."""
    app = """
        import asyncio, socket

        def break_pipe():
            ours, theirs = socket.socketpair()
            theirs.close()
            try:
                ours.send(b"x")
            except BrokenPipeError:
                print("broken pipe", flush=True)
            ours.close()

        def application(environ, start_response):
            break_pipe()
            asyncio.get_event_loop().call_soon(break_pipe)
            start_response("200 OK", [])
            return [b"alive"]
    """
    with server(app, "--loop", loop) as s:
        for _ in range(3):
            assert s.get().body == b"alive"
        wait_for_count(s, "broken pipe", 6)


def test_b1_a_broken_pipe_of_the_server() -> None:
    app = """
        import greenloop
        def application(environ, start_response):
            write = start_response("200 OK", [])
            print("started", flush=True)
            try:
                for _ in range(1000):
                    write(b"x" * 1000)
                    greenloop.sleep(0.001)
            finally:
                print("ended", flush=True)
            return []
    """
    with server(app, "--asyncio", "3") as s:
        for number, how in enumerate(["close", "reset"] * 3, 1):
            wire = Wire(s.connect())
            wire.send(request("GET", "/"))
            wire.await_unread()
            leave(wire, how)
            wait_for_count(s, "ended", number)


# --- b2 and the like: nothing spins ---------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_b2_a_full_pool_does_not_spin(loop: str) -> None:
    """uWSGI uses a whole processor for as long as all cores are busy."""
    app = """
        import asyncio, greenlet, signal
        held = []
        def release():
            for greenlet in held:
                greenlet.switch()
        def application(environ, start_response):
            start_response("200 OK", [])
            print("in", flush=True)
            if len(held) < 2:
                me = greenlet.getcurrent()
                held.append(me)
                loop = asyncio.get_event_loop()
                loop.add_signal_handler(signal.SIGUSR1, release)
                me.parent.switch()
            return [environ["QUERY_STRING"].encode()]
    """
    with server(app, "--asyncio", "2", "--loop", loop) as s:
        wires = [Wire(s.connect()) for _ in range(30)]
        for number, wire in enumerate(wires):
            wire.send(request("GET", f"/?{number}"))
        wait_for_count(s, "in\n", 2)
        wires[-1].send(request("GET", "/?more"))
        assert cpu_while(s.pid) < 0.15
        reset(wires[0].sock)  # gone, but it still holds its core
        reset(wires[5].sock)  # gone from the queue
        wires[6].half_close()
        assert cpu_while(s.pid) < 0.15
        assert count(s, "in\n") == 2
        s.send_signal(signal.SIGUSR1)
        for number, wire in enumerate(wires):
            if number not in (0, 5):
                assert wire.reply().text == str(number)
        assert wires[-1].reply().text == "more"
        wires[6].expect_end()
        for wire in wires:
            wire.sock.close()
        wait_for_count(s, "in\n", 30)


@pytest.mark.parametrize("loop", LOOPS)
def test_half_closed_peers_do_not_spin(loop: str) -> None:
    options = ["--loop", loop, "--graceful-timeout", "0.5"]
    with server(APP, *options) as s:
        wires = [Wire(s.connect()) for _ in range(40)]
        for wire in wires:
            wire.send(request("GET", "/parked") + b"more, never read")
        wait_for_count(s, "parked", 40)
        for wire in wires[:20]:
            wire.half_close()
        for wire in wires[20:]:
            reset(wire.sock)
        assert s.get("/").body == b"answer"  # it has seen all of that
        assert cpu_while(s.pid) < 0.15
        assert count(s, "unwound") == 0
        for wire in wires[:20]:
            wire.sock.close()


def test_an_idle_peer_that_half_closes_is_closed(s: Server) -> None:
    with open_wire(s) as fresh, open_wire(s) as used:
        assert used.get("/").body == b"answer"
        for wire in (fresh, used):
            wire.half_close()
            wire.expect_end()


# --- at every byte --------------------------------------------------------

PLAIN = request("POST", "/", body=b"a body of twenty-four by")
IN_CHUNKS = (
    request("POST", "/", CHUNKED)
    + b"3\r\nabc\r\n1;x\r\nd\r\n0\r\nT: x\r\n\r\n"
)
INVITED = request("POST", "/", "Expect: 100-continue", body=b"0123456789")
REQUESTS = {"plain": PLAIN, "chunked": IN_CHUNKS, "invited": INVITED}


@pytest.fixture
def counted() -> Iterator[Server]:
    """A server that must have lost nothing when the test is over."""
    options = ["--http-headers-timeout", "1", "--socket-timeout", "1"]
    with server(APP, *options, "--http-keepalive", "1", "-L") as running:
        before = descriptors_at_rest(running)
        yield running
        wait_until(lambda: descriptors(running.pid) == before, "all closed")
        assert running.get("/").body == b"answer"
        assert "error" not in running.err


@pytest.mark.parametrize("name", REQUESTS)
def test_leaving_at_every_byte(counted: Server, name: str, how: str) -> None:
    raw = REQUESTS[name]
    for cut in range(len(raw) + 1):
        wire = Wire(counted.connect())
        wire.send(raw[:cut])
        if cut % 8 == 0:  # sometimes the server has seen the bytes
            assert counted.get("/").body == b"answer"
        leave(wire, how)


@pytest.mark.parametrize("name", REQUESTS)
def test_half_closing_at_every_byte(counted: Server, name: str) -> None:
    raw = REQUESTS[name]
    for cut in range(len(raw) + 1):
        with open_wire(counted) as wire:
            wire.send(raw[:cut])
            wire.half_close()
            answer = wire.rest().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        if cut == len(raw):
            assert answer.endswith(b"\r\n\r\nanswer")
        else:
            assert answer == b"", (cut, answer)


@pytest.mark.parametrize("name", REQUESTS)
def test_stalling_at_every_byte(counted: Server, name: str) -> None:
    """All at once: each is told 408, but for those that sent nothing."""
    raw = REQUESTS[name]
    with contextlib.ExitStack() as stack:
        wires = [
            stack.enter_context(open_wire(counted)) for _ in range(len(raw))
        ]
        for cut, wire in enumerate(wires):
            wire.send(raw[:cut])
        assert counted.get("/").body == b"answer"
        wires[0].expect_end()
        for wire in wires[1:]:
            reply = wire.reply()
            if reply.status == 100:
                reply = wire.reply()
            assert (reply.status, reply.closes) == (408, True)
            wire.expect_end()


@pytest.mark.parametrize("name", REQUESTS)
def test_sending_on_after_every_cut(counted: Server, name: str) -> None:
    """A pause anywhere changes nothing."""
    raw = REQUESTS[name]
    with open_wire(counted) as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(raw)):
            wire.send(raw[:cut])
            assert counted.get("/").body == b"answer"
            wire.send(raw[cut:])
            reply = wire.reply()
            if reply.status == 100:
                reply = wire.reply()
            assert reply.body == b"answer"
