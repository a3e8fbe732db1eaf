# SPDX-License-Identifier: MIT
"""The ways in which the C engine and an asyncio loop run each other.

On a loop of somebody else's the engine's descriptor is one of the loop's
readers.  On a loop that the server makes itself, the engine takes the place
of what the loop waits with, the selector's select() or libuv's epoll set,
and waits on there while the loop has nothing to do: plain requests need no
turn of the loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import selectors
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from greenloop import _core

__all__ = ["mount", "new_loop", "unmount"]


@runtime_checkable
class _OwnLoop(Protocol):
    """A loop that the server made."""

    def attach_engine(self, engine: _core.Engine) -> bool:
        """Has `engine` wait for the loop, if it can: one at most."""

    def detach_engine(self, engine: _core.Engine) -> bool:
        """Undoes it, if `engine` was attached."""


class _EngineSelector(selectors.EpollSelector):
    """A selector whose select() can become the engine's turn."""

    def attach(self, engine: _core.Engine) -> None:
        """Lets `engine` wait for this selector's descriptors as well."""
        engine.mount_select(self.fileno(), super().select)
        # An attribute of the instance: the loop calls C without a Python
        # frame between.
        self.__dict__["select"] = engine.select

    def detach(self) -> None:
        """Makes it an ordinary selector again."""
        self.__dict__.pop("select", None)


class _EngineLoop(asyncio.SelectorEventLoop):
    """The server's own loop: the engine may wait in place of its selector."""

    def __init__(self) -> None:
        self._engine_selector = _EngineSelector()
        self._engine: _core.Engine | None = None
        super().__init__(self._engine_selector)

    def attach_engine(self, engine: _core.Engine) -> bool:
        if self._engine is not None:
            return False
        self._engine_selector.attach(engine)
        self._engine = engine
        return True

    def detach_engine(self, engine: _core.Engine) -> bool:
        if self._engine is not engine:
            return False
        self._engine_selector.detach()
        self._engine = None
        return True


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Makes the loop of a worker and makes it the thread's current one.

    `kind` is "asyncio", "uvloop", or "auto": uvloop where it is installed.
    Raises ImportError for "uvloop" where it isn't.
    """
    loop: asyncio.AbstractEventLoop | None = None
    if kind in ("auto", "uvloop"):
        try:
            importlib.import_module("uvloop")
        except ImportError:
            if kind == "uvloop":
                raise
        else:
            loop = importlib.import_module("greenloop.uv_loop").EngineLoop()
    if loop is None:
        loop = _EngineLoop()
    asyncio.set_event_loop(loop)
    return loop


@dataclasses.dataclass
class _Current:
    """A loop that runs engines, and the thread's current one before it."""

    before: Callable[[], asyncio.AbstractEventLoop | None] | None
    was_current: bool  # it was so itself
    engines: int = 0


# Servers of one loop may end in any order: the last one restores.
_currents: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Current]
_currents = weakref.WeakKeyDictionary()


def mount(loop: asyncio.AbstractEventLoop, engine: _core.Engine) -> None:
    """Has `loop` run `engine`, and makes it the thread's current loop."""
    if not (isinstance(loop, _OwnLoop) and loop.attach_engine(engine)):
        loop.add_reader(engine.fileno(), engine.turn)
    before = _current_loop()
    current = _currents.get(loop)
    if current is None:
        weak = weakref.ref(before) if before is not None else None
        current = _currents[loop] = _Current(weak, before is loop)
    current.engines += 1
    if before is not loop:
        asyncio.set_event_loop(loop)


def unmount(loop: asyncio.AbstractEventLoop, engine: _core.Engine) -> None:
    """Undoes mount(), before the engine is closed."""
    detached = isinstance(loop, _OwnLoop) and loop.detach_engine(engine)
    if not detached and not loop.is_closed():
        loop.remove_reader(engine.fileno())
    current = _currents[loop]
    current.engines -= 1
    if current.engines > 0:
        return
    del _currents[loop]
    before = current.before() if current.before is not None else None
    if not current.was_current and _current_loop() is loop:
        asyncio.set_event_loop(before)


class _NoLoop(Exception):
    pass


def _refuse() -> asyncio.AbstractEventLoop:
    raise _NoLoop


def _current_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that set_event_loop() set for this thread, running or not."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        if sys.version_info >= (3, 14):
            return asyncio.get_event_loop()
        policy = asyncio.get_event_loop_policy()
        # Asking must not make a loop, as it does where none was set.
        policy.new_event_loop = _refuse  # type: ignore[method-assign]
        try:
            with warnings.catch_warnings():  # 3.12 warns when it would make
                warnings.simplefilter("ignore")
                return policy.get_event_loop()
        finally:
            del policy.new_event_loop
    except (_NoLoop, RuntimeError):
        return None
    finally:
        asyncio._set_running_loop(running)
