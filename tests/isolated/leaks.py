# SPDX-License-Identifier: MIT
"""Leak runs: each operation many times, in this very process.

    python tests/isolated/leaks.py [--times N] [--loop asyncio|uvloop]

A server made by start_server() and its client share one loop.  For each path
of apps/mixed.py, and for whole servers that are started and closed, Python's
memory blocks (sys.getallocatedblocks), the bytes of C's heap (mallinfo2,
where there is one) and objects of the server's types are counted after a
warm-up and after many repetitions more: they must be the same, but for what
Python's own caches take.  Exit status: 0, or 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import importlib
import importlib.util
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import greenloop
from greenloop import _core

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from workload import APP, BROKEN, REQUESTS, Request, get

GREENLET: type = importlib.import_module("greenlet").greenlet
TIMES = 1000
ATTEMPTS = 3
BLOCKS_ALLOWED = 30  # in all; one lost object per request would be TIMES
HEAP_ALLOWED = 24 << 10
CORES = 20
# As many greenlets as are kept for spawned functions, and some.
RESTING = 70

Operation = Callable[[int], Awaitable[None]]


def objects_of(kind: type) -> int:
    gc.collect()
    return sum(type(found) is kind for found in gc.get_objects())


class HeapInfo(ctypes.Structure):
    """struct mallinfo2 of glibc 2.33 and later."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def heap_bytes() -> int:
    """Bytes of C's heap in use; 0 where nobody can tell."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return 0
    library.mallinfo2.restype = HeapInfo
    info = library.mallinfo2()
    return int(info.uordblks + info.hblkhd)


class Growth:
    """Blocks and objects now, to be compared with those of later."""

    def __init__(self) -> None:
        self.greenlets = sum(
            # Not isinstance(): it asks a dead weakref.proxy for its class.
            issubclass(type(found), GREENLET)
            for found in gc.get_objects()
        )
        self.engines = objects_of(_core.Engine)
        gc.collect()
        self.blocks = sys.getallocatedblocks()
        self.heap = heap_bytes()

    def since(self, before: Growth) -> str:
        """What there is more of, or nothing."""
        more = {
            "greenlets": self.greenlets - before.greenlets,
            "engines": self.engines - before.engines,
            "blocks": self.blocks - before.blocks,
            "heap bytes": self.heap - before.heap,
        }
        bad = more["blocks"] > BLOCKS_ALLOWED
        bad |= more["heap bytes"] > HEAP_ALLOWED
        bad |= more["greenlets"] != 0 or more["engines"] != 0
        return str(more) if bad else ""


async def settle(seconds: float = 5.0) -> None:
    """Until no other task is left, and what they scheduled has run."""
    give_up = asyncio.get_running_loop().time() + seconds
    while len(asyncio.all_tasks()) > 1:
        if asyncio.get_running_loop().time() > give_up:
            raise AssertionError(f"tasks are left: {asyncio.all_tasks()}")
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)  # the late switches of /keep


async def leak_of(operation: Operation, times: int) -> str:
    """What `operation` leaves behind each time, or nothing.

    Caches of Python may fill up during a run, but not during each of three.
    """
    leak = ""
    await operation(times // 2)
    for _ in range(ATTEMPTS):
        await settle()
        before = Growth()
        await operation(times)
        await settle()
        leak = Growth().since(before)
        if not leak:
            break
    return leak


# --- operations --------------------------------------------------------------


def load_app() -> ModuleType:
    """apps/mixed.py, loaded where its loop is the running one."""
    spec = importlib.util.spec_from_file_location("mixed_app", APP)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def read_answer(reader: asyncio.StreamReader, request: Request) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    assert int(head[9:12]) == request.status, head
    if request.head_only:
        return
    _, found, rest = head.partition(b"\r\nContent-Length: ")
    if found:
        size = int(rest.split(b"\r\n", 1)[0])
        assert await reader.readexactly(size) == request.body
    else:
        assert await reader.readuntil(b"0\r\n\r\n")


class Bench:
    """A server in this process, and operations on it."""

    def __init__(self, server: greenloop.Server) -> None:
        self.port = server.sockets[0].getsockname()[1]

    def connect(
        self,
    ) -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        return asyncio.open_connection("127.0.0.1", self.port)

    def asking(self, request: Request) -> Operation:
        """The request, again and again on one connection."""

        async def ask(times: int) -> None:
            reader, writer = await self.connect()
            for _ in range(times):
                writer.write(request.wire)
                await read_answer(reader, request)
            writer.close()
            await writer.wait_closed()

        return ask

    async def fill(self) -> None:
        """Has every core made, for the count of greenlets to be final."""
        ask = self.asking(get("/hold", b"hello"))
        await asyncio.gather(*(ask(1) for _ in range(CORES)))
        await asyncio.gather(
            *(greenloop.spawn(greenloop.sleep, 0.2) for _ in range(RESTING))
        )

    def leaving(self, wire: bytes, *, reset: bool) -> Operation:
        """New connections that end without waiting for an answer."""

        async def leave(times: int) -> None:
            for _ in range(times // 5):
                _, writer = await self.connect()
                writer.write(wire)
                await asyncio.sleep(0)
                if reset:
                    writer.transport.abort()
                else:
                    writer.close()
                    await writer.wait_closed()

        return leave


async def serve_and_close(times: int, app: Any) -> None:
    """Whole servers, each with a served and a parked request."""
    port = 0  # then the same for all: clients of uvloop cache addresses
    for _ in range(times // 50):
        server = await greenloop.start_server(
            app, f"127.0.0.1:{port}", cores=CORES, graceful_timeout=0.05
        )
        bench = Bench(server)
        port = bench.port
        await bench.asking(get("/hello", b"hello"))(2)
        reader, writer = await bench.connect()
        writer.write(get("/forever/wait", b"").wire)
        while server.stats()["busy"] == 0:
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
        assert b" 503 " in await reader.readline()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def retirement(server: greenloop.Server, bench: Bench) -> str:
    """A greenlet that somebody keeps is retired; one that nobody keeps any
    more is freed."""
    before = server.stats()["retired"]
    await bench.asking(get("/keep", b"kept"))(10)
    await settle()
    await bench.asking(get("/hello", b"hello"))(CORES)
    retired = server.stats()["retired"] - before
    if retired < 5:
        return f"only {retired} of 10 kept greenlets were retired"
    return ""


def operations(bench: Bench) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for request in dict.fromkeys([*REQUESTS, BROKEN, get("/context?x", b"x")]):
        line = request.wire.split(b" HTTP", 1)[0].decode()
        name = line + (" chunked" if b"chunked" in request.wire else "")
        found[f"{name} {len(request.wire)}"] = bench.asking(request)
    for path in ("/disconnected", "/cancelled", "/sleep", "/file", "/nothing"):
        wire = get(path, b"").wire
        found[f"{path}, then closes"] = bench.leaving(wire, reset=False)
        found[f"{path}, then resets"] = bench.leaving(wire, reset=True)
    found["half a head"] = bench.leaving(b"GET /he", reset=False)
    found["half a body"] = bench.leaving(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234",
        reset=False,
    )
    found["a bad request"] = bench.leaving(b"GET\r\n\r\n", reset=False)
    return found


async def run(times: int) -> list[str]:
    """All operations; what leaked."""
    logging.getLogger("greenloop").setLevel(logging.CRITICAL)
    app = load_app().application
    engines = objects_of(_core.Engine)
    server = await greenloop.start_server(
        app, "127.0.0.1:0", cores=CORES, patch=True
    )
    bench = Bench(server)
    await bench.fill()
    found = []
    for name, operation in operations(bench).items():
        began = time.monotonic()
        leak = await leak_of(operation, times)
        seconds = time.monotonic() - began
        print(f"  {name}: {leak or 'ok'} ({seconds:.1f} s)", flush=True)
        found += [f"{name}: {leak}"] if leak else []
    found += filter(None, [await retirement(server, bench)])
    server.close()
    await server.wait_closed()
    del server, bench
    began = time.monotonic()
    leak = await leak_of(lambda n: serve_and_close(n, app), times)
    seconds = time.monotonic() - began
    print(f"  started and closed: {leak or 'ok'} ({seconds:.1f} s)")
    found += [f"servers: {leak}"] if leak else []
    if objects_of(_core.Engine) > engines:
        found.append("an engine that was closed is left")
    return found


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """One of either kind, which says nothing of a busy machine."""
    module = importlib.import_module(kind)
    made: asyncio.AbstractEventLoop = module.new_event_loop()
    made.slow_callback_duration = 60.0
    return made


def run_on(loop: str, work: Coroutine[Any, Any, list[str]]) -> list[str]:
    """What `work` finds on a loop of either kind."""
    made = new_loop(loop)
    asyncio.set_event_loop(made)
    try:
        return made.run_until_complete(work)
    finally:
        asyncio.set_event_loop(None)
        made.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--loop", default="asyncio")
    args = parser.parse_args(argv)
    print(f"each operation {args.times} times, loop {args.loop}")
    found = run_on(args.loop, run(args.times))
    for line in found:
        print(f"FAILED: {line}")
    if not found:
        print("PASSED: nothing is left behind")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
