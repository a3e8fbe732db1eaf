# SPDX-License-Identifier: MIT
"""Limits and timeouts: the right status, then the end, always readable.

RFC 9110 section 15.5, RFC 9112 sections 3, 9.5 and 9.6.
"""

import contextlib
import time
from collections.abc import Iterator

import pytest
from harness import Server, parallel, server
from wire import (
    Wire,
    descriptors,
    descriptors_at_rest,
    open_wire,
    request,
    wait_until,
)

APP = """
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/unread":
            count = 0
        elif environ["PATH_INFO"] == "/patient":
            try:
                environ["wsgi.input"].read()
            except TimeoutError:
                count = -1
        else:
            count = len(environ["wsgi.input"].read())
        start_response("200 OK", [])
        return [str(count).encode()]
"""

LINE_MAX, HEAD_MAX, FIELDS_MAX, BODY_MAX = 200, 1024, 10, 1000
LIMITS = [
    f"--limit-request-line={LINE_MAX}",
    f"--buffer-size={HEAD_MAX}",
    f"--limit-request-fields={FIELDS_MAX}",
    f"--limit-post={BODY_MAX}",
]
# Long enough for a busy machine, short enough for a test.
TIMEOUT = 0.6
TIMEOUTS = [
    f"--http-headers-timeout={TIMEOUT}",
    f"--http-keepalive={TIMEOUT}",
    f"--socket-timeout={TIMEOUT}",
]
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    with server(APP, *LIMITS) as running:
        yield running


def refused(wire: Wire, status: int, method: str = "GET") -> None:
    """The server answers with this status and then closes in order."""
    reply = wire.reply(method)
    assert (reply.status, reply.closes) == (status, True), reply
    wire.expect_end()


def line_of(size: int) -> bytes:
    return b"GET /" + b"a" * (size - 14) + b" HTTP/1.1"


def head_of(size: int) -> bytes:
    start, rest = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", size
    return start + b"x" * (rest - len(start) - 4) + b"\r\n\r\n"


# --- limits ---------------------------------------------------------------


def test_the_longest_request_line(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(line_of(LINE_MAX) + b"\r\nHost: a\r\n\r\n")
        assert wire.reply().status == 200
        wire.send(line_of(LINE_MAX + 1) + b"\r\nHost: a\r\n\r\n")
        refused(wire, 414)


def test_a_request_line_without_end(s: Server) -> None:
    with open_wire(s) as wire:
        wire.drip(line_of(LINE_MAX + 1)[: LINE_MAX + 1])
        refused(wire, 414)


def test_the_largest_head(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(head_of(HEAD_MAX))
        assert wire.reply().status == 200
        wire.send(head_of(HEAD_MAX + 1))
        refused(wire, 431)


def test_a_head_without_end(s: Server) -> None:
    for endless in (b"X" * 5000, b"X: " + b"y" * 5000, b"X: y\r\n" * 9):
        with open_wire(s) as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + endless)
            wire.send(b"Z: " + b"z" * 2000)
            refused(wire, 431)


def test_the_most_fields(s: Server) -> None:
    with open_wire(s) as wire:
        fields = [f"X-{n}: y" for n in range(FIELDS_MAX)]
        assert wire.get("/", *fields[:-1]).status == 200  # and Host
        wire.send(request("GET", "/", *fields))
        refused(wire, 431)


def test_the_largest_body(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(request("POST", "/", body=b"x" * BODY_MAX))
        assert wire.reply().text == str(BODY_MAX)
        wire.send(request("POST", "/", f"Content-Length: {BODY_MAX + 1}"))
        refused(wire, 413)  # before a byte of it came


def test_the_largest_body_in_chunks(s: Server) -> None:
    with open_wire(s) as wire:
        for size in (BODY_MAX, BODY_MAX + 1):
            body = b"1\r\nx\r\n%x\r\n" % (size - 1) + b"x" * (size - 1)
            wire.send(request("POST", "/", CHUNKED) + body + b"\r\n0\r\n\r\n")
        assert wire.reply().text == str(BODY_MAX)
        refused(wire, 413)


def test_a_large_body_is_not_invited(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(
            request(
                "POST", "/", "Expect: 100-continue", "Content-Length: 5000"
            )
        )
        refused(wire, 413)


def test_a_refused_head_request_has_no_body(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(request("HEAD", "/", "Content-Length: 5000"))
        refused(wire, 413, "HEAD")


# --- the answer reaches who still sends -----------------------------------


@pytest.mark.parametrize("wait", [False, True], ids=["at once", "later"])
def test_a_refusal_is_readable_while_the_client_sends(
    s: Server, wait: bool
) -> None:
    for size in (1, 5000, 70_000, 500_000):
        with open_wire(s) as wire:
            wire.send(request("POST", "/", f"Content-Length: {size + 2000}"))
            if wait:
                wire.await_unread()
            for _ in range(10):
                wire.send(b"x" * (size // 10))
            refused(wire, 413)


def test_a_bad_request_among_many_is_readable(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(
            request("GET", "/") + b"bad\r\n\r\n" + request("GET", "/") * 5000
        )
        assert wire.reply().status == 200
        refused(wire, 400)


def test_who_never_stops_sending_is_cut(s: Server) -> None:
    before = descriptors_at_rest(s)
    with open_wire(s) as wire:
        wire.send(request("POST", "/", "Content-Length: 999999999"))
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                wire.send(b"x" * 100_000)
    wait_until(lambda: descriptors(s.pid) <= before, "it is closed")


# --- timeouts -------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty() -> Iterator[Server]:
    with server(APP, *TIMEOUTS) as running:
        yield running


class Clock:
    """How long something took, against the timeout."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def is_time(self) -> bool:
        took = time.monotonic() - self._begin
        return TIMEOUT - 0.05 <= took < TIMEOUT + 2


def silent_client(s: Server) -> bool:
    with open_wire(s) as wire:
        clock = Clock()
        wire.expect_end()
        return clock.is_time()


def half_a_head(s: Server) -> bool:
    with open_wire(s) as wire:
        clock = Clock()
        wire.send(b"GET / HTTP/1.1\r\nHo")
        refused(wire, 408)
        return clock.is_time()


def half_a_second_head(s: Server) -> bool:
    with open_wire(s) as wire:
        assert wire.get("/").status == 200
        clock = Clock()
        wire.send(b"G")
        refused(wire, 408)
        return clock.is_time()


def a_dripping_head(s: Server) -> bool:
    """A byte now and then does not move the deadline."""
    with open_wire(s) as wire:
        clock = Clock()
        wire.send(b"GET / HTTP/1.1\r\nX: ")
        while wire.is_silent(TIMEOUT / 8):
            wire.send(b"x")
        refused(wire, 408)
        return clock.is_time()


def idle_after_an_answer(s: Server) -> bool:
    with open_wire(s) as wire:
        assert wire.get("/").status == 200
        clock = Clock()
        wire.expect_end()
        return clock.is_time()


def half_a_body(s: Server) -> bool:
    with open_wire(s) as wire:
        clock = Clock()
        wire.send(request("POST", "/", "Content-Length: 5") + b"abc")
        refused(wire, 408)
        return clock.is_time()


def half_a_body_that_is_answered(s: Server) -> bool:
    """The rest is not waited for a second time."""
    with open_wire(s) as wire:
        clock = Clock()
        wire.send(request("POST", "/patient", "Content-Length: 5") + b"abc")
        refused(wire, 200)
        return clock.is_time()


def half_a_chunk(s: Server) -> bool:
    with open_wire(s) as wire:
        clock = Clock()
        wire.send(request("POST", "/", CHUNKED) + b"5\r\nabc")
        refused(wire, 408)
        return clock.is_time()


def an_invitation_that_is_not_taken(s: Server) -> bool:
    with open_wire(s) as wire:
        clock = Clock()
        wire.send(
            request("POST", "/", "Expect: 100-continue", "Content-Length: 5")
        )
        assert wire.reply().status == 100
        refused(wire, 408)
        return clock.is_time()


def a_rest_that_nobody_reads(s: Server) -> bool:
    with open_wire(s) as wire:
        wire.send(request("POST", "/unread", "Content-Length: 5") + b"abc")
        assert wire.reply().status == 200
        clock = Clock()
        wire.expect_end()
        return clock.is_time()


def a_dripping_body(s: Server) -> bool:
    """Progress is all that is asked of a body."""
    with open_wire(s) as wire:
        wire.send(request("POST", "/", "Content-Length: 6"))
        for _ in range(6):
            assert wire.is_silent(TIMEOUT / 4)
            wire.send(b"x")
        return wire.reply().text == "6"


CASES = [
    silent_client,
    half_a_head,
    half_a_second_head,
    a_dripping_head,
    idle_after_an_answer,
    half_a_body,
    half_a_body_that_is_answered,
    half_a_chunk,
    an_invitation_that_is_not_taken,
    a_rest_that_nobody_reads,
    a_dripping_body,
]


@pytest.fixture(scope="module")
def outcomes(hasty: Server) -> dict[str, "bool | Exception"]:
    """All cases at once: most of them only wait."""

    def outcome(number: int) -> "bool | Exception":
        try:
            return CASES[number](hasty)
        except Exception as error:
            return error

    results = parallel(len(CASES), outcome)
    names = [case.__name__ for case in CASES]
    return dict(zip(names, results, strict=True))


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_timeouts(outcomes: dict[str, "bool | Exception"], name: str) -> None:
    outcome = outcomes[name]
    if isinstance(outcome, Exception):
        raise outcome
    assert outcome, "not in time"


def test_who_does_not_close_after_a_refusal_is_closed(hasty: Server) -> None:
    """The server waits for the other end only for so long."""
    with contextlib.ExitStack() as stack:
        before = descriptors_at_rest(hasty)
        for _ in range(10):
            wire = stack.enter_context(open_wire(hasty))
            wire.send(b"rubbish\r\n")
            refused(wire, 400)
        wait_until(
            lambda: descriptors(hasty.pid) <= before, "all are closed", 8
        )
