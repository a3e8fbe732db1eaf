# SPDX-License-Identifier: MIT
"""Functions that run when a worker starts and when it stops.

A worker is here what serves on one loop: the process of the command line, or
all servers that start_server() made on a loop.  The functions run once for
it, before its first server listens and after its last one has ended, so that
what they make (a connection pool, a client session) lives as long as the
worker does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from greenloop import _core

__all__ = ["enter", "leave", "on_worker_start", "on_worker_stop"]

Hook = Callable[[], Any]
HookT = TypeVar("HookT", bound=Hook)

_start_hooks: list[Hook] = []
_stop_hooks: list[Hook] = []


@dataclasses.dataclass
class _Worker:
    servers: int
    # None once it is done: a task keeps its loop, our weak key, alive.
    starting: asyncio.Task[None] | None
    stopping: asyncio.Future[None] | None = None  # set while it stops


_workers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Worker]
_workers = weakref.WeakKeyDictionary()


def on_worker_start(function: HookT) -> HookT:
    """Has a function run when the worker starts; usable as a decorator.

    function  takes no arguments: a coroutine function, or one that may use
              await_(), sleep() and the like, as a request may

    Those registered run one after the other, in this order, after the
    application was loaded and before the first connection is accepted.  What
    one raises ends the start: the program ends with status 22, and
    start_server() raises it.  Returns the function.  Raises RuntimeError if
    a worker of this process runs already.
    """
    if _workers:
        raise RuntimeError(
            "on_worker_start() came too late: the worker has started; "
            "register functions while the application is imported"
        )
    _start_hooks.append(function)
    return function


def on_worker_stop(function: HookT) -> HookT:
    """Has a function run when the worker stops; usable as a decorator.

    function  as for on_worker_start()

    Those registered run one after the other, the last one first, after the
    last request and the last spawned function, within the graceful timeout.
    What one raises is logged, and the others still run.  Returns the
    function.
    """
    _stop_hooks.append(function)
    return function


async def enter(loop: asyncio.AbstractEventLoop) -> None:
    """For each server, mounted and not yet listening: runs what starts.

    A worker that still stops is waited for.  Raises what a function raised;
    leave() is then not to be called.
    """
    worker = _workers.get(loop)
    while worker is not None and worker.stopping is not None:
        await asyncio.shield(worker.stopping)
        worker = _workers.get(loop)
    if worker is None:
        task = loop.create_task(_start_all())
        worker = _workers[loop] = _Worker(0, task)
    worker.servers += 1
    starting = worker.starting
    if starting is None:
        return
    try:
        # Shielded: another server's start may wait for it as well.
        await asyncio.shield(starting)
        worker.starting = None
    except BaseException:
        worker.servers -= 1
        if worker.servers == 0:
            starting.cancel()
            del _workers[loop]
        raise


async def leave(
    loop: asyncio.AbstractEventLoop,
    report: Callable[[str, BaseException | None], None],
    is_over: Callable[[], bool],
) -> None:
    """For each server after its last request: the last one runs what stops.

    report   is told of each function that fails
    is_over  whether a cancellation means that the time for this is over
    """
    worker = _workers[loop]
    worker.servers -= 1
    if worker.servers > 0:
        return
    worker.stopping = loop.create_future()
    try:
        await _stop_all(report, is_over)
    finally:
        del _workers[loop]
        worker.stopping.set_result(None)


async def _start_all() -> None:
    for hook in list(_start_hooks):
        await _call(hook)


async def _stop_all(
    report: Callable[[str, BaseException | None], None],
    is_over: Callable[[], bool],
) -> None:
    for hook in reversed(_stop_hooks):
        name = getattr(hook, "__qualname__", hook)
        try:
            await _call(hook)
        except asyncio.CancelledError as error:
            if is_over():
                report(f"the graceful timeout ended {name}", None)
                raise
            report(f"{name}, called at the worker's stop, failed", error)
        except Exception as error:
            report(f"{name}, called at the worker's stop, failed", error)


async def _call(hook: Hook) -> None:
    """In a greenlet, unless it is a coroutine function."""
    try:
        if inspect.iscoroutinefunction(hook):
            await hook()
            return
        result = await _core.spawn(hook)
        if inspect.isawaitable(result):
            await result
    except SystemExit as error:  # a task would take the loop down with it
        raise RuntimeError(f"sys.exit({error.code!r}) was called") from error
