# SPDX-License-Identifier: MIT
"""on_worker_start() and on_worker_stop() with start_server()."""

import asyncio
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import greenloop
import pytest
from embedded import KINDS, Service, run_on, serving, until
from greenloop import hooks

Log = "list[str]"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> "Iterator[list[str]]":
    """What the hooks tell; there are none but the test's own."""
    monkeypatch.setattr(hooks, "_start_hooks", [])
    monkeypatch.setattr(hooks, "_stop_hooks", [])
    # Other tests may have left a server that nobody closed.
    monkeypatch.setattr(hooks, "_workers", weakref.WeakKeyDictionary())
    yield []
    assert not hooks._workers


def register(log: "list[str]") -> None:
    @greenloop.on_worker_start
    async def first() -> None:
        await asyncio.sleep(0.001)
        log.append("first")

    @greenloop.on_worker_start
    def second() -> None:
        greenloop.sleep(0.001)
        log.append("second")

    @greenloop.on_worker_stop
    def last() -> None:
        greenloop.await_(asyncio.sleep(0.001))
        log.append("last")

    @greenloop.on_worker_stop
    async def before() -> None:
        await asyncio.sleep(0.001)
        log.append("before")


@pytest.mark.parametrize("kind", KINDS)
def test_order(kind: str, log: "list[str]") -> None:
    register(log)

    async def main() -> None:
        async with serving() as service:
            assert log == ["first", "second"]
            assert await service.call(log.append, "request") is None
        assert log[2:] == ["request", "before", "last"]

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_they_stop_after_the_last_request(kind: str, log: "list[str]") -> None:
    register(log)

    def in_request() -> None:
        greenloop.sleep(0.05)
        log.append("request")

    def spawned() -> None:
        try:
            greenloop.sleep(60)
        finally:
            greenloop.sleep(0.02)
            log.append("spawned")

    async def main() -> None:
        async with serving() as service:
            greenloop.spawn(spawned)
            call = service.begin(in_request)
            while service.stats["busy"] == 0:
                await asyncio.sleep(0)
        await call
        assert log[2:] == ["request", "spawned", "before", "last"]

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_once_for_the_servers_of_a_loop(kind: str, log: "list[str]") -> None:
    register(log)

    async def one(leave: asyncio.Event) -> None:
        async with serving() as service:
            assert log == ["first", "second"]
            await service.call(len, "")
            await leave.wait()

    async def main() -> None:
        leave = [asyncio.Event(), asyncio.Event()]
        servers = [asyncio.ensure_future(one(event)) for event in leave]
        leave[0].set()
        await servers[0]
        assert log == ["first", "second"]
        leave[1].set()
        await servers[1]
        assert log == ["first", "second", "before", "last"]

    run_on(kind, main)
    run_on(kind, main_again(log))


def main_again(log: "list[str]") -> Any:
    """A second run in the same process starts and stops once more."""

    async def main() -> None:
        log.clear()
        async with serving():
            assert log == ["first", "second"]
        assert log == ["first", "second", "before", "last"]

    return main


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_while_the_last_server_stops(
    kind: str, log: "list[str]"
) -> None:
    """What the one makes is not to be closed by the other."""
    register(log)

    @greenloop.on_worker_stop
    async def slow() -> None:
        log.append("slow")
        await asyncio.sleep(0.05)

    async def starts(server: str) -> None:
        async with serving() as service:
            log.append(server)
            await service.call(len, "")

    async def main() -> None:
        async with serving() as service:
            service.server.close()
            await until(lambda: "slow" in log)
            tasks = [asyncio.ensure_future(starts(name)) for name in "ab"]
            given_up = asyncio.ensure_future(starts("c"))
            await asyncio.sleep(0)
            given_up.cancel()
        await asyncio.gather(*tasks)
        start, stop = ["first", "second"], ["slow", "before", "last"]
        assert log[:7] == [*start, *stop, *start]
        assert sorted(log[7:9]) == ["a", "b"]
        assert log[9:] == stop

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(3)])
def test_a_start_that_fails(
    kind: str, error: BaseException, log: "list[str]"
) -> None:
    @greenloop.on_worker_start
    async def fails() -> None:
        raise error

    register(log)

    async def main() -> None:
        with pytest.raises((ValueError, RuntimeError)) as caught:
            async with serving():
                pass
        assert error in (caught.value, caught.value.__cause__)
        assert log == []  # nothing of it began
        with pytest.raises(RuntimeError):
            greenloop.spawn(len, "")  # no engine is left behind

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_is_cancelled(kind: str, log: "list[str]") -> None:
    @greenloop.on_worker_start
    def parks() -> None:
        log.append("parked")
        try:
            greenloop.sleep(60)
        finally:
            log.append("unwound")

    async def starts() -> None:
        async with serving():
            pass

    async def main() -> None:
        task = asyncio.ensure_future(starts())
        while not log:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["parked", "unwound"]

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_that_fails(
    kind: str, log: "list[str]", caplog: pytest.LogCaptureFixture
) -> None:
    register(log)

    @greenloop.on_worker_stop
    async def fails() -> None:
        raise ValueError("mine")

    @greenloop.on_worker_stop
    def leaves() -> None:
        raise SystemExit(3)

    @greenloop.on_worker_stop
    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        async with serving():
            pass

    with caplog.at_level(logging.ERROR, "greenloop"):
        run_on(kind, main)
    assert log == ["first", "second", "before", "last"]
    for name in ("fails", "leaves", "cancelled"):
        assert f"{name}, called at the worker's stop, failed" in caplog.text
    assert "ValueError: mine" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_that_takes_too_long(
    kind: str, log: "list[str]", caplog: pytest.LogCaptureFixture
) -> None:
    register(log)

    @greenloop.on_worker_stop
    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            log.append("cut")

    async def main() -> None:
        async with serving(graceful_timeout=0.1):
            pass

    with caplog.at_level(logging.ERROR, "greenloop"):
        run_on(kind, main)
    assert log == ["first", "second", "cut"]
    assert "the graceful timeout ended" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_requests_that_take_all_the_time(kind: str, log: "list[str]") -> None:
    """The stop hooks still have a moment of their own."""
    register(log)

    def stubborn() -> None:
        for _ in range(2):
            try:
                greenloop.sleep(60)
            except BaseException:
                log.append("not yet")

    async def main() -> None:
        service: Service
        async with serving(graceful_timeout=0.1) as service:
            call = service.begin(stubborn)
            while service.stats["busy"] == 0:
                await asyncio.sleep(0)
        await call
        assert log[2:] == ["not yet", "not yet", "before", "last"]

    run_on(kind, main)


def test_too_late(log: "list[str]") -> None:
    async def main() -> None:
        async with serving():
            with pytest.raises(RuntimeError, match="too late"):
                greenloop.on_worker_start(log.clear)
            greenloop.on_worker_stop(lambda: log.append("stopped"))
        assert log == ["stopped"]

    run_on("run", main)
