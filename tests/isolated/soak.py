# SPDX-License-Identifier: MIT
"""The soak: a million mixed requests against one server process.

    python tests/isolated/soak.py [--requests N] [--loop asyncio|uvloop]

The workload has every way to be served that apps/mixed.py knows, on kept and
new connections, pipelined, with clients that leave in the middle.  It passes
if every answer was right and if, against the counts after the first tenth,
memory has grown by at most 1 MiB, and descriptors, greenlets and asyncio
tasks are the same.  Exit status: 0, or 1 with the reason.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from harness import Server, server
from workload import (
    APP,
    COUNTED,
    LAST,
    OLD,
    Census,
    Client,
    Request,
    get,
    mixed,
    settled_census,
)

CONNECTIONS = 100
CORES = 80  # fewer than connections: some requests always queue
PIPELINE = 24
RENEWED = 0.05  # of the connections in each round
LEAVING = 3  # clients that leave in each round
GROWTH_BYTES = 1 << 20

PARTS = [
    b"GET /he",
    b"GET /hello HTTP/1.1\r\nHost: soak\r\nX-Part",
    b"POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: 99\r\n\r\nhalf",
    b"POST /echo HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n5",
]
WHOLE = [
    *(get(path, b"").wire for path in ("/sleep", "/wait", "/file")),
    *(get(path, b"").wire for path in ("/disconnected", "/generate")),
]


class Soak:
    """One run; counts what it asked."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.chance = random.Random(seed)
        self.asked = 0
        self.left = 0
        self.clients = [Client(port) for _ in range(CONNECTIONS)]

    def batch(self) -> list[Request]:
        size = self.chance.choice((1, 4, PIPELINE, PIPELINE))
        batch = [mixed(self.chance) for _ in range(size)]
        if self.chance.random() < RENEWED:
            batch.append(self.chance.choice((LAST, OLD)))
        return batch

    def round(self) -> None:
        """Asks on all connections at once, then checks all answers."""
        batches = [self.batch() for _ in self.clients]
        for client, batch in zip(self.clients, batches, strict=True):
            client.send(batch)
        for _ in range(LEAVING):
            self.leave()
        for at, batch in enumerate(batches):
            for request in batch:
                self.clients[at].check(request)
            self.asked += len(batch)
            if batch[-1].closes:
                self.clients[at].close()
                self.clients[at] = Client(self.port)

    def fill(self) -> None:
        """Has every core made, for the count of greenlets to be final."""
        request = get("/hold", b"hello")
        for client in self.clients:
            client.send([request])
        for client in self.clients:
            client.check(request)

    def leave(self) -> None:
        """A client that goes away in the middle."""
        client = Client(self.port)
        client.socket.sendall(self.chance.choice(PARTS + WHOLE))
        self.left += 1
        if self.chance.random() < 0.5:
            client.reset()
        else:
            client.close()

    def run(self, requests: int) -> None:
        """At least so many more requests, with a line now and then."""
        until = self.asked + requests
        said = time.monotonic()
        while self.asked < until:
            self.round()
            if time.monotonic() - said > 10:
                said = time.monotonic()
                print(f"  {self.asked} requests", flush=True)

    def close(self) -> None:
        for client in self.clients:
            client.close()


# Idle greenlets that a server keeps for functions to be spawned: how many it
# has depends on how many ran at once.
MORE = {"greenlets": 64}


def failures(
    quiet: Census, early: Census, late: Census, growth_bytes: float
) -> list[str]:
    """What the last census has that it should not have."""
    # Before the load there are no cores yet.
    begin = {**quiet, "greenlets": early["greenlets"]}
    found = [
        f"{name}: {begin[name]} became {late[name]}"
        for name in COUNTED
        if not 0 <= late[name] - begin[name] <= MORE.get(name, 0)
    ]
    if late["rss"] > early["rss"] + growth_bytes:
        found.append(f"memory: {early['rss']} bytes became {late['rss']}")
    return found


def show(what: str, count: Census, seconds: float) -> None:
    rest = ", ".join(f"{name} {count[name]}" for name in COUNTED)
    print(
        f"{what} ({seconds:.0f} s): RSS {count['rss'] / 1024:.0f} KiB, "
        f"{rest}, blocks {count['blocks']}, CPU {count['cpu_ms']} ms",
        flush=True,
    )


def growth_limit() -> float:
    """Bytes; none under AddressSanitizer, which keeps what is freed."""
    sanitized = "libasan" in os.environ.get("LD_PRELOAD", "")
    return float("inf") if sanitized else GROWTH_BYTES


def soak(running: Server, requests: int, seed: int) -> list[str]:
    """A tenth, a census, the rest, a census: the differences."""
    began = time.monotonic()
    first = requests // 10
    quiet = settled_census(running.port)
    run = Soak(running.port, seed)
    try:
        run.fill()
        run.run(first)
        run.close()
        early = settled_census(running.port, quiet)
        show(f"after {run.asked}", early, time.monotonic() - began)
        run.clients = [Client(run.port) for _ in range(CONNECTIONS)]
        run.run(requests - first)
    finally:
        run.close()
    late = settled_census(running.port, quiet)
    show(f"after {run.asked}", late, time.monotonic() - began)
    print(f"{run.left} clients left in the middle")
    return failures(quiet, early, late, growth_limit())


def started(loop: str) -> AbstractContextManager[Server]:
    """The server of a soak."""
    return server(
        APP,
        *("--asyncio", str(CORES), "--loop", loop, "--disable-logging"),
        *("--socket-timeout", "5"),
        allow_traceback=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--loop", default="asyncio")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    print(f"{args.requests} requests, loop {args.loop}, seed {args.seed}")
    with started(args.loop) as running:
        found = soak(running, args.requests, args.seed)
    for line in found:
        print(f"FAILED: {line}")
    if not found:
        print("PASSED: nothing has grown")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
