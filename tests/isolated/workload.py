# SPDX-License-Identifier: MIT
"""A raw client for apps/mixed.py: requests, pipelines, and exact answers.

Every request knows the status and the body that must come back, so that a
long run also proves that no answer went to the wrong client.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import random
import socket
import struct
import time

__all__ = ["APP", "Census", "Client", "Request", "mixed", "settled_census"]

HERE = pathlib.Path(__file__).resolve().parent
APP = HERE / "apps" / "mixed.py"
FILE_BODY = b"file " * 4000
SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Request:
    """What to send, and what must come back."""

    wire: bytes
    status: int
    body: bytes
    head_only: bool = False
    closes: bool = False


def get(path: str, body: bytes, status: int = 200) -> Request:
    return Request(
        f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode(), status, body
    )


def post(path: str, body: bytes) -> Request:
    head = f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Length: "
    return Request(head.encode() + b"%d\r\n\r\n" % len(body) + body, 200, body)


def post_chunked(path: str, pieces: list[bytes]) -> Request:
    head = f"POST {path} HTTP/1.1\r\nHost: soak\r\n".encode()
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    coded = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
    return Request(head + coded + b"0\r\n\r\n", 200, b"".join(pieces))


def head(path: str) -> Request:
    wire = f"HEAD {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()
    return Request(wire, 200, b"", head_only=True)


HELLO = get("/hello", b"hello")
LAST = Request(
    b"GET /hello HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n",
    200,
    b"hello",
    closes=True,
)
OLD = Request(b"GET /hello HTTP/1.0\r\n\r\n", 200, b"hello", closes=True)
SLEEP = get("/sleep", b"slept")
REQUESTS = [
    *([HELLO] * 14),
    *([get("/nothing-here", b"missing", 404)] * 3),
    *([post("/echo", b"a=1&b=2")] * 3),
    post("/echo", bytes(range(256)) * 8),
    post("/lines", b"one\ntwo\nthree"),
    *([post_chunked("/echo", [b"first ", b"second ", b"x" * 300])] * 2),
    Request(
        b"POST /hello HTTP/1.1\r\nHost: soak\r\nContent-Length: 9\r\n\r\n"
        b"not read.",
        200,
        b"hello",
    ),
    *([SLEEP] * 2),
    *([get("/wait", b"waited")] * 2),
    *([get("/switch", b"back")] * 2),
    *([get("/generate", b"one two three")] * 3),
    get("/file", FILE_BODY),
    *([head("/hello"), head("/generate"), head("/file")]),
    get("/task", b"6"),
    get("/late-task", b"left behind"),
    get("/timeout", b"timed out"),
    get("/spawn", b"44"),
    get("/late-spawn", b"left behind"),
    get("/readable", b"ready once"),
    get("/who", b"/who"),
    get("/keep", b"kept"),
]
BROKEN = get("/broken", b"Internal Server Error", 500)
BROKEN_SHARE = 0.004  # each one is a traceback in the log


def mixed(chance: random.Random) -> Request:
    """One request of the mixed workload."""
    dice = chance.random()
    if dice < BROKEN_SHARE:
        return BROKEN
    if dice < 0.04:
        name = f"visitor-{chance.randrange(10**6)}"
        return get(f"/context?{name}", name.encode())
    return chance.choice(REQUESTS)


class Client:
    """One connection; requests may be pipelined."""

    def __init__(self, port: int, seconds: float = SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bytes = b""
        self._at = 0

    def send(self, requests: list[Request]) -> None:
        self.socket.sendall(b"".join(r.wire for r in requests))

    def check(self, request: Request) -> None:
        """Reads one answer; AssertionError if it is not the right one."""
        status, body = self._answer(request.head_only)
        if (status, body) != (request.status, request.body):
            raise AssertionError(
                f"{request.wire[:80]!r}: {status} {body[:80]!r}, not "
                f"{request.status} {request.body[:80]!r}"
            )

    def ask(self, request: Request) -> None:
        self.send([request])
        self.check(request)

    def census(self) -> dict[str, int]:
        self.socket.sendall(b"GET /census HTTP/1.1\r\nHost: soak\r\n\r\n")
        status, body = self._answer(False)
        assert status == 200, body
        count: dict[str, int] = json.loads(body)
        return count

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Ends the connection with a reset, not with a FIN."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.socket.close()

    def _more(self) -> None:
        piece = self.socket.recv(262144)
        if not piece:
            raise AssertionError("the server closed before its answer")
        self._bytes = self._bytes[self._at :] + piece
        self._at = 0

    def _until(self, mark: bytes) -> bytes:
        while (end := self._bytes.find(mark, self._at)) < 0:
            self._more()
        found = self._bytes[self._at : end]
        self._at = end + len(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._bytes) - self._at < count:
            self._more()
        found = self._bytes[self._at : self._at + count]
        self._at += count
        return found

    def _answer(self, head_only: bool) -> tuple[int, bytes]:
        fields = self._until(b"\r\n\r\n")
        status = int(fields[9:12])
        if head_only:
            return status, b""
        at = fields.find(b"\r\nContent-Length: ")
        if at >= 0:
            digits = fields[at + 18 :].split(b"\r\n", 1)[0]
            return status, self._exactly(int(digits))
        assert b"\r\nTransfer-Encoding: chunked" in fields, fields
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"
        return status, body


Census = dict[str, int]
COUNTED = ("descriptors", "greenlets", "tasks")


def settled_census(
    port: int, quiet: Census | None = None, seconds: float = 20.0
) -> Census:
    """The server's counts, once nothing of past clients is left.

    Requests whose client has left need a moment to end.  `quiet` is a census
    of the server before all load; after `seconds` the counts are taken as
    they are, for the caller to judge.
    """
    give_up = time.monotonic() + seconds
    with contextlib.closing(Client(port)) as client:
        before = quiet
        while True:
            count = client.census()
            if before is not None and settled(count, before, quiet or count):
                return count
            if time.monotonic() > give_up:
                return count
            before = count
            for _ in range(20):
                client.ask(SLEEP)


def settled(count: Census, before: Census, quiet: Census) -> bool:
    return count["greenlets"] == before["greenlets"] and all(
        count[name] == quiet[name] for name in ("descriptors", "tasks")
    )
