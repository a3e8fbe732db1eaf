# SPDX-License-Identifier: MIT
"""Fuzzes the real server over real sockets.

    python tests/isolated/fuzz_server.py [--inputs N] [--seed N] [--kind K]

Each kind of listener (KINDS; a new one is a line there) has a server of its
own, which also listens for the control requests.  Each input is a few
messages of the kind's corpus, mutated by a seeded generator, sent
in pieces and ended in one of several ways: left open until the server
answers or closes, half-closed, closed, reset, or stalled in the middle.
After each hundred a control request must be answered rightly.  At the end
descriptors, tasks and memory must be what they were, and the idle server
must use no processor time.  Exit status: 0, or 1 with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import enum
import os
import random
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trustme

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from harness import Server, server
from workload import APP, HELLO, REQUESTS, Census, Client, settled_census

INPUTS_PER_CONTROL = 100
PARALLEL = 16
Chance = random.Random
Tokens = Sequence[bytes]
TIMEOUT_SECONDS = 1  # each of the server's
HANG_SECONDS = 12.0
IDLE_SECONDS = 0.5
IDLE_CPU_MS = 60
GROWTH_BYTES = 4 << 20
CRASH = re.compile(
    r"Sanitizer|runtime error:|Fatal Python|Segmentation|event loop:|"
    r"Assertion|SystemError|Exception ignored"
)

CORPUS = [
    *dict.fromkeys(request.wire for request in REQUESTS),
    b"GET http://soak/hello?a=%20b HTTP/1.1\r\nHost: soak\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: soak\r\n\r\n",
    b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: soak\r\nExpect: 100-continue\r\n"
    b"Content-Length: 5\r\n\r\n12345",
    b"POST /lines HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n"
    b"Trailer: X-Sum\r\n\r\n3;ext=1\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n",
    b"GET /sleep HTTP/1.1\r\nHost: soak\r\n"
    b"Cookie: a=1\r\nCookie: b=2\r\nX_Y: 1\r\n\r\n",
]
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b"\r\n\r\n", b" ", b"\t", b":", b"%"),
    *(b"%00", b"%zz", b"../", b"//", b"\xff\xfe", b"HTTP/1.1", b"HTTP/9.9"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n"),
    *(b"Content-Length: 99999999999999999999\r\n",),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n"),
    *(b"Connection: close\r\n", b"Expect: 100-continue\r\n"),
    *(b"Host: a\r\nHost: b\r\n", b"ffffffffffffffff\r\n", b"0\r\n\r\n"),
    *(b"A" * 9000, b"X-Long: " + b"y" * 40000 + b"\r\n"),
    b"".join(b"X-%d: 1\r\n" % n for n in range(150)),
]


# --- kinds of listeners ------------------------------------------------------


def certificate(folder: Path) -> list[str]:
    """A listener for TLS, with a certificate that nobody checks."""
    made = trustme.CA().issue_cert("localhost")
    pair = folder / "pair.pem"
    made.private_key_and_cert_chain_pem.write_to_path(str(pair))
    return ["--https-socket", f"127.0.0.1:0,{pair},{pair}"]


def first_flight(versions: ssl.TLSVersion) -> bytes:
    """A ClientHello, as it is on the wire."""
    context = ssl.create_default_context()
    context.maximum_version = versions
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="a")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def as_it_is(chance: Chance, sock: socket.socket) -> socket.socket:
    return sock


def in_tls(chance: Chance, sock: socket.socket) -> socket.socket:
    """Shakes hands; sometimes bytes that are no record follow."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if chance.random() < 0.3:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    inside = context.wrap_socket(sock)
    if chance.random() < 0.1:
        with socket.socket(fileno=os.dup(inside.fileno())) as raw:
            raw.send(mutated(chance, chance.choice(TLS_CORPUS), TLS_TOKENS))
    return inside


TLS_CORPUS = [
    first_flight(ssl.TLSVersion.TLSv1_3),
    first_flight(ssl.TLSVersion.TLSv1_2),
    b"\x15\x03\x03\x00\x02\x01\x00",  # an alert
    b"\x14\x03\x03\x00\x01\x01",  # a change of the cipher
    b"\x17\x03\x03\x40\x00" + bytes(0x4000),
    b"\x80\x2e\x01\x03\x01" + bytes(41),  # SSL 2
    CORPUS[0],
]
TLS_TOKENS = [
    *(b"\x16\x03\x01", b"\x17\x03\x03\xff\xff", b"\x15\x03\x03\x00\x02"),
    *(b"\x18\x03\x03\x00\x03\x01\x40\x00", b"\x14\x03\x03\x00\x01\x01"),
    *(b"\x00", b"\xff" * 8, b"\x00" * 300, b"\x16\x03\x01\x00\x00"),
]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way to listen, and what is said there.

    `options` make one more listener, of which the certificate or what else
    it needs is in the folder; `enter` does what must come before an input.
    """

    corpus: Sequence[bytes]
    options: Callable[[Path], list[str]] = lambda folder: []
    tokens: Sequence[bytes] = tuple(TOKENS)
    enter: Callable[[Chance, socket.socket], socket.socket] = as_it_is


KINDS = {
    "http": Kind(CORPUS),
    "https": Kind(CORPUS, certificate, enter=in_tls),
    "tls": Kind(TLS_CORPUS, certificate, TLS_TOKENS),
}


class Ending(enum.Enum):
    """How a client ends its connection."""

    READ = enum.auto()  # waits for the server's end
    HALF_CLOSE = enum.auto()  # ends its side, then reads on
    CLOSE = enum.auto()
    RESET = enum.auto()
    STALL = enum.auto()  # sends a part, then waits for the server's end


ENDINGS = [
    *([Ending.HALF_CLOSE] * 8),
    *([Ending.CLOSE] * 5),
    *([Ending.RESET] * 5),
    *([Ending.READ] * 1),
    *([Ending.STALL] * 1),
]


# --- mutations ---------------------------------------------------------------


def flip(chance: Chance, data: bytearray, _tokens: Tokens) -> None:
    data[chance.randrange(len(data))] = chance.randrange(256)


def insert(chance: Chance, data: bytearray, tokens: Tokens) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.choice(tokens)


def delete(chance: Chance, data: bytearray, _tokens: Tokens) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 12)]


def repeat(chance: Chance, data: bytearray, _tokens: Tokens) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randrange(1, 40)]


def cut(chance: Chance, data: bytearray, _tokens: Tokens) -> None:
    del data[chance.randrange(len(data)) :]


def replace(chance: Chance, data: bytearray, tokens: Tokens) -> None:
    at = chance.randrange(len(data))
    token = chance.choice(tokens)
    data[at : at + len(token)] = token


MUTATIONS: list[Callable[[Chance, bytearray, Tokens], None]] = [
    *(flip, insert, delete, repeat, cut, replace)
]


def mutated(chance: Chance, data: bytes, tokens: Tokens) -> bytes:
    """The same with up to four changes; sometimes with none."""
    changed = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        if changed:
            chance.choice(MUTATIONS)(chance, changed, tokens)
    return bytes(changed)


def make_input(chance: Chance, kind: Kind) -> bytes:
    """A few messages, changed."""
    count = chance.choice((1, 1, 1, 2, 3))
    data = b"".join(chance.choice(kind.corpus) for _ in range(count))
    return mutated(chance, data, kind.tokens)


def pieces(chance: Chance, data: bytes) -> list[bytes]:
    """The input as it is written: at once, in a few cuts, byte by byte."""
    style = chance.random()
    if style < 0.5 or len(data) < 2:
        return [data]
    if style < 0.95 or len(data) > 200:
        cuts = sorted(chance.randrange(len(data)) for _ in range(3))
        edges = [0, *cuts, len(data)]
        return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    return [data[at : at + 1] for at in range(len(data))]


# --- one input ---------------------------------------------------------------


def read_to_end(sock: socket.socket) -> None:
    """Until the server closes; TimeoutError if it does not."""
    give_up = time.monotonic() + HANG_SECONDS
    while sock.recv(1 << 18):
        if time.monotonic() > give_up:
            raise TimeoutError


def send(client: Client, chance: Chance, data: bytes, ending: Ending) -> None:
    for piece in pieces(chance, data):
        client.socket.sendall(piece)
    if ending is Ending.HALF_CLOSE:
        client.socket.shutdown(socket.SHUT_WR)
    if ending not in (Ending.CLOSE, Ending.RESET):
        read_to_end(client.socket)


def play(kind: Kind, port: int, seed: int) -> str:
    """Sends one input; what was wrong, or nothing."""
    chance = Chance(seed)
    data = make_input(chance, kind)
    ending = chance.choice(ENDINGS)
    if ending is Ending.STALL:
        data = data[: chance.randrange(len(data) + 1)]
    client = Client(port, HANG_SECONDS)
    try:
        client.socket = kind.enter(chance, client.socket)
        send(client, chance, data, ending)
    except TimeoutError:
        return f"input {seed} ({ending.name}) hangs: {data[:300]!r}"
    except OSError:
        pass  # what was refused is reset while it is still being sent
    finally:
        if ending is Ending.RESET:
            client.reset()
        client.close()
    return ""


def control(port: int) -> str:
    """An ordinary request on a new connection."""
    client = Client(port, HANG_SECONDS)
    try:
        client.ask(HELLO)
    except (AssertionError, OSError) as error:
        return f"the control request failed: {error!r}"
    finally:
        client.close()
    return ""


# --- the whole ---------------------------------------------------------------


@contextlib.contextmanager
def started(loop: str, kind: str = "http") -> Iterator[Server]:
    """A server with timeouts that a fuzzer can wait for."""
    seconds = str(TIMEOUT_SECONDS)
    with (
        tempfile.TemporaryDirectory(prefix="greenloop-fuzz-") as folder,
        server(
            APP,
            *("--asyncio", "64", "--loop", loop, "--disable-logging"),
            *("--http-headers-timeout", seconds, "--http-keepalive", seconds),
            *("--socket-timeout", seconds, "--limit-post", "100000"),
            *KINDS[kind].options(Path(folder)),
            allow_traceback=True,
        ) as running,
    ):
        yield running


def port_of(running: Server) -> int:
    """Of the kind's listener: the last one."""
    return int(re.findall(r"listening on \S+:(\d+)", running.err)[-1])


def fuzz(running: Server, kind: str, inputs: int, seed: int) -> list[str]:
    """Plays all inputs; what was wrong with which."""
    found: list[str] = []
    port = port_of(running)
    with ThreadPoolExecutor(PARALLEL) as pool:
        for at in range(0, inputs, INPUTS_PER_CONTROL):
            batch = range(at, min(at + INPUTS_PER_CONTROL, inputs))
            seeds = [seed * 1_000_000 + number for number in batch]
            found += filter(
                None, pool.map(lambda s: play(KINDS[kind], port, s), seeds)
            )
            found += filter(None, [control(running.port)])
            done = batch.stop
            if done % (10 * INPUTS_PER_CONTROL) == 0:
                print(f"  {done} inputs, {len(found)} bad", flush=True)
            if len(found) > 20:
                break
    return found


def cpu_ms(pid: int) -> int:
    """Processor time of a process so far."""
    text = Path(f"/proc/{pid}/stat").read_text()
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * 1000 // os.sysconf("SC_CLK_TCK")


def spins(pid: int) -> str:
    """Whether a server that nobody asks anything uses the processor."""
    before = cpu_ms(pid)
    time.sleep(IDLE_SECONDS)  # the time that is measured
    used = cpu_ms(pid) - before
    return f"idle, it used {used} ms of CPU" if used > IDLE_CPU_MS else ""


def grown(quiet: Census, early: Census, late: Census) -> list[str]:
    found = [
        f"{name}: {quiet[name]} became {late[name]}"
        for name in ("descriptors", "tasks")
        if quiet[name] != late[name]
    ]
    sanitized = "libasan" in os.environ.get("LD_PRELOAD", "")
    if late["rss"] > early["rss"] + GROWTH_BYTES and not sanitized:
        found.append(f"memory: {early['rss']} bytes became {late['rss']}")
    return found


def crashes(running: Server) -> list[str]:
    """What the log has that no input may cause."""
    if running.process.poll() is not None:
        return [f"the server ended: {running.process.returncode}"]
    crash = CRASH.search(running.log)
    return [f"logged {crash[0]!r}"] if crash else []


def prove(
    running: Server, inputs: int, seed: int, kind: str = "http"
) -> list[str]:
    """All of it, on one running server."""
    quiet = settled_census(running.port)
    found = fuzz(running, kind, inputs // 5, seed + 1)
    early = settled_census(running.port, quiet)
    found += fuzz(running, kind, inputs - inputs // 5, seed)
    late = settled_census(running.port, quiet)
    print(f"  RSS {early['rss'] >> 10} KiB, then {late['rss'] >> 10} KiB")
    found += grown(quiet, early, late)
    found += filter(None, [spins(running.pid)])
    return found + crashes(running)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--loop", default="asyncio")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--kind", choices=KINDS, action="append", help="default: all"
    )
    args = parser.parse_args(argv)
    bad = False
    for kind in args.kind or KINDS:
        print(f"{kind}: {args.inputs} inputs, {args.loop}, seed {args.seed}")
        with started(args.loop, kind) as running:
            found = prove(running, args.inputs, args.seed, kind)
            if found:
                print(running.log[-4000:])
        for line in found:
            print(f"FAILED: {line}")
        bad |= bool(found)
    if not bad:
        print("PASSED: no crash, hang, leak or spin")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
