# SPDX-License-Identifier: MIT
"""The WebSocket soak: 10,000 sockets in one server process, then 15,000.

    python tests/isolated/ws_soak.py [--sockets N] [--seconds S] [--idle N]
                                     [--loop asyncio|uvloop]

For three minutes, each second one message is sent to all sockets of a room,
and echoes go through all three ways to use a WebSocket.  In the room is one
member who is sent more than that and reads nothing; whenever the server has
dropped it, the next one comes.  It passes if every message came to every
socket, once, in order, and in time, if memory has not grown against the
first rounds, and if all sockets are told of the server's end.

Then another server holds 15,000 idle sockets: each may cost at most 6 KiB of
the process's memory (PSS).  Exit status: 0, or 1 with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

if __name__ == "__main__":
    sys.path.insert(
        0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e")
    )

from crowd import Client, Crowd, text_frame
from harness import Server, server
from wire import reset

APP = pathlib.Path(__file__).resolve().parent / "apps" / "sockets.py"
ECHOES = ("/handed", "/native", "/uwsgi")
CORES = 600
LATE_SECONDS = 5.0  # less than a slow member is given to take something
SLOW_SECONDS = 8  # after which the server drops who takes nothing
GROWTH_BYTES = 2 << 20
SLOW_BYTES = 8 << 20  # of the process's memory for one who does not read
IDLE_KIB = 6.0
SPARE_DESCRIPTORS = 1000
PADDING = b"." * 40

Census = dict[str, int]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much of everything."""

    sockets: int = 10_000
    echoes: int = 100  # sockets for each way
    rounds: int = 180
    seconds: float = 1.0  # from one round to the next


def memory(pid: int, what: str = "Pss") -> int:
    """Bytes of a process: Pss or Rss."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    line = next(x for x in rollup.splitlines() if x.startswith(f"{what}:"))
    return int(line.split()[1]) * 1024


def mib(size: float) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def census(running: Server) -> Census:
    found: Census = json.loads(running.get("/census").body)
    return found


class Slow:
    """The member who reads nothing."""

    def __init__(self, running: Server) -> None:
        self.running = running
        self.came = 0
        self.client: Client | None = None
        self.taken = 0
        self.peak = 0

    def enter(self) -> None:
        client = Client(self.running.port, "/flood", -1)
        client.upgraded()
        self.client = client
        self.came += 1

    def look(self, base: int) -> Census:
        """Notes how much memory there is, and has the next one come."""
        count = census(self.running)
        self.taken = max(self.taken, count["taken"])
        self.peak = max(self.peak, memory(self.running.pid, "Rss") - base)
        if count["ended"] == self.came:
            self.leave()
            self.enter()
        return count

    def leave(self) -> None:
        if self.client is not None:
            reset(self.client.socket)
            self.client = None


class Soak:
    """One run against one server."""

    def __init__(self, running: Server, plan: Plan) -> None:
        self.running = running
        self.plan = plan
        self.crowd = Crowd(running.port)
        self.slow = Slow(running)
        self.late: list[float] = []  # of the last one, round by round
        self.count = 0

    @property
    def elapsed(self) -> float:
        """Seconds of rounds that the plan has."""
        return self.plan.rounds * self.plan.seconds

    def enter(self) -> None:
        """Opens all sockets: the room, the echoes, and who tells."""
        self.crowd.open("/room", self.plan.sockets, b"joined")
        self.room = list(self.crowd.clients.values())
        for path in ECHOES:
            self.crowd.open(path, self.plan.echoes, None)
        everybody = list(self.crowd.clients.values())
        self.echoes = everybody[len(self.room) :]
        self.crowd.open("/tell", 1, None)
        self.teller = list(self.crowd.clients.values())[-1]

    def round(self) -> None:
        """One message to all in the room, and an echo of each other."""
        self.count += 1
        text = b"round %06d" % self.count + PADDING
        due = text_frame(text)
        for client in self.room:
            client.due = due
        self.teller.due = text_frame(b"told")
        begin = time.monotonic()
        self.teller.send(text)
        for client in self.echoes:
            mine = b"%d in round %d" % (client.number, self.count)
            client.due = text_frame(mine)
            client.send(mine)
        moments = self.crowd.settle([*self.crowd.clients.values()])
        assert len(moments) == len(self.crowd.clients)
        self.late.append(max(moments) - begin)
        rest = self.plan.seconds - (time.monotonic() - begin)
        self.crowd.answer_pings(max(rest, 0.0))

    def run(self, rounds: int, base: int) -> None:
        said = time.monotonic()
        for _ in range(rounds):
            self.round()
            self.slow.look(base)
            if time.monotonic() - said > 10:
                said = time.monotonic()
                self.say(f"round {self.count}")

    def say(self, what: str) -> None:
        late = self.late[-10:] or [0.0]
        pid = self.running.pid
        print(
            f"  {what}: RSS {mib(memory(pid, 'Rss'))}, PSS "
            f"{mib(memory(pid))}, last one after "
            f"{statistics.median(late) * 1000:.0f} ms, at most "
            f"{max(late) * 1000:.0f} ms; slow members {self.slow.came}",
            flush=True,
        )

    def farewell(self) -> list[str]:
        """Stops the server: all are told so."""
        self.running.send_signal(signal.SIGINT)
        codes = self.crowd.codes()
        wrong = [code for code in codes if code != 1001]
        self.slow.leave()
        self.running.wait_exit()  # a second signal would not wait for it
        return [f"{len(wrong)} were not told of the end"] if wrong else []

    def close(self) -> None:
        self.slow.leave()
        self.crowd.close()


def growth_limit(limit: float) -> float:
    """Bytes; none under AddressSanitizer, which keeps what is freed."""
    sanitized = "libasan" in os.environ.get("LD_PRELOAD", "")
    return float("inf") if sanitized else limit


def failures(run: Soak, early: int, late: int) -> list[str]:
    """What should not be, from the numbers of a run."""
    found = []
    if late > early + growth_limit(GROWTH_BYTES):
        found.append(f"memory: {mib(early)} became {mib(late)}")
    if run.slow.peak > growth_limit(SLOW_BYTES):
        found.append(f"a slow member: {mib(run.slow.peak)} of memory")
    if run.slow.came < 1 + run.elapsed // (4 * SLOW_SECONDS):
        found.append(f"a slow member stayed: {run.slow.came} in all")
    if max(run.late) > LATE_SECONDS:
        found.append(f"late: a message took {max(run.late):.1f} s")
    return found


def soak(running: Server, plan: Plan) -> list[str]:
    """All rounds; what went wrong.  The server is stopped in the end.

    The first tenth of the rounds, and ten at least, is for what grows once.
    """
    began = time.monotonic()
    empty = memory(running.pid, "Rss")
    run = Soak(running, plan)
    with contextlib.closing(run):
        run.enter()
        run.round()
        full = memory(running.pid, "Rss")
        print(
            f"{len(run.crowd.clients)} sockets after "
            f"{time.monotonic() - began:.0f} s: RSS {mib(empty)} -> "
            f"{mib(full)}",
            flush=True,
        )
        run.slow.enter()
        first = max(plan.rounds // 10, min(10, plan.rounds // 2))
        run.run(first, full)
        early = memory(running.pid, "Rss")
        run.run(plan.rounds - first, full)
        late = memory(running.pid, "Rss")
        run.say(f"{run.count} rounds")
        print(
            f"  the slow ones had {mib(run.slow.taken)} taken for them, and "
            f"cost {mib(run.slow.peak)} of memory at most",
            flush=True,
        )
        return failures(run, early, late) + run.farewell()


def idle(running: Server, count: int, limit_kib: float) -> list[str]:
    """Holds idle sockets, then has each echo once: KiB of each."""
    crowd = Crowd(running.port)
    with contextlib.closing(crowd):
        crowd.open("/handed", 100, None)  # what comes with the first ones
        before = memory(running.pid)
        crowd.open("/handed", count, None)
        census(running)  # collects garbage, as everything else in time
        held = (memory(running.pid) - before) / count / 1024
        for client in crowd.clients.values():
            client.due = text_frame(b"still there")
            client.send(b"still there")
        crowd.settle([*crowd.clients.values()])
        census(running)
        used = (memory(running.pid) - before) / count / 1024
    print(
        f"{count} idle sockets: {held:.2f} KiB each, {used:.2f} after an echo",
        flush=True,
    )
    if max(held, used) > growth_limit(limit_kib):
        return [f"an idle socket costs {max(held, used):.2f} KiB"]
    return []


def raise_descriptor_limit(sockets: int) -> None:
    """Lets this process, and the server it starts, hold the sockets."""
    needed = sockets + SPARE_DESCRIPTORS
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"{needed} descriptors: `ulimit -Hn {needed}`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def started(loop: str) -> AbstractContextManager[Server]:
    """The server of a soak."""
    return server(
        APP,
        *("--asyncio", str(CORES), "--loop", loop, "--disable-logging"),
        *("--socket-timeout", str(SLOW_SECONDS)),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--idle", type=int, default=15_000)
    parser.add_argument("--loop", default="asyncio")
    args = parser.parse_args(argv)
    plan = Plan(sockets=args.sockets, rounds=max(args.seconds, 2))
    raise_descriptor_limit(max(args.sockets + 3 * plan.echoes, args.idle))
    print(f"{plan.sockets} sockets, {plan.rounds} s, loop {args.loop}")
    with started(args.loop) as running:
        found = soak(running, plan)
    with started(args.loop) as running:
        found += idle(running, args.idle, IDLE_KIB)
    for line in found:
        print(f"FAILED: {line}")
    if not found:
        print("PASSED: nothing was lost, late, out of order, or too large")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
