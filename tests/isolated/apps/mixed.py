# SPDX-License-Identifier: MIT
"""The application of the long proofs: one path for each way to be served.

/census reports what a leak would change; /forever/... parks until the server
or the client ends it; every other path answers at once or within a few
milliseconds, and its answer is known beforehand (see workload.py).
"""

import asyncio
import contextvars
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import greenlet
import greenloop

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
Handler = Callable[[Environ, Start], Iterable[bytes]]

TEXT = [("Content-Type", "text/plain")]
PAUSE = 0.001
HOLD_SECONDS = 0.2
PARKED_SECONDS = 600.0

visitor: contextvars.ContextVar[str] = contextvars.ContextVar("visitor")
loop = asyncio.get_event_loop()
document = tempfile.TemporaryFile()
document.write(b"file " * 4000)
document.flush()


def hello(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", TEXT)
    return [b"hello"]


def missing(environ: Environ, start: Start) -> Iterable[bytes]:
    start("404 Not Found", TEXT)
    return [b"missing"]


def broken(environ: Environ, start: Start) -> Iterable[bytes]:
    raise ZeroDivisionError("asked for")


def echo(environ: Environ, start: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start("200 OK", TEXT)
    return [body]


def lines(environ: Environ, start: Start) -> Iterable[bytes]:
    found = list(environ["wsgi.input"])
    start("200 OK", TEXT)
    return found


def sleep(environ: Environ, start: Start) -> Iterable[bytes]:
    greenloop.sleep(PAUSE)
    start("200 OK", TEXT)
    return [b"slept"]


def hold(environ: Environ, start: Start) -> Iterable[bytes]:
    """Long enough for many of them to run at the same time."""
    greenloop.sleep(HOLD_SECONDS)
    return hello(environ, start)


def wait(environ: Environ, start: Start) -> Iterable[bytes]:
    greenloop.await_(asyncio.sleep(PAUSE))
    start("200 OK", TEXT)
    return [b"waited"]


def switch(environ: Environ, start: Start) -> Iterable[bytes]:
    me = greenlet.getcurrent()
    loop.call_later(PAUSE, me.switch, "back")
    assert me.parent is not None
    answer: str = me.parent.switch()
    start("200 OK", TEXT)
    return [answer.encode()]


def generate(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", TEXT)
    yield b"one "
    greenloop.sleep(0)
    yield b"two "
    yield b"three"


def send_file(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", TEXT)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](
        open(f"/proc/self/fd/{document.fileno()}", "rb")
    )
    return wrapped


async def add(left: int, right: int) -> int:
    await asyncio.sleep(0)
    return left + right


def task(environ: Environ, start: Start) -> Iterable[bytes]:
    tasks = [asyncio.create_task(add(n, n)) for n in range(3)]
    total = sum(greenloop.await_(one) for one in tasks)
    start("200 OK", TEXT)
    return [b"%d" % total]


def late_task(environ: Environ, start: Start) -> Iterable[bytes]:
    asyncio.create_task(add(1, 2))
    start("200 OK", TEXT)
    return [b"left behind"]


def context(environ: Environ, start: Start) -> Iterable[bytes]:
    assert visitor.get("nobody") == "nobody"
    visitor.set(environ["QUERY_STRING"])
    greenloop.sleep(0)
    greenloop.await_(asyncio.sleep(0))
    start("200 OK", TEXT)
    return [visitor.get().encode()]


def timeout(environ: Environ, start: Start) -> Iterable[bytes]:
    try:
        greenloop.await_(asyncio.sleep(PARKED_SECONDS), timeout=PAUSE)
    except asyncio.TimeoutError:
        start("200 OK", TEXT)
        return [b"timed out"]
    raise AssertionError("the wait had no end")


def double(number: int) -> int:
    greenloop.sleep(PAUSE)
    return 2 * number


def spawn(environ: Environ, start: Start) -> Iterable[bytes]:
    """One that ends, one that is cancelled, one that never begins."""
    done = greenloop.spawn(double, 21)
    parked = greenloop.spawn(greenloop.sleep, PARKED_SECONDS)
    number = greenloop.await_(done)
    unborn = greenloop.spawn(double, number)
    parked.cancel()
    unborn.cancel()
    for future in (parked, unborn):
        try:
            greenloop.await_(future)
        except asyncio.CancelledError:
            number += 1
    start("200 OK", TEXT)
    return [b"%d" % number]


def late_spawn(environ: Environ, start: Start) -> Iterable[bytes]:
    greenloop.spawn(double, 1)
    start("200 OK", TEXT)
    return [b"left behind"]


def readable(environ: Environ, start: Start) -> Iterable[bytes]:
    reader, writer = os.pipe()
    try:
        loop.call_later(PAUSE, os.write, writer, b"ready")
        greenloop.wait_readable(reader)
        body = os.read(reader, 100)
        try:
            greenloop.wait_readable(reader, timeout=PAUSE)
        except asyncio.TimeoutError:
            body += b" once"
    finally:
        os.close(reader)
        os.close(writer)
    start("200 OK", TEXT)
    return [body]


def who(environ: Environ, start: Start) -> Iterable[bytes]:
    request = greenloop.current_request()
    assert request is not None and request.environ is environ
    start("200 OK", TEXT)
    return [request.uri.encode()]


def cancelled(environ: Environ, start: Start) -> Iterator[bytes]:
    greenloop.cancel_on_disconnect()
    try:
        greenloop.await_(greenloop.spawn(greenloop.sleep, PARKED_SECONDS))
    finally:
        greenloop.sleep(PAUSE)
    start("200 OK", TEXT)
    yield b"never"


def keep(environ: Environ, start: Start) -> Iterable[bytes]:
    """A late switch to a request that has ended: its core is retired."""
    loop.call_later(5 * PAUSE, greenlet.getcurrent().switch)
    start("200 OK", TEXT)
    return [b"kept"]


def forever_sleep(environ: Environ, start: Start) -> Iterable[bytes]:
    greenloop.sleep(PARKED_SECONDS)
    return hello(environ, start)


def forever_wait(environ: Environ, start: Start) -> Iterable[bytes]:
    greenloop.await_(loop.create_future())
    return hello(environ, start)


def forever_switch(environ: Environ, start: Start) -> Iterable[bytes]:
    parent = greenlet.getcurrent().parent
    assert parent is not None
    parent.switch()
    return hello(environ, start)


def forever_finally(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", TEXT)
    try:
        yield b"begin"
        greenloop.sleep(PARKED_SECONDS)
    finally:
        greenloop.sleep(5 * PAUSE)


def disconnected(environ: Environ, start: Start) -> Iterable[bytes]:
    """Ends when its client leaves."""
    while not environ["greenloop.client_disconnected"]():
        greenloop.sleep(PAUSE)
    return hello(environ, start)


def rss_bytes() -> int:
    """Resident memory, exact where the kernel tells it so."""
    try:
        with open("/proc/self/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def census(environ: Environ, start: Start) -> Iterable[bytes]:
    gc.collect()
    greenlets = sum(isinstance(o, greenlet.greenlet) for o in gc.get_objects())
    count = {
        "rss": rss_bytes(),
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "greenlets": greenlets,
        "tasks": len(asyncio.all_tasks(loop)),
        "cpu_ms": int(time.process_time() * 1000),
    }
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(count).encode()]


ROUTES: dict[str, Handler] = {
    "/hello": hello,
    "/broken": broken,
    "/echo": echo,
    "/lines": lines,
    "/sleep": sleep,
    "/hold": hold,
    "/wait": wait,
    "/switch": switch,
    "/generate": generate,
    "/file": send_file,
    "/task": task,
    "/late-task": late_task,
    "/context": context,
    "/timeout": timeout,
    "/spawn": spawn,
    "/late-spawn": late_spawn,
    "/readable": readable,
    "/who": who,
    "/cancelled": cancelled,
    "/keep": keep,
    "/forever/sleep": forever_sleep,
    "/forever/wait": forever_wait,
    "/forever/switch": forever_switch,
    "/forever/finally": forever_finally,
    "/disconnected": disconnected,
    "/census": census,
}


def application(environ: Environ, start: Start) -> Iterable[bytes]:
    return ROUTES.get(environ["PATH_INFO"], missing)(environ, start)
