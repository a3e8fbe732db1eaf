# SPDX-License-Identifier: MIT
"""alloc_failures.py over TLS: each allocation of a handshake fails, too.

    python tests/isolated/tls_failures.py [--rounds N] [--loop NAME]

The client's side of TLS runs on the same loop, outside of the engine's turns,
where memory never fails.  Exit status: 0, or 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import ssl
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))

import alloc_failures
import trustme
from alloc_failures import Answer, Client, Guard, Way, parse, respond

__all__ = ["NAMES", "TlsClient", "contexts", "run_on"]

# One of each kind that differs here; the others are alloc_failures.py's.
NAMES = ["list", "late", "file"]


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and one for clients that trust it."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    pair = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class TlsClient(Client):
    """The same client, through an SSLObject for each of its sockets."""

    def __init__(
        self, port: int, guard: Guard, context: ssl.SSLContext
    ) -> None:
        super().__init__(port, 0, guard)
        self._context = context

    async def ask(self, pieces: list[bytes], nth: int, kept: bool) -> Answer:
        self._sessions: dict[
            int, tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]
        ] = {}
        return await super().ask(pieces, nth, kept)

    async def _exchange(
        self, sock: socket.socket, pieces: list[bytes]
    ) -> Answer:
        received = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            tls, incoming, outgoing = await self._session(sock)
            for piece in pieces:
                tls.write(piece)
                await self._loop.sock_sendall(sock, outgoing.read())
                await asyncio.sleep(0)
            while True:
                try:
                    data = tls.read(1 << 16)
                except ssl.SSLWantReadError:
                    await self._receive(sock, incoming)
                    continue
                received += data
                answer = parse(received)
                if answer.whole or not data:
                    return answer
        return parse(received)

    async def _receive(
        self, sock: socket.socket, incoming: ssl.MemoryBIO
    ) -> None:
        data = await self._loop.sock_recv(sock, 1 << 16)
        if data:
            incoming.write(data)
        else:
            incoming.write_eof()

    async def _session(
        self, sock: socket.socket
    ) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
        found = self._sessions.get(sock.fileno())
        if found is not None:
            return found
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(
            incoming, outgoing, server_hostname="localhost"
        )
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._loop.sock_sendall(sock, outgoing.read())
                await self._receive(sock, incoming)
        await self._loop.sock_sendall(sock, outgoing.read())
        self._sessions[sock.fileno()] = (tls, incoming, outgoing)
        return self._sessions[sock.fileno()]


def run_on(loop: str, rounds: int) -> str:
    """What is wrong, or nothing."""
    server, client = contexts()
    kept = [name for name in alloc_failures.NAMES if name in NAMES]
    way = Way(
        kept,
        server,
        lambda port, _uwsgi_port, guard: TlsClient(port, guard, client),
    )
    return alloc_failures.run_on(loop, rounds, respond, way)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--loop", default="asyncio")
    given = parser.parse_args()
    if alloc_failures.load_testcapi() is None:
        sys.exit("this Python has no _testcapi")
    sys.exit(run_on(given.loop, given.rounds) or None)
