# SPDX-License-Identifier: MIT
"""--https-socket: TLS through the interpreter's ssl module, real clients."""

import contextlib
import hashlib
import http.client
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest
from certificates import SECONDS, Authority, ask, connect, https
from harness import parallel

APP = """
    import hashlib, json, os, greenloop

    BIG = bytes(range(256)) * 16384

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        if path == "/environ":
            return [json.dumps({key: value for key, value in environ.items()
                                if isinstance(value, str)}).encode()]
        if path == "/digest":
            digest = hashlib.sha1()
            while piece := environ["wsgi.input"].read(65536):
                digest.update(piece)
            return [digest.hexdigest().encode()]
        if path == "/pieces":
            return pieces()
        return [BIG]

    def pieces():
        for number in range(3):
            greenloop.sleep(0.01)
            yield b"%d " % number
"""
BIG = bytes(range(256)) * 16384


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def port(
    request: pytest.FixtureRequest, authority: Authority
) -> Iterator[int]:
    loop = ("--loop", request.param, "--http-headers-timeout", "1")
    with https(APP, authority, "", *loop) as (_s, port):
        yield port


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
)
def test_keep_alive_bodies_and_streams(
    port: int, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.client()
    context.maximum_version = version
    client = http.client.HTTPSConnection(
        "localhost", port, context=context, timeout=SECONDS
    )
    for _ in range(3):
        client.request("GET", "/")
        assert client.getresponse().read() == BIG
        client.request("GET", "/pieces")
        assert client.getresponse().read() == b"0 1 2 "
        client.request("POST", "/digest", body=BIG)
        digest = client.getresponse().read().decode()
        assert digest == hashlib.sha1(BIG).hexdigest()
    client.close()


def test_many_at_once(port: int, authority: Authority) -> None:
    def one(_number: int) -> bytes:
        with connect(port, authority.client()) as sock:
            return ask(sock, "/pieces")

    for answer in parallel(20, one):
        assert b"0 " in answer and b"2 " in answer


def test_environ(port: int, authority: Authority) -> None:
    with connect(port, authority.client()) as sock:
        body = ask(sock, "/environ").decode()
    assert '"wsgi.url_scheme": "https"' in body
    assert '"HTTPS": "on"' in body
    assert '"SSL_PROTOCOL": "TLSv1.3"' in body
    assert '"SSL_CIPHER": "TLS_' in body
    assert "SSL_CLIENT" not in body


def test_old_versions_are_refused(port: int, authority: Authority) -> None:
    context = authority.client()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        connect(port, context)


def test_alpn(port: int, authority: Authority) -> None:
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(port, context) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_the_closing_alert_is_sent(port: int, authority: Authority) -> None:
    context = authority.client()
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    with context.wrap_socket(
        sock, server_hostname="localhost", suppress_ragged_eofs=False
    ) as sealed:
        assert ask(sealed, "/pieces")  # a cut would raise


def test_plain_http_is_told_so(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02"])
def test_a_stalled_handshake_has_a_deadline(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(SECONDS)
        sock.sendall(sent)
        begin = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(4096):
                pass
        assert 0.5 < time.monotonic() - begin < 5


def test_garbage_and_cut_handshakes(port: int, authority: Authority) -> None:
    for sent in (b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\0" * 5000):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(SECONDS)
            with contextlib.suppress(OSError):
                sock.sendall(sent)
                while sock.recv(4096):
                    pass
    with connect(port, authority.client()) as left:
        left.unwrap().close()
    with connect(port, authority.client()) as sock:
        assert b"0 1" in ask(sock, "/pieces").replace(b"\r\n2\r\n", b"")


def test_a_slow_reader_gets_all(port: int, authority: Authority) -> None:
    with connect(port, authority.client()) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        time.sleep(0.2)  # the server's buffers fill meanwhile
        got = b""
        while piece := sock.recv(10000):
            got += piece
    assert got.endswith(BIG)


def test_curl_and_openssl_are_served(port: int, authority: Authority) -> None:
    answer = subprocess.run(
        ["curl", "-sS", "--cacert", authority.ca_file, "--data-binary", "@-"]
        + [f"https://localhost:{port}/digest"],
        input=BIG,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    assert answer.stdout.decode() == hashlib.sha1(BIG).hexdigest()
