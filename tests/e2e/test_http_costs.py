# SPDX-License-Identifier: MIT
"""What a client may make the server pay: work grows with the bytes it sends,
not with their square, however it cuts them.

The bounds are of processor time, and many times what is needed; quadratic
work would take many times more than them.
"""

import contextlib
import pathlib
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme
from harness import SANITIZED, Server, server
from wire import Wire, cpu_seconds, open_wire, request

APP = """
    def application(environ, start_response):
        count = 0
        if environ["PATH_INFO"] == "/lines":
            for line in environ["wsgi.input"]:
                count += len(line)
        else:
            while piece := environ["wsgi.input"].read(65536):
                count += len(piece)
        keys = sorted(environ)
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/keys":
            return [" ".join(keys).encode()]
        return [str(count).encode()]
"""
SLOWER = 15 if SANITIZED else 1
CHUNKS = 400_000
LINE_BYTES = 32 << 20
PIPELINED = 10_000
RECORDS = 20_000


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    with server(APP, "--disable-logging") as running:
        yield running


@contextlib.contextmanager
def costs_at_most(s: Server, seconds: float) -> Iterator[None]:
    """Bounds the server's processor time in the block."""
    before = cpu_seconds(s.pid)
    yield
    used = cpu_seconds(s.pid) - before
    assert used < seconds * SLOWER, f"{used:.1f} s of the processor"


def test_chunks_of_one_byte(s: Server) -> None:
    body = b"1\r\nx\r\n" * CHUNKS + b"0\r\n\r\n"
    with open_wire(s) as wire, costs_at_most(s, 3):
        wire.send(request("POST", "/", "Transfer-Encoding: chunked") + body)
        assert wire.reply().text == str(CHUNKS)


def test_a_line_without_an_end(s: Server) -> None:
    with open_wire(s) as wire, costs_at_most(s, 3):
        wire.send(request("POST", "/lines", body=bytes(LINE_BYTES)))
        assert wire.reply().text == str(LINE_BYTES)


def test_lines_of_one_byte(s: Server) -> None:
    count = 500_000
    with open_wire(s) as wire, costs_at_most(s, 3):
        wire.send(request("POST", "/lines", body=b"\n" * count))
        assert wire.reply().text == str(count)


def test_a_long_pipeline(s: Server) -> None:
    with open_wire(s) as wire, costs_at_most(s, 8):
        for _ in range(PIPELINED // 100):
            wire.send(request("GET", "/") * 100)
            for _ in range(100):
                assert wire.reply().text == "0"


def test_the_same_field_again_and_again(s: Server) -> None:
    """Each is joined to what came before: limits keep that small."""
    head = ["X-A: " + "a" * 140] * 95
    with open_wire(s) as wire, costs_at_most(s, 3):
        for _ in range(300):
            assert wire.get("/", *head).status == 200


def test_no_field_reaches_other_keys(s: Server) -> None:
    """Whatever the bytes of its name are."""
    odd = "!#$%&'*+-.^`|~"
    names = [f"{before}{byte}{behind}" for byte in odd
             for before in ("", "wsgi", "HTTP", "Content", "greenloop")
             for behind in ("", "input", "Length", "HOST")]  # fmt: skip
    with open_wire(s) as wire:
        plain = set(wire.get("/keys").text.split())
        for at in range(0, len(names), 60):
            lines = [f"{name}: x" for name in names[at : at + 60]
                     if name.lower() != "content-length"]  # fmt: skip
            more = set(wire.get("/keys", *lines).text.split()) - plain
            assert all(key.startswith("HTTP_") for key in more), more


def test_tls_records_of_one_byte(tmp_path: pathlib.Path) -> None:
    ca = trustme.CA()
    pair = tmp_path / "pair.pem"
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(pair)
    )
    context = ssl.create_default_context()
    ca.configure_trust(context)
    address = f"127.0.0.1:0,{pair},{pair}"
    with server(APP, "--https-socket", address, "--disable-logging") as s:
        s.wait_for("listening on https://127.0.0.1:")
        port = s.err.split("https://127.0.0.1:")[1].split()[0]
        sock = socket.create_connection(("127.0.0.1", int(port)), 20)
        with context.wrap_socket(sock, server_hostname="localhost") as inside:
            wire = Wire(inside)
            with costs_at_most(s, 4):
                wire.send(request("POST", "/", f"Content-Length: {RECORDS}"))
                for _ in range(RECORDS):
                    wire.send(b"x")
                assert wire.reply().text == str(RECORDS)
