# SPDX-License-Identifier: MIT
"""One measurement of a WebSocket server: load from ws_load.c."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import IO

from measure import Sample, Window
from servers import Environment, Running, compiled

__all__ = ["build", "load"]

PATHS = MappingProxyType({"echo": "/echo", "broadcast": "/chat"})
MESSAGE_BYTES = 32
WARM_UP_SECONDS = 1
END_SECONDS = 30.0


class Client:
    """A running ws_load, with all of its connections open."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process = process
        self._orders: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout

    def line(self) -> str:
        """What it says next; RuntimeError if it has given up instead."""
        line = self._answers.readline()
        if not line:
            raise RuntimeError(self.end())
        return line

    def run(self, seconds: int) -> dict[str, float]:
        """Its report of so many seconds of load."""
        self._orders.write(f"{seconds}\n")
        self._orders.flush()
        report: dict[str, float] = json.loads(self.line())
        return report

    def end(self) -> str:
        """Has it close its connections and end; returns what it said."""
        try:
            _, said = self.process.communicate(timeout=END_SECONDS)
        finally:
            self.process.kill()  # nothing once it has ended
            self.process.wait()
        return said


def build(env: Environment) -> Path:
    """The program of ws_load.c; raises Missing."""
    return compiled(env, "ws_load")


@contextlib.contextmanager
def client(
    program: Path, port: int, kind: str, connections: int, cpu: int
) -> Iterator[Client]:
    """Connects; fails on leaving if the client does."""

    def pin() -> None:
        os.sched_setaffinity(0, {cpu})

    words = [kind, str(port), PATHS[kind], str(connections)]
    process = subprocess.Popen(
        [program, *words, str(MESSAGE_BYTES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=pin,
    )
    running = Client(process)
    try:
        running.line()  # all are connected
        yield running
    finally:
        said = running.end()
    if process.returncode != 0:
        raise RuntimeError(said)


def load(
    server: Running,
    program: Path,
    kind: str,
    connections: int,
    seconds: int,
    cpus: tuple[int, int],
) -> Sample:
    """Connects, warms the server up for a second, then measures.

    A message counts when it has arrived: a broadcast to 1,000 is 1,000.
    """
    with client(program, server.port, kind, connections, cpus[1]) as running:
        running.run(WARM_UP_SECONDS)
        window = Window(server.pids(), [running.process.pid], cpus)
        report = running.run(seconds)
        used, foreign = window.close()
    return Sample.of(
        used,
        requests=int(report["messages"]),
        per_second=report["messages"] / report["seconds"],
        p99_ms=report["p99_us"] / 1000,
        foreign=foreign,
        errors=0,  # ws_load ends at the first
    )
