# SPDX-License-Identifier: MIT
"""permessage-deflate: RFC 7692."""

import contextlib
import random
import zlib
from collections.abc import Iterator

import pytest
from harness import Server, server
from websocket_peer import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    open_peer,
)
from websockets.sync.client import connect
from wire import resident_bytes

APP = """
    import greenloop

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        ws = greenloop.websocket(environ, compression=path != "/plain",
                                 max_size=100000)
        if path == "/handler":
            return ws.hand_over(handler)
        for message in ws:
            ws.send(message)

    async def handler(ws):
        async for message in ws:
            await ws.send(message)
"""
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
TAIL = b"\x00\x00\xff\xff"
REPEATED = b"once more and again, " * 50


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    with server(APP) as running:
        yield running


class Zip:
    """What a client keeps: one stream for each direction."""

    def __init__(self, bits: int = 15) -> None:
        self.out = zlib.compressobj(wbits=-bits)
        self.back = zlib.decompressobj(wbits=-15)

    def deflate(self, data: bytes) -> bytes:
        piece = self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH)
        assert piece.endswith(TAIL)
        return piece[:-4]

    def inflate(self, frame: Frame) -> bytes:
        assert frame.rsv1
        return self.back.decompress(frame.payload + TAIL)


def agreed(peer: Peer) -> "str | None":
    for line in peer.head.decode().split("\r\n"):
        if line.lower().startswith("sec-websocket-extensions:"):
            return line.partition(":")[2].strip()
    return None


@pytest.mark.parametrize("path", ["/", "/handler"])
def test_contexts_are_kept(s: Server, path: str) -> None:
    """The same message again is much smaller, in both directions."""
    client = Zip()
    sizes = []
    noise = random.Random(1).randbytes(500)
    with open_peer(s, path, OFFER) as peer:
        assert agreed(peer) == "permessage-deflate; server_max_window_bits=12"
        for _ in range(3):
            peer.send(BINARY, client.deflate(noise), rsv1=True)
            frame = peer.frame()
            assert client.inflate(frame) == noise
            sizes.append(len(frame.payload))
    assert sizes[0] > 400
    assert max(sizes[1:]) < 50


def test_without_context(s: Server) -> None:
    """Each message can be inflated by itself."""
    lines = f"{OFFER}; server_no_context_takeover; client_no_context_takeover"
    with open_peer(s, "/", lines) as peer:
        answer = str(agreed(peer))
        assert "server_no_context_takeover" in answer
        for _ in range(3):
            client = Zip()
            peer.send(TEXT, client.deflate(REPEATED), rsv1=True)
            assert client.inflate(peer.frame()) == REPEATED


@pytest.mark.parametrize("bits", range(9, 16))
def test_windows(s: Server, bits: int) -> None:
    """What the server deflates fits the window that was asked for."""
    lines = f"{OFFER}; server_max_window_bits={bits}; client_max_window_bits"
    noise = random.Random(2).randbytes(20000)
    with open_peer(s, "/", lines) as peer:
        answer = str(agreed(peer))
        assert f"server_max_window_bits={min(bits, 12)}" in answer
        assert "client_max_window_bits=12" in answer
        client = Zip(12)
        client.back = zlib.decompressobj(wbits=-min(bits, 12))
        for _ in range(3):
            peer.send(BINARY, client.deflate(noise), rsv1=True)
            assert client.inflate(peer.frame()) == noise


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; unknown=1",
        "x-webkit-deflate-frame",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover=1",
    ],
)
def test_offers_that_are_declined(s: Server, offer: str) -> None:
    line = f"Sec-WebSocket-Extensions: {offer}"
    with open_peer(s, "/", line) as peer:
        assert agreed(peer) is None
        peer.send(TEXT, b"plain")
        assert peer.frame() == Frame(TEXT, b"plain")
        peer.send(TEXT, b"x", rsv1=True)
        assert peer.frame().code == 1002


def test_the_second_offer(s: Server) -> None:
    line = f"{OFFER}; server_max_window_bits=8, permessage-deflate"
    with open_peer(s, "/", line) as peer:
        assert agreed(peer) == "permessage-deflate; server_max_window_bits=12"


def test_the_application_may_say_no(s: Server) -> None:
    with open_peer(s, "/plain", OFFER) as peer:
        assert agreed(peer) is None


def test_the_options() -> None:
    with (
        server(APP, "--websockets-no-compression") as s,
        open_peer(s, "/", OFFER) as peer,
    ):
        assert agreed(peer) is None
    with (
        server(APP, "--websockets-window-bits", "15") as s,
        open_peer(s, "/", OFFER) as peer,
    ):
        assert agreed(peer) == "permessage-deflate"


def test_fragments_with_a_ping_between(s: Server) -> None:
    client = Zip()
    data = client.deflate(REPEATED)
    with open_peer(s, "/", OFFER) as peer:
        peer.send(TEXT, data[:7], fin=False, rsv1=True)
        peer.send(PING, b"between")
        peer.send(CONTINUATION, data[7:9], fin=False)
        peer.send(CONTINUATION, b"", fin=False)
        peer.send(CONTINUATION, data[9:])
        assert peer.frame() == Frame(PONG, b"between")
        assert client.inflate(peer.frame()) == REPEATED


def test_messages_that_are_not_compressed(s: Server) -> None:
    client = Zip()
    with open_peer(s, "/", OFFER) as peer:
        peer.send(TEXT, b"plain")
        frame = peer.frame()
        got = client.inflate(frame) if frame.rsv1 else frame.payload
        assert got == b"plain"


def test_a_message_with_a_last_block(s: Server) -> None:
    """Section 7.2.3.4: a block with BFINAL ends the stream, and a byte of
    zeros follows; the next message begins a new one."""
    client = Zip()
    with open_peer(s, "/", OFFER) as peer:
        for _ in range(2):
            out = zlib.compressobj(wbits=-15)
            data = out.compress(REPEATED) + out.flush(zlib.Z_FINISH)
            peer.send(TEXT, data + b"\x00", rsv1=True)
            assert client.inflate(peer.frame()) == REPEATED


def test_blocks_behind_a_last_one(s: Server) -> None:
    """Section 7.2.1: such blocks may be anywhere in a message."""
    client = Zip()
    first, second = zlib.compressobj(wbits=-15), zlib.compressobj(wbits=-15)
    data = first.compress(b"one, ") + first.flush(zlib.Z_FINISH)
    data += second.compress(b"two") + second.flush(zlib.Z_SYNC_FLUSH)[:-4]
    ended = zlib.compressobj(wbits=-15)
    bare = ended.compress(b"bare") + ended.flush(zlib.Z_FINISH)
    with open_peer(s, "/", OFFER) as peer:
        for _ in range(2):
            peer.send(TEXT, data, rsv1=True)
            assert client.inflate(peer.frame()) == b"one, two"
        peer.send(TEXT, data[:4], rsv1=True, fin=False)
        for byte in data[4:-1]:
            peer.send(CONTINUATION, bytes([byte]), fin=False)
        peer.send(CONTINUATION, data[-1:])
        assert client.inflate(peer.frame()) == b"one, two"
        # Without the byte of zeros there is no stream for the tail.
        for _ in range(2):
            peer.send(TEXT, bare, rsv1=True)
            assert client.inflate(peer.frame()) == b"bare"


def test_a_flood_behind_a_last_block(s: Server) -> None:
    """Neither kept for ever nor copied again and again."""
    empty = b"\x03\x00"  # a last block that holds nothing
    before = resident_bytes(s.pid)
    with open_peer(s, "/", OFFER) as peer:
        peer.send(BINARY, empty, rsv1=True, fin=False)
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                peer.send(CONTINUATION, bytes(65536), fin=False)
        assert peer.frame().code == 1007
        assert resident_bytes(s.pid) - before < 8 << 20
    with open_peer(s, "/", OFFER) as peer:
        peer.send(BINARY, empty * 30000, rsv1=True)
        assert peer.frame().code == 1007


@pytest.mark.parametrize("path", ["/", "/handler"])
def test_a_bomb(s: Server, path: str) -> None:
    """What inflates to more than the limit is stopped at the limit."""
    bomb = Zip().deflate(bytes(90 << 20))
    assert len(bomb) < 100000
    before = resident_bytes(s.pid)
    with open_peer(s, path, OFFER) as peer:
        peer.send(BINARY, bomb, rsv1=True)
        assert peer.frame().code == 1009
        assert resident_bytes(s.pid) - before < 8 << 20
    exact = bytes(100000)
    client = Zip()
    with open_peer(s, path, OFFER) as peer:
        peer.send(BINARY, client.deflate(exact), rsv1=True)
        assert client.inflate(peer.frame()) == exact
        peer.send(BINARY, client.deflate(exact + b"x"), rsv1=True)
        assert peer.frame().code == 1009


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x06\x07\x08"])
def test_what_cannot_be_inflated(s: Server, data: bytes) -> None:
    with open_peer(s, "/", OFFER) as peer:
        peer.send(BINARY, data, rsv1=True)
        assert peer.frame().code in (1002, 1007)
        assert peer.at_end()


def test_text_is_checked_after_inflating(s: Server) -> None:
    with open_peer(s, "/", OFFER) as peer:
        peer.send(TEXT, Zip().deflate(b"\xc3\x28"), rsv1=True)
        assert peer.frame().code == 1007


@pytest.mark.parametrize("path", ["/", "/handler"])
def test_with_websockets(s: Server, path: str) -> None:
    texts = ["", "x", "é" * 3000, "ab" * 40000, REPEATED.decode()]
    with connect(f"ws://127.0.0.1:{s.port}{path}", max_size=None) as ws:
        for text in texts * 3:
            ws.send(text)
            assert ws.recv(timeout=20) == text
