# SPDX-License-Identifier: MIT
"""Several requests on one connection: keep-alive, pipelining, framing.

RFC 9112 sections 6.3, 9.3 and 9.6; RFC 9110 sections 6.4.1, 6.6.1 and 9.3.2.
"""

import email.utils
import threading
import time
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import (
    Wire,
    descriptors,
    descriptors_at_rest,
    open_wire,
    request,
    wait_until,
)

APP = """
    def stream(*items):
        yield from items

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        status, headers = "200 OK", [("Content-Type", "text/plain")]
        if path == "/list":
            body = [b"one", b"two"]
        elif path == "/stream":
            body = stream(b"one", b"", b"two")
        elif path == "/stream/empty":
            body = stream()
        elif path == "/stream/length":
            headers.append(("Content-Length", "6"))
            body = stream(b"one", b"two")
        elif path == "/status":
            status = environ["QUERY_STRING"] + " Text"
            body = [b"a body that may not be sent"]
        elif path == "/304/length":
            status = "304 Not Modified"
            headers.append(("Content-Length", "1234"))
            body = []
        elif path == "/short":
            headers.append(("Content-Length", "10"))
            body = [b"short"]
        elif path == "/long":
            headers.append(("Content-Length", "3"))
            body = [b"longer"]
        elif path == "/close":
            headers.append(("Connection", "close"))
            body = [b"bye"]
        elif path == "/own":
            headers += [("Date", "yesterday"), ("Server", "mine")]
            body = []
        elif path == "/big":
            body = [b"x" * (4 << 20)]
        else:
            read = environ["wsgi.input"].read()
            body = [f"{path} {len(read)} ".encode(), read]
        start_response(status, headers)
        return body
"""


@pytest.fixture(
    scope="module", params=["asyncio", "uvloop"], ids=["asyncio", "uvloop"]
)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param) as running:
        yield running


@pytest.fixture
def wire(s: Server) -> Iterator[Wire]:
    with open_wire(s) as opened:
        yield opened


# --- keep-alive -----------------------------------------------------------


def test_b8_the_second_request_is_served(s: Server, wire: Wire) -> None:
    """uWSGI answers the first request of a connection and then hangs."""
    for number in range(100):
        reply = wire.get(f"/{number}")
        assert (reply.status, reply.text) == (200, f"/{number} 0 ")
        assert reply.field("Connection") is None


def test_b8_pipelined_requests_are_served(s: Server, wire: Wire) -> None:
    """Of pipelined requests uWSGI answers only the first."""
    wire.send(request("GET", "/a") + request("GET", "/b"))
    assert [wire.reply().text, wire.reply().text] == ["/a 0 ", "/b 0 "]


@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: close"],
        ["Connection: keep-alive, Close"],
        ["Connection: x", "Connection: close"],
    ],
)
def test_the_client_asks_to_close(
    s: Server, wire: Wire, lines: list[str]
) -> None:
    reply = wire.get("/", *lines)
    assert reply.closes
    wire.expect_end()


def test_nothing_is_served_after_a_close(s: Server, wire: Wire) -> None:
    wire.send(request("GET", "/a", "Connection: close") + request("GET", "/b"))
    assert wire.reply().text == "/a 0 "
    wire.expect_end()


def test_the_application_asks_to_close(s: Server, wire: Wire) -> None:
    reply = wire.get("/close")
    assert reply.closes and reply.body == b"bye"
    wire.expect_end()


def test_who_does_not_know_of_the_close_yet(s: Server) -> None:
    """Requests that cross the close on their way do not destroy the answer.

    A peer that asked to keep the connection goes on sending until it has
    read that the server closes; a reset would throw the answer away.
    """
    for _ in range(20):
        with open_wire(s) as wire:
            wire.send(request("GET", "/close"))
            wire.await_unread()
            for _ in range(5):
                wire.send(request("GET", "/b"))
            assert wire.reply().body == b"bye"
            wire.expect_end()


@pytest.mark.parametrize("option", ["keep-alive", "x-y", "upgrade"])
def test_other_connection_options(s: Server, wire: Wire, option: str) -> None:
    assert not wire.get("/", f"Connection: {option}").closes
    assert wire.get("/again").text == "/again 0 "


def test_http10_closes(s: Server, wire: Wire) -> None:
    wire.send(b"GET / HTTP/1.0\r\n\r\n")
    reply = wire.reply()
    assert reply.closes and reply.text == "/ 0 "
    wire.expect_end()


def test_http10_keeps_when_it_is_asked_to(s: Server, wire: Wire) -> None:
    for path in (b"/a", b"/list", b"/stream/length"):
        wire.send(
            b"GET " + path + b" HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
        )
        reply = wire.reply()
        assert reply.field("Connection") == "keep-alive"
        assert reply.field("Content-Length") == str(len(reply.body))


def test_http10_has_no_chunks(s: Server, wire: Wire) -> None:
    wire.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    reply = wire.reply()
    assert reply.closes and reply.chunks is None
    assert reply.field("Content-Length") is None
    assert reply.body == b"onetwo"


# --- pipelining -----------------------------------------------------------


def test_pipelined_requests_with_bodies(s: Server, wire: Wire) -> None:
    chunks = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: x\r\n\r\n"
    wire.send(
        request("POST", "/1", body=b"first")
        + request("POST", "/2", "Transfer-Encoding: chunked")
        + chunks
        + request("GET", "/3")
        + request("POST", "/list", body=b"not read")
        + request("PUT", "/5", body=b"")
        + request("POST", "/6", body=b"x" * 200_000)
        + request("GET", "/7", "Connection: close")
    )
    texts = [wire.reply().text for _ in range(7)]
    assert texts[5] == "/6 200000 " + "x" * 200_000
    del texts[5]
    assert texts == [
        "/1 5 first",
        "/2 5 abcde",
        "/3 0 ",
        "onetwo",
        "/5 0 ",
        "/7 0 ",
    ]
    wire.expect_end()


def test_500_requests_in_one_write(s: Server, wire: Wire) -> None:
    wire.send(b"".join(request("GET", f"/{n}") for n in range(500)))
    for number in range(500):
        assert wire.reply().text == f"/{number} 0 "


def test_500_requests_cut_anywhere(s: Server, wire: Wire) -> None:
    data = b"".join(
        request("POST", f"/{n}", body=b"b" * (n % 50)) for n in range(500)
    )

    def send() -> None:
        for at in range(0, len(data), 97):
            wire.send(data[at : at + 97])

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(500):
        body = "b" * (number % 50)
        assert wire.reply().text == f"/{number} {len(body)} {body}"
    sender.join()


def test_pipelining_to_a_slow_reader(s: Server, wire: Wire) -> None:
    """What does not fit waits; the order and the bytes stay right."""
    wire.send(request("GET", "/big") * 5 + request("GET", "/end"))
    with open_wire(s) as other:  # which does not wait for the slow one
        assert other.get("/other").text == "/other 0 "
    for _ in range(5):
        reply = wire.reply()
        assert reply.body == b"x" * (4 << 20)
    assert wire.reply().text == "/end 0 "


def test_answers_of_pipelined_requests_then_the_end(s: Server) -> None:
    """A peer that has sent all and half-closed still gets all answers."""
    with open_wire(s) as wire:
        wire.send(request("GET", "/big") * 2 + request("GET", "/end"))
        wire.half_close()
        assert len(wire.reply().body) == len(wire.reply().body) == 4 << 20
        assert wire.reply().text == "/end 0 "
        wire.expect_end()


def test_a_refusal_comes_after_the_answers_before_it(
    s: Server, wire: Wire
) -> None:
    wire.send(request("GET", "/big") + request("GET", "/b") + b"rubbish\r\n")
    assert len(wire.reply().body) == 4 << 20
    assert wire.reply().text == "/b 0 "
    assert wire.reply().status == 400
    wire.expect_end()


# --- framing of answers ---------------------------------------------------


def test_known_and_unknown_lengths(s: Server, wire: Wire) -> None:
    assert wire.get("/list").field("Content-Length") == "6"
    reply = wire.get("/stream")
    assert reply.chunks == [b"one", b"two"]  # an empty item ends nothing
    assert wire.get("/stream/empty").body == b""
    reply = wire.get("/stream/length")
    assert (reply.body, reply.chunks) == (b"onetwo", None)


@pytest.mark.parametrize(
    "path", ["/list", "/stream", "/stream/length", "/stream/empty", "/x"]
)
def test_head(s: Server, wire: Wire, path: str) -> None:
    """The fields of the GET, no body, and the connection goes on."""
    wire.send(request("HEAD", path) + request("GET", path))
    head, get = wire.reply("HEAD"), wire.reply()
    assert head.status == get.status == 200
    assert head.field("Content-Type") == get.field("Content-Type")
    if head.field("Content-Length") is not None:
        assert head.field("Content-Length") == get.field("Content-Length")


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(s: Server, wire: Wire, status: int) -> None:
    reply = wire.get(f"/status?{status}")
    assert reply.status == status
    assert reply.field("Content-Length") is None
    assert reply.field("Transfer-Encoding") is None
    assert wire.get("/after").text == "/after 0 "


def test_304_may_tell_the_length_of_a_200(s: Server, wire: Wire) -> None:
    assert wire.get("/304/length").field("Content-Length") == "1234"
    assert wire.get("/after").text == "/after 0 "


def test_a_body_shorter_than_its_length(s: Server, wire: Wire) -> None:
    """The client must see the cut, not wait for the rest."""
    wire.send(request("GET", "/short"))
    assert wire.rest().endswith(b"\r\n\r\nshort")


def test_a_body_longer_than_its_length(s: Server, wire: Wire) -> None:
    reply = wire.get("/long")
    assert reply.body == b"lon"
    wire.expect_end()


def test_date_and_server(s: Server, wire: Wire) -> None:
    reply = wire.get("/")
    assert reply.field("Server") == "greenloop"
    date = reply.field("Date")
    assert date is not None and date.endswith(" GMT")
    told = email.utils.parsedate_to_datetime(date).timestamp()
    assert abs(told - time.time()) < 3
    assert date == email.utils.formatdate(told, usegmt=True)
    reply = wire.get("/own")
    assert (reply.field("Date"), reply.field("Server")) == (
        "yesterday",
        "mine",
    )


# --- life of connections --------------------------------------------------


def test_keep_alive_can_be_off() -> None:
    with server(APP, "--http-keepalive", "0") as s, open_wire(s) as wire:
        assert wire.get("/").closes
        wire.expect_end()


def test_many_connections_come_and_go() -> None:
    with server(APP) as s:
        before = descriptors_at_rest(s)
        for _ in range(5):
            wires = [Wire(s.connect()) for _ in range(100)]
            for number, wire in enumerate(wires):
                wire.send(request("GET", f"/{number}"))
            for number, wire in enumerate(wires):
                assert wire.reply().text == f"/{number} 0 "
                wire.sock.close()
        wait_until(lambda: descriptors(s.pid) == before, "all are closed")
