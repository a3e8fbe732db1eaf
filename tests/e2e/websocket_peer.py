# SPDX-License-Identifier: MIT
"""A WebSocket client that sends exactly the bytes that a test wants.

    with open_peer(s, "/echo") as peer:
        peer.send(TEXT, b"hello")
        assert peer.frame() == Frame(TEXT, b"hello")

It does nothing by itself: no pongs, no answer to a close.
"""

import base64
import contextlib
import dataclasses
import hashlib
import os
import socket
import struct
from collections.abc import Iterator

from harness import Server

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "Peer",
    "accept_for",
    "handshake",
    "open_peer",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame of the server's, which never masks."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False

    @property
    def code(self) -> int:
        """Of a close frame; 1005 for one without."""
        if len(self.payload) < 2:
            return 1005
        return int(struct.unpack("!H", self.payload[:2])[0])


def accept_for(key: str) -> str:
    """Sec-WebSocket-Accept for a key."""
    digest = hashlib.sha1((key + GUID).encode()).digest()
    return base64.b64encode(digest).decode()


def handshake(path: str, *lines: str, replace: "str | None" = None) -> bytes:
    """The bytes of an opening request; `replace` takes a default line's
    place: "Upgrade: x" that of "Upgrade: websocket", "Upgrade" none."""
    head = [
        "Host: a",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
    ]
    if replace is not None:
        name = replace.partition(":")[0]
        head = [line for line in head if not line.startswith(name + ":")]
        if ":" in replace:
            head.append(replace)
    text = "\r\n".join([f"GET {path} HTTP/1.1", *head, *lines, "", ""])
    return text.encode("latin-1")


class Peer:
    """A connection that has become a WebSocket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head = b""
        self._bytes = b""

    def _need(self, size: int) -> bytes:
        while len(self._bytes) < size:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError(f"the server closed after {self._bytes!r}")
            self._bytes += piece
        taken, self._bytes = self._bytes[:size], self._bytes[size:]
        return taken

    def open(self, request: bytes) -> None:
        """Sends an opening request; `head` is the answer's."""
        self.sock.sendall(request)
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self._need(1)

    @staticmethod
    def bytes_of(
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        masked: bool = True,
    ) -> bytes:
        """A client's frame."""
        first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
        bit = 0x80 if masked else 0
        if len(payload) < 126:
            head = struct.pack("!BB", first, bit | len(payload))
        elif len(payload) < 65536:
            head = struct.pack("!BBH", first, bit | 126, len(payload))
        else:
            head = struct.pack("!BBQ", first, bit | 127, len(payload))
        if not masked:
            return head + payload
        mask = os.urandom(4)
        return head + mask + _xor(payload, mask)

    def send(self, opcode: int, payload: bytes = b"", **how: bool) -> None:
        self.sock.sendall(self.bytes_of(opcode, payload, **how))

    def frame(self) -> Frame:
        """The server's next frame."""
        first, second = self._need(2)
        size = second & 0x7F
        assert not second & 0x80, "a server must not mask"
        if size == 126:
            (size,) = struct.unpack("!H", self._need(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._need(8))
        return Frame(
            first & 15, self._need(size), bool(first & 0x80), bool(first & 64)
        )

    def close(self, code: int = 1000, reason: bytes = b"") -> Frame:
        """Sends a close frame; the server's answer."""
        self.send(CLOSE, struct.pack("!H", code) + reason)
        return self.frame()

    def at_end(self) -> bool:
        """Whether the server sends nothing more, and has ended its side."""
        return self._bytes == b"" and self.sock.recv(1) == b""


def _xor(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    whole = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
    return mixed.to_bytes(size, "big")


@contextlib.contextmanager
def open_peer(
    s: Server, path: str, *lines: str, receive_bytes: "int | None" = None
) -> Iterator[Peer]:
    """A WebSocket for the length of a `with` block.

    receive_bytes makes a client whose kernel keeps little.
    """
    with socket.socket() as sock:
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", s.port))
        peer = Peer(sock)
        peer.open(handshake(path, *lines))
        assert peer.head.startswith(b"HTTP/1.1 101 "), peer.head
        yield peer
