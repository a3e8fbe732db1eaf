# SPDX-License-Identifier: MIT
"""--https-socket: TLS through the interpreter's ssl module, real clients."""

import contextlib
import hashlib
import http.client
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import time
import types
from collections.abc import Iterator

import pytest
import trustme
from greenloop import tls
from harness import PROGRAM, Server, parallel, run, server

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
SECONDS = 10.0


class Authority:
    """A certificate authority with files of the certificates it signed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)

    def sign(self, file: str, *names: str) -> str:
        """Writes a pair; returns "cert,key"."""
        made = self.ca.issue_cert(*names, common_name=names[0])
        cert, key = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        cert.write_bytes(b"".join(b.bytes() for b in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return f"{cert},{key}"

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def tls_port(s: Server) -> int:
    s.wait_for("listening on https://")
    found = re.search(r"listening on https://[^:]+:(\d+)", s.err)
    assert found is not None
    return int(found[1])


@contextlib.contextmanager
def https(
    authority: Authority, extra: str = "", *options: str
) -> Iterator[tuple[Server, int]]:
    pair = authority.sign("main", "localhost", "127.0.0.1")
    address = f"127.0.0.1:0,{pair}{extra}"
    with server(APP, "--https-socket", address, *options) as s:
        yield s, tls_port(s)


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def port(
    request: pytest.FixtureRequest, authority: Authority
) -> Iterator[int]:
    loop = ("--loop", request.param, "--http-headers-timeout", "1")
    with https(authority, "", *loop) as (_s, port):
        yield port


def connect(
    port: int, context: ssl.SSLContext, name: str = "localhost"
) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    return context.wrap_socket(sock, server_hostname=name)


def ask(sock: ssl.SSLSocket, path: str) -> bytes:
    """One request, whose answer ends the connection."""
    sock.sendall(
        b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        % path.encode()
    )
    got = b""
    while piece := sock.recv(65536):
        got += piece
    return got


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


def test_a_required_client_certificate(authority: Authority) -> None:
    extra = f",,!{authority.ca_file}"
    with https(authority, extra) as (_s, port):
        with pytest.raises(OSError), connect(port, authority.client()) as no:
            assert ask(no, "/environ")  # TLS 1.3 tells at the first read
            raise ConnectionError("nothing came")
        cert, key = authority.sign("client", "me@example.org").split(",")
        context = authority.client()
        context.load_cert_chain(cert, key)
        with connect(port, context) as sock:
            body = ask(sock, "/environ").decode()
    assert '"SSL_CLIENT_VERIFY": "SUCCESS"' in body
    assert "/CN=me@example.org" in body
    assert "BEGIN CERTIFICATE" in body


def test_an_optional_client_certificate(authority: Authority) -> None:
    with https(authority, f",,{authority.ca_file}") as (_s, port):
        with connect(port, authority.client()) as sock:
            body = ask(sock, "/environ").decode()
    assert '"SSL_CLIENT_VERIFY": "NONE"' in body


def test_names_have_their_certificates(authority: Authority) -> None:
    one = authority.sign("one", "one.example")
    star = authority.sign("star", "*.two.example")
    sni = ("--sni", f"one.example {one}", "--sni", f"*.two.example {star}")
    with https(authority, "", *sni) as (_s, port):
        for name in ("localhost", "one.example", "a.two.example"):
            with connect(port, authority.client(), name) as sock:
                assert b"0 " in ask(sock, "/pieces")  # the name was checked


def test_certificates_are_read_again_on_hup(authority: Authority) -> None:
    with https(authority) as (s, port):
        before = ssl.get_server_certificate(("127.0.0.1", port))
        authority.sign("main", "localhost", "127.0.0.1")
        s.process.send_signal(signal.SIGHUP)
        s.wait_for("certificates read again")
        after = ssl.get_server_certificate(("127.0.0.1", port))
        (authority.folder / "main.pem").write_text("no certificate")
        s.process.send_signal(signal.SIGHUP)
        s.wait_for("the old certificate stays in use")
        assert ssl.get_server_certificate(("127.0.0.1", port)) == after
    assert before != after


def test_no_second_handshake(authority: Authority) -> None:
    cert, key = authority.sign("again", "localhost").split(",")
    contexts = tls.Contexts(tls.Certificate(cert, key))
    assert contexts.main.options & ssl.OP_NO_RENEGOTIATION


def test_a_name_of_several_values_in_one_part() -> None:
    subject = ((("commonName", "me"), ("countryName", "DE")),)
    connection = types.SimpleNamespace(
        version=lambda: "TLSv1.3",
        cipher=lambda: ("AES", "TLSv1.3", 256),
        context=types.SimpleNamespace(verify_mode=ssl.CERT_REQUIRED),
        getpeercert=lambda binary_form=False: (
            b"der"
            if binary_form
            else {"subject": subject, "issuer": (), "serialNumber": "1"}
        ),
    )
    facts = tls.describe(connection)  # type: ignore[arg-type]
    assert facts["SSL_CLIENT_S_DN"] == "/CN=me/C=DE"


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("127.0.0.1:0", "expected cert,key"),
        ("127.0.0.1:0,/nowhere.pem,/nowhere.key", "cannot read the file"),
        (f"127.0.0.1:0,{__file__},{__file__}", "cannot use the certificate"),
    ],
)
def test_bad_certificates_are_explained(value: str, text: str) -> None:
    ended = run("--https-socket", value, "--wsgi-file", str(PROGRAM))
    assert ended.returncode == 1
    assert text in ended.stderr
