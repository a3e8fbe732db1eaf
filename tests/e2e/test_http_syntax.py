# SPDX-License-Identifier: MIT
"""Request heads: what is served, and what is refused with which status.

RFC 9112, sections 2 to 6.  Each request is sent whole and byte by byte, to
both loops: the answer must not depend on how the bytes arrive.
"""

from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import Reply, Wire, open_wire

APP = """
    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        names = "REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"
        seen = [environ[name] for name in names]
        seen += [environ.get("HTTP_HOST", "-"), body.decode("latin-1")]
        return ["|".join(seen).encode("latin-1")]
"""

HOST = b"Host: a\r\n"


def line(text: bytes) -> bytes:
    """A request with this request line."""
    return text + b"\r\n" + HOST + b"\r\n"


def field(text: bytes, body: bytes = b"") -> bytes:
    """A POST with this field line, whatever it is."""
    return b"POST / HTTP/1.1\r\n" + HOST + text + b"\r\n\r\n" + body


def host(text: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + text + b"\r\n\r\n"


# What is served, and what the application sees of it.
SERVED = {
    "plain": (line(b"GET / HTTP/1.1"), "GET|/||a|"),
    "query": (line(b"GET /a/b?c=d?e HTTP/1.1"), "GET|/a/b|c=d?e|a|"),
    "empty query": (line(b"GET /? HTTP/1.1"), "GET|/||a|"),
    "escapes": (line(b"GET /%41%2f%20%e9 HTTP/1.1"), "GET|/A/ \xe9||a|"),
    "escapes in the query stay": (line(b"GET /?%41%zz HTTP/1.1"),
                                  "GET|/|%41%zz|a|"),
    "dot segments stay": (line(b"GET /a/../b//c HTTP/1.1"),
                          "GET|/a/../b//c||a|"),
    "minor version 2": (line(b"GET / HTTP/1.2"), "GET|/||a|"),
    "an unknown method": (line(b"BREW / HTTP/1.1"), "BREW|/||a|"),
    "methods have a case": (line(b"get / HTTP/1.1"), "get|/||a|"),
    "the longest method": (line(b"M" * 32 + b" / HTTP/1.1"),
                           "M" * 32 + "|/||a|"),
    "absolute form": (line(b"GET http://b/c?d HTTP/1.1"), "GET|/c|d|b|"),
    "absolute form without a path": (line(b"GET http://b:8 HTTP/1.1"),
                                     "GET|/||b:8|"),
    "absolute form, query only": (line(b"GET HTTP://b?d HTTP/1.1"),
                                  "GET|/|d|b|"),
    "absolute form, https": (line(b"GET https://b/ HTTP/1.1"), "GET|/||b|"),
    "asterisk": (line(b"OPTIONS * HTTP/1.1"), "OPTIONS|*||a|"),
    "one empty line before": (b"\r\n" + line(b"GET / HTTP/1.1"),
                              "GET|/||a|"),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", "GET|/||-|"),
    "host with a port": (host(b"Host: b.c:80"), "GET|/||b.c:80|"),
    "host is an IPv6 address": (host(b"Host: [::1]:80"),
                                "GET|/||[::1]:80|"),
    "host without a name": (host(b"Host:"), "GET|/|||"),
    "blanks around a value": (host(b"hOsT: \t b \t "), "GET|/||b|"),
    "no blank before a value": (host(b"Host:b"), "GET|/||b|"),
    "an empty value": (field(b"X:"), "POST|/||a|"),
    "a tab within a value": (field(b"X: a\tb"), "POST|/||a|"),
    "bytes above 127 in a value": (field(b"X: \xe9\xff"), "POST|/||a|"),
    "every token byte in a name": (field(b"!#$%&'*+-.^_`|~0: b"),
                                   "POST|/||a|"),
    "a body": (field(b"Content-Length: 3", b"abc"), "POST|/||a|abc"),
    "length with zeros in front": (field(b"Content-Length: 003", b"abc"),
                                   "POST|/||a|abc"),
    "chunks": (field(b"Transfer-Encoding: chunked",
                     b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), "POST|/||a|abc"),
    "the coding has no case": (field(b"tRANSFER-eNCODING:CHUNKED",
                                     b"1\r\nc\r\n0\r\n\r\n"),
                               "POST|/||a|c"),
}  # fmt: skip

REFUSED = {
    # The request line.
    "two empty lines before": (b"\r\n\r\n" + line(b"GET / HTTP/1.1"), 400),
    "a bare line feed before": (b"\n" + line(b"GET / HTTP/1.1"), 400),
    "a bare line feed after": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "a bare carriage return": (line(b"GET / HTTP/1.1\rX: b"), 400),
    "blanks at the start": (line(b" GET / HTTP/1.1"), 400),
    "blanks at the end": (line(b"GET / HTTP/1.1 "), 400),
    "two blanks first": (line(b"GET  / HTTP/1.1"), 400),
    "two blanks then": (line(b"GET /  HTTP/1.1"), 400),
    "tabs": (line(b"GET\t/\tHTTP/1.1"), 400),
    "HTTP/0.9": (line(b"GET /"), 400),
    "no target": (line(b"GET HTTP/1.1"), 400),
    "no method": (line(b"/ HTTP/1.1"), 400),
    "only a method": (line(b"GET"), 400),
    "a blank in the target": (line(b"GET /a b HTTP/1.1"), 400),
    "a control byte in the target": (line(b"GET /\x01 HTTP/1.1"), 400),
    "NUL in the target": (line(b"GET /\0 HTTP/1.1"), 400),
    "DEL in the target": (line(b"GET /\x7f HTTP/1.1"), 400),
    "raw bytes in the target": (line(b"GET /\xc3\xa9 HTTP/1.1"), 400),
    "a fragment": (line(b"GET /#a HTTP/1.1"), 400),
    "a relative target": (line(b"GET a HTTP/1.1"), 400),
    "a method that is no token": (line(b"G@T / HTTP/1.1"), 400),
    "a quoted method": (line(b'"GET" / HTTP/1.1'), 400),
    "version in small letters": (line(b"GET / http/1.1"), 400),
    "version without a minor": (line(b"GET / HTTP/1"), 400),
    "version with three digits": (line(b"GET / HTTP/1.10"), 400),
    "version with a comma": (line(b"GET / HTTP/1,1"), 400),
    "another protocol": (line(b"GET / HTCPCP/1.0"), 400),
    "version 0.9": (line(b"GET / HTTP/0.9"), 505),
    "version 2.0": (line(b"GET / HTTP/2.0"), 505),
    "version 9.9": (line(b"GET / HTTP/9.9"), 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "CONNECT": (line(b"CONNECT a:80 HTTP/1.1"), 501),
    "a huge method": (line(b"M" * 33 + b" / HTTP/1.1"), 501),
    "asterisk of GET": (line(b"GET * HTTP/1.1"), 400),
    "another scheme": (line(b"GET ftp://b/ HTTP/1.1"), 400),
    "a scheme alone": (line(b"GET http:// HTTP/1.1"), 400),
    "a user in the target": (line(b"GET http://u:p@b/ HTTP/1.1"), 400),
    "a port that is none": (line(b"GET http://b:x/ HTTP/1.1"), 400),
    # Percent-escapes: settled when the path is needed, still a 400.
    "half an escape": (line(b"GET /%4 HTTP/1.1"), 400),
    "an escape at the end": (line(b"GET /% HTTP/1.1"), 400),
    "no escape at all": (line(b"GET /%zz HTTP/1.1"), 400),
    "an escaped NUL": (line(b"GET /a%00b HTTP/1.1"), 400),
    # Host.
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (host(b"Host: a\r\nHost: a"), 400),
    "host in 1.0, twice": (
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no host beside an absolute form": (
        b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    "a list of hosts": (host(b"Host: a, b"), 400),
    "a blank in the host": (host(b"Host: a b"), 400),
    "a path in the host": (host(b"Host: a/b"), 400),
    "a user in the host": (host(b"Host: u@a"), 400),
    "a port without a host": (host(b"Host: :80"), 400),
    "a bracket too few": (host(b"Host: [::1"), 400),
    # Fields.
    "a blank before the colon": (field(b"X : b"), 400),
    "a tab before the colon": (field(b"X\t: b"), 400),
    "no colon": (field(b"X"), 400),
    "no name": (field(b": b"), 400),
    "a blank in a name": (field(b"X Y: b"), 400),
    "a byte above 127 in a name": (field(b"X\xe9: b"), 400),
    "a folded line": (field(b"X: a\r\n b"), 400),
    "a line folded with a tab": (field(b"X: a\r\n\tb"), 400),
    "a fold before the first field": (
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "a field that ends in a line feed": (field(b"X: a\nY: b"), 400),
    "a carriage return in a value": (field(b"X: a\rb"), 400),
    "a doubled carriage return": (field(b"X: a\r"), 400),
    "NUL in a value": (field(b"X: a\0b"), 400),
    "a control byte in a value": (field(b"X: a\x1fb"), 400),
    "DEL in a value": (field(b"X: \x7f"), 400),
    "a bare line feed as the last line": (
        b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
}  # fmt: skip


@pytest.fixture(
    scope="module", params=["asyncio", "uvloop"], ids=["asyncio", "uvloop"]
)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param) as running:
        yield running


def put(wire: Wire, raw: bytes, whole: bool) -> None:
    if whole:
        wire.send(raw)
    else:
        wire.drip(raw)


def is_refusal(reply: Reply, status: int) -> bool:
    """A complete answer that says what happens next."""
    return (
        reply.status == status
        and reply.closes
        and reply.body == reply.reason.encode()
        and (reply.field("Content-Type") or "").startswith("text/plain")
        and reply.field("Date") is not None
        and reply.field("Server") == "greenloop"
    )


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by bytes"])
@pytest.mark.parametrize("name", SERVED)
def test_served(s: Server, name: str, whole: bool) -> None:
    raw, seen = SERVED[name]
    with open_wire(s) as wire:
        put(wire, raw, whole)
        reply = wire.reply()
        assert reply.status == 200, reply
        assert reply.body.decode("latin-1") == seen


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by bytes"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused(s: Server, name: str, whole: bool) -> None:
    raw, status = REFUSED[name]
    with open_wire(s) as wire:
        put(wire, raw, whole)
        reply = wire.reply()
        assert is_refusal(reply, status), reply
        wire.expect_end()


def test_b17_errors_are_answered(s: Server) -> None:
    """uWSGI closes without a word; every refusal here has its answer."""
    for raw in (b"garbage\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\n\n"):
        answer = s.raw(raw)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer
    assert s.get("/").status == 200
