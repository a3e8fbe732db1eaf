# SPDX-License-Identifier: MIT
"""Brings back what applications of asyncio's first years are written with.

install() gives asyncio its `coroutine` decorator again, lets the result of
aiohttp.request() be awaited or yielded from, and gives aiohttp's responses
`read_and_close()`.  All of it works beside today's `async def` code.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any

__all__ = ["coroutine", "install"]


def install() -> None:
    """Puts the old names in place; does nothing more when called again."""
    for module in (asyncio, asyncio.coroutines):
        module.coroutine = coroutine  # type: ignore[attr-defined]
    try:
        import aiohttp
    except ImportError:
        return
    if not isinstance(aiohttp.request, _RequestFunction):
        _install_aiohttp(aiohttp)


def coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a generator function, or a plain one, a coroutine function.

    Calling the result gives a real coroutine object: since 3.12 neither
    asyncio.Task nor `await` takes a generator for one.  A plain function
    may return a value, or something that is waited for in turn.
    """
    if inspect.iscoroutinefunction(function):
        return function
    if inspect.isgeneratorfunction(function):
        return _from_generator_function(function)

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if inspect.isgenerator(result):
            return await _drive(result)
        if inspect.isawaitable(result):
            return await result
        return result

    return call


def _from_generator_function(
    function: Callable[..., Any],
) -> Callable[..., Any]:
    # Flagged, so that the body may `yield from` coroutine objects.
    flagged: Callable[..., Any] = types.coroutine(function)

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await flagged(*args, **kwargs)

    return call


@types.coroutine
def _drive(generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    return (yield from generator)


class _RequestFunction:
    """Stands in for aiohttp.request."""

    def __init__(self, original: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original)
        self._original = original

    def __call__(self, *args: Any, **kwargs: Any) -> _Request:
        return _Request(self._original(*args, **kwargs))


class _Request:
    """One aiohttp.request(): `async with` it, await it, or yield from it."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        return await self._manager.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> Any:
        return await self._manager.__aexit__(*exc_info)

    def __await__(self) -> Generator[Any, Any, Any]:
        response = yield from self._manager.__aenter__().__await__()
        # The session is this request's own; it ends with the response.
        response._greenloop_end = self._end
        return response

    __iter__ = __await__

    async def _end(self) -> None:
        await self._manager.__aexit__(None, None, None)


async def _read_and_close(response: Any) -> bytes:
    """Reads the body and ends the response, with the session made for it."""
    try:
        body: bytes = await response.read()
        return body
    finally:
        end: Callable[[], Awaitable[None]] | None
        end = response.__dict__.pop("_greenloop_end", None)
        response.release()
        if end is not None:
            await end()


def _install_aiohttp(aiohttp: Any) -> None:
    aiohttp.request = _RequestFunction(aiohttp.request)
    aiohttp.ClientResponse.read_and_close = _read_and_close
