# SPDX-License-Identifier: MIT
"""Runs functions of a test inside of requests of an embedded server.

    from embedded import Service, served

    @served(cores=2)
    async def test_sleep(service: Service) -> None:
        assert await service.call(greenloop.sleep, 0.01) is None

The test runs once on each kind of loop: under asyncio.run(), under
asyncio.Runner with a loop factory (3.11 and later), under uvloop.run(), and
on the two loops that the command line's worker makes, which have mounts of
their own.  call() sends a real HTTP request, in which the function runs; it
returns what the function returned, or raises what it raised.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import greenloop
import pytest
from greenloop import mounts

__all__ = [
    "KINDS",
    "Answer",
    "Service",
    "eager_factory",
    "fetch",
    "run_on",
    "served",
    "serving",
    "until",
]

KINDS = ["run", "runner", "uvloop", "own", "own-uvloop"]
SECONDS = 20.0  # the longest that any one request may take

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def run_on(kind: str, main: Callable[[], Any]) -> Any:
    """Runs main(), a coroutine, on a loop of this kind."""
    if kind == "run":
        return asyncio.run(main())
    if kind == "runner":
        if sys.version_info < (3, 11):
            pytest.skip("not on this Python: asyncio.Runner")
        factory = asyncio.SelectorEventLoop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main())
    if kind == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        return uvloop.run(main())
    return _run_on_own("uvloop" if kind == "own-uvloop" else "asyncio", main)


def _run_on_own(loop_kind: str, main: Callable[[], Any]) -> Any:
    if loop_kind == "uvloop":
        pytest.importorskip("uvloop")
    loop = mounts.new_loop(loop_kind)
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back on a connection until the server closed it."""

    status: int
    body: bytes


async def fetch(port: int, path: str = "/", body: bytes = b"") -> Answer:
    """One HTTP/1.0 request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        raw = await asyncio.wait_for(reader.read(), SECONDS)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    head_bytes, _, rest = raw.partition(b"\r\n\r\n")
    status = head_bytes.split(b" ", 2)[1] if head_bytes else b"0"
    return Answer(int(status), rest)


async def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Gives the loop turns until holds() does; fails after `seconds`."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + seconds
    while not holds():
        assert loop.time() < give_up, "what was waited for did not happen"
        await asyncio.sleep(0.001)


def eager_factory(
    loop: asyncio.AbstractEventLoop,
    coroutine: Any,
    *,
    name: "str | None" = None,
    context: Any = None,
    **_: Any,
) -> Any:
    """asyncio.eager_task_factory, also for a uvloop that passes it more
    than this Python's takes."""
    if sys.version_info < (3, 12):
        raise NotImplementedError("no eager tasks on this Python")
    make: Any = asyncio.eager_task_factory
    return make(loop, coroutine, name=name, context=context)


@dataclasses.dataclass
class _Call:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    result: Any = None
    error: "BaseException | None" = None


class Service:
    """A server of this process; its application runs functions."""

    def __init__(self) -> None:
        self.server: greenloop.Server
        self._calls: dict[str, _Call] = {}
        self._numbers = itertools.count()

    @property
    def port(self) -> int:
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    @property
    def stats(self) -> dict[str, int]:
        return self.server.stats()

    def app(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """The WSGI application."""
        call = self._calls[environ["PATH_INFO"]]
        try:
            call.result = call.function(*call.args)
        except BaseException as error:
            call.error = error
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs function(*args) in a request of its own."""
        path = f"/{next(self._numbers)}"
        call = self._calls[path] = _Call(function, args)
        port = self.port
        try:
            answer = await fetch(port, path)
        finally:
            del self._calls[path]
        if call.error is not None:
            raise call.error
        assert answer == Answer(200, b"done")
        return call.result

    def begin(
        self, function: Callable[..., Any], *args: Any
    ) -> "asyncio.Task[Any]":
        """The same, as a task."""
        return asyncio.get_running_loop().create_task(
            self.call(function, *args)
        )

    async def idle(self) -> None:
        """Waits until no request runs."""
        await until(lambda: self.stats["busy"] == 0)


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Service]:
    """A Service on a free port of the loopback, with these options."""
    service = Service()
    options.setdefault("graceful_timeout", 5.0)
    service.server = await greenloop.start_server(
        service.app, "127.0.0.1:0", **options
    )
    async with service.server:
        yield service


Body = Callable[[Service], Awaitable[None]]


def served(
    kinds: "list[str] | None" = None, **options: Any
) -> Callable[[Body], Callable[[str], None]]:
    """Makes a test of a coroutine function that takes a Service."""

    def decorate(body: Body) -> Callable[[str], None]:
        async def main() -> None:
            async with serving(**options) as service:
                await body(service)

        @pytest.mark.parametrize("kind", kinds or KINDS)
        def test(kind: str) -> None:
            run_on(kind, main)

        test.__name__ = body.__name__
        test.__doc__ = body.__doc__
        test.__module__ = body.__module__
        return test

    return decorate
