# SPDX-License-Identifier: MIT
"""What of asyncio would go wrong in a request that sees no running loop.

A WSGI application is synchronous code, so within a request there is no
*running* loop, although there is a current one.  Left alone,
asyncio.create_task() would refuse, and asyncio.run() and its kind would run
a second loop inside the first and keep everybody else waiting.  Here the
former makes its task on the server's loop, and the latter run their
coroutine there and park the request; set_event_loop() would take that loop
away from everybody.  Outside of a request each function is what it was.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from typing import Any

from greenloop import _core

__all__ = ["install"]

_installed: list[bool] = []


def install() -> None:
    """Replaces the functions, once for the process."""
    if _installed:
        return
    _installed.append(True)
    _replace(asyncio, "create_task", _showing_the_loop)
    asyncio.tasks.create_task = asyncio.create_task
    _replace(asyncio, "run", _parking)
    asyncio.runners.run = asyncio.run
    _replace(asyncio.BaseEventLoop, "run_until_complete", _parking_method)
    _replace(asyncio, "set_event_loop", _keeping_the_loop)
    asyncio.events.set_event_loop = asyncio.set_event_loop
    if sys.version_info >= (3, 11):
        _replace(asyncio.Runner, "run", _parking_method)
        _replace(asyncio.Runner, "get_loop", _getting_the_loop)
        _replace(asyncio.Runner, "__enter__", _entering)
    if sys.version_info >= (3, 12):
        _replace(asyncio, "eager_task_factory", _showing_the_loop)
        _replace(asyncio, "create_eager_task_factory", _making_a_factory)
    _patch_uvloop()


def _patch_uvloop() -> None:
    try:
        import uvloop
    except ImportError:
        return
    _replace(uvloop.Loop, "run_until_complete", _parking_method)


def _replace(
    owner: Any, name: str, make: Callable[[Callable[..., Any]], Any]
) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original)))


def _showing_the_loop(original: Callable[..., Any]) -> Callable[..., Any]:
    """For what makes tasks: the first step of an eager one needs the loop."""

    def replacement(*args: Any, **kwargs: Any) -> Any:
        with _core.loop_visible():
            return original(*args, **kwargs)

    return replacement


def _making_a_factory(original: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return _showing_the_loop(original(*args, **kwargs))

    return replacement


def _parking(original: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(main: Any, *args: Any, **kwargs: Any) -> Any:
        if _core.request_loop() is None:
            return original(main, *args, **kwargs)
        return _run_here(main)

    return replacement


def _parking_method(original: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(self: Any, main: Any, *args: Any, **kwargs: Any) -> Any:
        if _core.request_loop() is None:
            return original(self, main, *args, **kwargs)
        return _run_here(main)

    return replacement


def _keeping_the_loop(original: Callable[..., Any]) -> Callable[..., Any]:
    """The thread's loop is every request's: no one of them changes it."""

    def replacement(loop: Any) -> None:
        if _core.request_loop() is None:
            original(loop)

    return replacement


def _run_here(main: Any) -> Any:
    """Runs a coroutine on the server's loop and parks the request for it."""
    if not (asyncio.iscoroutine(main) or asyncio.isfuture(main)):
        raise ValueError(f"a coroutine was expected, got {main!r}")
    return _core.await_(main)


def _getting_the_loop(original: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(self: Any) -> Any:
        loop = _core.request_loop()
        return original(self) if loop is None else loop

    return replacement


def _entering(original: Callable[..., Any]) -> Callable[..., Any]:
    """Runner.__enter__ would make a loop, and make it the current one."""

    def replacement(self: Any) -> Any:
        return original(self) if _core.request_loop() is None else self

    return replacement
