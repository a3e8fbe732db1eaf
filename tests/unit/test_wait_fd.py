# SPDX-License-Identifier: MIT
"""wait_readable() and wait_writable(): parking for a descriptor."""

import asyncio
import contextlib
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import greenloop
import pytest
from embedded import KINDS, Service, run_on, served, serving, until


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def fill(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def drain(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while sock.recv(65536):
            pass


@served()
async def test_readable(service: Service) -> None:
    with pair() as (ours, theirs):

        def in_request() -> bytes:
            greenloop.wait_readable(ours, timeout=10)
            first = ours.recv(100)
            greenloop.wait_readable(ours.fileno())
            return first + ours.recv(100)

        call = service.begin(in_request)
        await until(lambda: service.stats["busy"] == 1)
        theirs.send(b"one")
        await asyncio.sleep(0.01)
        theirs.send(b"two")
        assert await call == b"onetwo"


@served()
async def test_writable(service: Service) -> None:
    with pair() as (ours, theirs):
        fill(ours)

        def in_request() -> int:
            greenloop.wait_writable(ours)
            return ours.send(b"y")

        call = service.begin(in_request)
        await until(lambda: service.stats["busy"] == 1)
        await asyncio.sleep(0.01)
        assert not call.done()
        drain(theirs)
        assert await call == 1


@served()
async def test_it_is_ready_already(service: Service) -> None:
    with pair() as (ours, theirs):
        theirs.send(b"x")
        for timeout in (None, 0, 5):
            await service.call(greenloop.wait_readable, ours, timeout)
            await service.call(greenloop.wait_writable, ours, timeout)


@served()
async def test_timeout(service: Service) -> None:
    with pair() as (ours, _theirs):
        for timeout in (0, 0.02):
            begin = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await service.call(greenloop.wait_readable, ours, timeout)
            assert timeout <= time.monotonic() - begin < 5


@served()
async def test_it_is_ready_though_others_hold_up(service: Service) -> None:
    """The time is over before the engine has heard of it."""
    loop = asyncio.get_running_loop()
    with pair() as (ours, theirs), pair() as (first, to_first):

        def hold_up() -> None:
            time.sleep(0.05)
            to_first.send(b"x")

        def turn_before() -> None:
            greenloop.wait_readable(first)
            theirs.send(b"y")

        def in_request() -> bytes:
            greenloop.spawn(turn_before)
            greenloop.sleep(0)
            loop.call_soon(hold_up)
            greenloop.wait_readable(ours, timeout=0.02)
            return ours.recv(1)

        assert await service.call(in_request) == b"y"


@served()
async def test_the_end_of_a_stream(service: Service) -> None:
    with pair() as (ours, theirs):
        call = service.begin(greenloop.wait_readable, ours)
        await until(lambda: service.stats["busy"] == 1)
        theirs.close()
        assert await call is None
        assert ours.recv(1) == b""


@served()
async def test_a_connecting_socket(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

        def in_request() -> int:
            with socket.socket() as sock:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(address)
                greenloop.wait_writable(sock, timeout=5)
                return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

        assert await service.call(in_request) == 0


@served()
async def test_a_crowd_on_one_descriptor(service: Service) -> None:
    """And asyncio's own reader of it beside them."""
    loop = asyncio.get_running_loop()
    told: list[int] = []
    with pair() as (ours, theirs):
        loop.add_reader(ours, told.append, 1)
        calls = [
            service.begin(greenloop.wait_readable, ours) for _ in range(5)
        ]
        spawned = greenloop.spawn(greenloop.wait_readable, ours)
        await until(lambda: service.stats["busy"] == 5)
        theirs.send(b"x")
        assert await asyncio.gather(*calls, spawned) == [None] * 6
        await until(lambda: told)
        loop.remove_reader(ours)


@served()
async def test_regular_files_are_ready(service: Service) -> None:
    with pathlib.Path(__file__).open("rb") as file:
        await service.call(greenloop.wait_readable, file)
        await service.call(greenloop.wait_writable, file.fileno())


@served()
async def test_bad_calls(service: Service) -> None:
    for error, args in (
        (OSError, (999_999,)),
        (ValueError, (-1,)),
        (TypeError, ("3",)),
        (TypeError, ()),
        (ValueError, (0, -1)),
        (ValueError, (0, float("nan"))),
        (TypeError, (0, "soon")),
    ):
        for wait in (greenloop.wait_readable, greenloop.wait_writable):
            with pytest.raises(error):
                await service.call(wait, *args)
    with pytest.raises(RuntimeError, match="await"):
        greenloop.wait_readable(0)


@served()
async def test_cancelled_while_it_waits(service: Service) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pair() as (ours, theirs):
        future = greenloop.spawn(greenloop.wait_readable, ours)
        await asyncio.sleep(0.01)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        theirs.send(b"x")
        await asyncio.sleep(0.01)  # nobody is woken by it
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_servers_end(kind: str) -> None:
    log: list[str] = []

    async def main() -> None:
        with pair() as (ours, _theirs):

            def in_request() -> None:
                try:
                    greenloop.wait_readable(ours)
                except BaseException as error:
                    log.append(type(error).__name__)
                    raise

            async with serving(graceful_timeout=0.1) as service:
                call = service.begin(in_request)
                await until(lambda: service.stats["busy"] == 1)
            with contextlib.suppress(BaseException):
                await call

    run_on(kind, main)
    assert log == ["GreenletExit"]


@served(["run", "own"])
async def test_woken_by_a_thread(service: Service) -> None:
    """What blocks a library in C can wait for, a request can."""
    reader, writer = os.pipe()
    try:

        def in_request() -> bytes:
            thread = threading.Timer(0.02, os.write, [writer, b"done"])
            thread.start()
            greenloop.wait_readable(reader, timeout=10)
            thread.join()
            return os.read(reader, 100)

        assert await service.call(in_request) == b"done"
    finally:
        os.close(reader)
        os.close(writer)
