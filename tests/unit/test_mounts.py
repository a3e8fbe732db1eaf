# SPDX-License-Identifier: MIT
"""The server's own loops: the engine waits in place of the selector or of
libuv, and goes on waiting while the loop has nothing to do."""

import asyncio
import http.client
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
import greenloop
import pytest
from greenloop import mounts

REQUESTS = 50
SECONDS = 10.0


class OwnLoop:
    """The worker's loop, with an application that runs a function first."""

    def __init__(self, kind: str) -> None:
        self.loop: Any = mounts.new_loop(kind)
        self.readers: list[Any] = []
        self.add_reader = self.loop.add_reader
        self.loop.add_reader = self.noted
        self.action: Callable[[], Any] = lambda: None
        self.server = self.loop.run_until_complete(
            greenloop.start_server(self.app, "127.0.0.1:0")
        )
        self.port = self.server.sockets[0].getsockname()[1]
        self.engine: Any = self.server._engine

    def noted(self, fd: Any, *call: Any) -> None:
        self.readers.append(fd)
        self.add_reader(fd, *call)

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
        if not self.loop.is_closed():
            self.server.close()
            self.loop.run_until_complete(self.server.wait_closed())
            self.loop.close()
        asyncio.set_event_loop(None)


@pytest.fixture(params=["asyncio", "uvloop"])
def own(request: pytest.FixtureRequest) -> Iterator[OwnLoop]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    own = OwnLoop(request.param)
    yield own
    own.close()


def test_plain_requests_need_no_pass_of_the_stock_loop() -> None:
    own = OwnLoop("asyncio")
    select, passes = own.loop._selector.select, []

    def counted(timeout: float | None = None) -> Any:
        passes.append(timeout)
        return select(timeout)

    async def main() -> None:
        await own.asked()
        passes.clear()
        await own.asked(REQUESTS)

    own.loop._selector.__dict__["select"] = counted
    own.loop.run_until_complete(main())
    own.close()
    assert len(passes) < REQUESTS // 2


def test_the_engine_is_no_reader_of_the_loop(own: OwnLoop) -> None:
    own.loop.run_until_complete(own.asked())
    assert own.engine.fileno() not in own.readers


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


def test_what_a_request_writes_leaves_at_once(own: OwnLoop) -> None:
    """By a transport of the loop, which may send when its pass ends."""
    near, far = socket.socketpair()
    far.settimeout(SECONDS)
    received: list[bytes] = []

    async def main() -> None:
        transport, _ = await own.loop.create_connection(
            asyncio.Protocol, sock=near
        )
        own.action = lambda: transport.write(b"x")
        reading = asyncio.to_thread(lambda: received.append(far.recv(1)))
        await asyncio.gather(own.asked(), reading)
        transport.close()

    own.loop.run_until_complete(main())
    far.close()
    assert received == [b"x"]


def test_another_server_on_the_same_loop(own: OwnLoop) -> None:
    """One engine waits for the loop, which runs the other as a reader."""

    async def main() -> None:
        other = await greenloop.start_server(own.app, "127.0.0.1:0")
        first, own.port = own.port, other.sockets[0].getsockname()[1]
        await own.asked(2)
        own.port = first
        await own.asked(2)
        other.close()
        await other.wait_closed()
        await own.asked(2)

    own.loop.run_until_complete(main())


def test_a_server_after_the_first_one(own: OwnLoop) -> None:
    own.server.close()
    own.loop.run_until_complete(own.server.wait_closed())
    own.server = own.loop.run_until_complete(
        greenloop.start_server(own.app, "127.0.0.1:0")
    )
    own.port = own.server.sockets[0].getsockname()[1]
    own.loop.run_until_complete(own.asked(2))


def test_an_engine_that_fails_ends_the_loop(
    own: OwnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    own.loop.call_soon(os.dup2, null, own.engine.fileno())
    with (
        caplog.at_level(logging.ERROR, "greenloop"),
        pytest.raises((OSError, RuntimeError)) as caught,
    ):
        own.loop.run_until_complete(asyncio.sleep(SECONDS))
    os.close(null)
    told = caplog.text + str(caught.value)
    assert "the event engine failed" in told
    own.loop.close()


def test_the_loop_is_closed_before_the_server(
    own: OwnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    own.loop.run_until_complete(own.asked())
    own.loop.close()
    assert own.loop.is_closed()
    assert caplog.text == ""


def test_uvloop_without_its_libuv(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs the engine as a reader then."""
    implementation = pytest.importorskip("uvloop.loop")
    monkeypatch.delattr(implementation, "libuv_get_loop_t_ptr")
    own = OwnLoop("uvloop")
    own.loop.run_until_complete(own.asked(2))
    assert own.engine.fileno() in own.readers
    own.close()


def test_a_library_without_libuv() -> None:
    implementation = pytest.importorskip("uvloop.loop")
    own = OwnLoop("uvloop")
    pointer = implementation.libuv_get_loop_t_ptr(own.loop)
    assert not own.engine.mount_uv(pointer, implementation.__file__)

    async def main() -> None:
        async with await greenloop.start_server(
            own.app, "127.0.0.1:0"
        ) as other:
            mount = other._engine.mount_uv
            assert not mount(pointer, greenloop._core.__file__)
            assert not mount(pointer, "/nowhere/loop.so")
            with pytest.raises(ValueError, match="PyCapsule"):
                mount(None, implementation.__file__)
            other._engine.unmount_uv()

    own.loop.run_until_complete(main())
    own.close()


def deep(levels: int, function: Callable[[], None]) -> None:
    """Calls it from below so many calls of C, too."""
    if levels > 0:
        list(map(lambda _: deep(levels - 1, function), [None]))
    else:
        function()


@pytest.mark.parametrize("levels", [0, 10, 30])
def test_stacks_of_requests_leave_the_loop_its_own(
    own: OwnLoop, levels: int
) -> None:
    """libuv keeps the events of a pass on its stack, where those of closed
    descriptors are struck out; others may have their numbers by then."""
    stale: list[int] = []

    def action() -> None:
        me = greenlet.getcurrent()
        assert me.parent is not None
        pairs = [socket.socketpair() for _ in range(20)]
        for near, far in pairs:
            own.loop.add_reader(near, me.switch)
            far.send(b"x")
        me.parent.switch()
        for near, far in pairs:
            own.loop.remove_reader(near)
            near.close()
            far.close()
        pairs = [socket.socketpair() for _ in range(20)]
        for near, _far in pairs:
            own.loop.add_reader(near, stale.append, near.fileno())
        greenloop.sleep(0.02)
        for near, far in pairs:
            own.loop.remove_reader(near)
            near.close()
            far.close()

    own.action = lambda: deep(levels, action)
    own.loop.run_until_complete(own.asked())
    assert stale == []
