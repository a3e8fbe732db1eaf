# SPDX-License-Identifier: MIT
"""greenloop.spawn(): functions in greenlets of their own, as futures."""

import asyncio
import contextvars
import gc
import threading
from typing import Any

import greenlet
import greenloop
import pytest
from embedded import KINDS, Service, run_on, served, serving, until

VARIABLE: "contextvars.ContextVar[str]" = contextvars.ContextVar(
    "variable", default="unset"
)


def double(number: int, *, plus: int = 0) -> int:
    greenloop.sleep(0.001)
    return 2 * number + plus


def park(log: "list[str]") -> None:
    """Waits to be ended; its end waits too."""
    log.append("parked")
    try:
        greenloop.sleep(60)
    except BaseException as error:
        log.append(type(error).__name__)
        raise
    finally:
        greenloop.sleep(0.01)
        log.append("unwound")


# --- results ----------------------------------------------------------------


@served(cores=1)
async def test_from_everywhere(service: Service) -> None:
    def in_request() -> Any:
        futures = [greenloop.spawn(double, n, plus=1) for n in range(5)]
        return [greenloop.await_(future) for future in futures]

    # The one core is taken by the request: what it spawns needs none.
    assert await service.call(in_request) == [1, 3, 5, 7, 9]
    assert await greenloop.spawn(double, 4) == 8
    loop = asyncio.get_running_loop()
    from_callback: asyncio.Future[int] = loop.create_future()
    loop.call_soon(
        lambda: greenloop.spawn(double, 5).add_done_callback(
            lambda future: from_callback.set_result(future.result())
        )
    )
    assert await from_callback == 10
    nested = greenloop.spawn(
        lambda: greenloop.await_(greenloop.spawn(double, 6))
    )
    assert isinstance(nested, asyncio.Future)
    assert await nested == 12
    assert service.stats["spawned"] == 0


@served()
async def test_it_begins_later_and_never_waits(service: Service) -> None:
    begun: list[int] = []
    future = greenloop.spawn(begun.append, 1)
    assert not begun
    assert service.stats["spawned"] == 1
    await future
    assert begun == [1]


@served()
async def test_many(service: Service) -> None:
    def greenlets() -> int:
        gc.collect()
        return sum(type(g).__name__ == "Core" for g in gc.get_objects())

    before = greenlets()
    futures = [greenloop.spawn(double, n) for n in range(300)]
    assert sum(await asyncio.gather(*futures)) == 300 * 299
    # Not every greenlet of the crowd stays; those that do are used again.
    assert 0 < greenlets() - before <= 64
    futures = [greenloop.spawn(double, n) for n in range(300)]
    assert sum(await asyncio.gather(*futures)) == 300 * 299
    assert service.stats["spawned"] == 0


@served()
async def test_context(service: Service) -> None:
    def change() -> str:
        before = VARIABLE.get()
        VARIABLE.set("changed")
        greenloop.sleep(0.001)
        assert VARIABLE.get() == "changed"
        return before

    def in_request() -> "list[str]":
        VARIABLE.set("of the request")
        future = greenloop.spawn(change)
        VARIABLE.set("too late")
        return [greenloop.await_(future), VARIABLE.get()]

    VARIABLE.set("of the task")
    assert await service.call(in_request) == ["of the request", "too late"]
    assert await greenloop.spawn(change) == "of the task"
    assert VARIABLE.get() == "of the task"


@served()
async def test_views(service: Service) -> None:
    def look() -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return asyncio.get_event_loop(), greenlet.getcurrent().parent

    loop, parent = await greenloop.spawn(look)
    assert loop is asyncio.get_running_loop()
    assert parent is greenlet.getcurrent()
    assert asyncio.current_task() is not None


# --- exceptions -------------------------------------------------------------


def fail(error: BaseException) -> None:
    greenloop.sleep(0)
    raise error


@served()
async def test_exceptions(service: Service) -> None:
    error = ZeroDivisionError("mine")
    with pytest.raises(ZeroDivisionError) as caught:
        await greenloop.spawn(fail, error)
    assert caught.value is error
    future = greenloop.spawn(fail, SystemExit(3))
    await until(future.done)
    assert isinstance(future.exception(), SystemExit)
    with pytest.raises((TypeError, RuntimeError), match="StopIteration"):
        await greenloop.spawn(fail, StopIteration(1))
    for ended in (greenlet.GreenletExit(), asyncio.CancelledError()):
        with pytest.raises(asyncio.CancelledError):
            await greenloop.spawn(fail, ended)


@served()
async def test_what_nobody_retrieves_is_logged(service: Service) -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    future = greenloop.spawn(fail, ZeroDivisionError("lost"))
    await until(future.done)
    del future

    def logged() -> bool:
        gc.collect()
        return bool(told)

    await until(logged)
    assert "never retrieved" in told[0]["message"]
    assert isinstance(told[0]["exception"], ZeroDivisionError)


@served()
async def test_bad_calls(service: Service) -> None:
    for args in ((), (5,)):
        with pytest.raises(TypeError):
            greenloop.spawn(*args)
    with pytest.raises(TypeError):
        await greenloop.spawn(double)  # type: ignore[call-arg]
    assert service.stats["spawned"] == 0


def test_without_a_server() -> None:
    with pytest.raises(RuntimeError, match="serves"):
        greenloop.spawn(double, 1)


@served(["run"])
async def test_from_another_thread(service: Service) -> None:
    errors: list[BaseException] = []
    log: list[str] = []
    future = greenloop.spawn(park, log)
    await until(lambda: log)

    def elsewhere() -> None:
        for call in (lambda: greenloop.spawn(double, 1), future.cancel):
            try:
                call()
            except RuntimeError as error:
                errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(errors) == 2
    assert "call_soon_threadsafe" in str(errors[1])
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future


# --- cancelling, both ways --------------------------------------------------


@served()
async def test_cancelling_the_future_throws(service: Service) -> None:
    log: list[str] = []
    future = greenloop.spawn(park, log)
    await until(lambda: log == ["parked"])
    assert future.cancel()
    assert not future.done()  # as a task: when the function has ended
    assert future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert future.cancelled()
    assert log == ["parked", "CancelledError", "unwound"]
    assert not future.cancel()


@served()
async def test_cancelling_before_it_begins(service: Service) -> None:
    begun: list[int] = []
    future = greenloop.spawn(begun.append, 1)
    assert future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert not begun
    assert service.stats["spawned"] == 0


@served()
async def test_a_function_may_catch_it(service: Service) -> None:
    def stubborn() -> str:
        try:
            greenloop.sleep(60)
        except asyncio.CancelledError:
            return "a result"
        return "not cancelled"

    future = greenloop.spawn(stubborn)
    await asyncio.sleep(0.01)
    future.cancel()
    assert await future == "a result"


@served()
async def test_cancelling_itself(service: Service) -> None:
    futures: list[asyncio.Future[None]] = []
    log: list[str] = []

    def suicidal() -> None:
        futures[0].cancel()
        log.append("still here")
        park(log)

    futures.append(greenloop.spawn(suicidal))
    with pytest.raises(asyncio.CancelledError):
        await futures[0]
    assert log == ["still here", "parked", "CancelledError", "unwound"]


@served()
async def test_cancelling_who_awaits_reaches_it(service: Service) -> None:
    log: list[str] = []

    async def waits() -> None:
        await greenloop.spawn(park, log)

    task = asyncio.ensure_future(waits())
    await until(lambda: log == ["parked"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["parked", "CancelledError", "unwound"]


@served()
async def test_a_timeout_of_await_reaches_it(service: Service) -> None:
    log: list[str] = []

    def in_request() -> None:
        with pytest.raises(asyncio.TimeoutError):
            greenloop.await_(greenloop.spawn(park, log), timeout=0.02)

    await service.call(in_request)
    assert log == ["parked", "CancelledError", "unwound"]


@served()
async def test_cancelling_reaches_what_it_awaits(service: Service) -> None:
    inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future = greenloop.spawn(greenloop.await_, inner)
    await asyncio.sleep(0.01)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert inner.cancelled()


@served()
async def test_from_inside_out(service: Service) -> None:
    inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future = greenloop.spawn(greenloop.await_, inner)
    await asyncio.sleep(0.01)
    inner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    assert future.cancelled()


# --- the server's end -------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_ends_what_was_spawned(kind: str) -> None:
    log: list[str] = []

    async def main() -> None:
        async with serving() as service:
            running = greenloop.spawn(park, log)
            await until(lambda: log == ["parked"])
            service.server.close()
            waiting = greenloop.spawn(log.append, "begun")
            await service.server.wait_closed()
        assert running.cancelled()
        assert waiting.cancelled() or log.count("begun") == 1
        assert log[-1] == "unwound"
        assert log[1] in ("GreenletExit", "begun")

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_requests_end_first(kind: str) -> None:
    log: list[str] = []

    async def main() -> None:
        async with serving() as service:

            def in_request() -> None:
                future = greenloop.spawn(double, 1)
                greenloop.sleep(0.05)
                log.append(f"got {greenloop.await_(future)}")

            spawned = greenloop.spawn(park, log)
            call = service.begin(in_request)
            await until(lambda: service.stats["busy"] == 1)
            service.server.close()
            await call
            await service.server.wait_closed()
        assert spawned.cancelled()
        assert log == ["parked", "got 2", "GreenletExit", "unwound"]

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_end_is_given_up(kind: str) -> None:
    async def main() -> None:
        def stubborn() -> None:
            while True:
                try:
                    greenlet.getcurrent().parent.switch()
                except greenlet.GreenletExit:
                    pass

        async with serving(graceful_timeout=0.1):
            future = greenloop.spawn(stubborn)
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await future

    run_on(kind, main)
