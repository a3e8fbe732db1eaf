# SPDX-License-Identifier: MIT
"""Request smuggling: nothing is served that another parser may not see.

Every attack here hides a request for /smuggled in what some parser takes for
a body, or the other way round.  The server must refuse the message whose end
is in doubt and close; it must never call the application for what follows.

The tables name the published families: CL.TE, TE.CL and TE.TE with the
spellings that proxies fell for, lengths, line ends, chunk lines and their
extensions ("funky chunks": a byte that only one side takes for the line's
end, or for what stands behind the data), trailers, versions and hosts.  The
tests at the end are the families in which no message is wrong: bodies that
nobody reads (CL.0, 0.CL), Expect, early answers, and pipelines.
"""

import contextlib
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import Wire, open_wire, reset

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
        if path == "/environ":
            keys = ["HTTP_HOST", "HTTP_TRANSFER_ENCODING", "HTTP_X_NEW",
                    "HTTP_CONNECTION"]
            return [" ".join(str(environ.get(k)) for k in keys).encode()]
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


def line(first: bytes) -> bytes:
    return first + b"\r\nHost: a\r\n\r\n" + HIDDEN


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
    "a folded coding, by a tab": coding(b"\r\n\tchunked"),
    "chunked, then an unknown one": coding(b"chunked, cow"),
    "an unknown one, then chunked": coding(b"cow, chunked"),
    "chunked and identity on two lines": post(
        CHUNKED + b"Transfer-Encoding: identity\r\n", NO_CHUNKS + HIDDEN),
    "identity and chunked on two lines": post(
        b"Transfer-Encoding: identity\r\n" + CHUNKED, NO_CHUNKS + HIDDEN),
    "nothing and chunked on two lines": post(
        b"Transfer-Encoding:\r\n" + CHUNKED, NO_CHUNKS + HIDDEN),
    "identity and a length": post(
        b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        b"abcde" + HIDDEN),
    "chunked, capitals, and a length": post(
        b"TRANSFER-ENCODING: cHuNkEd\r\nContent-Length: 5\r\n",
        NO_CHUNKS + HIDDEN),
    "chunked twice in words": coding(b"chunked chunked"),
    "chunked in single quotes": coding(b"'chunked'"),
    "chunked with a form feed": coding(b"\x0cchunked"),
    "chunked before a vertical tab": coding(b"chunked\x0b"),
    "chunked before a no-break space": coding(b"chunked\xa0"),
    "chunked before a next-line": coding(b"chunked\x85"),
    "NUL before chunked": coding(b"\0chunked"),
    "NUL in chunked": coding(b"chun\0ked"),
    "DEL behind chunked": coding(b"chunked\x7f"),
    "chunked with a semicolon": coding(b"chunked;"),
    "two commas": coding(b",,chunked"),
    "a name with NUL": coding(b"chunked", b"Transfer-Encoding\0"),
    "a name with a vertical tab": coding(b"chunked", b"Transfer-Encoding\x0b"),
    "a name with a no-break space": coding(
        b"chunked", b"Transfer-Encoding\xa0"),
    "a name with a bare return": coding(b"chunked", b"Transfer-Encoding\r"),
    "a folded name": coding(b"chunked", b"Transfer\r\n -Encoding"),
    "a blank before the name": coding(b"chunked", b" Transfer-Encoding"),
    "a coding after a NUL": post(
        b"X: a\0Transfer-Encoding: chunked\r\n", NO_CHUNKS + HIDDEN),
    "a coding after LF CR": post(
        b"X: a\n\rTransfer-Encoding: chunked\r\n", NO_CHUNKS + HIDDEN),
    "a coding after two returns": post(
        b"X: a\r\r\nTransfer-Encoding: chunked\r\n", NO_CHUNKS + HIDDEN),
    # Lines
    "a name that is empty": post(b": a\r\n", HIDDEN),
    "a line without a colon": post(b"X\r\n", HIDDEN),
    "a name of two words": post(b"X Y: z\r\n", HIDDEN),
    "a blank before the first field": (
        b"GET /first HTTP/1.1\r\n Host: a\r\n\r\n" + HIDDEN),
    "an empty folded line": post(b"X: a\r\n \r\n", HIDDEN),
    "two empty lines first": b"\r\n\r\n" + post(b"", HIDDEN),
    "a line feed first": b"\n" + post(b"", HIDDEN),
    "a head that ends in LF": (
        b"GET /first HTTP/1.1\r\nHost: a\r\n\n" + HIDDEN),
    "a head that ends in CR": (
        b"GET /first HTTP/1.1\r\nHost: a\r\n\r" + HIDDEN),
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
    "a length with a plus and nothing": length(b"+0"),
    "minus nothing": length(b"-0"),
    "a length in binary": length(b"0b101"),
    "a length in quotes": length(b"'5'"),
    "a length with a comma": length(b"5,"),
    "a comma and a length": length(b",5"),
    "a list of unequal lengths": length(b"0, 5"),
    "a length with a parameter": length(b"5;a=b"),
    "a length with a vertical tab": length(b"\x0b5"),
    "a length with NUL": length(b"5\0"),
    "a length with a no-break space": length(b"5\xa0"),
    "a folded length": length(b"\r\n 5"),
    "a length in fullwidth digits": length("\uff15".encode()),
    "three lengths": post(
        b"Content-Length: 5\r\n" * 3, b"abcde" + HIDDEN),
    "a length in small letters and another": post(
        b"content-length: 5\r\nContent-Length: 0\r\n", b"abcde" + HIDDEN),
    "a length before the colon": post(
        b"Content-Length : 5\r\n", b"abcde" + HIDDEN),
    "a head that ends in line feeds": (
        b"GET /first HTTP/1.1\nHost: a\n\n" + HIDDEN),
    # Hosts
    "no host": b"GET /first HTTP/1.1\r\n\r\n" + HIDDEN,
    "two hosts": post(b"Host: b\r\n", HIDDEN),
    "the same host twice": post(b"Host: a\r\n", HIDDEN),
    "a list of hosts": (
        b"GET /first HTTP/1.1\r\nHost: a, b\r\n\r\n" + HIDDEN),
    "a host with a path": (
        b"GET /first HTTP/1.1\r\nHost: a/b\r\n\r\n" + HIDDEN),
    "a host with a user": (
        b"GET /first HTTP/1.1\r\nHost: b@a\r\n\r\n" + HIDDEN),
    "a host with a blank": (
        b"GET /first HTTP/1.1\r\nHost: a b\r\n\r\n" + HIDDEN),
    "a host with NUL": (
        b"GET /first HTTP/1.1\r\nHost: a\0b\r\n\r\n" + HIDDEN),
    "two hosts, one of them in the target": (
        b"GET http://c/first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
        + HIDDEN),
    # Request lines
    "HTTP/0.9": b"GET /first\r\n" + HIDDEN,
    "HTTP/0.9 in words": line(b"GET /first HTTP/0.9"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "HTTP/2 asked for": line(b"GET /first HTTP/2.0"),
    "http in small letters": line(b"GET /first http/1.1"),
    "HTTP/1": line(b"GET /first HTTP/1"),
    "HTTP/1.10": line(b"GET /first HTTP/1.10"),
    "HTTP/01.1": line(b"GET /first HTTP/01.1"),
    "HTTP/1.1 and a blank": line(b"GET /first HTTP/1.1 "),
    "HTTP/1.1 and NUL": line(b"GET /first HTTP/1.1\0"),
    "two blanks before the target": line(b"GET  /first HTTP/1.1"),
    "two blanks behind the target": line(b"GET /first  HTTP/1.1"),
    "a tab for a blank": line(b"GET\t/first\tHTTP/1.1"),
    "a vertical tab for a blank": line(b"GET /first\x0bHTTP/1.1"),
    "a request in the target": line(
        b"GET /first HTTP/1.1 /smuggled HTTP/1.1"),
    "a bare return in the target": line(b"GET /first\rX HTTP/1.1"),
    "a bare line feed in the target": line(b"GET /first\nX HTTP/1.1"),
    "NUL in the target": line(b"GET /first\0 HTTP/1.1"),
    "a fragment": line(b"GET /first#a HTTP/1.1"),
    "an authority as the target": line(b"GET a:80 HTTP/1.1"),
    "a user in the target": line(b"GET http://b@a/first HTTP/1.1"),
    "no host in the target": line(b"GET http:///first HTTP/1.1"),
    "a tunnel": line(b"CONNECT a:80 HTTP/1.1"),
    "no method": line(b" /first HTTP/1.1"),
    "a method with a colon": line(b"GET: /first HTTP/1.1"),
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
    # What one side takes for the end of a chunk's line.
    "a line feed behind the semicolon": chunks(
        b"5;\nxx\r\nabcde\r\n" + NO_CHUNKS),
    "a return behind the semicolon": chunks(
        b"5;\rxx\r\nabcde\r\n" + NO_CHUNKS),
    "a line feed behind a name": chunks(
        b"5;a\nxx\r\nabcde\r\n" + NO_CHUNKS),
    "a line feed behind a value": chunks(
        b"5;a=b\nxx\r\nabcde\r\n" + NO_CHUNKS),
    "a line feed in quotes": chunks(
        b'5;a="\n"\r\nabcde\r\n' + NO_CHUNKS),
    "a return in quotes": chunks(b'5;a="\rb"\r\nabcde\r\n' + NO_CHUNKS),
    "a line's end in quotes": chunks(
        b'5;a="\r\nabcde\r\n0\r\n\r\n"\r\nabcde\r\n' + NO_CHUNKS),
    "an escaped line's end in quotes": chunks(
        b'5;a="\\\r\n"\r\nabcde\r\n' + NO_CHUNKS),
    "quotes that do not end": chunks(b'5;a="b\r\nabcde\r\n' + NO_CHUNKS),
    "two returns after the size": chunks(b"5\r\r\nabcde\r\n" + NO_CHUNKS),
    "LF CR after the size": chunks(b"5\n\rabcde\r\n" + NO_CHUNKS),
    "a return in the last chunk's line": chunks(b"0\r\r\n\r\n"),
    "a line feed in the last extension": chunks(b"0;\n\r\n\r\n"),
    "a vertical tab after the size": chunks(
        b"5\x0b\r\nabcde\r\n" + NO_CHUNKS),
    "NUL after the size": chunks(b"5\0\r\nabcde\r\n" + NO_CHUNKS),
    # An extension that is none.
    "a semicolon alone": chunks(b"5;\r\nabcde\r\n" + NO_CHUNKS),
    "two semicolons": chunks(b"5;;a\r\nabcde\r\n" + NO_CHUNKS),
    "a value without a name": chunks(b"5;=a\r\nabcde\r\n" + NO_CHUNKS),
    "a name without its value": chunks(b"5;a=\r\nabcde\r\n" + NO_CHUNKS),
    "two names": chunks(b"5;a b\r\nabcde\r\n" + NO_CHUNKS),
    "an extension in other bytes": chunks(
        b"5;\xe9\r\nabcde\r\n" + NO_CHUNKS),
    "an extension behind a blank": chunks(
        b"5 ;a\r\nabcde\r\n" + NO_CHUNKS),
    "a comma for a semicolon": chunks(b"5,a\r\nabcde\r\n" + NO_CHUNKS),
    # What one side skips behind the data without a look.
    "any two bytes after the chunk": chunks(b"5\r\nabcdexx" + NO_CHUNKS),
    "two returns after the chunk": chunks(b"5\r\nabcde\r\r" + NO_CHUNKS),
    "two line feeds after the chunk": chunks(
        b"5\r\nabcde\n\n" + NO_CHUNKS),
    "LF CR after the chunk": chunks(b"5\r\nabcde\n\r" + NO_CHUNKS),
    "a return after the chunk": chunks(b"5\r\nabcde\r" + NO_CHUNKS),
    "an empty line after the chunk": chunks(
        b"5\r\nabcde\r\n\r\n" + NO_CHUNKS),
    "a size for the line's end": chunks(b"5\r\nabcde0\r\n\r\n"),
    # Sizes that wrap, or that are cut.
    "a size of 17 digits": chunks(b"00000000000000005\r\nabcde\r\n"),
    "a size that wraps to five": chunks(b"100000000000000005\r\nabcde\r\n"),
    "a size of 32 bits and five": chunks(
        b"800000000000000005\r\nabcde\r\n"),
    "a size in quotes": chunks(b'"5"\r\nabcde\r\n' + NO_CHUNKS),
    "a size with a point": chunks(b"5.0\r\nabcde\r\n" + NO_CHUNKS),
    "a size in other digits": chunks(
        "\u0665".encode() + b"\r\nabcde\r\n" + NO_CHUNKS),
    "a trailer that is empty but for a colon": chunks(b"0\r\n: b\r\n\r\n"),
    "a trailer that ends in LF": chunks(b"0\r\nX: a\n\r\n"),
    "trailers that end in LF": chunks(b"0\r\nX: a\r\n\n"),
    "a trailer with NUL": chunks(b"0\r\nX: a\0\r\n\r\n"),
    "a trailer that is a request": chunks(
        b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
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
    "blanks in extensions": chunks(
        b'5; a = b ; c="\\""\r\nabcde\r\n0; d\r\n\r\n'),
    "a size of 16 digits": chunks(
        b"0000000000000005\r\nabcde\r\n" + NO_CHUNKS),
    "blanks around a coding": post(
        b"Transfer-Encoding: \t chunked \t \r\n", NO_CHUNKS + HIDDEN),
    "capitals in a coding": post(
        b"TRANSFER-encoding:CHUNKED\r\n", NO_CHUNKS + HIDDEN),
    "names that are nearly the coding's": post(
        b"X-Transfer-Encoding: chunked\r\nTransfer-Encodings: chunked\r\n"
        b"Content-Length: 5\r\nX-Content-Length: 0\r\n", b"abcde" + HIDDEN),
    "a later minor version": post(CHUNKED, NO_CHUNKS + HIDDEN, b"1.2"),
    "one empty line first": b"\r\n" + post(b"", HIDDEN),
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
        assert reply.status in (400, 501, 505) and reply.closes, reply
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


# --- nothing is wrong, and yet -----------------------------------------------

AFTER = b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"


def with_body(method: bytes, path: bytes, *lines: bytes) -> bytes:
    """A request whose body is the hidden request."""
    return (
        method + b" " + path + b" HTTP/1.1\r\nHost: a\r\n"
        + b"".join(text + b"\r\n" for text in lines)
        + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
    )  # fmt: skip


@pytest.mark.parametrize("path", [b"/first", b"/unread"])
@pytest.mark.parametrize(
    "method", [b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"TRACE"]
)
def test_a_body_is_a_body_whatever_the_method(
    s: Server, method: bytes, path: bytes
) -> None:
    """CL.0 and 0.CL: also where the application does not look at it."""
    with open_wire(s) as wire:
        wire.send(with_body(method, path) + AFTER)
        assert wire.reply(method.decode()).status == 200
        assert wire.reply().status == 200
    assert paths_seen(s) == [path.decode(), "/after"]


@pytest.mark.parametrize("path", [b"/first", b"/unread"])
def test_a_body_in_chunks_of_a_get(s: Server, path: bytes) -> None:
    coded = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    with open_wire(s) as wire:
        wire.send(
            b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"\r\n"
            + coded + AFTER
        )  # fmt: skip
        assert wire.reply().status == 200
        assert wire.reply().status == 200
    assert paths_seen(s) == [path.decode(), "/after"]


def test_a_body_that_was_announced_and_not_invited(s: Server) -> None:
    """Whether what comes is the body, nobody can know: nothing is served."""
    head = with_body(b"POST", b"/unread", b"Expect: 100-continue")
    head = head.removesuffix(HIDDEN)
    with open_wire(s) as wire:
        wire.send(head)
        reply = wire.reply()
        assert reply.status == 200 and reply.closes, reply
        wire.send(HIDDEN + AFTER)
        wire.expect_end()
    assert paths_seen(s) == ["/unread"]


@pytest.mark.parametrize(
    "expectation",
    [
        b"100-continue",
        b"100-Continue",
        b"y 100-continue",
        b"100-continue, x",
        b"100-continue\r\nExpect: x",
        b"200-ok",
        b"",
    ],
)
def test_a_body_that_does_not_wait(s: Server, expectation: bytes) -> None:
    with open_wire(s) as wire:
        wire.send(with_body(b"POST", b"/first", b"Expect: " + expectation))
        assert wire.reply().status == 200
        wire.send(AFTER)
        assert wire.reply().status == 200
    assert paths_seen(s) == ["/first", "/after"]


@pytest.mark.parametrize(
    "expectation", [b"y 100-continue", b"100-continue, x", b"200-ok"]
)
def test_an_expectation_that_is_another_is_not_waited_for(
    s: Server, expectation: bytes
) -> None:
    """An unread body behind it is dropped, not served."""
    with open_wire(s) as wire:
        wire.send(with_body(b"POST", b"/unread", b"Expect: " + expectation))
        assert wire.reply().status == 200
        wire.send(AFTER)
        assert wire.reply().status == 200
    assert paths_seen(s) == ["/unread", "/after"]


def test_requests_within_a_large_body_that_nobody_reads(s: Server) -> None:
    """The answer is early; more than is worth reading ends it all."""
    body = HIDDEN * 30_000  # over a mebibyte
    with open_wire(s) as wire:
        wire.send(
            b"POST /unread HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert wire.reply().status == 200
        with contextlib.suppress(ConnectionError):
            wire.send(body + AFTER)
        with contextlib.suppress(ConnectionError):
            assert wire.rest() == b""
    assert paths_seen(s) == ["/unread"]


def test_requests_within_a_body_over_the_limit() -> None:
    with server(APP, "--limit-post", "1000") as s:
        body = HIDDEN * 100
        with open_wire(s) as wire:
            wire.send(post(b"Content-Length: %d\r\n" % len(body), body))
            reply = wire.reply()
            assert reply.status == 413 and reply.closes, reply
            wire.expect_end()
        with open_wire(s) as wire:
            coded = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            wire.send(post(CHUNKED, coded + HIDDEN))
            reply = wire.reply()
            assert reply.status == 413 and reply.closes, reply
            wire.expect_end()
        assert paths_seen(s) == []


@pytest.mark.parametrize("name", ["close", "1.0", "an error"])
def test_nothing_is_served_behind_a_last_request(s: Server, name: str) -> None:
    last, status = {
        "close": (b"GET /first HTTP/1.1\r\nHost: a\r\n"
                  b"Connection: keep-alive, close\r\n\r\n", 200),
        "1.0": (b"GET /first HTTP/1.0\r\n\r\n", 200),
        "an error": (b"GET /first HTTP/1.1\r\n\r\n", 400),
    }[name]  # fmt: skip
    with open_wire(s) as wire:
        wire.send(AFTER + last + HIDDEN * 3)
        assert wire.reply().status == 200
        reply = wire.reply()
        assert reply.status == status and reply.closes, reply
        wire.expect_end()
    served = ["/after"] + ["/first"] * (status == 200)
    assert paths_seen(s) == served


@pytest.mark.parametrize("ended", ["half-closed", "reset"])
def test_a_body_that_does_not_come_to_its_end(s: Server, ended: str) -> None:
    cut = with_body(b"POST", b"/first")[:-1]
    wire = Wire(s.connect())
    try:
        wire.send(cut)
        if ended == "reset":
            reset(wire.sock)
        else:
            wire.half_close()
            wire.expect_end()
    finally:
        wire.sock.close()
    assert paths_seen(s) == []


def test_trailers_overwrite_nothing(s: Server) -> None:
    raw = chunks(
        b"5\r\nabcde\r\n0\r\nHost: evil\r\nContent-Length: 0\r\n"
        b"Transfer-Encoding: gzip\r\nConnection: close\r\nX-New: a\r\n\r\n"
    ).replace(b"/first", b"/environ")
    with open_wire(s) as wire:
        wire.send(raw)
        assert wire.reply().text == "a chunked None None"
        assert wire.reply().status == 200
    assert paths_seen(s) == ["/environ", "/smuggled"]


def test_the_target_says_the_host(s: Server) -> None:
    """RFC 9112, 3.2.2: whoever routed by it must see the same one here."""
    with open_wire(s) as wire:
        wire.send(
            b"GET http://inner:8/environ HTTP/1.1\r\nHost: outer\r\n\r\n"
        )
        assert wire.reply().text == "inner:8 None None None"
    assert paths_seen(s) == ["/environ"]


def test_an_upgrade_that_is_declined(s: Server) -> None:
    """h2c is HTTP/1.1 here, and what follows is requests, not frames."""
    with open_wire(s) as wire:
        wire.send(
            with_body(
                b"POST",
                b"/first",
                b"Connection: Upgrade, HTTP2-Settings",
                b"Upgrade: h2c",
                b"HTTP2-Settings: AAMAAABkAAQAAP__",
            )
            + AFTER
        )
        assert wire.reply().status == 200
        assert wire.reply().status == 200
    assert paths_seen(s) == ["/first", "/after"]
