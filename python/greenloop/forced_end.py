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

    deadline  monotonic time; 0 before the first signal
    heard     whether the loop has taken notice of a signal
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        graceful_timeout: float,
        clean_up: Callable[[], object],
    ) -> None:
        self.deadline = 0.0
        self.heard = False
        self._loop = loop
        self._graceful_timeout = graceful_timeout
        self._clean_up = clean_up

    def come_nearer(self) -> None:
        """The first time begins the graceful timeout, others shorten it."""
        now = time.monotonic()
        if self.deadline == 0:
            self.deadline = now + self._graceful_timeout + MARGIN_SECONDS
            with contextlib.suppress(RuntimeError):  # no thread to be had
                _thread.start_new_thread(self._watch, ())
        else:
            hurried = now + HURRIED_SECONDS + MARGIN_SECONDS
            self.deadline = min(self.deadline, hurried)

    def _watch(self) -> None:
        tell_at = time.monotonic() + ANSWER_SECONDS
        told = False
        while (now := time.monotonic()) < self.deadline:
            if now >= tell_at and not self.heard and not told:
                told = True
                messages.say("told to stop, but the event loop is blocked")
            time.sleep(LOOK_SECONDS)
        self._end()

    def _end(self) -> None:
        try:
            messages.say(f"stopped by force: {self._reason()}")
            messages.write_now(_stacks())
            self._clean_up()
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
