# SPDX-License-Identifier: MIT
"""The end of the process by force, if the graceful one does not come.

A thread sees to it: what blocks the event loop blocks all that runs there.
It begins with the first signal, because a process of two threads warns of
each fork().  The signal's handler makes it, without the locks of threading,
which the code that it interrupted may hold.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import contextlib
import faulthandler
import os
import time
from collections.abc import Callable

from greenloop import messages

__all__ = ["MARGIN_SECONDS", "ForcedEnd"]

# What may pass between the graceful timeout and the end of the process.
MARGIN_SECONDS = 0.8
# What a second signal leaves of the graceful timeout.
HURRIED_SECONDS = 1.0
# After so long without an answer to a signal, the loop is called blocked.
ANSWER_SECONDS = 1.0
LOOK_SECONDS = 0.05


class ForcedEnd:
    """Ends the process in time, whatever runs.

    To be made before the application is loaded: it watches until the exit
    functions that were registered later have run.

    deadline  monotonic time; 0 before the first signal
    heard     whether the loop has taken notice of a signal
    clean_up  called before the end by force, in another thread than the
              loop's
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, graceful_timeout: float
    ) -> None:
        self.deadline = 0.0
        self.heard = False
        self.clean_up: Callable[[], object] = lambda: None
        self._loop = loop
        self._graceful_timeout = graceful_timeout
        self._begun = self._over = False
        self._first = _thread.allocate_lock()
        self._pid = os.getpid()
        self._thread: int | None = None  # its number for the system
        self._bell = _thread.allocate_lock()  # released to wake the thread
        self._bell.acquire()
        atexit.register(self._stand_down)

    def come_nearer(self) -> None:
        """The first time begins the graceful timeout, others shorten it."""
        now = time.monotonic()
        if self._over:
            return
        # In one step: the signal may come amid the handler of another.
        if self._first.acquire(blocking=False):
            self.deadline = now + self._graceful_timeout + MARGIN_SECONDS
            with contextlib.suppress(RuntimeError):  # no thread to be had
                _thread.start_new_thread(self._watch, ())
                self._begun = True
        else:
            hurried = now + HURRIED_SECONDS + MARGIN_SECONDS
            self.deadline = min(self.deadline, hurried)

    def _stand_down(self) -> None:
        """The process ends by itself.  A thread that wakes up while the
        interpreter is being taken down crashes it: this one is gone first."""
        if os.getpid() != self._pid:
            return  # a child has no such thread
        self._over = True
        self._bell.release()
        while self._begun and (
            self._thread is None
            or os.path.exists(f"/proc/self/task/{self._thread}")
        ):
            time.sleep(0.001)

    def _watch(self) -> None:
        self._thread = _thread.get_native_id()
        tell_at = time.monotonic() + ANSWER_SECONDS
        told = False
        while (now := time.monotonic()) < self.deadline:
            if now >= tell_at and not self.heard and not told:
                told = True
                messages.say("told to stop, but the event loop is blocked")
            if self._bell.acquire(timeout=LOOK_SECONDS):
                return
        self._end()

    def _end(self) -> None:
        try:
            messages.say(f"stopped by force: {self._reason()}")
            messages.write_now(_stacks())
            self.clean_up()
        finally:
            os._exit(1)

    def _reason(self) -> str:
        if self._loop.is_closed():
            return "a thread that is no daemon did not end"
        return "something still blocked the event loop"


def _stacks() -> bytes:
    """Where every thread is.  faulthandler alone would wait for a reader."""
    try:
        fd = os.memfd_create("stacks")
    except OSError:
        return b""
    try:
        faulthandler.dump_traceback(fd)
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
