# SPDX-License-Identifier: MIT
"""Waiting from synchronous code: greenloop.await_() and greenloop.sleep()."""

import asyncio
import contextvars
import math
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import greenlet
import greenloop
import pytest
from embedded import Service, eager_factory, served, until
from greenloop import await_, sleep

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

# Raised by no part of the server.
OUR_ERROR = LookupError("ours")


async def echo(value: Any, seconds: float = 0) -> Any:
    await asyncio.sleep(seconds)
    return value


async def fail() -> None:
    await asyncio.sleep(0)
    raise OUR_ERROR


class Awaitable:
    """Neither a coroutine nor a future."""

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(0).__await__()
        return "awaited"


# --- await_: what it takes, what it gives ----------------------------------


@served()
async def test_result_of_each_kind_of_awaitable(service: Service) -> None:
    """A kind that is forgotten would be a TypeError for its users."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.01, future.set_result, "future")
    task = loop.create_task(echo("task", 0.01))
    gathered = asyncio.gather(echo(1), echo(2, 0.01))
    assert await service.call(await_, echo("coroutine")) == "coroutine"
    assert await service.call(await_, future) == "future"
    assert await service.call(await_, task) == "task"
    assert await service.call(await_, gathered) == [1, 2]
    assert await service.call(await_, Awaitable()) == "awaited"
    event = asyncio.Event()
    loop.call_later(0.01, event.set)
    assert await service.call(await_, event.wait()) is True


@served()
async def test_what_is_done_gives_its_result_at_once(service: Service) -> None:
    """Parking for it would lose a turn, and a lost wake-up would hang."""
    loop = asyncio.get_running_loop()
    done, failed = loop.create_future(), loop.create_future()
    done.set_result(5)
    failed.set_exception(OUR_ERROR)

    def check() -> int:
        switches: list[int] = []
        loop.call_soon(switches.append, 1)
        result: int = await_(done)
        with pytest.raises(LookupError):
            await_(failed)
        assert switches == []  # the loop did not run meanwhile
        return result

    assert await service.call(check) == 5


@served()
async def test_exception_of_the_coroutine(service: Service) -> None:
    def check() -> BaseException:
        with pytest.raises(LookupError) as caught:
            await_(fail())
        names = [entry.name for entry in caught.traceback]
        assert "fail" in names  # it says where it came from
        return caught.value

    assert await service.call(check) is OUR_ERROR


@served()
async def test_refuses_what_cannot_be_awaited(service: Service) -> None:
    for thing in (None, 1, "text", print, object(), [echo]):
        with pytest.raises(TypeError, match="awaitable"):
            await service.call(await_, thing)
    assert await service.call(await_, echo(1)) == 1


@served()
async def test_refuses_futures_of_other_loops(service: Service) -> None:
    """Nobody would ever wake the request: that loop does not run."""
    other = asyncio.new_event_loop()
    try:
        future = other.create_future()
        with pytest.raises(RuntimeError, match="another event loop"):
            await service.call(await_, future)
        assert not future.done()
    finally:
        other.close()


def test_outside_of_a_request() -> None:
    """There is nothing to park: in the hub it would stop the loop."""

    async def in_a_coroutine() -> None:
        with pytest.raises(RuntimeError, match="serves a request"):
            sleep(0)
        coroutine = echo(1)
        with pytest.raises(RuntimeError, match="serves a request"):
            await_(coroutine)
        coroutine.close()

    asyncio.run(in_a_coroutine())
    with pytest.raises(RuntimeError, match="serves a request"):
        sleep(0)


@served()
async def test_outside_of_a_request_while_one_is_served(
    service: Service,
) -> None:
    """A coroutine that a request waits for is not the request itself."""
    caught: list[str] = []

    async def coroutine() -> None:
        for call in (lambda: sleep(0), lambda: await_(loop.create_future())):
            with pytest.raises(RuntimeError) as error:
                call()
            caught.append(str(error.value))

    loop = asyncio.get_running_loop()
    await service.call(await_, coroutine())
    assert len(caught) == 2 and all("request" in text for text in caught)


@served()
async def test_nested(service: Service) -> None:
    """What is waited for may itself be served by a request."""

    def inner(n: int) -> int:
        sleep(0)
        result: int = 1 + (await_(service.call(inner, n - 1)) if n else 0)
        return result

    assert await service.call(inner, 20) == 21


@served(cores=10)
async def test_thousands_at_once(service: Service) -> None:
    """Each greenlet of one request waits; each gets its own answer."""
    count = 3000

    def many() -> "list[Any]":
        results: list[Any] = []
        begin = time.monotonic()
        for n in range(count):
            child = greenlet.greenlet(
                lambda n=n: results.append(await_(echo(n, 0.05)))
            )
            # Its first park gives control to the hub, not to us.
            asyncio.get_event_loop().call_soon(child.switch)
        while len(results) < count:
            sleep(0.01)
            assert time.monotonic() - begin < 20
        return results

    assert sorted(await service.call(many)) == list(range(count))


class Last:
    """What a request leaves in its context, and whose finalizer waits."""

    refused = 0

    def __init__(self, wait: Callable[[Any], Any]) -> None:
        self.wait = wait

    def __del__(self) -> None:
        coroutine = echo(1)
        try:
            self.wait(coroutine)
        except RuntimeError:
            Last.refused += 1
        finally:
            coroutine.close()


@served(patch=True)
async def test_not_once_the_request_has_ended(service: Service) -> None:
    """As finalizers may try of what the request's context held last."""
    kept: contextvars.ContextVar[object] = contextvars.ContextVar("kept")
    loop = asyncio.get_running_loop()
    Last.refused = 0
    for wait in (await_, asyncio.run):
        await service.call(lambda wait=wait: (kept.set(Last(wait)), None)[1])
        await service.idle()
    assert Last.refused == 2
    assert await service.call(lambda: asyncio.get_event_loop() is loop)


@served()
async def test_nor_before_the_next_one_begins(service: Service) -> None:
    """Requests that come together run on one core, one after the other."""
    kept: contextvars.ContextVar[object] = contextvars.ContextVar("kept")
    Last.refused = 0

    def leaves() -> None:
        kept.set(Last(await_))

    calls = [service.begin(leaves) for _ in range(50)]
    assert await asyncio.gather(*calls) == [None] * 50
    await service.idle()
    assert Last.refused == 50


# --- timeouts and cancellation ---------------------------------------------


@served()
async def test_timeout_cancels(service: Service) -> None:
    ends: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    def check() -> float:
        begin = time.monotonic()
        with pytest.raises(asyncio.TimeoutError, match="timed out"):
            await_(endless(), timeout=0.05)
        return time.monotonic() - begin

    assert 0.05 <= await service.call(check) < 2
    assert ends == ["cancelled"]


@served()
async def test_timeout_waits_for_the_cancellation(service: Service) -> None:
    """As asyncio.wait_for() does: cleaning up may take its time, and a
    result that comes nevertheless is not thrown away."""

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ends.append("cleaned up")

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "a result"

    ends: list[str] = []
    with pytest.raises(asyncio.TimeoutError):
        await service.call(lambda: await_(slow_to_end(), timeout=0.01))
    assert ends == ["cleaned up"]
    got = await service.call(lambda: await_(stubborn(), timeout=0.01))
    assert got == "a result"


@served()
async def test_timeout_that_does_not_come(service: Service) -> None:
    """Its timer must be gone: it would wake the request out of a later
    wait."""

    def check() -> float:
        assert await_(echo(1, 0.01), timeout=0.05) == 1
        begin = time.monotonic()
        sleep(0.12)
        return time.monotonic() - begin

    assert await service.call(check) >= 0.12


@served()
async def test_timeout_values(service: Service) -> None:
    def zero() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await_(asyncio.get_event_loop().create_future(), timeout=0)

    def bad() -> None:
        for timeout in (-1, -0.001, math.nan):
            coroutine = echo(1)
            with pytest.raises(ValueError, match="0 seconds or more"):
                await_(coroutine, timeout=timeout)
            coroutine.close()
        coroutine = echo(1)
        with pytest.raises(TypeError):
            await_(coroutine, timeout="1")  # type: ignore[arg-type]
        coroutine.close()

    await service.call(zero)
    await service.call(bad)
    for huge in (1e9, 1e300, math.inf, 10**15):
        assert await service.call(lambda t=huge: await_(echo(1), t)) == 1


@served()
async def test_a_cancelled_awaitable_raises_in_the_request(
    service: Service,
) -> None:
    task = asyncio.get_running_loop().create_task(echo(1, 60))
    calling = service.begin(await_, task)
    await until(lambda: service.stats["busy"] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert task.cancelled()


@served()
async def test_what_is_thrown_in_cancels_the_awaitable(
    service: Service,
) -> None:
    """Else a task would go on for nobody, and then wake a stranger."""
    me: list[Any] = []
    task = asyncio.get_running_loop().create_task(echo(1, 60))

    def request() -> str:
        me.append(greenlet.getcurrent())
        with pytest.raises(LookupError):
            await_(task)
        sleep(0.02)  # a wake-up by the task would end this early
        return "went on"

    calling = service.begin(request)
    await until(lambda: me)
    me[0].throw(OUR_ERROR)
    assert await calling == "went on"
    await until(task.cancelled)


@served()
async def test_a_timeout_while_something_is_thrown(service: Service) -> None:
    """Both in one turn of the loop: the request must resume once."""
    me: list[Any] = []

    def request() -> str:
        me.append(greenlet.getcurrent())
        try:
            await_(asyncio.get_event_loop().create_future(), 0.03)
        except LookupError:
            return "thrown"
        except asyncio.TimeoutError:
            return "timed out"
        return "woken"

    calling = service.begin(request)
    await until(lambda: me)
    time.sleep(0.04)  # blocks the loop: the timer is due when it goes on
    me[0].throw(OUR_ERROR)
    assert await calling == "thrown"


@served()
async def test_a_late_done_callback_wakes_nobody(service: Service) -> None:
    """The future's callback is scheduled already when something is thrown
    in; it must not resume the greenlet's next wait."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    me: list[Any] = []

    def request() -> float:
        me.append(greenlet.getcurrent())
        with pytest.raises(LookupError):
            await_(future)
        begin = time.monotonic()
        sleep(0.05)
        return time.monotonic() - begin

    calling = service.begin(request)
    await until(lambda: me)
    future.set_result(1)  # schedules the callback
    me[0].throw(OUR_ERROR)
    assert await calling >= 0.05


# --- contexts ---------------------------------------------------------------


@served()
async def test_the_coroutine_runs_in_the_requests_context(
    service: Service,
) -> None:
    """What it sets the request sees (3.11 and later), and the reverse."""

    async def coroutine() -> str:
        seen = variable.get("unset")
        await asyncio.sleep(0)
        variable.set("by the coroutine")
        return seen

    def request() -> "tuple[str, str]":
        variable.set("by the request")
        seen: str = await_(coroutine())
        return seen, variable.get()

    if sys.version_info >= (3, 11):
        after = "by the coroutine"
    else:
        after = "by the request"  # documented: a copy
    assert await service.call(request) == ("by the request", after)
    assert variable.get("unset") == "unset"


# --- sleep ------------------------------------------------------------------


@served()
async def test_sleep_is_never_early(service: Service) -> None:
    def measure() -> "list[tuple[float, float]]":
        taken = []
        for seconds in (0.0001, 0.001, 0.0015, 0.0049, 0.01, 0.0299):
            begin = time.monotonic()
            sleep(seconds)
            taken.append((time.monotonic() - begin, seconds))
        return taken

    for took, seconds in await service.call(measure):
        assert took >= seconds
    fastest = min(took for took, _ in await service.call(measure))
    assert fastest < 0.02  # milliseconds, not ticks of a coarse clock


@served()
async def test_sleep_takes_any_number(service: Service) -> None:
    class Number:
        def __float__(self) -> float:
            return 0.001

    for seconds in (0, 0.0, 1e-9, True and 0, Number()):
        assert await service.call(sleep, seconds) is None
    for wrong in (-1, -1e-9, -math.inf, math.nan):
        with pytest.raises(ValueError, match="0 seconds or more"):
            await service.call(sleep, wrong)
    others: list[Any] = [None, "1", [], 1j]
    for other in others:
        with pytest.raises(TypeError):
            await service.call(sleep, other)


@served()
async def test_sleep_of_zero_lets_others_run(service: Service) -> None:
    """Otherwise a loop around sleep(0) would keep everybody waiting."""
    loop = asyncio.get_running_loop()

    def request() -> int:
        ran: list[int] = []
        loop.call_soon(ran.append, 1)
        for turn in range(1000):
            if ran:
                return turn
            sleep(0)
        return -1

    assert 1 <= await service.call(request) < 10


@served()
async def test_sleep_of_zero_takes_turns(service: Service) -> None:
    order: list[str] = []

    def request(name: str) -> None:
        for _ in range(3):
            order.append(name)
            sleep(0)

    await asyncio.gather(
        *(service.begin(request, name) for name in ("a", "b"))
    )
    # The first may begin a turn earlier, but does not run through alone.
    assert order.index("b") < 3 + order[:4].count("a") and len(order) == 6


@served()
async def test_huge_sleeps_wait_and_can_be_left(service: Service) -> None:
    """A time that overflows anything would return at once or never end."""
    parked: list[Any] = []

    def request(seconds: float) -> str:
        parked.append(greenlet.getcurrent())
        with pytest.raises(LookupError):
            sleep(seconds)
        return "left"

    huge = (3e6, 1e9, 9.3e9, 1e18, 1e300, math.inf)
    calls = [service.begin(request, seconds) for seconds in huge]
    await until(lambda: len(parked) == len(huge))
    await asyncio.sleep(0.05)
    assert not any(call.done() for call in calls)
    assert await service.call(sleep, 0.001) is None  # timers still work
    for me in parked:
        me.throw(OUR_ERROR)
    assert await asyncio.gather(*calls) == ["left"] * len(huge)


@served()
async def test_an_integer_beyond_floats(service: Service) -> None:
    with pytest.raises(OverflowError):
        await service.call(sleep, 10**400)


@served(cores=300)
async def test_sleeps_are_concurrent(service: Service) -> None:
    begin = time.monotonic()
    await asyncio.gather(*(service.begin(sleep, 0.2) for _ in range(200)))
    assert 0.2 <= time.monotonic() - begin < 4  # one after the other: 40


Waiting = Callable[[], Any]


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="not on this Python: eager tasks"
)
@served()
async def test_waiting_inside_of_an_eager_task(service: Service) -> None:
    """Its first step runs in the request's greenlet: parking it there would
    leave the loop believing that the task still runs."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager_factory)

    async def waits(call: Waiting) -> None:
        with pytest.raises(RuntimeError, match="inside of a coroutine"):
            call()

    try:
        for call in (lambda: sleep(0), lambda: await_(loop.create_future())):
            await service.call(await_, waits(call))
        assert await service.call(await_, echo("eager")) == "eager"
    finally:
        loop.set_task_factory(None)


def test_signatures_and_documentation() -> None:
    for function in (greenloop.await_, greenloop.sleep):
        text = function.__doc__
        assert text is not None and "Raises" in text
