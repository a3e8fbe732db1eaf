# SPDX-License-Identifier: MIT
"""The worker process of the command line: loop, application, serving, end.

The order matters: the sockets first, so that clients can already queue; then
the loop, set as the thread's own; then the application, whose modules may
ask for the loop; then the engine, the start hooks, and accepting.

Stopping: SIGINT or SIGTERM begin a graceful end; a second one shortens it.
After --graceful-timeout the process ends within a second, whatever runs
(forced_end.py).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from greenloop import _core, interrupts, loader, mounts, static_files, tls
from greenloop.compat import asyncio_patch, uwsgi_module
from greenloop.forced_end import MARGIN_SECONDS, ForcedEnd
from greenloop.listeners import Listeners, open_listeners
from greenloop.messages import report, say
from greenloop.notify import Notifier
from greenloop.options import Settings
from greenloop.server import Server

__all__ = ["run"]

# The interpreter's own first threshold (700, or 2000 since 3.13).
CPYTHON_THRESHOLD = gc.get_threshold()[0]


def run(settings: Settings) -> int:
    """Serves until it is told to stop; returns the exit status 0.

    Raises loader.LoadError if there is no application, and
    addresses.AddressError if an address cannot be listened on.
    """
    notifier = Notifier()
    if settings.umask is not None:
        os.umask(settings.umask)
    if settings.logto is not None:
        _redirect_output(settings.logto)
    listeners = _listen(settings)
    try:
        loop = _new_loop(settings.loop)
        forced_end = ForcedEnd(loop, settings.graceful_timeout)
        asyncio_patch.install()
        sockets = [listener.sock for listener in listeners.listeners]
        uwsgi_module.install(sockets, settings.engine, settings.opt)
        apps = loader.load_applications(settings, listeners.load_late)
        interrupts.raise_missed()
        uwsgi_module.run_hook("post_fork_hook", report)
        _settle_the_collector(settings.cores)
        _settle_the_stacks()
        try:
            return _Worker(
                settings, loop, apps, listeners, notifier, forced_end
            ).run()
        finally:
            uwsgi_module.run_hook("atexit", report)
    finally:
        listeners.close()


def _listen(settings: Settings) -> Listeners:
    try:
        return open_listeners(settings)
    except tls.CertificateError as error:
        raise loader.LoadError(str(error), exit_status=1) from None


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    try:
        return mounts.new_loop(kind)
    except ImportError:
        raise loader.LoadError(
            "--loop uvloop needs uvloop: pip install uvloop", exit_status=1
        ) from None


def _files(
    settings: Settings,
) -> tuple[dict[str, list[tuple[bytes, bytes]]], int] | None:
    for path in static_files.missing_folders(settings):
        say(f"there is no {path} now, from which files are to be served")
    try:
        return static_files.configuration(settings)
    except static_files.TypesError as error:
        raise loader.LoadError(str(error), exit_status=1) from None


def _settle_the_collector(cores: int) -> None:
    """Keeps parked requests from being taken for garbage.

    A request has about ten containers while it waits.  With CPython's
    default threshold each wave of some hundred requests makes the collector
    run, which finds nothing.  Applications that set a threshold keep it.
    """
    first, *others = gc.get_threshold()
    if first == CPYTHON_THRESHOLD:
        gc.set_threshold(max(first, 10 * cores), *others)
    gc.collect()
    gc.freeze()  # what was loaded stays


def _settle_the_stacks() -> None:
    """Gives parked stacks memory of their own, but for who debugs memory."""
    debugging = sys.flags.dev_mode or "PYTHONMALLOC" in os.environ
    if not debugging and not tracemalloc.is_tracing():
        _core.keep_stacks_warm()


def _redirect_output(path: str) -> None:
    """Appends all that is printed, from now on, to a file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise loader.LoadError(
            f"cannot write the log file: {error}", exit_status=1
        ) from None
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


class _Waker:
    """Ends the loop's wait when a signal comes.

    One that comes right before the wait does not interrupt it, and Python's
    handler would run when the next client asks.  uvloop sees to it itself.
    """

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop, asyncio.SelectorEventLoop):
            return
        reader, writer = self._ends = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        loop.add_reader(reader, reader.recv, 4096)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def remove(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ends is None:
            return
        signal.set_wakeup_fd(-1)
        loop.remove_reader(self._ends[0])
        for end in self._ends:
            end.close()
        self._ends = None


class _Worker:
    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        apps: list[tuple[str, Any]],
        listeners: Listeners,
        notifier: Notifier,
        forced_end: ForcedEnd,
    ) -> None:
        self._listeners = listeners
        self._notifier = notifier
        self._loop = loop
        self._waker = _Waker()
        self._pid = os.getpid()
        self._forced_end = forced_end
        forced_end.clean_up = self._last_things
        self._server = Server(
            loop,
            apps,
            listeners.listeners,
            report=report,
            on_interrupt=self._interrupted,
            graceful_timeout=settings.graceful_timeout,
            files=_files(settings),
            options=settings.engine,
            running_loop_visible=settings.running_loop == "visible",
            manage_script_name=settings.manage_script_name,
            access_log_fd=2 if settings.access_log else -1,
            access_log_format=settings.access_log_format,
            trusted_proxies=",".join(settings.trusted_proxies),
            forwarded_headers=",".join(settings.forwarded_headers),
        )

    def run(self) -> int:
        try:
            self._start()
            for listener in self._listeners.listeners:
                say(f"listening on {listener.name}")
            for remark in self._listeners.remarks:
                say(remark)
            say("ready")
            self._notifier.tell("READY=1")
            self._run(self._server.wait_closed())
        finally:
            self._close_loop()
        return 0

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """In the loop, which asyncio's tasks let SystemExit out of.

        Whoever awaits such a task, as a request does, gets it all the same;
        what else the loop had to do is still there.
        """
        task = self._loop.create_task(coroutine)
        while not task.done():
            try:
                self._loop.run_until_complete(task)
            except SystemExit as error:
                say(f"sys.exit({error.code!r}) was called in the event loop")

    def _start(self) -> None:
        """From the start hooks, which a signal still interrupts."""
        self._waker.install(self._loop)
        try:
            self._loop.run_until_complete(self._server.start())
        except asyncio.CancelledError:
            if self._forced_end.deadline == 0:
                raise
            # A signal came while a hook ran code of its own.
            raise KeyboardInterrupt from None
        except Exception as error:
            loader.print_traceback(error)
            raise loader.LoadError(
                "cannot start: a function of on_worker_start() failed."
            ) from error
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_reload)
        interrupts.raise_missed()
        self._server.listen()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Between any two instructions of any request: only tell the loop.
        if self._is_in_child(number):
            return
        self._forced_end.come_nearer()
        self._tell_the_loop(self._stop)

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        if not self._is_in_child(number):
            self._tell_the_loop(self._reload_certificates)

    def _is_in_child(self, number: int) -> bool:
        """An application's child has our handlers, and is no server: a signal
        ends it, as it would any process."""
        if os.getpid() == self._pid:
            return False
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return True

    def _tell_the_loop(self, what: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

    def _reload_certificates(self) -> None:
        if not self._listeners.sources:
            say("SIGHUP: there are no certificates to read again")
            return
        try:
            self._listeners.reload()
        except tls.CertificateError as error:
            if error.__cause__ is not None:
                loader.print_traceback(error.__cause__)
            say(f"{error}; the old certificates stay in use")
        else:
            say("certificates read again")

    def _interrupted(self) -> None:
        """A KeyboardInterrupt of an application's counts as the signal."""
        self._forced_end.come_nearer()
        self._stop()

    def _stop(self) -> None:
        self._forced_end.heard = True
        if self._server.is_serving():
            self._server.close()
            say("stopping: waiting for running requests")
            self._notifier.tell("STOPPING=1")
        else:
            self._server.close_now()

    def _close_loop(self) -> None:
        """Ends what applications left on the loop, as asyncio.run() does."""
        loop = self._loop
        self._waker.remove(loop)
        end = self._forced_end.deadline - MARGIN_SECONDS / 2
        left = max(0.0, end - time.monotonic())
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._run(asyncio.wait(tasks, timeout=left))
        self._run(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()

    def _last_things(self) -> None:
        """Before the end by force; not in the thread of the loop."""
        self._server._engine.flush_access_log()
        self._listeners.close()
