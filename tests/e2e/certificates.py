# SPDX-License-Identifier: MIT
"""Certificates made on the spot, and a server that shows them.

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))

def test_hello(authority):
    with https(APP, authority) as (s, port):
        with connect(port, authority.client()) as sock:
            assert ask(sock, "/").startswith(b"HTTP/1.1 200 ")
"""

import contextlib
import pathlib
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Any

import trustme
from harness import Server, server

__all__ = [
    "SECONDS",
    "Authority",
    "MemoryClient",
    "ask",
    "connect",
    "https",
    "records",
    "tls_port",
]

SECONDS = 20.0


class Authority:
    """A certificate authority with files of the certificates it signed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca_file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)

    def sign(
        self,
        file: str,
        *names: str,
        key_type: trustme.KeyType = trustme.KeyType.ECDSA,
        **more: Any,
    ) -> str:
        """Writes a pair; returns "cert,key"."""
        more.setdefault("common_name", names[0])
        made = self.ca.issue_cert(*names, key_type=key_type, **more)
        cert, key = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        cert.write_bytes(b"".join(b.bytes() for b in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return f"{cert},{key}"

    def client(self, pair: str | None = None) -> ssl.SSLContext:
        """A context that trusts us, and shows a certificate if it has one."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if pair is not None:
            context.load_cert_chain(*pair.split(","))
        return context


def tls_port(s: Server) -> int:
    s.wait_for("listening on https://")
    found = re.search(r"listening on https://[^:]+:(\d+)", s.err)
    assert found is not None
    return int(found[1])


@contextlib.contextmanager
def https(
    app: str, authority: Authority, extra: str = "", *options: str, **more: Any
) -> Iterator[tuple[Server, int]]:
    """A server with a certificate for localhost; `extra` follows it."""
    pair = authority.sign("main", "localhost", "127.0.0.1")
    address = f"127.0.0.1:0,{pair}{extra}"
    with server(app, "--https-socket", address, *options, **more) as s:
        yield s, tls_port(s)


def connect(
    port: int,
    context: ssl.SSLContext,
    name: str | None = "localhost",
    **more: Any,
) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    try:
        return context.wrap_socket(
            sock, server_hostname=name, suppress_ragged_eofs=False, **more
        )
    except BaseException:
        sock.close()
        raise


def ask(sock: ssl.SSLSocket, path: str, host: str = "a") -> bytes:
    """One request, whose answer ends the connection; a cut one raises."""
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    got = b""
    while piece := sock.recv(65536):
        got += piece
    return got


def records(sealed: bytes) -> list[bytes]:
    """The records in bytes that hold whole ones."""
    found = []
    while sealed:
        size = 5 + struct.unpack(">H", sealed[3:5])[0]
        found.append(sealed[:size])
        sealed = sealed[size:]
    return found


class MemoryClient:
    """A client whose sealed bytes the test itself moves.

    So it can cut, join, repeat and withhold them.
    """

    def __init__(
        self, port: int, context: ssl.SSLContext, name: str = "localhost"
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_hostname=name
        )
        self.sock = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "MemoryClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def take(self) -> bytes:
        """What is to be sent."""
        return self.outgoing.read()

    def receive(self) -> bool:
        """Sealed bytes from the server; False at the end."""
        piece = self.sock.recv(65536)
        if piece:
            self.incoming.write(piece)
        else:
            self.incoming.write_eof()
        return bool(piece)

    def shake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.sendall(self.take())
                if not self.receive():
                    raise ConnectionError("ended in the handshake") from None
            else:
                self.sock.sendall(self.take())
                return

    def seal(self, plain: bytes) -> bytes:
        """The records of some bytes, unsent."""
        self.tls.write(plain)
        return self.take()

    def read(self) -> bytes:
        """Plain bytes; b"" after the closing alert; a cut raises."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.receive()
            except ssl.SSLZeroReturnError:
                return b""

    def read_all(self) -> bytes:
        got = b""
        while piece := self.read():
            got += piece
        return got
