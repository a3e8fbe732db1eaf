# SPDX-License-Identifier: MIT
"""HTTP/1.1 on a bare socket: what was really on the wire.

    with open_wire(s) as wire:
        wire.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        reply = wire.reply()
        assert (reply.status, reply.body) == (200, b"hello")
        wire.expect_end()

Written for the tests and from the RFCs alone: it knows nothing of the
server, and it fails where a forgiving client would shrug (a body after 204,
Content-Length beside Transfer-Encoding, a chunk without its CRLF).

Also what /proc tells about a server: cpu_seconds(), descriptors(),
resident_bytes(), and wait_until() for conditions without an event.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from harness import SANITIZED, Server

__all__ = [
    "Reply",
    "Wire",
    "cpu_seconds",
    "cpu_while",
    "descriptors",
    "descriptors_at_rest",
    "kernel_takes",
    "open_wire",
    "real_memory",
    "request",
    "reset",
    "resident_bytes",
    "slow_wire",
    "wait_until",
]

# For tests of how much memory a server takes.
real_memory = pytest.mark.skipif(
    SANITIZED, reason="not under sanitizers: they keep what was freed"
)
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([\t\x20-\x7e\x80-\xff]*)")
FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)"
)


@dataclasses.dataclass(frozen=True)
class Reply:
    """One response; `chunks` is None unless it came in chunks."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes] | None = None

    def field(self, name: str) -> str | None:
        """The value of a field that may come at most once."""
        values = [v for n, v in self.fields if n.lower() == name.lower()]
        assert len(values) <= 1, self
        return values[0] if values else None

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def closes(self) -> bool:
        return self.field("Connection") == "close"


class Wire:
    """A connection to the server, with what came and was not used yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._have = bytearray()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        """Sends byte by byte; ends early if the server is gone."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for i in range(len(data)):
                self.sock.sendall(data[i : i + 1])

    def get(self, path: str = "/", *lines: str) -> Reply:
        self.send(request("GET", path, *lines))
        return self.reply()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def _more(self) -> bool:
        piece = self.sock.recv(65536)
        self._have += piece
        return bool(piece)

    def take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._have) < count:
            assert self._more(), f"ended early, after {bytes(self._have)!r}"
        data = bytes(self._have[:count])
        del self._have[:count]
        return data

    def line(self) -> bytes:
        """The next line without its CRLF."""
        while b"\r\n" not in self._have:
            assert self._more(), f"ended early, after {bytes(self._have)!r}"
        line = self.take(self._have.index(b"\r\n") + 2)[:-2]
        assert b"\r" not in line and b"\n" not in line, line
        return line

    def _fields(self) -> Iterator[tuple[str, str]]:
        while line := self.line():
            parts = FIELD.fullmatch(line)
            assert parts is not None, line
            yield parts[1].decode(), parts[2].decode("latin-1")

    def _chunks(self) -> list[bytes]:
        chunks = []
        while size := int(self.line(), 16):
            chunks.append(self.take(size))
            assert self.take(2) == b"\r\n"
        assert self.line() == b"", "a trailer that nobody asked for"
        return chunks

    def rest(self) -> bytes:
        """All until the server ends its side; a reset is an error."""
        while self._more():
            pass
        return self.take(len(self._have))

    def reply(self, method: str = "GET") -> Reply:
        """The next response, framed as RFC 9112 section 6.3 says."""
        line = self.line()
        parts = STATUS_LINE.fullmatch(line)
        assert parts is not None, line
        head = Reply(
            int(parts[1]), parts[2].decode("latin-1"), [*self._fields()], b""
        )
        length = head.field("Content-Length")
        coding = head.field("Transfer-Encoding")
        assert length is None or coding is None, head
        if head.status < 200 or head.status == 204:
            assert length is None and coding is None, head
            return head
        if method == "HEAD" or head.status == 304:
            return head
        if coding is not None:
            assert coding == "chunked", head
            chunks = self._chunks()
            return dataclasses.replace(
                head, body=b"".join(chunks), chunks=chunks
            )
        if length is not None:
            return dataclasses.replace(head, body=self.take(int(length)))
        assert head.closes, head
        return dataclasses.replace(head, body=self.rest())

    def expect_end(self) -> None:
        """The server has closed, in order, and sent nothing more."""
        assert self.rest() == b""

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes, not even the end, for so long."""
        if self._have:
            return False
        before = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self._more()
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(before)
        return False

    def await_unread(self) -> None:
        """Waits until bytes have come, and leaves them in the kernel."""
        poll = select.poll()  # descriptors may be beyond FD_SETSIZE
        poll.register(self.sock, select.POLLIN)
        timeout = self.sock.gettimeout()
        assert poll.poll(None if timeout is None else timeout * 1000)

    def unread_bytes(self) -> int:
        """What the kernel holds of the answer, at both ends; 0 after a
        reset, when it forgets the connection."""
        try:
            ends = self.sock.getsockname()[1], self.sock.getpeername()[1]
        except OSError:
            return 0
        held = 0
        lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()
        for fields in map(str.split, lines[1:]):
            ports = [int(at[-4:], 16) for at in fields[1:3]]
            sent, received = fields[4].split(":", 1)
            if ports == [*ends]:
                held += int(received, 16)
            elif ports == [*reversed(ends)]:
                held += int(sent, 16)
        return held


def slow_wire(s: Server) -> Wire:
    """A client whose kernel keeps little; yours to close."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", s.port))
    return Wire(sock)


def kernel_takes(s: Server, path: str) -> int:
    """How much of a large answer leaves before a slow_wire() reads any."""
    wire = slow_wire(s)
    before, now = -1, 0
    try:
        wire.send(request("GET", path))
        wire.await_unread()
        while now != before:
            time.sleep(0.05)
            before, now = now, wire.unread_bytes()
    finally:
        reset(wire.sock)
    return now


@contextlib.contextmanager
def open_wire(s: Server, timeout: float = 20.0) -> Iterator[Wire]:
    """A connection for the length of a `with` block."""
    with s.connect(timeout) as sock:
        yield Wire(sock)


def request(
    method: str, path: str, *lines: str, body: bytes | None = None
) -> bytes:
    """The bytes of a request to the host "a"."""
    head = [f"{method} {path} HTTP/1.1", "Host: a", *lines]
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    text = "\r\n".join([*head, "", ""])
    return text.encode("latin-1") + (body or b"")


def reset(sock: socket.socket) -> None:
    """Closes with a reset instead of an orderly end."""
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    sock.close()


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used, all threads."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_while(pid: int, seconds: float = 0.5) -> float:
    """The processor time that a process uses in so much real time."""
    begin = cpu_seconds(pid)
    time.sleep(seconds)
    return cpu_seconds(pid) - begin


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def descriptors_at_rest(s: Server) -> int:
    """The same of a server without connections, once it serves.

    The end of an answer to who asked to close says that it is closed.
    """
    assert b" 200 " in s.raw(request("GET", "/", "Connection: close"))
    return descriptors(s.pid)


def resident_bytes(pid: int) -> int:
    text = pathlib.Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * PAGE


def wait_until(
    holds: Callable[[], bool], what: str, seconds: float = 10.0
) -> None:
    """Waits for a condition that announces itself to nobody."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, f"in vain: {what}"
        time.sleep(0.005)
