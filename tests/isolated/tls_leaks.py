# SPDX-License-Identifier: MIT
"""Leak runs over TLS: handshakes, whole and ended at every stage.

    python tests/isolated/tls_leaks.py [--times N] [--loop asyncio|uvloop]

As leaks.py: Python's blocks and C's heap, and descriptors, must be after many
repetitions what they were before.  Exit status: 0, or 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import ssl
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent / "e2e")]

import greenloop
from leaks import Operation, leak_of, run_on
from tls_failures import contexts

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BODY = b"x" * 50_000


def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [BODY]


class Bench:
    """Operations on a server of this process."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port = port
        self.context = context
        self.hello = self._hello()

    def _hello(self) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(
            incoming, outgoing, server_hostname="localhost"
        )
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()

    def asking(self, version: ssl.TLSVersion) -> Operation:
        """Connections with a request each."""

        async def ask(times: int) -> None:
            self.context.maximum_version = version
            for _ in range(times):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    self.port,
                    ssl=self.context,
                    server_hostname="localhost",
                )
                writer.write(REQUEST)
                assert (await reader.read()).endswith(BODY)
                writer.close()
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    await writer.wait_closed()

        return ask

    def leaving(self, sent: bytes, *, answer: bool, reset: bool) -> Operation:
        """Connections that end in the handshake."""

        async def leave(times: int) -> None:
            for _ in range(times):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port
                )
                writer.write(sent)
                with contextlib.suppress(ConnectionError):
                    if answer:
                        await reader.read(1)
                    await asyncio.sleep(0)
                    if reset:
                        writer.transport.abort()
                    else:
                        writer.write_eof()
                        await reader.read()
                        writer.close()
                    await writer.wait_closed()

        return leave

    def operations(self) -> dict[str, Operation]:
        hello, half = self.hello, self.hello[: len(self.hello) // 2]
        noise = hello + b"\x16\x03\x03\x00\x05noise"
        return {
            "TLS 1.2": self.asking(ssl.TLSVersion.TLSv1_2),
            "TLS 1.3": self.asking(ssl.TLSVersion.TLSv1_3),
            "nothing": self.leaving(b"", answer=False, reset=False),
            "half": self.leaving(half, answer=False, reset=False),
            "half, reset": self.leaving(half, answer=False, reset=True),
            "hello": self.leaving(hello, answer=True, reset=False),
            "hello, reset": self.leaving(hello, answer=True, reset=True),
            "noise": self.leaving(noise, answer=True, reset=False),
            "plain HTTP": self.leaving(REQUEST, answer=True, reset=False),
        }


async def idle(server: greenloop.Server) -> None:
    while server.stats()["connections"] > 0:
        await asyncio.sleep(0.002)


async def run(times: int) -> list[str]:
    """All operations; what leaked."""
    logging.getLogger("greenloop").setLevel(logging.CRITICAL)
    context, client = contexts()
    found = []
    async with await greenloop.start_server(
        application, "127.0.0.1:0", cores=4, ssl=context
    ) as server:
        bench = Bench(server.sockets[0].getsockname()[1], client)
        for name, operation in bench.operations().items():
            began = time.monotonic()

            async def settled(
                times: int, operate: Operation = operation
            ) -> None:
                await operate(times)
                await idle(server)

            await settled(5)
            files = len(os.listdir("/proc/self/fd"))
            leak = await leak_of(settled, times)
            if len(os.listdir("/proc/self/fd")) > files:
                leak += " descriptors"
            seconds = time.monotonic() - began
            print(f"  {name}: {leak or 'ok'} ({seconds:.1f} s)", flush=True)
            found += [f"{name}: {leak}"] if leak else []
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--loop", default="asyncio")
    given = parser.parse_args()
    leaked = run_on(given.loop, run(given.times))
    print("\n".join(leaked) or "PASSED: nothing is left behind")
    sys.exit(1 if leaked else 0)
