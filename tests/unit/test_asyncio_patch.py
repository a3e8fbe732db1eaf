# SPDX-License-Identifier: MIT
"""asyncio.run() and its kind in requests, by start_server(patch=True).

Left alone they would run a second loop inside the first, keep every other
request waiting, and take the thread's current loop away behind them.
"""

import asyncio
import contextvars
import pathlib
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from embedded import KINDS, Service, eager_factory, run_on, served, serving
from greenloop import await_, loop_visible, mounts, sleep

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

needs_runner = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="not on this Python: asyncio.Runner"
)
needs_eager = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="not on this Python: eager tasks"
)

Runs = Callable[[Coroutine[Any, Any, Any]], Any]


def by_run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def by_run_with_debug(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine, debug=True)


def by_run_imported(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.runners.run(coroutine)


def by_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.get_event_loop().run_until_complete(coroutine)


def by_new_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def by_new_current_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """As programs have it that are older than asyncio.run()."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def by_runner(coroutine: Coroutine[Any, Any, Any]) -> Any:
    if sys.version_info < (3, 11):
        return asyncio.run(coroutine)
    with asyncio.Runner() as runner:
        return runner.run(coroutine)


WAYS: list[Runs] = [
    by_run,
    by_run_with_debug,
    by_run_imported,
    by_loop,
    by_new_loop,
    by_new_current_loop,
    by_runner,
]


async def where() -> "tuple[Any, int]":
    await asyncio.sleep(0.01)
    return asyncio.get_running_loop(), threading.get_ident()


# --- run(), Runner.run(), run_until_complete() -----------------------------


@served(patch=True)
async def test_runs_on_the_servers_loop(service: Service) -> None:
    expected = asyncio.get_running_loop(), threading.get_ident()
    for way in WAYS:
        assert await service.call(lambda way=way: way(where())) == expected


@served(patch=True)
async def test_parks_only_that_request(service: Service) -> None:
    """Two requests that wait for each other end only if both go on."""

    async def meet(mine: asyncio.Event, other: asyncio.Event) -> str:
        mine.set()
        await asyncio.wait_for(other.wait(), 5)
        return "met"

    for way in WAYS:
        one, two = asyncio.Event(), asyncio.Event()
        calls = [
            service.begin(lambda w=way, a=one, b=two: w(meet(a, b))),
            service.begin(lambda w=way, a=one, b=two: w(meet(b, a))),
        ]
        assert await asyncio.gather(*calls) == ["met", "met"]


@served(patch=True)
async def test_the_current_loop_stays(service: Service) -> None:
    """Both asyncio.run() and Runner set none at their end."""
    loop = asyncio.get_running_loop()

    def request(way: Runs) -> bool:
        way(where())
        return asyncio.get_event_loop() is loop

    for way in WAYS:
        assert await service.call(request, way)
        assert mounts._current_loop() is loop
        assert asyncio.get_running_loop() is loop


@served(patch=True)
async def test_exceptions_come_back(service: Service) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("from the coroutine")

    for way in WAYS:
        with pytest.raises(LookupError, match="from the coroutine"):
            await service.call(lambda way=way: way(fail()))
        assert await service.call(sleep, 0) is None


@served(patch=True)
async def test_refuses_what_it_refused_before(service: Service) -> None:
    for thing in (1, None, object()):
        with pytest.raises((ValueError, TypeError)):
            await service.call(asyncio.run, thing)


@served(patch=True)
async def test_run_until_complete_takes_futures(service: Service) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.01, future.set_result, 7)
    assert await service.call(loop.run_until_complete, future) == 7
    task = loop.create_task(asyncio.sleep(0.01, 8))
    assert await service.call(loop.run_until_complete, task) == 8


@needs_runner
@served(patch=True)
async def test_a_runner_used_twice(service: Service) -> None:
    """It must not have made a loop of its own, nor have set it."""
    loop = asyncio.get_running_loop()

    def request() -> "list[Any]":
        if sys.version_info < (3, 11):
            return []
        with asyncio.Runner() as runner:
            seen = [runner.get_loop()]
            seen += [runner.run(where())[0], runner.run(where())[0]]
        return [*seen, asyncio.get_event_loop()]

    assert await service.call(request) == [loop] * 4


@served(patch=True)
async def test_outside_of_requests_all_is_as_before(
    service: Service,
) -> None:
    """In threads too, such as those of an executor that a request uses."""

    def elsewhere() -> bool:
        loop, thread = asyncio.run(where())
        return loop is not service.server.get_loop() and (
            thread == threading.get_ident()
        )

    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, elsewhere)

    def request() -> bool:
        own: bool = await_(loop.run_in_executor(None, elsewhere))
        return own

    assert await service.call(request)
    coroutine = where()
    with pytest.raises(RuntimeError, match="running event loop"):
        asyncio.run(coroutine)
    coroutine.close()


# --- tasks -----------------------------------------------------------------


@served(patch=True)
async def test_create_task_in_a_request(service: Service) -> None:
    """It would refuse, for want of a running loop."""
    loop = asyncio.get_running_loop()

    def request() -> "list[Any]":
        first = asyncio.create_task(where(), name="named")
        second = asyncio.tasks.create_task(where())
        assert first.get_name() == "named"
        with pytest.raises(RuntimeError):  # hidden again
            asyncio.get_running_loop()
        sleep(0.001)
        return [await_(first)[0], await_(second)[0]]

    assert await service.call(request) == [loop, loop]


@needs_runner
@served(patch=True)
async def test_create_task_with_a_context(service: Service) -> None:
    """While its greenlet is parked, a context that the server had entered
    could not be entered by a task."""

    async def coroutine() -> str:
        seen = variable.get("unset")
        await asyncio.sleep(0.005)
        variable.set("by the task")
        return seen

    def request() -> "list[str]":
        if sys.version_info < (3, 11):
            return []
        variable.set("by the request")
        copied = contextvars.copy_context()
        task = asyncio.create_task(coroutine(), context=copied)
        sleep(0.02)
        assert copied[variable] == "by the task"
        return [task.result(), variable.get()]

    expected = ["by the request", "by the request"]
    assert await service.call(request) == expected


@needs_eager
@served(patch=True)
async def test_eager_tasks_see_the_loop(service: Service) -> None:
    """Their first step runs inside of the request, where it is hidden."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager_factory)
    seen: list[Any] = []

    async def coroutine() -> str:
        seen.append((asyncio.get_running_loop(), asyncio.current_task()))
        await asyncio.sleep(0.001)
        seen.append((asyncio.get_running_loop(), asyncio.current_task()))
        return "done"

    def request(make: Callable[..., Any]) -> Any:
        seen.clear()
        task = make(coroutine())
        assert len(seen) == 1  # it was eager
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        assert await_(task) == "done"
        assert seen == [(loop, task), (loop, task)]
        return task

    try:
        for make in (asyncio.create_task, loop.create_task):
            await service.call(request, make)
        assert await service.call(await_, coroutine()) == "done"
        assert await service.call(by_run, coroutine()) == "done"
        assert asyncio.current_task() is not None
    finally:
        loop.set_task_factory(None)


# --- the installation ------------------------------------------------------


@served(patch=True)
async def test_names_and_documentation_stay(service: Service) -> None:
    assert asyncio.run.__name__ == "run" and asyncio.run.__doc__
    assert asyncio.create_task.__module__ == "asyncio.tasks"
    assert asyncio.BaseEventLoop.run_until_complete.__doc__


@served(patch=True)
async def test_installed_once(service: Service) -> None:
    """Wrapping the wrappers at each start would end in a deep recursion."""
    from greenloop.compat import asyncio_patch

    before = asyncio.run, asyncio.create_task
    asyncio_patch.install()
    assert (asyncio.run, asyncio.create_task) == before


@served(patch=True)
async def test_loop_visible(service: Service) -> None:
    """For constructors that insist; nested, and kept while parked."""
    loop = asyncio.get_running_loop()

    def hidden() -> bool:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return True

    def request() -> None:
        assert hidden()
        with loop_visible():
            assert asyncio.get_running_loop() is loop
            sleep(0.002)
            assert asyncio.get_running_loop() is loop
            assert asyncio.current_task() is None
            with loop_visible():
                await_(asyncio.sleep(0))
                assert asyncio.get_running_loop() is loop
            assert asyncio.get_running_loop() is loop
        assert hidden()
        sleep(0.002)
        assert hidden()
        manager = loop_visible()
        with manager, pytest.raises(RuntimeError, match="in use"):
            manager.__enter__()
        assert hidden()

    def other() -> None:
        for _ in range(10):
            assert hidden()
            sleep(0.001)

    calls = [service.begin(f) for f in (request, other, other)]
    assert await asyncio.gather(*calls) == [None] * 3
    with loop_visible():  # in the hub: no effect
        assert asyncio.get_running_loop() is loop
    assert asyncio.get_running_loop() is loop


@pytest.mark.parametrize("kind", KINDS)
def test_loop_visible_left_late(kind: str) -> None:
    """By code that outlives its request: it changes no other one's view."""
    left: list[loop_visible] = []

    def leaves_it() -> None:
        left.append(loop_visible())
        left[-1].__enter__()

    def sees_it() -> asyncio.AbstractEventLoop:
        with loop_visible():
            left.pop().__exit__(None, None, None)
            return asyncio.get_running_loop()

    async def main() -> None:
        async with serving(cores=1) as service:
            await service.call(leaves_it)
            assert await service.call(sees_it) is asyncio.get_running_loop()
            await service.call(leaves_it)

    run_on(kind, main)
    left.pop().__exit__(None, None, None)


@pytest.mark.parametrize("kind", ["run", "uvloop"])
def test_not_without_being_asked(kind: str) -> None:
    """Embedded, the process is not ours.  In an interpreter of its own."""
    source = textwrap.dedent("""
        import asyncio, sys
        sys.path.insert(0, sys.argv[1])
        from embedded import run_on, serving
        names = ["run", "create_task", "Runner", "BaseEventLoop"]
        before = [getattr(asyncio, n, None) for n in names]
        method = asyncio.BaseEventLoop.run_until_complete
        async def main():
            # Else asyncio's debug mode complains where others are busy.
            asyncio.get_running_loop().slow_callback_duration = 60
            async with serving() as service:
                await service.call(int)
                try:
                    await service.call(asyncio.create_task, None)
                except RuntimeError as error:
                    print(error)
            assert before == [getattr(asyncio, n, None) for n in names]
            assert method is asyncio.BaseEventLoop.run_until_complete
        run_on(sys.argv[2], main)
    """)
    folder = str(pathlib.Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", source, folder, kind],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("no running event loop\n", "")


@needs_runner
def test_uvloop_run_in_a_request() -> None:
    """It goes by Runner or asyncio.run(), so it parks as they do."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        from embedded import serving

        async with serving(patch=True) as service:
            result = await service.call(uvloop.run, where())
            assert result[0] is asyncio.get_running_loop()

    run_on("uvloop", main)
