# SPDX-License-Identifier: MIT
"""What the program says on standard error, whether it is read or not.

Nothing here raises: a log on a full disk, or in a pipe that nobody reads any
more, must keep the server neither from serving nor from stopping.  say() and
write_now() do not wait either, and drop what finds no room.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import traceback

__all__ = ["release_streams", "report", "say", "write", "write_now"]

STDERR = 2


def say(text: str) -> None:
    """One line of the server's, at once."""
    write_now(f"greenloop: {text}\n".encode(errors="backslashreplace"))


def write_now(data: bytes) -> None:
    """As much of it as standard error takes without waiting.

    What poll() calls writable takes PIPE_BUF bytes at once, also if the
    descriptor is in blocking mode.
    """
    poller = select.poll()
    poller.register(STDERR, select.POLLOUT)
    with contextlib.suppress(OSError):
        while data and any(got & select.POLLOUT for _, got in poller.poll(0)):
            data = data[os.write(STDERR, data[: select.PIPE_BUF]) :]


def write(text: str) -> None:
    """To sys.stderr, where an application may have put something else.

    Waits until it is taken.
    """
    with contextlib.suppress(Exception):  # whatever the application put there
        sys.stderr.write(text)
        sys.stderr.flush()


def report(text: str, error: BaseException | None) -> None:
    """A line, with a traceback behind it, for which it waits.

    One write, so that the lines of several processes do not mix.
    """
    if error is None:
        say(text)
        return
    lines = f"greenloop: {text}\n"
    write(lines + "".join(traceback.format_exception(error)))


def release_streams() -> None:
    """Forgets what cannot be written, before the interpreter ends.

    It would try again, and make the exit status 120 of it.
    """
    for fd, name in ((1, "stdout"), (STDERR, "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # closed before we began
            continue
        try:
            stream.flush()
        except Exception:  # whatever the application put there
            setattr(sys, name, None)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd)
            os.close(nowhere)
