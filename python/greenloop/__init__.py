# SPDX-License-Identifier: MIT
"""Greenloop: synchronous WSGI applications on one asyncio loop.

In a request:

    await_(awaitable, timeout=None)  wait for a coroutine or a future
    sleep(seconds)                   wait without keeping others waiting
    wait_readable(fd, timeout=None)  wait until a descriptor is ready
    wait_writable(fd, timeout=None)
    spawn(function, ...)             run it in a greenlet: a future
    loop_visible()                   context manager: show the running loop
    loop()                           the loop that serves
    current_request()                a Request, or None outside of one
    cancel_on_disconnect()           end this request when its client leaves
    ClientDisconnected               raised where the client left
    websocket(environ)               make a WebSocket of the request
    WebSocketError, WebSocketClosed  what its calls raise

In a program of one's own:

    await start_server(app, address, ...)  serve on the running loop

While the application is imported:

    on_worker_start(function)        call it before the first request
    on_worker_stop(function)         call it after the last one
"""

from __future__ import annotations

# Before asyncio, which goes on without ssl if a signal comes while ssl loads,
# and so loses the signal.
import ssl  # noqa: F401
from typing import TYPE_CHECKING, Any

from greenloop._core import (
    AsyncWebSocket,
    ClientDisconnected,
    Request,
    WebSocket,
    __version__,
    await_,
    cancel_on_disconnect,
    current_request,
    loop,
    loop_visible,
    sleep,
    spawn,
    wait_readable,
    wait_writable,
    websocket,
)
from greenloop.exceptions import WebSocketClosed, WebSocketError

if TYPE_CHECKING:
    from greenloop.hooks import on_worker_start, on_worker_stop
    from greenloop.server import Server, start_server

__all__ = [
    "AsyncWebSocket",
    "ClientDisconnected",
    "Request",
    "Server",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketError",
    "__version__",
    "await_",
    "cancel_on_disconnect",
    "current_request",
    "loop",
    "loop_visible",
    "on_worker_start",
    "on_worker_stop",
    "sleep",
    "spawn",
    "start_server",
    "wait_readable",
    "wait_writable",
    "websocket",
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
