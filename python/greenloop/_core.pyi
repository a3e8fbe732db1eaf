# SPDX-License-Identifier: MIT
"""The C part of Greenloop; use the names of greenloop itself.

The types of the extension module.  Its docstrings are those of the C code,
which a test compares.
"""

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Container,
    Coroutine,
    Sequence,
)
from ssl import MemoryBIO, SSLObject
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, final

from _typeshed import FileDescriptorLike
from typing_extensions import Buffer

__version__: str
_uwsgi: ModuleType

_T = TypeVar("_T")
_P = ParamSpec("_P")

class ClientDisconnected(ConnectionError):
    """The client closed its connection before the request was through."""

def await_(awaitable: Awaitable[_T], timeout: float | None = None) -> _T:
    """Park the request until a coroutine, task, future or other awaitable is
    done, and return its result or raise its exception.

      awaitable  a coroutine is run as a task of the server's loop, in the
                 request's own context (a copy of it on Python 3.10).
      timeout    seconds (a float >= 0); then the awaitable is cancelled and
                 asyncio.TimeoutError is raised.  None waits for ever.

    If something is thrown into the request meanwhile, the awaitable is
    cancelled; if the awaitable is cancelled, asyncio.CancelledError is raised
    here.  Raises RuntimeError outside of a request, or for a future of another
    loop; TypeError for what cannot be awaited.
    """

def sleep(seconds: float, /) -> None:
    """Park the request for `seconds` (a float >= 0); others go on meanwhile.

    0 lets what is ready run first.  Raises RuntimeError outside of a request,
    ValueError for a negative time, and whatever is thrown into the request.
    """

def wait_readable(
    fd: FileDescriptorLike, timeout: float | None = None
) -> None:
    """Park the request until a descriptor has something to read.

      fd       an int, or an object with fileno(), such as a socket
      timeout  seconds (a float >= 0); None waits for ever

    Returns None, also at the end of a stream and after an error, which reading
    tells; at once for a regular file.  Any number of requests, and asyncio's
    readers, may wait for one descriptor.  Closing it wakes nobody.  Raises
    asyncio.TimeoutError; OSError for what cannot be waited for; RuntimeError
    outside of a request; and whatever is thrown into the request.
    """

def wait_writable(
    fd: FileDescriptorLike, timeout: float | None = None
) -> None:
    """Park the request until a descriptor takes what is written.

    A socket that is connecting is ready when it is connected or has failed.
    Otherwise as wait_readable().
    """

def loop() -> asyncio.AbstractEventLoop:
    """The event loop that serves this thread's requests.

    For requests, for what spawn() runs, and for callbacks and coroutines of
    that loop.  Raises RuntimeError elsewhere.
    """

def current_request() -> Request | None:
    """The request that the caller serves, as a Request; None outside of one,
    in callbacks, in tasks, and in what spawn() runs.
    """

def cancel_on_disconnect(enabled: bool = True, /) -> None:
    """Have this request ended when its client goes: ClientDisconnected is then
    raised where the request is parked, once.

    As --cancel-on-disconnect does it for all requests; with False no more.  A
    client that half-closes its connection counts as gone.  If it has gone
    already, ClientDisconnected is raised here.  Raises RuntimeError outside of
    a request.
    """

def spawn(
    function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> asyncio.Future[_T]:
    """Run a function in a greenlet of its own; returns an asyncio.Future.

      function  synchronous; it may use await_(), sleep() and the like, as a
                request may.  It begins soon, in a copy of the caller's
                context.
      the rest  is passed to it

    The future gets its result or its exception.  Cancelling the future throws
    asyncio.CancelledError into the function where it is parked; the future is
    done when the function has ended.  May be called in requests, in callbacks
    and in coroutines of the loop; it never waits, and takes no request's core.
    There is no limit: each function that waits costs about 10 KiB.  When the
    server stops, GreenletExit ends what was spawned after the last request.
    Raises RuntimeError where no server's loop runs, TypeError for what cannot
    be called.
    """

def websocket(
    environ: dict[str, Any],
    /,
    *,
    subprotocols: Sequence[str] = (),
    max_size: int | None = None,
    ping_interval: float | None = None,
    pong_timeout: float | None = None,
    compression: bool = True,
    origins: Container[str] | None = None,
) -> WebSocket:
    """Make a WebSocket of the request with this environ (RFC 6455), and return
    it.  To be called in place of start_response().

      subprotocols   those that are spoken here, the best first; the first
                     that the client offers is agreed
      max_size       bytes of a message; a larger one ends it with code 1009
      ping_interval  seconds of silence after which the client is asked for a
                     sign of life; 0: never
      pong_timeout   seconds that it has for that
      compression    permessage-deflate (RFC 7692) if the client offers it
      origins        the Origin values that may connect; None: any. A browser
                     sends cookies from every page: name yours if they matter.
    None in the middle ones takes the server's option (--websockets-...).

    Raises WebSocketError for a request that is none of a WebSocket; if the
    application lets it through, it is answered with 400, 403 or 426.
    """

@final
class WebSocket:
    """A WebSocket of a request, made by greenloop.websocket().

    Iteration receives messages until the peer closes with 1000, 1001 or no
    code, and raises WebSocketClosed for other ends.  When the application
    returns, an open WebSocket is closed with code 1000; 1011 if it raised.
    """

    @property
    def closed(self) -> bool:
        """Whether it has ended (a bool)."""

    @property
    def subprotocol(self) -> str | None:
        """The agreed subprotocol (a str), or None."""

    def __iter__(self) -> WebSocket: ...
    def __next__(self) -> str | bytes: ...
    def receive(self, timeout: float | None = None) -> str | bytes:
        """Return the next message: a str or bytes, as its sender meant it.

          timeout  seconds (a float >= 0) to park at most; None waits for ever
        Raises WebSocketClosed once the WebSocket has ended and all that came
        before was received, asyncio.TimeoutError, RuntimeError if another
        greenlet is receiving, and whatever is thrown into the request.
        """

    def send(self, message: str | Buffer, /) -> None:
        """Send a str as a text message, bytes (or what has the buffer
        interface) as a binary one.

        Parks while the peer is slow to take what was sent before.  Raises
        WebSocketClosed, TypeError, and whatever is thrown into the request.
        """

    def ping(self, payload: str | Buffer = b"", /) -> None:
        """Send a ping of at most 125 bytes; the pong is not reported.

        The server sends pings by itself when the client is silent.  Left out
        if the client is slow: it has enough to answer then.  Raises
        WebSocketClosed and ValueError.
        """

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and park until the peer has answered or ten seconds have
        passed.

          code    1000 to 1003, 1007 to 1014 or 3000 to 4999
          reason  a str of at most 123 bytes of UTF-8
        What the peer sent and nobody received is dropped.  Does nothing if the
        WebSocket has ended.  Raises ValueError, RuntimeError if another
        greenlet is receiving, and whatever is thrown into the request.
        """

    def hand_over(
        self,
        handler: Callable[[AsyncWebSocket], Coroutine[Any, Any, object]],
        /,
    ) -> tuple[()]:
        """Go on in a coroutine: return ws.hand_over(handler) ends the request,
        and handler(ws) is run as a task of the loop, in the request's context,
        with an AsyncWebSocket.

        An idle WebSocket then keeps no greenlet and no core.  When the handler
        returns, the WebSocket is closed with code 1000; if it raises, that is
        logged and the code is 1011.  When the server stops, the code is 1001,
        and the task is cancelled after the graceful time.
        Returns what the application is to return.  Raises WebSocketClosed,
        TypeError if the handler is no coroutine function, WebSocketError if it
        was handed over before or a greenlet waits for it.
        """

    def fileno(self) -> int:
        """The descriptor of the connection, which stays the server's: do not
        read, write or close it.
        """

@final
class AsyncWebSocket:
    """A WebSocket on the loop: what WebSocket.hand_over() gives to its
    handler.

    `async for` receives messages until the peer closes with 1000, 1001 or no
    code, and raises WebSocketClosed for other ends.
    """

    @property
    def closed(self) -> bool:
        """Whether it has ended (a bool)."""

    @property
    def subprotocol(self) -> str | None:
        """The agreed subprotocol (a str), or None."""

    def __aiter__(self) -> AsyncWebSocket: ...
    def __anext__(self) -> Coroutine[Any, Any, str | bytes]: ...
    def receive(self) -> Coroutine[Any, Any, str | bytes]:
        """Await the next message: a str or bytes, as its sender meant it.

        Raises WebSocketClosed once the WebSocket has ended and all that came
        before was received, RuntimeError if another task is receiving.  For a
        time limit use asyncio.wait_for().
        """

    def send(self, message: str | Buffer, /) -> Coroutine[Any, Any, None]:
        """Send a str as a text message, bytes (or what has the buffer
        interface) as a binary one; await the result.

        The message is sent by the call itself if the client is not slow, and
        then the await is over at once; else the await waits for the client.
        Any task of the loop may send.  What is not awaited must be ready to
        lose messages to slow clients, which a RuntimeWarning tells of.
        Awaiting raises WebSocketClosed; the call raises TypeError, and
        RuntimeError in another thread.
        """

    def ping(self, payload: str | Buffer = b"", /) -> None:
        """Send a ping of at most 125 bytes; the pong is not reported.

        The server sends pings by itself when the client is silent.  Left out
        if the client is slow: it has enough to answer then.  Raises
        WebSocketClosed and ValueError.
        """

    def close(
        self, code: int = 1000, reason: str = ""
    ) -> Coroutine[Any, Any, None]:
        """Close; await the result until the peer has answered or ten seconds
        have passed.

          code    1000 to 1003, 1007 to 1014 or 3000 to 4999
          reason  a str of at most 123 bytes of UTF-8
        What the peer sent and nobody received is dropped.  Does nothing if the
        WebSocket has ended.  Raises ValueError; the await raises RuntimeError
        if another task is receiving, which then gets the end.
        """

    def fileno(self) -> int:
        """The descriptor of the connection, which stays the server's: do not
        read, write or close it.
        """

def request_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that serves the calling request, or None outside of one."""

def keep_stacks_warm() -> None:
    """Have stacks of parked requests, and frames, in memory used last.

    For the process of a worker, before requests are served; for good, and
    harmless when repeated.  Where Python has no global lock it does nothing.
    Raises MemoryError.
    """

def options() -> list[dict[str, Any]]:
    """The engine's options: a list of dicts with name, min, max, initial, unit
    and help.
    """

def check_trust(proxies: str, headers: str, /) -> None:
    """Raise ValueError unless these comma-separated lists can be given to
    Engine() as trusted_proxies and forwarded_headers.
    """

@final
class loop_visible:
    """Context manager: within it, asyncio.get_running_loop() in a request
    returns the server's loop, for constructors that insist on one.

    Elsewhere in a request there is no running loop, because the code of a WSGI
    application is synchronous.  Outside of a request it changes nothing.
    """

    def __new__(cls) -> loop_visible: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exc_info: object) -> None: ...

@final
class Engine:
    """The C event engine with its applications; for greenloop's own use.

    loop          the running (or soon running) loop of this thread
    apps          list of (prefix, application); '' is the default
    report        called with (text, exception or None)
    on_interrupt  called when an application raised KeyboardInterrupt
    on_drained    called when, after drain(), the last connection has gone,
                  and again when what was spawned has ended after that
    errors        the wsgi.errors stream
    options       {name: int} of the rows of options()
    running_loop_visible  whether requests see the running loop
    manage_script_name    whether a mount's prefix moves to SCRIPT_NAME
    access_log_fd         where the access log is written; -1: nowhere
    access_log_format     'uwsgi' or 'combined'
    trusted_proxies       comma-separated networks, and 'unix'
    forwarded_headers     what they tell of their clients in, comma-separated
    Raises TypeError and ValueError for bad options, OSError and MemoryError
    where the system gives no more.
    """

    def __new__(
        cls,
        loop: asyncio.AbstractEventLoop,
        apps: list[tuple[str, Callable[..., Any]]],
        *,
        report: Callable[[str, BaseException | None], object],
        on_interrupt: Callable[[], object],
        on_drained: Callable[[], object],
        errors: Any,
        options: dict[str, int] | None = None,
        running_loop_visible: bool = False,
        manage_script_name: bool = False,
        access_log_fd: int = -1,
        access_log_format: str = "uwsgi",
        trusted_proxies: str = "",
        forwarded_headers: str = "",
    ) -> Engine: ...
    def listen(
        self,
        fd: int,
        server_name: str,
        server_port: str,
        protocol: str,
        tls: tuple[
            Callable[[MemoryBIO, MemoryBIO], SSLObject],
            Callable[[SSLObject], dict[str, str]],
        ]
        | None = None,
        /,
    ) -> None:
        """Serve the connections of a listening, non-blocking socket.

          fd        stays the caller's, and open until drain() or close()
          protocol  how requests come: 'http' or 'uwsgi'
          tls       (wrap, describe): wrap(incoming, outgoing) gives the
                    SSLObject of a new connection over two MemoryBIO;
                    describe(SSLObject) is called after each handshake, and
                    gives a dict of str for the connection's environs
        Raises OSError if it cannot be watched, ValueError for other
        protocols.
        """

    def serve_files(
        self, lists: dict[str, list[tuple[bytes, bytes]]], max_age: int, /
    ) -> None:
        """Serve files, without cores.  Once, before listen().

          lists    {name: [(bytes, bytes), ...]}, see docs/static-files.md:
                   files (path, file), checks (b'', folder), maps (prefix,
                   folder), indexes (name, b''), safe (folder, b''), skips
                   (end of a path, b''), types (extension, type), sendfile
                   (folder, b''); folders are absolute
          max_age  of Cache-Control, in seconds, or -1 for none
        Raises ValueError for other names, for a NUL, for types that are none,
        and for a max_age of 2**31; RuntimeError the second time.
        """

    def fileno(self) -> int:
        """The descriptor that is readable when turn() has work to do."""

    def turn(self) -> None:
        """Run what is ready, without waiting: the callback of
        loop.add_reader().
        """

    def mount_select(
        self, fd: int, select: Callable[[Any], list[tuple[Any, int]]], /
    ) -> None:
        """Make self.select serve for the selector with descriptor fd, whose
        own select(timeout) is asked only when that descriptor is ready.
        """

    def select(self, timeout: float | None = None, /) -> list[tuple[Any, int]]:
        """Run turns for up to `timeout` seconds, until the loop has something
        to do; then return what its own selector has ready: a list of (key,
        events).
        """

    def mount_uv(self, uv_loop: object, path: str, /) -> bool:
        """Run in each pass of a uvloop, and wait in place of its libuv.

          uv_loop  the capsule of libuv_get_loop_t_ptr()
          path     of the loaded library that has libuv's functions
        Returns False, with nothing done, where they are not there, or where
        it is mounted on a uvloop already; else True.
        unmount_uv() is due before the loop is closed.  Raises OSError and
        MemoryError.
        """

    def unmount_uv(self) -> None:
        """Undo mount_uv().  The engine is of no use on that loop any more."""

    def drain(self) -> None:
        """Stop accepting, close idle connections, end the others with their
        current request.  on_drained is called when the last one has gone.
        """

    def throw_exit(self, final: bool, /) -> int:
        """Throw GreenletExit into every running request and spawned function,
        and cancel the handlers of WebSockets.

        With `final`, they may not wait any more.  Returns how many still run.
        """

    def end_spawned(self) -> int:
        """Throw GreenletExit into every spawned function, and cancel those
        that have not begun.  Returns how many still run: on_drained tells when
        none does.
        """

    def close(self) -> None:
        """Close every connection and end every core.  Not inside a request."""

    def flush_access_log(self) -> None:
        """Write the lines that wait, as far as they are taken.  From any
        thread.
        """

    def stats(self) -> dict[str, int]:
        """Counters, as a dict of ints."""

@final
class Job:
    """A function that was spawned, as its future sees it."""

    def cancel(self) -> bool:
        """Have asyncio.CancelledError thrown into the function where it is
        parked.

        Returns False if it has ended.  Raises RuntimeError in another thread.
        """

@final
class Request:
    """A request that runs, as current_request() returns it.

    When it has ended, only id and client_disconnected can still be read; the
    others raise RuntimeError, and so they do in another thread.
    """

    @property
    def id(self) -> int:
        """An int that no other request of this process has."""

    @property
    def environ(self) -> dict[str, Any]:
        """The WSGI environ: the same dict."""

    @property
    def method(self) -> str:
        """The method as it came, a str."""

    @property
    def uri(self) -> str:
        """The request target as it came, a str."""

    @property
    def core(self) -> int:
        """The number of its core, an int."""

    @property
    def client_disconnected(self) -> bool:
        """Whether the client closed, or half-closed, its connection; True also
        when the request has ended.
        """
