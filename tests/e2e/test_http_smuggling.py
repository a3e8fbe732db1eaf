# SPDX-License-Identifier: MIT
"""Request smuggling: nothing is served that another parser may not see.

Every attack here hides a request for /smuggled in what some parser takes for
a body, or the other way round.  The server must refuse the message whose end
is in doubt and close; it must never call the application for what follows.
"""

from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import Wire, open_wire

APP = """
    seen = []

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/seen":
            start_response("200 OK", [])
            answer = " ".join(seen)
            seen.clear()
            return [answer.encode()]
        if path != "/unread":
            environ["wsgi.input"].read()
        seen.append(path)
        start_response("200 OK", [])
        return [b"served"]
"""

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_CHUNKS = b"0\r\n\r\n"


def post(fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return (
        b"POST /first HTTP/" + version + b"\r\nHost: a\r\n" + fields +
        b"\r\n" + body
    )  # fmt: skip


def coding(value: bytes, name: bytes = b"Transfer-Encoding") -> bytes:
    return post(name + b": " + value + b"\r\n", NO_CHUNKS + HIDDEN)


def length(value: bytes) -> bytes:
    return post(b"Content-Length: " + value + b"\r\n", b"abcde" + HIDDEN)


def chunks(body: bytes) -> bytes:
    return post(CHUNKED, body + HIDDEN)


# Refused before the application is called.
HEADS = {
    # CL.TE and TE.CL
    "length, then coding": post(
        b"Content-Length: 44\r\n" + CHUNKED, NO_CHUNKS + HIDDEN),
    "coding, then length": post(
        CHUNKED + b"Content-Length: 5\r\n", NO_CHUNKS + HIDDEN),
    "length 0 and coding": post(
        b"Content-Length: 0\r\n" + CHUNKED, NO_CHUNKS + HIDDEN),
    "coding in HTTP/1.0": post(CHUNKED, NO_CHUNKS + HIDDEN, b"1.0"),
    # TE.TE
    "two codings": post(CHUNKED * 2, NO_CHUNKS + HIDDEN),
    "a coding that is none": coding(b"xchunked"),
    "chunked twice": coding(b"chunked, chunked"),
    "chunked not last": coding(b"chunked, identity"),
    "chunked after another": coding(b"gzip, chunked"),
    "identity": coding(b"identity"),
    "chunked in quotes": coding(b'"chunked"'),
    "chunked with a parameter": coding(b"chunked;a=b"),
    "chunked with a vertical tab": coding(b"\x0bchunked"),
    "chunked with NUL": coding(b"chunked\0"),
    "chunked with a comma before": coding(b", chunked"),
    "chunked with a comma after": coding(b"chunked,"),
    "no coding": coding(b""),
    "a blank before the colon": coding(b"chunked", b"Transfer-Encoding "),
    "a tab before the colon": coding(b"chunked", b"Transfer-Encoding\t"),
    "a folded coding": coding(b"\r\n chunked"),
    "a name on a folded line": post(
        b"X: a\r\n Transfer-Encoding: chunked\r\n", NO_CHUNKS + HIDDEN),
    "a coding after a bare line feed": post(
        b"X: a\nTransfer-Encoding: chunked\r\n", NO_CHUNKS + HIDDEN),
    "a coding after a bare carriage return": post(
        b"X: a\rTransfer-Encoding: chunked\r\n", NO_CHUNKS + HIDDEN),
    # Lengths
    "two lengths": post(
        b"Content-Length: 5\r\nContent-Length: 0\r\n", b"abcde" + HIDDEN),
    "the same length twice": post(
        b"Content-Length: 5\r\n" * 2, b"abcde" + HIDDEN),
    "a list of lengths": length(b"5, 5"),
    "a signed length": length(b"+5"),
    "a negative length": length(b"-5"),
    "a length in hex": length(b"0x5"),
    "a length in octal": length(b"0o5"),
    "a length with a fraction": length(b"5.0"),
    "a length with an exponent": length(b"5e0"),
    "a length with an underscore": length(b"1_0"),
    "a length with a blank": length(b"5 5"),
    "a length in other digits": length("\u0665".encode()),
    "an empty length": length(b""),
    "a length over 64 bits": length(b"18446744073709551621"),
    "a length over 63 bits": length(b"9223372036854775808"),
    "a very long length": length(b"9" * 400),
    "a length before the colon": post(
        b"Content-Length : 5\r\n", b"abcde" + HIDDEN),
    "a head that ends in line feeds": (
        b"GET /first HTTP/1.1\nHost: a\n\n" + HIDDEN),
}  # fmt: skip

# Found while the application reads the body, or while it is thrown away.
BODIES = {
    "size in 0x": chunks(b"0x5\r\nabcde\r\n" + NO_CHUNKS),
    "a signed size": chunks(b"+5\r\nabcde\r\n" + NO_CHUNKS),
    "a negative size": chunks(b"-5\r\nabcde\r\n" + NO_CHUNKS),
    "a blank before the size": chunks(b" 5\r\nabcde\r\n" + NO_CHUNKS),
    "a blank after the size": chunks(b"5 \r\nabcde\r\n" + NO_CHUNKS),
    "an underscore in the size": chunks(b"0_5\r\nabcde\r\n" + NO_CHUNKS),
    "no size": chunks(b"\r\nabcde\r\n" + NO_CHUNKS),
    "a size that is no number": chunks(b"xyz\r\n" + NO_CHUNKS),
    "a size over 64 bits": chunks(b"10000000000000005\r\nabcde\r\n"),
    "a size of 64 bits": chunks(b"FFFFFFFFFFFFFFFF\r\nabcde\r\n"),
    "a size of 63 bits": chunks(b"7FFFFFFFFFFFFFFF\r\nabcde\r\n"),
    "zeros that overflow a counter": chunks(b"0" * 300 + b"\r\n\r\n"),
    "a line feed after the size": chunks(b"5\nabcde\r\n" + NO_CHUNKS),
    "a carriage return after the size": chunks(b"5\rabcde\r\n" + NO_CHUNKS),
    "a line feed after the chunk": chunks(b"5\r\nabcde\n" + NO_CHUNKS),
    "nothing after the chunk": chunks(b"5\r\nabcde" + NO_CHUNKS),
    "more than the chunk": chunks(b"5\r\nabcdef\r\n" + NO_CHUNKS),
    "less than the chunk": chunks(b"5\r\nabcd\r\n" + NO_CHUNKS),
    "line feeds at the end": chunks(b"0\n\n"),
    "half a line feed at the end": chunks(b"0\r\n\n"),
    "a line feed in an extension": chunks(b"5;a=b\nabcde\r\n" + NO_CHUNKS),
    "a bare return in an extension": chunks(
        b"5;a\rb\r\nabcde\r\n" + NO_CHUNKS),
    "NUL in an extension": chunks(b"5;a\0\r\nabcde\r\n" + NO_CHUNKS),
    "an endless extension": chunks(
        b"5;" + b"a" * 5000 + b"\r\nabcde\r\n" + NO_CHUNKS),
    "a trailer without a colon": chunks(b"0\r\nX\r\n\r\n"),
    "a trailer with a blank": chunks(b"0\r\nX : b\r\n\r\n"),
    "a folded trailer": chunks(b"0\r\nX: a\r\n b\r\n\r\n"),
    "a trailer after a line feed": chunks(b"0\r\nX: a\nY: b\r\n\r\n"),
    "a control byte in a trailer": chunks(b"0\r\nX: \x01\r\n\r\n"),
    "endless trailers": chunks(b"0\r\n" + b"X: y\r\n" * 4000 + b"\r\n"),
}  # fmt: skip

# Unusual and right: the hidden request is a request.
HONEST = {
    "extensions": chunks(b'5;a=b;c="d;e"\r\nabcde\r\n0;last\r\n\r\n'),
    "trailers": chunks(b"5\r\nabcde\r\n0\r\nX: y\r\nContent-Length: 9\r\n"
                       b"Transfer-Encoding: gzip\r\nHost: b\r\n\r\n"),
    "zeros before a size": chunks(b"00005\r\nabcde\r\n000\r\n\r\n"),
    "a size in capitals": chunks(b"A\r\n0123456789\r\n" + NO_CHUNKS),
    "a body that looks like a request": post(
        b"Content-Length: 36\r\n", HIDDEN[:36] + HIDDEN),
    "a name with an underscore": post(
        b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
        b"abcde" + HIDDEN),
    "a length with zeros": length(b"0005"),
}  # fmt: skip


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    with server(APP) as running:
        yield running


def paths_seen(s: Server) -> list[str]:
    """What the application was called for, since this was last asked."""
    return s.get("/seen").text.split()


def put(wire: Wire, raw: bytes, whole: bool) -> None:
    if whole:
        wire.send(raw)
    else:
        wire.drip(raw)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by bytes"])
@pytest.mark.parametrize("name", HEADS)
def test_a_head_in_doubt_is_refused(s: Server, name: str, whole: bool) -> None:
    with open_wire(s) as wire:
        put(wire, HEADS[name], whole)
        reply = wire.reply()
        assert reply.status in (400, 501) and reply.closes, reply
        wire.expect_end()
    assert paths_seen(s) == []


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by bytes"])
@pytest.mark.parametrize("name", BODIES)
def test_a_body_in_doubt_is_refused(s: Server, name: str, whole: bool) -> None:
    # Long ones need not be sent in single bytes to the end.
    raw = BODIES[name]
    with open_wire(s) as wire:
        put(wire, raw, whole or len(raw) > 1000)
        reply = wire.reply()
        assert reply.status == 400 and reply.closes, reply
        wire.expect_end()
    assert paths_seen(s) == []


@pytest.mark.parametrize("name", BODIES)
def test_a_body_in_doubt_that_nobody_read(s: Server, name: str) -> None:
    """The answer was given already: what remains is to close."""
    with open_wire(s) as wire:
        wire.send(BODIES[name].replace(b"/first", b"/unread"))
        assert wire.reply().status == 200
        wire.expect_end()
    assert paths_seen(s) == ["/unread"]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by bytes"])
@pytest.mark.parametrize("name", HONEST)
def test_an_unusual_end_is_found(s: Server, name: str, whole: bool) -> None:
    with open_wire(s) as wire:
        put(wire, HONEST[name], whole)
        assert wire.reply().status == 200
        assert wire.reply().status == 200
    assert paths_seen(s) == ["/first", "/smuggled"]


@pytest.mark.parametrize("name", HONEST)
def test_an_unusual_end_of_an_unread_body(s: Server, name: str) -> None:
    with open_wire(s) as wire:
        wire.send(HONEST[name].replace(b"/first", b"/unread"))
        assert wire.reply().status == 200
        assert wire.reply().status == 200
    assert paths_seen(s) == ["/unread", "/smuggled"]


def test_tiny_chunks_that_are_all_framing(s: Server) -> None:
    """Extensions on one-byte chunks cost us more than they bring."""
    flood = b"1;" + b"a" * 200 + b"\r\nx\r\n"
    with open_wire(s) as wire:
        wire.send(post(CHUNKED, flood * 200))
        reply = wire.reply()
        assert reply.status == 400, reply
        wire.expect_end()
    assert paths_seen(s) == []
