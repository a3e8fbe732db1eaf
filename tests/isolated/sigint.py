# SPDX-License-Identifier: MIT
"""Stops: SIGINT at a random moment, under load, again and again.

    python tests/isolated/sigint.py [--runs N] [--seed N] [--scale X]

Half of the moments lie within the first half second of the process, half
within half a second of load; one stop in four is asked for twice.  Each run
must end within the graceful timeout and a second, with status 0.  A signal
that comes while Python itself starts, before any code of the program can
catch it, may end the process as Python does: then the reason is printed.
Python may also swallow it there, and say so: then a second one is sent.
Under a sanitizer everything takes longer: --scale lengthens what is counted
from the start of the process, not the time that a stop may take.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from harness import LISTENING, Server, start
from workload import APP, HELLO, get, mixed

WINDOW_SECONDS = 0.5
GRACEFUL_SECONDS = 1
MARGIN_SECONDS = 1.0
PARALLEL = 2
PARKED = [
    get(f"/forever/{how}", b"").wire
    for how in ("sleep", "wait", "switch", "finally")
]
# Python's own ways to end at a signal that nothing of ours can catch yet: by
# the signal, or with 1 where it interrupts the start of the interpreter, or of
# its module ssl.
BY_SIGNAL = (-signal.SIGINT, 128 + signal.SIGINT)
PYTHON_STARTS = re.compile(
    r"Fatal Python error|import the site module"
    r"|PyCapsule_Import could not import"
)
# Where Python swallows a signal, and says so: while it starts, and in what
# importlib calls back, until the program has its own handler.
SWALLOWED = re.compile(
    r"Failed checking if argv\[0\] is an import path entry"
    r"|Exception ignored in: <function _get_module_lock"
)
OUR_FRAME = re.compile(r'greenloop/cli\.py", line \d+, in (?!<module>)')
CRASH = re.compile(r"Traceback|Sanitizer|runtime error:|Exception ignored")


@dataclasses.dataclass(frozen=True)
class Plan:
    """When to send the signal, and whether twice."""

    number: int
    after_ready: bool
    delay: float
    twice: bool
    loop: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    plan: Plan
    status: int
    seconds: float
    log: str

    @property
    def early(self) -> bool:
        """The signal came before the program's own code."""
        by_python = self.status in BY_SIGNAL or (
            self.status == 1 and PYTHON_STARTS.search(self.log)
        )
        return (
            not self.plan.after_ready
            and bool(by_python)
            and "ready" not in self.log
            and not OUR_FRAME.search(self.log)
        )

    @property
    def failure(self) -> str:
        """What was wrong, or nothing."""
        if self.seconds > GRACEFUL_SECONDS + MARGIN_SECONDS:
            return f"took {self.seconds:.2f} s"
        if self.early:
            return ""
        if self.status != 0:
            return f"status {self.status}"
        crash = CRASH.search(self.log)
        if crash and not SWALLOWED.search(self.log):
            return f"logged {crash[0]}"
        return ""


class Load(threading.Thread):
    """Keeps asking, on a few connections, until the server is gone."""

    def __init__(self, running: Server, seed: int) -> None:
        super().__init__(daemon=True)
        self.running = running
        self.chance = random.Random(seed)
        self.answered = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        listening = None
        while listening is None:
            if self.running.process.poll() is not None:
                return
            self.answered.wait(0.005)
            listening = LISTENING.search(self.running.err)
        port = int(listening[1].rpartition(":")[2])
        try:
            self.ask(port)
        except OSError:
            pass  # the server has gone: so does the load

    def batch(self) -> bytes:
        """A short pipeline, without the requests that log a traceback."""
        requests = [HELLO, *(mixed(self.chance) for _ in range(3))]
        return b"".join(r.wire for r in requests if r.status < 500)

    def connect(self, port: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), 5)
        sock.setblocking(False)
        return sock

    def ask(self, port: int) -> None:
        parked = [self.connect(port) for _ in PARKED]
        for sock, wire in zip(parked, PARKED, strict=True):
            sock.sendall(wire)
        open_now = [self.connect(port) for _ in range(4)]
        waiting: set[socket.socket] = set()
        try:
            while open_now:
                for sock in set(open_now) - waiting:
                    sock.sendall(self.batch())
                waiting = set(open_now)
                self.receive(open_now, waiting)
        finally:
            for sock in parked + open_now:
                sock.close()

    def receive(
        self, open_now: list[socket.socket], waiting: set[socket.socket]
    ) -> None:
        poll = select.poll()
        for sock in open_now:
            poll.register(sock, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(5000)}
        if not ready:
            raise OSError("the server is silent")
        for sock in [sock for sock in open_now if sock.fileno() in ready]:
            piece = sock.recv(1 << 20)
            self.bytes += len(piece)
            self.answered.set()
            waiting.discard(sock)
            if not piece:
                open_now.remove(sock)
                sock.close()


def plans(runs: int, seed: int, scale: float) -> list[Plan]:
    chance = random.Random(seed)
    found = []
    for number in range(runs):
        after_ready = number % 2 == 1
        found.append(
            Plan(
                number,
                after_ready,
                chance.random()
                * WINDOW_SECONDS
                * (1.0 if after_ready else scale),
                chance.random() < 0.25,
                chance.choice(("asyncio", "uvloop")),
            )
        )
    return found


def stop(plan: Plan, running: Server) -> float:
    """Sends the signal at its moment; returns how long the end took."""
    process = running.process
    time.sleep(plan.delay)  # the random moment itself
    began = time.monotonic()
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    if plan.twice:
        time.sleep(plan.delay / 4)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    if not ends(process) and SWALLOWED.search(running.err):
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        ends(process)
    return time.monotonic() - began


def ends(process: subprocess.Popen[bytes]) -> bool:
    """Waits for more than the time that the end may take."""
    try:
        process.wait(2 * (GRACEFUL_SECONDS + MARGIN_SECONDS))
    except subprocess.TimeoutExpired:
        return False
    return True


def run_once(plan: Plan, directory: Path, start_seconds: float) -> Outcome:
    running = start(
        *("--http-socket", "127.0.0.1:0", "--wsgi-file", str(APP)),
        *("--graceful-timeout", str(GRACEFUL_SECONDS)),
        *("--loop", plan.loop, "--disable-logging"),
        directory=directory,
        ready=False,
    )
    load = Load(running, plan.number)
    try:
        load.start()
        if plan.after_ready and not load.answered.wait(start_seconds):
            raise AssertionError(f"no answer under load\n{running.log}")
        seconds = stop(plan, running)
    finally:
        running.kill()
        load.answered.set()
        load.join(10)
    return Outcome(plan, running.process.returncode, seconds, running.log)


def judge(outcome: Outcome) -> bool:
    """Prints what went wrong; whether nothing did."""
    if outcome.failure:
        print(
            f"FAILED: {outcome.failure}: {outcome.plan}\n{outcome.log[-4000:]}"
        )
    return not outcome.failure


def summary(outcomes: Sequence[Outcome]) -> str:
    count = collections.Counter(
        "before the program's own code"
        if outcome.early
        else "before it was ready"
        if "ready" not in outcome.log
        else "while it served"
        for outcome in outcomes
    )
    statuses = collections.Counter(outcome.status for outcome in outcomes)
    longest = max(outcome.seconds for outcome in outcomes)
    when = ", ".join(f"{n} {what}" for what, n in sorted(count.items()))
    return f"{when}; statuses {dict(statuses)}; longest {longest:.2f} s"


def sigint(runs: int, seed: int, scale: float = 1.0) -> list[Outcome]:
    """All runs; prints a line for every fiftieth."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="greenloop-sigint-") as name:
        with ThreadPoolExecutor(PARALLEL) as pool:
            for outcome in pool.map(
                lambda plan: run_once(plan, Path(name), 20 * scale),
                plans(runs, seed, scale),
            ):
                outcomes.append(outcome)
                judge(outcome)
                if len(outcomes) % 50 == 0:
                    print(f"  {len(outcomes)} runs", flush=True)
    return outcomes


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args(argv)
    print(f"{args.runs} runs, seed {args.seed}, {os.cpu_count()} processors")
    outcomes = sigint(args.runs, args.seed, args.scale)
    print(summary(outcomes))
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    print(f"FAILED: {failed} runs" if failed else "PASSED: all ended in time")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
