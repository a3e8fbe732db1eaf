# SPDX-License-Identifier: MIT
"""SIGINT and SIGTERM until the worker has its own way to stop.

Both end the program by KeyboardInterrupt, so that the exit status is right.
What is being imported may swallow an exception, as importlib itself does in
the callback of a weak reference: so a signal is remembered, and raised again
once the application is loaded.
"""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["came", "catch", "raise_missed"]

_came = False


def catch() -> None:
    """Has both signals raise KeyboardInterrupt, in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt


def came() -> bool:
    """Whether a signal came, also one that did not end the run."""
    return _came


def raise_missed() -> None:
    """Raises KeyboardInterrupt if a signal came that did not end the run."""
    if came():
        raise KeyboardInterrupt
