# SPDX-License-Identifier: MIT
"""Many WebSocket clients in one thread: an epoll set, and exact answers.

Every client knows the one message that must come next; anything else that
comes (a second time, out of order, when nothing is due) is an AssertionError.
PINGs are answered.  A Crowd of 10,000 takes about a tenth of a second of
processor time for a message to each.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterable, Sequence

from frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    accept_of,
    close_frame,
    frame,
    upgrade_request,
)

__all__ = ["Client", "Crowd", "text_frame"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # one for all: it protects no client here
ACCEPT = accept_of(KEY).encode()
SECONDS = 30.0
IN_BATCH = 100  # connections that wait for their handshake at once


def text_frame(text: bytes) -> bytes:
    """The bytes by which a server sends a text of less than 64 KiB."""
    if len(text) < 126:
        return bytes([0x80 | TEXT, len(text)]) + text
    return bytes([0x80 | TEXT, 126]) + len(text).to_bytes(2, "big") + text


class Client:
    """One connection; `due` is the frame that must come next, if any."""

    __slots__ = ("buffer", "code", "due", "number", "socket")

    def __init__(self, port: int, path: str, number: int) -> None:
        self.number = number
        self.due: bytes | None = None
        self.code: int | None = None  # of the server's closing frame
        self.buffer = b""
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(upgrade_request(path, key=KEY))

    def upgraded(self) -> None:
        """Reads the server's handshake, and what comes behind it."""
        while b"\r\n\r\n" not in self.buffer:
            piece = self.socket.recv(4096)
            assert piece, f"no handshake: {self.buffer!r}"
            self.buffer += piece
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ") and ACCEPT in head, head
        self.socket.setblocking(False)

    def send(self, text: bytes) -> None:
        self.socket.send(frame(TEXT, text))

    def readable(self) -> bool:
        """Takes what has come; whether what was due is here now."""
        piece = self.socket.recv(65536)
        assert piece, f"client {self.number}: the server has closed"
        if piece == self.due and not self.buffer:
            self.due = None
            return True
        self.buffer += piece
        return self.take_frames()

    def take_frames(self) -> bool:
        came = False
        while (size := self.frame_size()) <= len(self.buffer):
            whole, self.buffer = self.buffer[:size], self.buffer[size:]
            came |= self.take(whole)
        return came

    def frame_size(self) -> int:
        """Of the frame at the start of the buffer; 2 and more."""
        if len(self.buffer) < 2:
            return 2
        assert self.buffer[1] < 127, f"no frame of ours: {self.buffer[:20]!r}"
        if self.buffer[1] < 126:
            return 2 + self.buffer[1]
        return 4 + int.from_bytes(self.buffer[2:4].ljust(2, b"\xff"), "big")

    def take(self, whole: bytes) -> bool:
        if whole[0] == 0x80 | PING:
            self.socket.send(frame(PONG, whole[2:]))
            return False
        if whole[0] == 0x80 | CLOSE and self.code is None:
            self.code = int.from_bytes(whole[2:4], "big")
            with contextlib.suppress(ConnectionError):
                self.socket.send(close_frame(self.code))
            return False
        assert whole == self.due, (
            f"client {self.number}: {whole[:60]!r} came, due was "
            f"{None if self.due is None else self.due[:60]!r}"
        )
        self.due = None
        return True

    def close(self) -> None:
        self.socket.close()


class Crowd:
    """Clients that are waited for together."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: dict[int, Client] = {}
        self.poll = select.epoll()

    def open(self, path: str, count: int, greeting: bytes | None) -> None:
        """So many more clients; returns once each has had its greeting."""
        while count > 0:
            batch = [
                Client(self.port, path, len(self.clients) + n)
                for n in range(min(IN_BATCH, count))
            ]
            for client in batch:
                client.upgraded()
                client.due = greeting and text_frame(greeting)
                client.take_frames()
                self.clients[client.socket.fileno()] = client
                self.poll.register(client.socket, select.EPOLLIN)
            self.settle(batch)
            count -= len(batch)

    def settle(
        self, clients: Iterable[Client], seconds: float = SECONDS
    ) -> list[float]:
        """Waits until nothing is due; the moments at which things came."""
        missing = sum(client.due is not None for client in clients)
        give_up = time.monotonic() + seconds
        moments: list[float] = []
        while len(moments) < missing:
            left = give_up - time.monotonic()
            assert left > 0, f"{missing - len(moments)} messages are missing"
            moments += self.turn(left)
        return moments

    def turn(self, seconds: float) -> list[float]:
        """Handles what happens next; a moment for each thing that came."""
        events = self.poll.poll(seconds, 1024)
        now = time.monotonic()
        came = [self.clients[fd].readable() for fd, _event in events]
        return [now] * sum(came)

    def answer_pings(self, seconds: float) -> None:
        """Lets time pass in which nothing is due."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            assert not self.turn(left)

    def codes(self, seconds: float = SECONDS) -> Sequence[int | None]:
        """Waits until each was sent a closing frame; their codes."""
        give_up = time.monotonic() + seconds
        waiting = {fd for fd, c in self.clients.items() if c.code is None}
        while waiting and (left := give_up - time.monotonic()) > 0:
            for fd, _event in self.poll.poll(left, 1024):
                client = self.clients[fd]
                client.readable()
                if client.code is not None:
                    self.poll.unregister(fd)
                    waiting.discard(fd)
        return [client.code for client in self.clients.values()]

    def close(self) -> None:
        self.poll.close()
        for client in self.clients.values():
            client.close()
