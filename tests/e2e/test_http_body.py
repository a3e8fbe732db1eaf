# SPDX-License-Identifier: MIT
"""Bodies of requests on the wire: invitations, chunks, rests, cuts.

RFC 9110 section 10.1.1 (Expect), RFC 9112 sections 6 and 7.1.
"""

from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import Wire, kernel_takes, open_wire, request, slow_wire

APP = """
    import greenloop, hashlib

    def application(environ, start_response):
        path, body = environ["PATH_INFO"], environ["wsgi.input"]
        count, digest = 0, hashlib.sha256()
        if path == "/first":
            count = len(body.read(1))
        elif path == "/nap":
            greenloop.sleep(0.1)
        elif path == "/early":
            write = start_response("200 OK", [])
            write(b"first ")
            return [body.read()]
        elif path != "/unread":
            while piece := body.read(50_000):
                count += len(piece)
                digest.update(piece)
        start_response("200 OK", [])
        size = int(environ["QUERY_STRING"] or 0)
        if size:
            return [b"x" * size]
        return [f"{count} {digest.hexdigest()[:8]}".encode()]
"""

EXPECT = "Expect: 100-continue"
CHUNKED = "Transfer-Encoding: chunked"
ABC = "3 ba7816bf"  # of b"abc"


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


# --- Expect: 100-continue -------------------------------------------------


def test_invited_when_the_body_is_read(wire: Wire) -> None:
    for _ in range(3):
        wire.send(request("POST", "/", EXPECT, "Content-Length: 3"))
        assert wire.reply().status == 100
        assert wire.is_silent(0.05)
        wire.send(b"abc")
        assert wire.reply().text == ABC


def test_invited_to_send_chunks(wire: Wire) -> None:
    wire.send(request("POST", "/", EXPECT, CHUNKED))
    assert wire.reply().status == 100
    wire.send(b"3\r\nabc\r\n0\r\n\r\n")
    assert wire.reply().text == ABC


def test_invited_once(wire: Wire) -> None:
    wire.send(request("POST", "/", EXPECT, "Content-Length: 3"))
    assert wire.reply().status == 100
    for byte in b"abc":
        assert wire.is_silent(0.02)
        wire.send(bytes([byte]))
    assert wire.reply().text == ABC


def test_not_invited_when_the_body_is_there(wire: Wire) -> None:
    head = request("POST", "/", EXPECT, "Content-Length: 3")
    wire.send((head + b"abc") * 2)
    assert [wire.reply().text, wire.reply().text] == [ABC, ABC]


def test_not_invited_when_a_part_is_there(wire: Wire) -> None:
    wire.send(request("POST", "/", EXPECT, "Content-Length: 3") + b"a")
    assert wire.is_silent(0.05)
    wire.send(b"bc")
    assert wire.reply().text == ABC


def test_not_invited_without_a_body(wire: Wire) -> None:
    wire.send(request("GET", "/", EXPECT) * 2)
    wire.send(request("POST", "/", EXPECT, "Content-Length: 0"))
    assert {wire.reply().text for _ in range(3)} == {"0 e3b0c442"}


def test_http10_is_never_invited(wire: Wire) -> None:
    wire.send(
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    assert wire.is_silent(0.05)
    wire.send(b"abc")
    assert wire.reply().text == ABC


def test_a_final_answer_without_reading_closes(wire: Wire) -> None:
    """The client may send the body or not: nobody could tell."""
    wire.send(request("POST", "/unread", EXPECT, "Content-Length: 3"))
    reply = wire.reply()
    assert reply.status == 200 and reply.closes
    wire.send(b"abc")
    wire.expect_end()


def test_not_invited_amid_an_answer(wire: Wire) -> None:
    """Whoever expects may send its body after a pause (RFC 9110, 10.1.1)."""
    wire.send(request("POST", "/early", EXPECT, "Content-Length: 3"))
    assert wire.sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    wire.send(b"abc")
    rest = b""
    while piece := wire.sock.recv(65536):
        rest += piece
    assert b"100" not in rest
    assert rest.endswith(b"3\r\nabc\r\n0\r\n\r\n")


def test_pipelined_after_an_expectation(wire: Wire) -> None:
    """The invitation is written after the answers before it."""
    wire.send(
        request("GET", "/") + request("POST", "/", EXPECT, "Content-Length: 3")
    )
    assert wire.reply().status == 200
    assert wire.reply().status == 100
    wire.send(b"abc")
    assert wire.reply().text == ABC


def test_invited_where_a_read_ended_exactly(s: Server) -> None:
    """The server reads 64 KiB at once: after a full read it must look again.

    The requests come together while the first one keeps the server busy.
    """
    last = request("POST", "/", EXPECT, "Content-Length: 3")
    filler = request("GET", "/", "X: ")
    with open_wire(s) as wire:
        wire.send(request("GET", "/nap"))
        assert s.get("/").status == 200  # the nap has begun
        count, rest = divmod(65536 - len(last), len(filler))
        pad = request("GET", "/", "X: " + "x" * rest)
        data = filler * (count - 1) + pad + last
        assert len(data) == 65536
        wire.send(data)
        for _ in range(count + 1):
            assert wire.reply().status == 200
        assert wire.reply().status == 100
        wire.send(b"abc")
        assert wire.reply().text == ABC


# --- chunks ---------------------------------------------------------------


def chunked(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + (
        b"0\r\n\r\n"
    )


@pytest.mark.parametrize("size", [7, 1000, 65535, 65536, 65537, 300_000])
def test_chunks_of_many_sizes(wire: Wire, size: int) -> None:
    data = bytes(range(256)) * (4 if size == 7 else 4096)
    head = request("POST", "/", CHUNKED)
    wire.send(head + chunked(data, size) + request("POST", "/", body=data))
    in_chunks, plain = wire.reply(), wire.reply()
    assert in_chunks.text == plain.text
    assert plain.text.startswith(f"{len(data)} ")


def test_chunks_byte_by_byte(wire: Wire) -> None:
    body = b'1;a="b"\r\na\r\n2\r\nbc\r\n0;x\r\nTrailer: x\r\nT2: y\r\n\r\n'
    for _ in range(3):
        wire.drip(request("POST", "/", CHUNKED) + body)
        assert wire.reply().text == ABC


def test_a_chunk_comes_alone(s: Server) -> None:
    """What is there is read; the end is waited for."""
    app = """
        def application(environ, start_response):
            write = start_response("200 OK", [])
            for line in environ["wsgi.input"]:
                write(line)
            return []
    """
    with server(app) as echo, open_wire(echo) as wire:
        wire.send(request("POST", "/", CHUNKED))
        wire.send(b"4\r\none\n\r\n")
        answer = b""
        while b"one\n\r\n" not in answer:
            answer += wire.sock.recv(1000)
        wire.send(b"6\r\ntwo\nen\r\n1\r\nd\r\n0\r\n\r\n")
        while not answer.endswith(b"0\r\n\r\n"):
            answer += wire.sock.recv(1000)
    chunks = answer.partition(b"\r\n\r\n")[2]
    assert chunks == b"4\r\none\n\r\n4\r\ntwo\n\r\n3\r\nend\r\n0\r\n\r\n"


# --- what the application leaves unread -----------------------------------


@pytest.mark.parametrize("path", ["/unread", "/first"])
@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_a_rest_is_skipped(wire: Wire, path: str, size: int) -> None:
    wire.send(request("POST", path, body=b"x" * size))
    wire.send(
        request("POST", path, CHUNKED) + chunked(b"x" * size, 1 + size // 3)
    )
    wire.send(request("POST", "/", body=b"abc"))
    assert wire.reply().status == 200
    assert wire.reply().status == 200
    assert wire.reply().text == ABC


def test_a_rest_that_comes_later_is_skipped(wire: Wire) -> None:
    """The answer does not wait for it."""
    wire.send(request("POST", "/unread", "Content-Length: 6") + b"abc")
    assert wire.reply().status == 200
    wire.send(b"def" + request("POST", "/", body=b"abc"))
    assert wire.reply().text == ABC


def test_a_large_answer_does_not_wait_for_the_rest(s: Server) -> None:
    """The end of the answer leaves while the rest of the body is awaited.

    Of the sizes some are a little more than the kernel takes at once: then
    the request is over before all of its answer has left.
    """
    size = kernel_takes(s, "/?8000000")
    for number in range(-2, 20):
        wire = slow_wire(s)
        path = f"/unread?{size + 15_000 * number}"
        with wire.sock:
            wire.send(request("POST", path, "Content-Length: 6") + b"abc")
            assert s.get("/").status == 200  # the server has seen it
            assert len(wire.reply().body) == size + 15_000 * number
            wire.send(b"def" + request("POST", "/", body=b"abc"))
            assert wire.reply().text == ABC


def test_a_huge_rest_ends_the_connection(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(request("POST", "/unread", "Content-Length: 9000000"))
        wire.send(b"x" * 600_000)
        assert wire.reply().status == 200
        wire.expect_end()


def test_a_large_body_and_a_large_answer_at_once(wire: Wire) -> None:
    wire.send(request("POST", "/?8000000", body=b"x" * (1 << 20)))
    assert len(wire.reply().body) == 8_000_000
    assert wire.get("/").status == 200
