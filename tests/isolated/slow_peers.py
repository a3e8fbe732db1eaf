# SPDX-License-Identifier: MIT
"""Proves that peers of a byte a second disturb nobody, and are ended.

    python tests/isolated/slow_peers.py [--peers N] [--loop NAME]

Three crowds, one after the other, each of N connections in a process of its
own: they send a head, send a body, and read an answer, a byte a second each.
Meanwhile another client asks on, in turn this server and one like it that has
no such peers, so that both meet the same machine; the 99th percentile of its
waiting must stay within twice that of the other.  Then the deadlines must end
the peers: that of a head although bytes still come, that of a body once none
come, that of an answer because the kernel announces no room for single bytes.
Exit status: 0, or 1 with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from harness import Server, server
from wire import descriptors, descriptors_at_rest, request, wait_until

__all__ = ["KINDS", "Plan", "enough_descriptors", "prove"]

BIG_BYTES = 1 << 20  # more than the kernel takes for a peer that reads none
APP = f"""
    big = bytes({BIG_BYTES})

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/body":
            try:
                environ["wsgi.input"].read()
            except TimeoutError:
                start_response("408 Request Timeout", [])
                return [b"too slow"]
        start_response("200 OK", [])
        return [big if path == "/big" else b"hello"]
"""
# What the peers send at once; then come the single bytes.
KINDS = {
    "head": b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    "body": b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n",
    "answer": b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
}
ROUNDS = 500  # in which all peers have their turn, in one second
RECEIVE_BYTES = 4096
SEGMENT_BYTES = 536
SPARE_DESCRIPTORS = 200
HELLO = request("GET", "/")


@dataclass(frozen=True)
class Plan:
    """How much of it; the times are seconds."""

    peers: int = 5000
    measured: float = 6.0
    deadline: float = 16.0  # of the server, for each of the three
    slack: float = 12.0  # to end them all, on a busy machine
    factor: float = 2.0
    floor: float = 0.001  # below, twice as much is the machine's doing


# --- the crowd, in a process of its own --------------------------------------


def join(port: int, kind: str) -> socket.socket:
    sock = socket.socket()
    # Small segments keep the kernel from taking megabytes of each answer.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    sock.connect(("127.0.0.1", port))
    sock.sendall(KINDS[kind])
    sock.setblocking(False)
    return sock


def dribble(crowd: Sequence[socket.socket], kind: str) -> None:
    """A byte of each; whoever was ended is no reason to stop."""
    for sock in crowd:
        with contextlib.suppress(OSError):
            if kind == "answer":
                sock.recv(1)
            else:
                sock.send(b"x")


def run_crowd(port: int, kind: str, count: int) -> None:
    """Dribbles until a line comes; then is silent until standard input
    ends."""
    crowd = [join(port, kind) for _ in range(count)]
    print("ready", flush=True)
    turn, began = 0, time.monotonic()
    while True:
        due = began + turn / ROUNDS
        left = max(due - time.monotonic(), 0)
        if select.select([sys.stdin], [], [], left)[0]:
            break
        dribble(crowd[turn % ROUNDS :: ROUNDS], kind)
        turn += 1
    sys.stdin.read()


@contextlib.contextmanager
def crowd_of(
    port: int, kind: str, count: int
) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, __file__, "--crowd", kind]
    words += ["--port", str(port), "--peers", str(count)]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def hush(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


# --- who must not notice -----------------------------------------------------


def ask(sock: socket.socket) -> float:
    """One request; the seconds until its answer."""
    began = time.perf_counter()
    sock.sendall(HELLO)
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return time.perf_counter() - began


def p99s(ports: Sequence[int], seconds: float) -> list[float]:
    """Of the waiting of a client that asks each port every few ms."""
    taken: list[list[float]] = [[] for _ in ports]
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for port in ports
        ]
        while time.monotonic() < until:
            for sock, times in zip(socks, taken, strict=True):
                times.append(ask(sock))
            time.sleep(0.002)  # the rate that is measured
    return [sorted(times)[len(times) * 99 // 100] for times in taken]


def started(plan: Plan, loop: str) -> AbstractContextManager[Server]:
    seconds = str(int(plan.deadline))
    return server(
        APP,
        *("--asyncio", str(plan.peers + 50), "--loop", loop),
        *("--http-headers-timeout", seconds, "--socket-timeout", seconds),
        "--disable-logging",
    )


def one_kind(
    running: Server, other: Server, kind: str, plan: Plan
) -> tuple[str, int]:
    """One crowd, from its arrival to its end: what was wrong, and how many
    of it were there when all had been measured."""
    quiet = descriptors_at_rest(running)
    with crowd_of(running.port, kind, plan.peers) as crowd:
        ready = time.monotonic()
        among, alone = p99s([running.port, other.port], plan.measured)
        still = descriptors(running.pid) - quiet
        if kind == "body":
            hush(crowd)
            ready = time.monotonic()
        wait_until(
            lambda: descriptors(running.pid) <= quiet,
            f"the end of the peers ({kind})",
            # Of an answer, the kernel may take a last bit in between.
            (2 if kind == "answer" else 1) * plan.deadline + plan.slack,
        )
        lived = time.monotonic() - ready
    print(
        f"  {kind}: p99 {among * 1000:.2f} ms, without them "
        f"{alone * 1000:.2f} ms; all ended after {lived:.1f} s",
        flush=True,
    )
    if among > max(plan.factor * alone, plan.floor):
        return f"{kind}: p99 {among:.4f} s, and {alone:.4f} s alone", still
    return "", still


def prove(plan: Plan, loop: str) -> list[str]:
    """All three; what was wrong."""
    found = []
    with started(plan, loop) as running, started(plan, loop) as other:
        p99s([running.port, other.port], 0.5)  # all get warm
        for kind in KINDS:
            wrong, still = one_kind(running, other, kind, plan)
            found += [wrong] if wrong else []
            if still < plan.peers:
                found.append(f"{kind}: {still} of {plan.peers} were served")
    return found


def enough_descriptors(peers: int) -> bool:
    """Raises the soft limit, which the server and the crowds inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = peers + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < want:
        return False
    if soft != resource.RLIM_INFINITY and soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
    return True


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--peers", type=int, default=Plan.peers)
    parser.add_argument("--loop", default="asyncio")
    parser.add_argument("--crowd", choices=KINDS, help="for itself")
    parser.add_argument("--port", type=int, help="for itself")
    args = parser.parse_args(argv)
    if args.crowd:
        run_crowd(args.port, args.crowd, args.peers)
        return 0
    if not enough_descriptors(args.peers):
        print(f"FAILED: `ulimit -Hn` allows no {args.peers} connections")
        return 1
    print(f"{args.peers} peers, loop {args.loop}")
    found = prove(Plan(peers=args.peers), args.loop)
    for line in found:
        print(f"FAILED: {line}")
    if not found:
        print("PASSED: nobody was disturbed, and all were ended in time")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
