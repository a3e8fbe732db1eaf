# SPDX-License-Identifier: MIT
"""One measurement: load from wrk or from held connections, cost from /proc.

CPU time is the figure to trust on a shared machine: it counts what the
server's own processes used, however long they had to wait for their turn.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import Running, ask, complete

__all__ = ["Sample", "Window", "held_kib", "idle_kib", "load"]

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
ERRORS_MAX = 0.01  # a share: above it the figures mean nothing
IN_BATCH = 50
HOLD_SECONDS = 30.0  # within which every request must have been parked
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Cpu:
    """Clock ticks used so far."""

    user: int
    system: int

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user - other.user, self.system - other.system)

    @property
    def total(self) -> int:
        return self.user + self.system


@dataclass(frozen=True)
class Sample:
    """What one run of load showed; a request may be a message."""

    requests: int
    per_second: float
    user_us: float  # per request, as the two below
    system_us: float
    p99_ms: float
    foreign: float  # share of the two CPUs that somebody else used
    errors: int

    @classmethod
    def of(cls, used: Cpu, requests: int, **others: Any) -> Sample:
        """A sample of so many requests which used so much time together."""
        return cls(
            requests=requests,
            user_us=used.user * TICK_US / requests,
            system_us=used.system * TICK_US / requests,
            **others,
        )

    @property
    def cpu_us(self) -> float:
        return self.user_us + self.system_us


def cpu_of(pids: Iterable[int]) -> Cpu:
    """Ticks of the processes, threads included."""
    user = system = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            # The name may hold blanks: fields are counted from its end.
            fields = stat.rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
    return Cpu(user, system)


def busy_ticks(cpus: Iterable[int]) -> int:
    """Ticks in which processes ran on these CPUs, or another guest did."""
    names = {f"cpu{number}" for number in cpus}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        fields = line.split()
        if fields[0] in names:
            ticks = [int(field) for field in fields[1:9]]
            total += sum(ticks[:3]) + ticks[7]
    return total


def wrk(
    port: int, connections: int, seconds: int, cpu: int
) -> tuple[str, float]:
    """Runs wrk; returns its report and the CPU ticks it used."""
    before = os.times()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--latency", f"http://127.0.0.1:{port}/"]

    def pin() -> None:
        os.sched_setaffinity(0, {cpu})

    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=pin,
        timeout=seconds + 30,
        check=True,
    )
    after = os.times()
    used = (
        after.children_user
        + after.children_system
        - before.children_user
        - before.children_system
    )
    return done.stdout, used * 1_000_000 / TICK_US


def first_group(pattern: str, text: str) -> str:
    """What the pattern's group matches; RuntimeError if nothing does."""
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"no {pattern} in:\n{text}")
    return found[1]


def errors_in(report: str) -> int:
    """Failed requests: anything but a 2xx or 3xx that came in time."""
    lines = re.findall(r"(?:Socket errors|Non-2xx.*):(.*)", report)
    return sum(map(int, re.findall(r"\d+", " ".join(lines))))


def milliseconds(text: str) -> float:
    """wrk's 1.23ms, 456.00us or 1.20s as milliseconds."""
    value = float(first_group(r"^([\d.]+)", text))
    unit = first_group(r"(us|ms|s|m)$", text)
    return value * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


class Window:
    """What a server used, and who disturbed it, between two moments."""

    def __init__(
        self,
        pids: Sequence[int],
        clients: Sequence[int],
        cpus: tuple[int, int],
    ) -> None:
        self.pids, self.cpus = pids, cpus
        self.own_pids = [os.getpid(), *clients]
        self.busy = busy_ticks(cpus)
        self.own = cpu_of(self.own_pids)
        self.before, self.start = cpu_of(pids), time.monotonic()

    def close(self, client_ticks: float = 0.0) -> tuple[Cpu, float]:
        """The server's ticks, and the others' share of the two CPUs.

        `client_ticks` are those of clients that have ended meanwhile.
        """
        used = cpu_of(self.pids) - self.before
        wall_ticks = (time.monotonic() - self.start) * 1_000_000 / TICK_US
        own_ticks = (cpu_of(self.own_pids) - self.own).total + client_ticks
        foreign = busy_ticks(self.cpus) - self.busy - used.total - own_ticks
        return used, max(0.0, foreign / (len(self.cpus) * wall_ticks))


def load(
    server: Running, connections: int, seconds: int, cpus: tuple[int, int]
) -> Sample:
    """Warms the server up for a second, then measures."""
    wrk(server.port, connections, 1, cpus[1])
    window = Window(server.pids(), [], cpus)
    report, client_ticks = wrk(server.port, connections, seconds, cpus[1])
    used, foreign = window.close(client_ticks)
    requests = int(first_group(r"(\d+) requests in", report))
    errors = errors_in(report)
    if errors > requests * ERRORS_MAX or requests == 0:
        raise RuntimeError(f"too many requests failed:\n{report}")
    return Sample.of(
        used,
        requests=requests,
        per_second=float(first_group(r"Requests/sec:\s*([\d.]+)", report)),
        p99_ms=milliseconds(first_group(r"(?m)^ +99%\s+(\S+)", report)),
        foreign=foreign,
        errors=errors,
    )


def resident_kib(pids: Iterable[int]) -> int:
    """Resident memory of the processes together."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(first_group(r"Rss:\s+(\d+) kB", rollup))
    return total


def warm_up(port: int) -> None:
    """Has the server make whatever it makes with its first requests."""
    for _ in range(100):
        ask(port, "/")


def connect_and_send(port: int, path: str) -> socket.socket:
    """A connection on which one request is under way."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return sock


def receive(sock: socket.socket) -> None:
    """Reads one response to its end."""
    response = b""
    while not complete(response):
        piece = sock.recv(65536)
        if not piece:
            raise RuntimeError("the server closed a connection early")
        response += piece


def growth_kib(server: Running, before: int, count: int) -> float:
    """KiB each of `count` things that came since `before` was read."""
    time.sleep(SETTLE_SECONDS)
    return (resident_kib(server.pids()) - before) / count


def held_kib(server: Running, count: int) -> float:
    """Memory of one parked request, from `count` parked at once."""
    warm_up(server.port)
    before = resident_kib(server.pids())
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(connect_and_send(server.port, "/hold"))
        deadline = time.monotonic() + HOLD_SECONDS
        while (held := held_by(server.port)) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{held} of {count} requests are parked")
            time.sleep(0.05)
        return growth_kib(server, before, count)


def held_by(port: int) -> int:
    """How many requests the hold application says it has parked."""
    return int(ask(port, "/held").partition(b"\r\n\r\n")[2])


def idle_kib(server: Running, count: int) -> float:
    """Memory of one connection that waits for its next request.

    The requests come in small batches: it is the idle connections that are
    measured, not the most requests that ever ran at once.
    """
    warm_up(server.port)
    before = resident_kib(server.pids())
    with contextlib.ExitStack() as stack:
        socks: list[socket.socket] = []
        while len(socks) < count:
            batch = [
                stack.enter_context(connect_and_send(server.port, "/"))
                for _ in range(min(IN_BATCH, count - len(socks)))
            ]
            for sock in batch:
                receive(sock)
            socks += batch
        each = growth_kib(server, before, count)
        closed = sum(map(is_closed, socks))
        if closed:
            raise RuntimeError(f"{closed} of {count} connections were closed")
        return each


def is_closed(sock: socket.socket) -> bool:
    """Whether the peer has ended the connection."""
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
