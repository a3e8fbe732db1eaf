# SPDX-License-Identifier: MIT
"""Each allocation of a request fails once: no crash, no leak, no lie.

    python tests/isolated/alloc_failures.py [--rounds N] [--loop NAME]

A server made by start_server() and its client share one loop, but memory
fails only inside of the engine's turns, where the server and the application
run.  For each of several requests the first, second, third ... allocation of
its first turns fails, until a request needs no more of them.  Every answer
must be the right one, one of the server's own, or cut off; afterwards the
server must answer rightly again.  Such a round leaves nothing behind: Python's
blocks, C's heap, descriptors and the server's counters stay as they were.
Needs _testcapi, which not every CPython has.  Exit status: 0, or 1.

Since CPython 3.12 greenlet needs memory for each switch away from a Python
frame, and crashes where it gets none: there memory fails from the first
line of the application on, for requests that never park.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import dataclasses
import importlib
import inspect
import io
import logging
import os
import re
import socket
import ssl
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))

import greenloop
from leaks import Growth, new_loop, settle

__all__ = [
    "NAMES",
    "REQUESTS",
    "Answer",
    "Client",
    "Guard",
    "Way",
    "load_testcapi",
    "parse",
    "respond",
    "run_on",
]

ROUNDS = 100
ATTEMPTS = 8
ENOUGH = 25  # allocations more than a request needed, without an effect
MOST = 3000
LATE = sys.version_info >= (3, 12)
TURNS = 4  # in which memory fails: without an end nothing could be served
HANG_SECONDS = 10.0
BODY = (b"a line" + b"." * 493 + b"\n") * 40
FILE = tempfile.NamedTemporaryFile()
FILE.write(BODY)
FILE.flush()
READY = os.pipe()
os.write(READY[1], b"ready")


def load_testcapi() -> Any:
    """The module that makes memory fail, or None."""
    try:
        return importlib.import_module("_testcapi")
    except ImportError:
        return None


# --- the application ---------------------------------------------------------


class Result:
    """Items, and a close()."""

    def __init__(self, items: Iterable[bytes]) -> None:
        self._items = iter(items)

    def __iter__(self) -> Result:
        return self

    def __next__(self) -> bytes:
        return next(self._items)

    def close(self) -> None:
        self._items = iter(())


def respond(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    kind = environ["PATH_INFO"]
    stream: BinaryIO = environ["wsgi.input"]
    wrapper: Callable[..., Iterable[bytes]] = environ["wsgi.file_wrapper"]
    headers = [("Content-Type", "text/plain"), ("X-Kind", kind)]
    if kind == "/error":
        raise LookupError("an error of the application")
    write = start_response("200 OK", headers)
    if kind == "/items":
        return Result([BODY[:500], b"", BODY[500:]])
    if kind == "/write":
        write(BODY[:500])
        return [BODY[500:]]
    if kind == "/read":
        return [stream.read(7), stream.readline(), stream.read()]
    if kind == "/lines":
        return stream.readlines()
    if kind == "/sleep":
        greenloop.sleep(0.001)
    if kind == "/await":
        greenloop.await_(asyncio.sleep(0))
    if kind == "/spawn" or (kind == "/warm" and not LATE):
        assert greenloop.await_(greenloop.spawn(bool, 1)) is True
    if kind == "/readable":
        greenloop.wait_readable(READY[0])
    if kind == "/current":
        request = greenloop.current_request()
        assert request is not None and request.environ is environ
    if kind == "/file":
        return wrapper(io.FileIO(FILE.name))
    if kind == "/memory":
        return wrapper(io.BytesIO(BODY), 5000)
    if kind == "/fields":
        assert environ["HTTP_X_MANY_7"] == "7, again", environ
        assert environ["PATH_INFO"] == "/fields"
    if kind == "/proxy":
        assert environ["REMOTE_ADDR"] == "192.0.2.1", environ
        assert environ["SERVER_NAME"] == "shop.example", environ
        assert environ["HTTPS"] == "on", environ
    return [BODY]


def head(kind: str, method: str = "GET", *fields: str) -> bytes:
    return "\r\n".join(
        (f"{method} {kind}?a=b HTTP/1.1", "Host: x", *fields, "", "")
    ).encode()


def chunked(body: bytes) -> bytes:
    pieces = [body[n : n + 4000] for n in range(0, len(body), 4000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (*pieces, b""))


def packet(**variables: str) -> bytes:
    """A request for /fields as a uwsgi packet, which begins with a NUL."""
    block = b""
    for name, value in variables.items():
        for text in (name, value):
            block += struct.pack("<H", len(text)) + text.encode()
    return struct.pack("<BHB", 0, len(block), 0) + block


LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
MANY = [f"X-Many-{n}: {value}" for n in range(12) for value in (n, "again")]
FORWARDED = (
    "X-Forwarded-For: 6.6.6.6, 192.0.2.1:4711",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example",
)
REQUESTS: dict[str, tuple[list[bytes], int]] = {
    "list": ([head("/list")], 200),
    "fields": ([head("/field%73", "GET", *MANY)], 200),
    "proxy": ([head("/proxy", "GET", *FORWARDED)], 200),
    "items": ([head("/items")], 200),
    "write": ([head("/write")], 200),
    "read": ([head("/read", "POST", LENGTH) + BODY], 200),
    "late": ([head("/read", "POST", LENGTH), BODY[:9], BODY[9:]], 200),
    "lines": ([head("/lines", "PUT", CHUNKED), chunked(BODY)], 200),
    "unread": ([head("/list", "POST", CHUNKED) + chunked(BODY)], 200),
    "cut head": ([head("/list")[:20], head("/list")[20:]], 200),
    "sleep": ([head("/sleep")], 200),
    "await": ([head("/await")], 200),
    "spawn": ([head("/spawn")], 200),
    "readable": ([head("/readable")], 200),
    "current": ([head("/current")], 200),
    "file": ([head("/file")], 200),
    "memory": ([head("/memory")], 200),
    "error": ([head("/error")], 500),
    "packet": (
        [
            packet(
                REQUEST_METHOD="GET",
                PATH_INFO="/fields",
                SCRIPT_NAME="/a",
                HTTPS="on",
                HTTP_X_MANY_7="7, again",
                **{f"HTTP_X_{n}": "x" * 200 for n in range(20)},
            )
        ],
        200,
    ),
    "refused": ([b"GET /list HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"], 400),
}


PARKING = {"late", "lines", "sleep", "await", "spawn", "readable"}
NAMES = [name for name in REQUESTS if not (LATE and name in PARKING)]


# --- failing -----------------------------------------------------------------


class Allocator(ctypes.Structure):
    """PyMemAllocatorEx: the functions behind a domain of Python's memory."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("data", "malloc", "calloc", "realloc", "free")
    ]


PYMEM_DOMAINS = (0, 1)  # RAW and MEM, but not OBJ
NEVER = (1 << 31) - 1


class Guard:
    """Runs the engine's turns; in some of them one allocation fails.

    Only that of PyObject_Malloc(), from which all objects and the tables of
    dicts are: greenlet takes copies of stacks from PyMem_Realloc(), and ends
    the process where it gets none.
    """

    def __init__(self, turn: Callable[[], object]) -> None:
        self._turn = turn
        self._testcapi = load_testcapi()
        self._nth = 0
        self._turns = 0
        healthy = {domain: Allocator() for domain in PYMEM_DOMAINS}
        api = ctypes.pythonapi
        for domain, allocator in healthy.items():
            api.PyMem_GetAllocator(domain, ctypes.byref(allocator))
        self._testcapi.set_nomemory(NEVER)
        for domain, allocator in healthy.items():
            api.PyMem_SetAllocator(domain, ctypes.byref(allocator))

    def close(self) -> None:
        """Memory is as it was before."""
        self._testcapi.remove_mem_hooks()

    def arm(self, nth: int) -> None:
        """The next turns lack the nth allocation; none if negative."""
        self._nth = nth
        self._turns = TURNS if nth >= 0 else 0

    def __call__(self) -> None:
        if not LATE:
            self.begin()
        try:
            self._turn()
        finally:
            self._testcapi.set_nomemory(NEVER)

    def begin(self) -> None:
        """Counts the allocations of this turn from here on."""
        if self._turns > 0:
            self._turns -= 1
            self._testcapi.set_nomemory(self._nth, self._nth + 1)


@dataclasses.dataclass
class Answer:
    """What came back: whole or not, and whether the server then closed."""

    status: int
    body: bytes
    whole: bool


class Client:
    """Speaks HTTP on the loop's own sockets."""

    def __init__(self, port: int, uwsgi_port: int, guard: Guard) -> None:
        self._address = ("127.0.0.1", port)
        self._uwsgi_address = ("127.0.0.1", uwsgi_port)
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self.names: list[str] = []

    async def ask(self, pieces: list[bytes], nth: int, kept: bool) -> Answer:
        """One request while allocations fail; on a used connection or not.

        Before it an ordinary one makes sure that the only core has its
        greenlet, and spawned functions have one: greenlet itself crashes
        where it has no memory for one.
        """
        packet = pieces[0].startswith(b"\0")
        address = self._uwsgi_address if packet else self._address
        with socket.socket() as used, socket.socket() as fresh:
            for sock in (used, fresh):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(used, self._address)
            answer = await self._exchange(used, [head("/warm")])
            assert (answer.status, answer.body) == (200, BODY), answer
            self._guard.arm(nth)
            try:
                if kept and not packet:
                    return await self._exchange(used, pieces)
                await self._loop.sock_connect(fresh, address)
                return await self._exchange(fresh, pieces)
            finally:
                self._guard.arm(-1)

    async def _exchange(
        self, sock: socket.socket, pieces: list[bytes]
    ) -> Answer:
        received = b""
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await self._loop.sock_sendall(sock, piece)
                await asyncio.sleep(0)
        with contextlib.suppress(ConnectionError):
            while data := await self._loop.sock_recv(sock, 1 << 16):
                received += data
                answer = parse(received)
                if answer.whole:
                    return answer
        return parse(received)


def parse(received: bytes) -> Answer:
    """What the bytes so far say; `whole` if nothing more is to come."""
    top, blank, rest = received.partition(b"\r\n\r\n")
    if not blank:
        return Answer(0, b"", False)
    status = int(top[9:12])
    length = re.search(rb"\r\nContent-Length: (\d+)", top)
    if length is not None:
        return Answer(status, rest, len(rest) == int(length[1]))
    body = b""
    while True:
        size, line, rest = rest.partition(b"\r\n")
        if not line or len(rest) < int(size, 16) + 2:
            return Answer(status, body, False)
        if int(size, 16) == 0:
            return Answer(status, body, True)
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]


def judge(answer: Answer, expected: int) -> bool:
    """Whether this was the right answer; fails for a wrong one."""
    if answer.whole and answer.status == expected:
        if expected == 200:
            assert answer.body == BODY, answer
        return True
    if answer.whole:
        assert answer.status in (500, 503), answer
    else:
        assert BODY.startswith(answer.body) or answer.status != 200, answer
    return False


async def sweep(client: Client, name: str, kept: bool) -> int:
    """All allocations of a request in turn; how many had an effect."""
    pieces, expected = REQUESTS[name]
    bad, right = 0, 0
    for nth in range(MOST):
        try:
            asked = client.ask(pieces, nth, kept)
            answer = await asyncio.wait_for(asked, HANG_SECONDS)
            fine = judge(answer, expected)
        except (AssertionError, asyncio.TimeoutError) as error:
            case = f"{name}, kept: {kept}, allocation {nth}"
            raise AssertionError(case) from error
        right = right + 1 if fine else 0
        bad += not fine
        if right == ENOUGH:
            return bad
    raise AssertionError(f"{name}: allocations without an end")


async def round_of(client: Client) -> int:
    bad = 0
    for name in client.names:
        for kept in (False, True):
            bad += await sweep(client, name, kept)
            answer = await client.ask(*CONTROL)
            assert (answer.status, answer.body) == (200, BODY), (name, answer)
    return bad


CONTROL: tuple[list[bytes], int, bool] = (REQUESTS["list"][0], -1, False)


# --- counting ----------------------------------------------------------------


async def idle(server: greenloop.Server) -> dict[str, int]:
    """The counters once no request runs and no connection is left."""
    give_up = asyncio.get_running_loop().time() + HANG_SECONDS
    while True:
        stats = server.stats()
        if stats["connections"] == stats["running"] == stats["waiting"] == 0:
            return stats
        assert asyncio.get_running_loop().time() < give_up, stats
        await asyncio.sleep(0.005)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def listen_to(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Whatever reaches the loop that should not, from now on."""
    strange: list[str] = []
    loop.set_exception_handler(lambda _, context: note(strange, context))
    sys.unraisablehook = lambda what: note(strange, vars_of(what))
    # Making a LogRecord is not safe against this in CPython 3.11 and 3.13.
    logging.getLogger("greenloop").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", ".*never awaited", RuntimeWarning)
    return strange


async def growth(
    client: Client, server: greenloop.Server, rounds: int
) -> tuple[int, str]:
    """How many requests failed in these rounds, and what they left.

    Caches of Python may fill up during some rounds, but not in each attempt.
    """
    failed, grown = 0, ""
    for _ in range(ATTEMPTS):
        open_before, before = descriptors(), Growth()
        for _ in range(rounds):
            failed += await round_of(client)
        await idle(server)
        await settle()
        grown = Growth().since(before)
        if descriptors() != open_before:
            return failed, "descriptors"
        if not grown:
            break
    return failed, grown


@dataclasses.dataclass(frozen=True)
class Way:
    """How requests reach the server."""

    names: list[str]
    tls: ssl.SSLContext | None = None
    client: Callable[[int, int, Guard], Client] = Client


PLAIN = Way(NAMES)


async def main(rounds: int, application: Any, way: Way) -> str:
    """What is wrong, or nothing."""
    loop = asyncio.get_running_loop()
    strange = listen_to(loop)
    guards: list[Guard] = []

    def guarded(
        environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        if LATE:
            guards[0].begin()
        body: Iterable[bytes] = application(environ, start_response)
        return body

    uwsgi_socket = socket.create_server(("127.0.0.1", 0))
    uwsgi_socket.setblocking(False)
    async with await greenloop.start_server(
        guarded,
        "127.0.0.1:0",
        cores=1,
        trusted_proxies="127.0.0.1",
        forwarded_headers=[field.split(":")[0] for field in FORWARDED],
        ssl=way.tls,
    ) as server:
        engine = server._engine
        guard = Guard(engine.turn)
        guards.append(guard)
        loop.add_reader(engine.fileno(), guard)
        engine.listen(uwsgi_socket.fileno(), "a", "80", "uwsgi")
        client = way.client(
            server.sockets[0].getsockname()[1],
            uwsgi_socket.getsockname()[1],
            guard,
        )
        client.names = way.names
        try:
            await round_of(client)
            await round_of(client)
            await idle(server)
            await settle()
            failed, grown = await growth(client, server, rounds)
        finally:
            guard.close()
    uwsgi_socket.close()
    if failed < len(way.names) or strange:
        return f"{failed} requests failed; the loop heard {strange}"
    return grown


def vars_of(what: Any) -> dict[str, Any]:
    return {"exception": what.exc_value, "object": what.object}


def note(strange: list[str], context: dict[str, Any]) -> None:
    """Only the want of memory may reach the loop.

    A task that never ran is one that asyncio failed to make.
    """
    task = context.get("task")
    if isinstance(task, asyncio.Task):
        coroutine: Any = task.get_coro()
        state = inspect.getcoroutinestate(coroutine)
        expected = state == inspect.CORO_CREATED
    else:
        error = context.get("exception")
        expected = isinstance(error, MemoryError)
        # CPython's own: _ssl forgets to say why it failed.
        expected |= isinstance(error, SystemError) and "SSLObject" in str(
            error
        )
    if not expected:
        strange.append(str(context))


def run_on(
    loop: str, rounds: int, application: Any = respond, way: Way = PLAIN
) -> str:
    """What is wrong, or nothing; on a loop of its own."""
    made = new_loop(loop)
    hook, level = sys.unraisablehook, logging.getLogger("greenloop").level
    asyncio.set_event_loop(made)
    try:
        with warnings.catch_warnings():
            wrong: str = made.run_until_complete(
                main(rounds, application, way)
            )
        return wrong
    finally:
        sys.unraisablehook = hook
        logging.getLogger("greenloop").setLevel(level)
        asyncio.set_event_loop(None)
        made.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--loop", default="asyncio")
    given = parser.parse_args()
    if load_testcapi() is None:
        sys.exit("this Python has no _testcapi")
    found = run_on(given.loop, given.rounds)
    sys.exit(found or None)
