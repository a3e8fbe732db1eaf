# SPDX-License-Identifier: MIT
"""WebSocket frames on a bare socket: what was really on the wire.

    with open_websocket(s, "/echo") as peer:
        peer.send(frame(TEXT, b"hello"))
        assert peer.receive() == Frame(TEXT, b"hello")
        peer.expect_close(1000)

Written for the tests and from RFC 6455 alone: it knows nothing of the server,
sends whatever it is told, however wrong, and fails where a forgiving client
would shrug (a masked frame, a length that could be shorter, bytes after the
closing frame).
"""

import base64
import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator

from harness import Server
from wire import Reply, Wire, open_wire, request

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "Peer",
    "close_frame",
    "frame",
    "open_websocket",
    "upgrade",
    "upgrade_request",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Not zero, and different in each byte: a server that masks wrongly shows.
MASK = b"\x37\xfa\x21\x3d"


@dataclasses.dataclass(frozen=True)
class Frame:
    """What a server sent: always unmasked."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0

    @property
    def code(self) -> int:
        """The code of a closing frame; 1005 where there is none."""
        assert self.opcode == CLOSE and len(self.payload) != 1, self
        return int.from_bytes(self.payload[:2], "big") or 1005


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload under the mask (section 5.3); twice is none."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    size = len(payload)
    number = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return number.to_bytes(size, "big")


def length_bytes(size: int, bits: int | None) -> tuple[int, bytes]:
    """The seven bits of a length, and what follows them (section 5.2)."""
    if bits is None:
        bits = 7 if size < 126 else 16 if size < 65536 else 64
    if bits == 7:
        return size, b""
    return (
        (126, size.to_bytes(2, "big"))
        if bits == 16
        else (
            127,
            size.to_bytes(8, "big"),
        )
    )


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    bits: int | None = None,
    claims: int | None = None,
) -> bytes:
    """A client's frame.

    rsv    the three reserved bits as a number: 4 is RSV1
    mask   None: not masked, which clients must not do
    bits   of the length: 7, 16 or 64; None takes the fewest
    claims the length that the head tells, if it is not the payload's
    """
    size = len(payload) if claims is None else claims
    short, more = length_bytes(size, bits)
    first = fin << 7 | rsv << 4 | opcode
    head = bytes([first, (mask is not None) << 7 | short]) + more
    if mask is None:
        return head + payload
    return head + mask + masked(payload, mask)


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """A client's closing frame; without a code it is empty."""
    payload = b"" if code is None else code.to_bytes(2, "big") + reason
    return frame(CLOSE, payload)


def upgrade_request(path: str, *lines: str, key: str | None = None) -> bytes:
    """The request of an opening handshake."""
    return request(
        "GET",
        path,
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {new_key() if key is None else key}",
        "Sec-WebSocket-Version: 13",
        *lines,
    )


def new_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    """What the server must answer to a key (section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + GUID).digest()
    return base64.b64encode(digest).decode()


def upgrade(wire: Wire, path: str, *lines: str) -> Reply:
    """The opening handshake; checks the answer, and returns it."""
    key = new_key()
    wire.send(upgrade_request(path, *lines, key=key))
    reply = wire.reply()
    assert reply.status == 101, reply
    assert reply.field("Upgrade") == "websocket", reply
    assert (reply.field("Connection") or "").lower() == "upgrade", reply
    assert reply.field("Sec-WebSocket-Accept") == accept_of(key), reply
    return reply


class Peer:
    """A client after the opening handshake."""

    def __init__(self, wire: Wire, reply: Reply) -> None:
        self.wire = wire
        self.reply = reply

    def send(self, *frames: bytes) -> None:
        """All of them in one write."""
        self.wire.send(b"".join(frames))

    def receive(self) -> Frame:
        """The next frame."""
        first, second = self.wire.take(2)
        assert not second & 0x80, "a server's frame is never masked"
        size = second
        if second >= 126:
            more = self.wire.take(2 if second == 126 else 8)
            size = int.from_bytes(more, "big")
            assert size > (125 if second == 126 else 65535), size
        return Frame(
            first & 15,
            self.wire.take(size),
            fin=bool(first & 0x80),
            rsv=first >> 4 & 7,
        )

    def expect(self, *frames: Frame) -> None:
        """Exactly these frames come next."""
        for wanted in frames:
            got = self.receive()
            assert got == wanted, (got, wanted)

    def expect_close(self, code: int, answer: bool = True) -> Frame:
        """The server closes with this code, and ends the connection."""
        got = self.receive()
        assert got.opcode == CLOSE, got
        assert got.code == code, got
        got.payload[2:].decode()  # a reason is UTF-8
        if answer:
            with contextlib.suppress(ConnectionError):
                self.wire.send(frame(CLOSE, got.payload[:2]))
        self.expect_end()
        return got

    def expect_end(self) -> None:
        """The server ends the connection and sends nothing more."""
        with contextlib.suppress(ConnectionResetError):
            assert self.wire.rest() == b""


@contextlib.contextmanager
def open_websocket(
    s: Server, path: str = "/", *lines: str, timeout: float = 20.0
) -> Iterator[Peer]:
    """A WebSocket for the length of a `with` block."""
    with open_wire(s, timeout) as wire:
        yield Peer(wire, upgrade(wire, path, *lines))
