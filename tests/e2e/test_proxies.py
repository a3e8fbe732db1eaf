# SPDX-License-Identifier: MIT
"""--trusted-proxies: header fields and PROXY headers, honest and forged."""

import contextlib
import json
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from certificates import Authority
from harness import Server, read_to_end, run, server
from wire import Wire, descriptors, request, wait_until

APP = """
    import json

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({key: value for key, value in environ.items()
                            if isinstance(value, str)}).encode()]
"""
ALL = (
    "x-forwarded-for,x-forwarded-proto,x-forwarded-host,x-forwarded-port,"
    + ("x-forwarded-ssl")
)
EVERY_FIELD = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Ssl: on",
    "Forwarded: for=6.6.6.6;proto=https;host=evil.example",
    "X-Forwarded-Prefix: /evil",
    "X-Real-IP: 6.6.6.6",
    "X_Forwarded_For: 6.6.6.6",
]
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n"
GET = b"GET / HTTP/1.1\r\nHost: front.example\r\n\r\n"
SECONDS = 20.0

Environ = dict[str, Any]


def v2(
    address: str = "192.0.2.1", port: int = 4711, more: bytes = b""
) -> bytes:
    """A header of version 2, with `more` bytes of additional values."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    body = packed + bytes(len(packed)) + struct.pack("!HH", port, 80) + more
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + struct.pack("!BBH", 0x21, kind, len(body)) + body


def environ_of(wire: Wire, *lines: str) -> Environ:
    wire.send(
        "\r\n".join(
            ["GET / HTTP/1.1", "Host: front.example", *lines, "", ""]
        ).encode("latin-1")
    )
    reply = wire.reply()
    assert reply.status == 200
    environ: Environ = json.loads(reply.body)
    return environ


def ask(s: Server, *lines: str, before: bytes = b"") -> Environ:
    """The environ of a request with these header lines."""
    with s.connect() as sock:
        sock.sendall(before)
        return environ_of(Wire(sock), *lines)


def is_own(environ: Environ, s: Server) -> bool:
    """Whether all is as the connection itself has it."""
    return (
        environ["REMOTE_ADDR"] == "127.0.0.1"
        and environ["REMOTE_PORT"].isdigit()
        and environ["wsgi.url_scheme"] == "http"
        and "HTTPS" not in environ
        and environ["HTTP_HOST"] == "front.example"
        and environ["SERVER_PORT"] == str(s.port)
        and environ["SERVER_NAME"] == socket.gethostname()
        and environ["SCRIPT_NAME"] == ""
    )


# --- whom not to believe ---------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[
        (),
        ("--trusted-proxies", "192.0.2.0/24,unix"),
        ("--trusted-proxies", "127.0.0.2", "--forwarded-headers", ALL),
        ("--trusted-proxies", "::/0", "--forwarded-headers", "forwarded"),
    ],
    ids=["nobody", "others", "a neighbour", "IPv6"],
)
def untrusting(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, *request.param) as s:
        yield s


@pytest.mark.parametrize("line", EVERY_FIELD)
def test_a_stranger_is_not_believed(untrusting: Server, line: str) -> None:
    environ = ask(untrusting, line)
    assert is_own(environ, untrusting)
    name, value = line.split(": ")
    key = "HTTP_" + name.upper().replace("-", "_")
    assert environ.get(key) == (None if "_" in name else value)


def test_a_stranger_is_not_believed_all_together(untrusting: Server) -> None:
    environ = ask(untrusting, *EVERY_FIELD, *EVERY_FIELD)
    assert is_own(environ, untrusting)
    assert environ["HTTP_X_FORWARDED_FOR"] == "6.6.6.6, 6.6.6.6"


def test_a_stranger_sends_a_proxy_header(untrusting: Server) -> None:
    answer = untrusting.raw(V1 + GET)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert untrusting.raw(v2() + GET).startswith(b"HTTP/1.1 400 ")


# --- fields ----------------------------------------------------------------


@pytest.fixture(scope="module")
def trusting() -> Iterator[Server]:
    proxies = ("--trusted-proxies", "127.0.0.0/8, 10.0.0.0/8")
    headers = ("--forwarded-headers", ALL)
    with server(APP, *proxies, "--trusted-proxies", "fd00::/8", *headers) as s:
        yield s


def test_all_fields(trusting: Server) -> None:
    environ = ask(
        trusting,
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1:4711, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.example",
        "X-Forwarded-Port: 8443",
    )
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["REMOTE_PORT"] == "4711"
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTPS"] == "on"
    assert environ["HTTP_HOST"] == environ["SERVER_NAME"] == "shop.example"
    assert environ["SERVER_PORT"] == "8443"
    assert environ["HTTP_X_FORWARDED_FOR"].startswith("6.6.6.6, ")
    trusting.wait_for("] 192.0.2.1 () {")


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (
            "X-Forwarded-For: 2001:DB8::1",
            {"REMOTE_ADDR": "2001:db8::1", "REMOTE_PORT": ""},
        ),
        (
            "X-Forwarded-For: [2001:db8::1]:1",
            {"REMOTE_ADDR": "2001:db8::1", "REMOTE_PORT": "1"},
        ),
        (
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1, fd00::1",
            {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": ""},
        ),
        (
            "X-Forwarded-For: 10.0.0.9, 10.0.0.1",
            {"REMOTE_ADDR": "10.0.0.9", "REMOTE_PORT": ""},
        ),
        (
            "X-Forwarded-Proto: wss",
            {"wsgi.url_scheme": "https", "HTTPS": "on"},
        ),
        ("X-Forwarded-Ssl: on", {"wsgi.url_scheme": "https", "HTTPS": "on"}),
        ("X-Forwarded-Proto: http\r\nX-Forwarded-Ssl: on", {}),
        (
            "X-Forwarded-Host: shop.example:8080",
            {
                "HTTP_HOST": "shop.example:8080",
                "SERVER_NAME": "shop.example",
                "SERVER_PORT": "8080",
            },
        ),
        (
            "X-Forwarded-Host: evil.example, [2001:db8::1]",
            {
                "HTTP_HOST": "[2001:db8::1]",
                "SERVER_NAME": "[2001:db8::1]",
                "SERVER_PORT": "80",
            },
        ),
        (
            "X-Forwarded-Host: a\r\nX-Forwarded-Proto: https",
            {
                "HTTP_HOST": "a",
                "SERVER_NAME": "a",
                "SERVER_PORT": "443",
                "wsgi.url_scheme": "https",
                "HTTPS": "on",
            },
        ),
        ("X-Forwarded-Port: 1", {"SERVER_PORT": "1"}),
        ("X-Forwarded-For: unknown", {}),
        ("X-Forwarded-For: 192.0.2.1, evil", {}),
        ("X-Forwarded-For: 192.0.2.1:0", {}),
        ("X-Forwarded-Proto: javascript", {}),
        ("X-Forwarded-Host: a b", {}),
        ("X-Forwarded-Host: user@evil", {}),
        ("X-Forwarded-Port: 70000", {}),
        ("X-Forwarded-Ssl: off", {}),
        ("X-Forwarded-Prefix: /evil", {}),
        ("X-Real-IP: 6.6.6.6", {}),
        ("Forwarded: for=6.6.6.6;proto=https", {}),
        ("X_Forwarded_For: 6.6.6.6", {}),
    ],
)
def test_a_field(trusting: Server, line: str, changes: dict[str, str]) -> None:
    plain, changed = ask(trusting), ask(trusting, *line.split("\r\n"))
    assert is_own(plain, trusting)
    if "REMOTE_PORT" not in changes:
        del plain["REMOTE_PORT"], changed["REMOTE_PORT"]
    assert {
        key: value
        for key, value in changed.items()
        if key not in plain or plain[key] != value
        if not key.startswith(("HTTP_X_", "HTTP_FORWARDED"))
    } == changes


def test_requests_of_one_connection_differ(trusting: Server) -> None:
    with trusting.connect() as sock:
        wire = Wire(sock)
        for number in range(1, 4):
            line = f"X-Forwarded-For: 192.0.2.{number}"
            environ = environ_of(wire, line)
            assert environ["REMOTE_ADDR"] == f"192.0.2.{number}"
            assert is_own(environ_of(wire), trusting)
    for number in range(1, 4):
        trusting.wait_for(f"] 192.0.2.{number} () {{")


def test_default_fields() -> None:
    with server(APP, "--trusted-proxies", "127.0.0.1") as s:
        environ = ask(s, *EVERY_FIELD)
        assert environ["REMOTE_ADDR"] == "6.6.6.6"
        assert environ["wsgi.url_scheme"] == "https"
        assert environ["HTTP_HOST"] == "front.example"
        assert environ["SERVER_PORT"] == str(s.port)
        assert is_own(ask(s, *EVERY_FIELD[2:]), s)


def test_forwarded() -> None:
    options = ("--trusted-proxies", "127.0.0.1,10.0.0.1")
    with server(APP, *options, "--forwarded-headers", "forwarded") as s:
        environ = ask(
            s,
            "X-Forwarded-For: 6.6.6.6",
            'Forwarded: for=6.6.6.6, for="[2001:db8::1]:99";proto=https;'
            'host="shop.example:8443"',
            "Forwarded: For=10.0.0.1;Proto=http;by=127.0.0.1",
        )
        assert environ["REMOTE_ADDR"] == "2001:db8::1"
        assert environ["REMOTE_PORT"] == "99"
        assert environ["HTTPS"] == "on"
        assert environ["HTTP_HOST"] == "shop.example:8443"
        assert environ["SERVER_PORT"] == "8443"
        environ = ask(s, "Forwarded: for=_hidden;proto=https")
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["HTTPS"] == "on"
        for bad in ("for=", 'for="6.6.6.6', "for=6.6.6.6;proto", "6.6.6.6"):
            assert is_own(ask(s, f"Forwarded: {bad}"), s)
        assert is_own(ask(s, *EVERY_FIELD[:5]), s)


def test_unix_socket(tmp_path: pathlib.Path) -> None:
    for trusted, address in (("unix", "192.0.2.1"), ("0.0.0.0/0", "")):
        path = str(tmp_path / "app.sock")
        options = ("--http-socket", path, "--trusted-proxies", trusted)
        with server(APP, *options, http=None):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(SECONDS)
                sock.connect(path)
                line = "X-Forwarded-For: 192.0.2.1:7"
                environ = environ_of(Wire(sock), line)
            assert environ["REMOTE_ADDR"] == address
            assert environ["REMOTE_PORT"] == ("7" if address else "")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_port_of_a_unix_socket_follows_the_scheme(
    scheme: str, tmp_path: pathlib.Path
) -> None:
    ports = {"http": "80", "https": "443"}
    path = str(tmp_path / "app.sock")
    authority, address = Authority(tmp_path), path
    if scheme == "https":
        address += "," + authority.sign("main", "localhost")
    fields = "x-forwarded-proto,x-forwarded-port"
    options = "--trusted-proxies", "unix", "--forwarded-headers", fields
    with server(APP, f"--{scheme}-socket", address, *options, http=None):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(SECONDS)
        sock.connect(path)
        if scheme == "https":
            client = authority.client()
            sock = client.wrap_socket(sock, server_hostname="localhost")
        with sock:
            wire = Wire(sock)
            assert environ_of(wire)["SERVER_PORT"] == ports[scheme]
            for said, port in ports.items():
                line = f"X-Forwarded-Proto: {said}"
                assert environ_of(wire, line)["SERVER_PORT"] == port
                lines = line, "X-Forwarded-Port: 8443"
                assert environ_of(wire, *lines)["SERVER_PORT"] == "8443"


# --- PROXY headers ---------------------------------------------------------

PROXY = ("--enable-proxy-protocol", "--trusted-proxies", "127.0.0.1,10.0.0.9")


@pytest.fixture(scope="module")
def proxied() -> Iterator[Server]:
    with server(APP, *PROXY, "--forwarded-headers", ALL) as s:
        yield s


@pytest.mark.parametrize(
    ("header", "address", "port"),
    [
        (V1, "192.0.2.1", "4711"),
        (b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "2001:db8::1", "1"),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1", "1"),
        (v2(), "192.0.2.1", "4711"),
        (v2("2001:db8::1"), "2001:db8::1", "4711"),
        (v2(more=b"\x04\x00\x03abc" * 100), "192.0.2.1", "4711"),
        (v2(more=bytes(4096 - 28)), "192.0.2.1", "4711"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", None),
        (b"PROXY UNKNOWN 6.6.6.6 6.6.6.6 1 1\r\n", "127.0.0.1", None),
        (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1", None),
        (SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12), "127.0.0.1", None),
        (
            SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/x".ljust(216, b"\0"),
            "127.0.0.1",
            None,
        ),
    ],
)
def test_a_header(
    proxied: Server, header: bytes, address: str, port: str | None
) -> None:
    with proxied.connect() as sock:
        sock.sendall(header)
        wire = Wire(sock)
        for _ in range(2):
            environ = environ_of(wire)
            assert environ["REMOTE_ADDR"] == address
            own = str(sock.getsockname()[1])
            assert environ["REMOTE_PORT"] == (port or own)
    proxied.wait_for(f"] {address} () {{")


def test_headers_in_pieces(proxied: Server) -> None:
    for header in (V1, v2()):
        for size in (1, 7):
            with proxied.connect() as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                data = header + GET
                for at in range(0, len(data), size):
                    sock.sendall(data[at : at + size])
                reply = Wire(sock).reply()
                assert json.loads(reply.body)["REMOTE_ADDR"] == "192.0.2.1"


def test_fields_of_a_client_behind_a_header(proxied: Server) -> None:
    """They came through a proxy that has not looked at them."""
    for header in (V1, v2()):
        environ = ask(proxied, *EVERY_FIELD, before=header)
        assert environ["REMOTE_ADDR"] == "192.0.2.1"
        assert environ["REMOTE_PORT"] == "4711"
        assert environ["HTTP_HOST"] == "front.example"
        assert environ["SERVER_PORT"] == str(proxied.port)
        assert environ["wsgi.url_scheme"] == "http"
    environ = ask(proxied, *EVERY_FIELD, before=b"PROXY UNKNOWN\r\n")
    assert is_own(environ, proxied)


def test_fields_of_a_proxy_behind_a_header(proxied: Server) -> None:
    for header in (v2("10.0.0.9"), SIGNATURE + b"\x20\x00\x00\x00"):
        environ = ask(
            proxied,
            "X-Forwarded-For: 6.6.6.6, 192.0.2.7",
            "X-Forwarded-Proto: https",
            before=header,
        )
        assert environ["REMOTE_ADDR"] == "192.0.2.7"
        assert environ["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(
    "data",
    [
        GET,
        V1 + V1 + GET,
        V1[:-2] + b"\n" + GET,
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 65536\r\n" + GET,
        b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n" + GET,
        v2(more=bytes(4096 - 27)) + GET,
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12) + GET,
        SIGNATURE + b"\x20\x00\xff\xff" + bytes(65535),
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_no_or_a_bad_header(data: bytes) -> None:
    with server(APP, *PROXY) as s:
        answer = s.raw(data)
        if data.startswith(V1 + V1):  # the second one is HTTP by then
            assert answer.startswith(b"HTTP/1.1 400 ")
            return
        assert answer == b""
        s.wait_for("from 127.0.0.1 was closed: it did not begin with a PROXY")
        assert " => " not in s.err


def test_complaints_are_few() -> None:
    with server(APP, *PROXY) as s:
        for _ in range(50):
            assert s.raw(GET) == b""
        with s.connect() as sock:
            sock.sendall(V1[:20])
            sock.shutdown(socket.SHUT_WR)
            assert read_to_end(sock) == b""
        assert s.logged("PROXY protocol") == 1


def test_connections_that_say_nothing() -> None:
    with server(APP, *PROXY) as s:
        last = request("GET", "/", "Connection: close")
        assert b" 200 " in s.raw(V1 + last)
        before = descriptors(s.pid)
        for header in (b"", V1, SIGNATURE + b"\x20\x00\x00\x00"):
            for _ in range(5):
                with s.connect() as sock:
                    sock.sendall(header)
        assert ask(s, before=V1)["REMOTE_ADDR"] == "192.0.2.1"
        wait_until(lambda: descriptors(s.pid) == before, "all have gone")
        assert "PROXY" not in s.err


def test_a_stranger_gets_nothing() -> None:
    options = ("--enable-proxy-protocol", "--trusted-proxies", "127.0.0.2")
    with server(APP, *options) as s:
        for data in (V1 + GET, GET, v2() + GET):
            for _ in range(3):
                with (
                    s.connect() as sock,
                    contextlib.suppress(ConnectionError),
                ):
                    sock.sendall(data)
                    assert read_to_end(sock) == b""
        s.wait_for("from 127.0.0.1 was closed: it is no trusted proxy")
        assert s.logged("PROXY protocol") == 1
        assert " => " not in s.err
        with socket.create_connection(
            ("127.0.0.1", s.port), SECONDS, ("127.0.0.2", 0)
        ) as sock:
            sock.sendall(V1)
            assert environ_of(Wire(sock))["REMOTE_ADDR"] == "192.0.2.1"


@pytest.mark.parametrize("sent", [b"", V1[:20], v2()[:20]])
def test_a_header_that_comes_too_late(sent: bytes) -> None:
    with server(APP, *PROXY, "--http-headers-timeout", "0.3") as s:
        with s.connect() as sock:
            sock.sendall(sent)
            assert read_to_end(sock) == b""
        s.wait_for("was closed: no PROXY header came in time")


def test_stopping_while_a_header_is_awaited() -> None:
    with server(APP, *PROXY) as s, s.connect() as silent:
        with s.connect() as sock:
            sock.sendall(V1)
            assert environ_of(Wire(sock))["REMOTE_ADDR"] == "192.0.2.1"
        s.stop(seconds=10)
        assert read_to_end(silent) == b""
        assert "by force" not in s.err


def test_a_header_before_tls(tmp_path: pathlib.Path) -> None:
    ca = trustme.CA()
    made = ca.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(b.bytes() for b in made.cert_chain_pems))
    made.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    ca.configure_trust(context)
    address = f"127.0.0.1:0,{cert},{key}"
    with server(APP, "--https-socket", address, *PROXY) as s:
        s.wait_for("listening on https://")
        port = int(s.err.split("https://127.0.0.1:")[1].split()[0])
        for header in (V1, v2(), v2(more=bytes(1000))):
            with s.connect(port=port) as bare:
                bare.sendall(header)
                with context.wrap_socket(
                    bare, server_hostname="127.0.0.1"
                ) as sock:
                    environ = environ_of(Wire(sock), *EVERY_FIELD)
            assert environ["REMOTE_ADDR"] == "192.0.2.1"
            assert environ["wsgi.url_scheme"] == "https"
            assert environ["HTTP_HOST"] == "front.example"
        # The header comes before TLS, never inside of it.
        with (
            s.connect(port=port) as bare,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(bare, server_hostname="127.0.0.1")


def test_curl(proxied: Server) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    words = [curl, "-sS", "--fail", "--max-time", "20"]
    for options in (["--haproxy-protocol"], ["--haproxy-protocol", "-0"]):
        done = subprocess.run(
            [*words, *options, f"{proxied.url}/"],
            stdout=subprocess.PIPE,
            timeout=SECONDS,
            check=True,
        )
        assert json.loads(done.stdout)["REMOTE_ADDR"] == "127.0.0.1"
    done = subprocess.run(
        [*words, f"{proxied.url}/"], stderr=subprocess.PIPE, timeout=SECONDS
    )
    assert done.returncode in (52, 56), done.stderr  # nothing came, reset


# --- the command line ------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--trusted-proxies", "10.0.0.1/8"], "bits set beyond its prefix"),
        (["--trusted-proxies", "10.0.0.0/33"], "no valid prefix length"),
        (["--trusted-proxies", "*"], "'*' is no IP address or network"),
        (["--trusted-proxies", "::1,,"], "'' is no IP address"),
        (
            ["--trusted-proxies", "::1", "--forwarded-headers", "x-real-ip"],
            "the headers are x-forwarded-for, ",
        ),
        (
            [
                "--trusted-proxies",
                "::1",
                "--forwarded-headers",
                "forwarded,x-forwarded-for",
            ],
            "writes one kind",
        ),
        (["--forwarded-headers", "forwarded"], "needs --trusted-proxies"),
        (["--enable-proxy-protocol"], "needs --trusted-proxies"),
    ],
)
def test_bad_options(options: list[str], sentence: str) -> None:
    done = run("--http-socket", "127.0.0.1:0", "--wsgi-file", "x", *options)
    assert done.returncode == 1
    assert sentence in done.stderr
