# SPDX-License-Identifier: MIT
"""The server's own loop: the engine waits in place of the loop's selector,
and goes on waiting while the loop has nothing to do."""

import asyncio
import http.client
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import greenloop
import pytest
from greenloop import mounts

REQUESTS = 50
SECONDS = 10.0


class OwnLoop:
    """The worker's loop, with an application that runs a function first."""

    def __init__(self) -> None:
        self.loop = mounts.new_loop("asyncio")
        self.passes = 0
        self.action: Callable[[], Any] = lambda: None
        self.server = self.loop.run_until_complete(
            greenloop.start_server(self.app, "127.0.0.1:0")
        )
        self.port = self.server.sockets[0].getsockname()[1]
        selector: Any = self.loop._selector  # type: ignore[attr-defined]
        self.select = selector.select
        selector.__dict__["select"] = self.counted

    def counted(self, timeout: float | None = None) -> Any:
        self.passes += 1
        return self.select(timeout)

    def app(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        self.action()
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def ask(self, times: int = 1) -> None:
        """Sends requests on one connection; called in another thread."""
        client = http.client.HTTPConnection("127.0.0.1", self.port)
        for _ in range(times):
            client.request("GET", "/")
            assert client.getresponse().read() == b"ok"
        client.close()

    async def asked(self, times: int = 1) -> None:
        thread = asyncio.to_thread(self.ask, times)
        await asyncio.wait_for(thread, SECONDS)

    def close(self) -> None:
        self.server.close()
        self.loop.run_until_complete(self.server.wait_closed())
        asyncio.set_event_loop(None)
        self.loop.close()


@pytest.fixture
def own() -> Iterator[OwnLoop]:
    own = OwnLoop()
    yield own
    own.close()


def test_plain_requests_need_no_pass_of_the_loop(own: OwnLoop) -> None:
    async def main() -> int:
        await own.asked()
        before = own.passes
        await own.asked(REQUESTS)
        return own.passes - before

    assert own.loop.run_until_complete(main()) < REQUESTS // 2


def test_a_callback_of_a_request_runs_at_once(own: OwnLoop) -> None:
    came = asyncio.Event()
    own.action = lambda: own.loop.call_soon(came.set)

    async def main() -> None:
        request = asyncio.ensure_future(own.asked())
        await asyncio.wait_for(came.wait(), SECONDS)
        await request

    own.loop.run_until_complete(main())


def test_a_timer_of_a_request_runs_in_time(own: OwnLoop) -> None:
    delays: list[float] = []

    def fire(started: float) -> None:
        delays.append(time.monotonic() - started)
        own.loop.stop()

    def action() -> None:
        own.loop.call_later(0.05, fire, time.monotonic())

    own.action = action
    thread = threading.Thread(target=own.ask)
    own.loop.call_soon(thread.start)
    own.loop.run_forever()
    thread.join(SECONDS)
    assert 0.049 <= delays[0] < 1


def test_a_request_may_stop_the_loop(own: OwnLoop) -> None:
    own.action = own.loop.stop
    thread = threading.Thread(target=own.ask)
    own.loop.call_soon(thread.start)
    own.loop.run_forever()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_timer_that_was_there_is_kept_under_requests(own: OwnLoop) -> None:
    async def main() -> float:
        asking = True

        def ask_on() -> None:
            while asking:
                own.ask()

        thread = threading.Thread(target=ask_on)
        thread.start()
        before = time.monotonic()
        await asyncio.sleep(0.2)
        took = time.monotonic() - before
        asking = False
        await asyncio.to_thread(thread.join, SECONDS)
        return took

    assert own.loop.run_until_complete(main()) < 2


def test_signals_are_heeded_under_requests(own: OwnLoop) -> None:
    """A plain handler: no callback of the loop tells of the signal."""
    heeded = threading.Event()
    before = signal.signal(signal.SIGALRM, lambda *_: heeded.set())
    try:

        async def main() -> None:
            thread = threading.Thread(target=own.ask, args=(REQUESTS,))
            thread.start()
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            await asyncio.to_thread(thread.join, SECONDS)
            assert await asyncio.to_thread(heeded.wait, SECONDS)

        own.loop.run_until_complete(main())
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_loop_is_shown_to_its_callbacks(own: OwnLoop) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append(asyncio.get_running_loop())

    own.action = lambda: own.loop.call_soon(look)
    own.loop.run_until_complete(own.asked(2))
    assert seen == [own.loop, own.loop]
