# SPDX-License-Identifier: MIT
"""Greenloop: synchronous WSGI applications on one asyncio loop.

In a request:

    await_(awaitable, timeout=None)  wait for a coroutine or a future
    sleep(seconds)                   wait without keeping others waiting
    spawn(function, ...)             run it in a greenlet: a future
    loop_visible()                   context manager: show the running loop
    ClientDisconnected               raised where the client left

In a program of one's own:

    await start_server(app, address, ...)  serve on the running loop

While the application is imported:

    on_worker_start(function)        call it before the first request
    on_worker_stop(function)         call it after the last one
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenloop._core import (
    ClientDisconnected,
    __version__,
    await_,
    loop_visible,
    sleep,
    spawn,
)

if TYPE_CHECKING:
    from greenloop.hooks import on_worker_start, on_worker_stop
    from greenloop.server import Server, start_server

__all__ = [
    "ClientDisconnected",
    "Server",
    "__version__",
    "await_",
    "loop_visible",
    "on_worker_start",
    "on_worker_stop",
    "sleep",
    "spawn",
    "start_server",
]


def __getattr__(name: str) -> Any:
    """Loads what requests do not need when it is first asked for."""
    if name in ("Server", "start_server"):
        from greenloop import server

        return getattr(server, name)
    if name in ("on_worker_start", "on_worker_stop"):
        from greenloop import hooks

        return getattr(hooks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
