# SPDX-License-Identifier: MIT
"""A server on an asyncio loop: listening sockets, engine, graceful end.

The command line's worker and start_server() share the class Server; what
only a process of its own may do (signals, standard streams) is in worker.py.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from greenloop import _core, addresses, hooks, mounts, tls, tls_facts
from greenloop.compat import asyncio_patch, uwsgi_module
from greenloop.listeners import Listener

__all__ = ["Server", "start_server"]

Report = Callable[[str, "BaseException | None"], None]

# Of the graceful time, what is left to `finally` blocks after GreenletExit.
EXIT_SECONDS = 1.0
# What stop hooks get beyond it, if requests took all of the graceful time.
LATE_SECONDS = 0.25


class Server:
    """Serves applications; in the shape of asyncio.Server.

    Made, it is mounted on its loop; start() runs the hooks, listen() begins
    to accept.  close() stops accepting and lets running requests end;
    wait_closed() waits until they have.  Requests that take longer than the
    graceful timeout get a GreenletExit.  Then what was spawned is ended, and
    the stop hooks run.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        apps: list[tuple[str, Any]],
        listeners: Sequence[Listener],
        *,
        report: Report,
        on_interrupt: Callable[[], object],
        graceful_timeout: float,
        files: tuple[dict[str, list[tuple[bytes, bytes]]], int] | None = None,
        **engine: Any,
    ) -> None:
        self.graceful_timeout = graceful_timeout
        self._loop = loop
        self._listeners = listeners
        self._closed: asyncio.Future[None] = loop.create_future()
        self._timers: list[asyncio.TimerHandle] = []
        self._closing = False
        self._report = report
        self._hooked = False  # leave() is owed to the hooks
        self._stopping: asyncio.Task[None] | None = None
        self._spawned_told = False
        self._engine = _core.Engine(
            loop,
            apps,
            report=report,
            on_interrupt=on_interrupt,
            on_drained=self._drained,
            errors=sys.stderr,
            **engine,
        )
        if files is not None:
            self._engine.serve_files(*files)
        mounts.mount(loop, self._engine)

    async def start(self) -> None:
        """Runs the start hooks, if this is the loop's first server.

        Raises what one of them raises; the server is closed then, and so are
        its sockets.
        """
        try:
            await hooks.enter(self._loop)
        except BaseException:
            self.abandon()
            raise
        self._hooked = True

    def listen(self) -> None:
        """Begins to accept connections.  Raises OSError if it cannot."""
        for listener in self._listeners:
            name, port = _server_name(listener)
            self._engine.listen(
                listener.sock.fileno(),
                name,
                port,
                listener.protocol,
                None
                if listener.tls is None
                else (listener.tls.wrap, tls_facts.describe),
            )

    def abandon(self) -> None:
        """Closes a server that has not begun to listen; runs no hooks."""
        self._closing = True
        self._close_sockets()
        self._finish()

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets; none once the server is closing."""
        if self._closing:
            return ()
        return tuple(listener.sock for listener in self._listeners)

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return not self._closing

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that serves."""
        return self._loop

    def stats(self) -> dict[str, int]:
        """Counters of the engine and its cores; {} once all is closed."""
        return {} if self._closed.done() else self._engine.stats()

    def close(self) -> None:
        """Begins the graceful end; harmless when repeated."""
        if self._closing:
            return
        self._closing = True
        if self._loop.is_closed():  # nothing runs on it until a timeout
            self._finish()
            self._close_sockets()
            return
        seconds = self.graceful_timeout
        notice = max(seconds - EXIT_SECONDS, seconds / 2)
        self._later(notice, self._throw_exit, False)
        self._later(seconds, self._throw_exit, True)
        self._engine.drain()
        self._close_sockets()

    def close_now(self) -> None:
        """Ends a graceful end early: GreenletExit now, the rest soon."""
        self.close()
        if not self._closed.done():
            # Not at once: the caller may itself be in a request.
            self._later(0, self._throw_exit, False)
            self._later(EXIT_SECONDS / 2, self._throw_exit, True)

    async def wait_closed(self) -> None:
        """Waits until the last connection has gone after close()."""
        await asyncio.shield(self._closed)

    async def serve_forever(self) -> None:
        """Serves until cancelled, then closes."""
        try:
            await asyncio.shield(self._closed)
        finally:
            self.close()
            await self.wait_closed()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()

    def _close_sockets(self) -> None:
        for listener in self._listeners:
            listener.sock.close()

    def _later(
        self, seconds: float, call: Callable[..., None], *args: Any
    ) -> None:
        self._timers.append(self._loop.call_later(seconds, call, *args))

    def _throw_exit(self, final: bool) -> None:
        if self._closed.done():
            return
        if self._stopping is None:
            self._engine.throw_exit(final)
            if final:
                self._later(LATE_SECONDS, self._throw_exit, True)
                self._stop()
        elif final:  # the time of the stop hooks is over
            self._finish()
            self._stopping.cancel()

    def _drained(self) -> None:
        # The engine calls this inside of its turn.
        self._loop.call_soon(self._end_spawned)

    def _end_spawned(self) -> None:
        """The last connection has gone, or the last spawned function."""
        if self._closed.done() or self._stopping is not None:
            return
        if self._engine.stats()["spawned"] == 0:
            self._stop()
        elif not self._spawned_told:
            self._spawned_told = True
            self._engine.end_spawned()

    def _stop(self) -> None:
        """Runs the stop hooks, then ends."""
        if self._hooked and self._stopping is None:
            self._hooked = False
            self._stopping = self._loop.create_task(
                hooks.leave(self._loop, self._report, self._closed.done)
            )
            self._stopping.add_done_callback(lambda _task: self._finish())
        elif self._stopping is None:
            self._finish()

    def _finish(self) -> None:
        if self._closed.done():
            return
        for timer in self._timers:
            timer.cancel()
        if self._engine.stats()["spawned"] > 0:
            self._engine.throw_exit(True)  # by a hook, or too late
        mounts.unmount(self._loop, self._engine)
        self._closed.set_result(None)
        self._engine.close()


def _server_name(listener: Listener) -> tuple[str, str]:
    """SERVER_NAME and SERVER_PORT of what comes in through a listener.

    Neither is ever empty (PEP 3333): a Unix socket has its scheme's port.
    """
    port = 80 if listener.tls is None else 443
    if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
        port = listener.sock.getsockname()[1]
    return socket.gethostname(), str(port)


def _log(text: str, error: BaseException | None) -> None:
    logging.getLogger("greenloop").error(text, exc_info=error)


async def start_server(
    app: Any,
    address: str | socket.socket | Sequence[str | socket.socket],
    *,
    cores: int | None = None,
    backlog: int = 1024,
    patch: bool = False,
    running_loop: str = "hidden",
    graceful_timeout: float = 30.0,
    options: Mapping[str, int] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    trusted_proxies: str | Sequence[str] = (),
    forwarded_headers: str | Sequence[str] = (),
    proxy_protocol: bool = False,
) -> Server:
    """Serves a WSGI application on the running loop; returns the Server.

    app               the WSGI callable
    address           "127.0.0.1:8080", ":8080", "[::1]:8080", "/run/app.sock",
                      a bound stream socket (owned by the server from now on),
                      or a sequence of them
    cores             concurrent requests; more wait their turn
    backlog           connections that the kernel keeps until they are accepted
    patch             also replace asyncio.run() and its kind in this process,
                      so that they work inside of requests, and make
                      `import uwsgi` work
    running_loop      "hidden": requests see no running loop, as synchronous
                      code should; "visible": they see this one
    graceful_timeout  seconds that close() leaves to running requests
    options           limits and timeouts, by name: see "The engine's options"
                      in docs/options.md
    ssl               serve HTTPS with this context, made for servers
                      (PROTOCOL_TLS_SERVER)
    trusted_proxies   addresses and networks of proxies that are believed what
                      they say of their clients, as "10.0.0.0/8"; "unix" for
                      who connects to a Unix socket
    forwarded_headers  the fields in which they say it, if not x-forwarded-for
                      and x-forwarded-proto: see docs/proxies.md
    proxy_protocol    connections begin with a PROXY header; those that are
                      not of trusted proxies are closed

    It takes no signals and no other state of the process.  Errors of
    applications go to the logger "greenloop".  Functions registered by
    on_worker_start() run before the loop's first server listens, those of
    on_worker_stop() after its last one has ended.  Raises OSError if an
    address cannot be listened on, ValueError and TypeError for bad options,
    and what a function of on_worker_start() raises.
    """
    if running_loop not in ("hidden", "visible"):
        raise ValueError("running_loop must be 'hidden' or 'visible'")
    if not graceful_timeout >= 0:  # nor is it NaN
        raise ValueError("graceful_timeout must be at least 0")
    if proxy_protocol and not trusted_proxies:
        raise ValueError("proxy_protocol needs trusted_proxies")
    loop = asyncio.get_running_loop()
    limits = dict(options or {})
    if proxy_protocol:
        limits["proxy_protocol"] = 1
    if cores is not None:
        limits["cores"] = cores
    if patch:
        asyncio_patch.install()
    source = None if ssl is None else _source_of(ssl)
    sockets = _listen(address, backlog)
    try:
        if patch:
            uwsgi_module.install(sockets, limits)
        server = Server(
            loop,
            [("", app)],
            [Listener(sock, tls=source) for sock in sockets],
            report=_log,
            on_interrupt=lambda: loop.call_soon(_interrupt),
            graceful_timeout=graceful_timeout,
            options=limits,
            running_loop_visible=running_loop == "visible",
            trusted_proxies=_joined(trusted_proxies),
            forwarded_headers=_joined(forwarded_headers),
        )
        await server.start()
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    try:
        server.listen()
    except BaseException:
        server.close()
        await server.wait_closed()
        raise
    return server


def _joined(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _source_of(context: ssl_module.SSLContext) -> tls.Source:
    """The user's own context, which stays."""
    if not isinstance(context, ssl_module.SSLContext):
        raise TypeError("ssl must be an ssl.SSLContext")
    if context.protocol == ssl_module.PROTOCOL_TLS_CLIENT:
        raise ValueError("ssl: this context is made for clients")
    source = tls.Source(lambda: context)
    source.prepare()
    source.commit()
    return source


def _listen(
    address: str | socket.socket | Sequence[str | socket.socket], backlog: int
) -> list[socket.socket]:
    several = (
        [address] if isinstance(address, (str, socket.socket)) else address
    )
    sockets: list[socket.socket] = []
    try:
        for one in several:
            if isinstance(one, str):
                sockets += addresses.listen(one, backlog)
            else:
                sockets.append(one)
                addresses.listen_on(one, backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _interrupt() -> None:
    raise KeyboardInterrupt
