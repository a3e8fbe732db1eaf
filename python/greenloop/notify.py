# SPDX-License-Identifier: MIT
"""Tells systemd when the server is ready, and when it stops: sd_notify(3).

Nothing happens without NOTIFY_SOCKET, which `Type=notify` sets.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

__all__ = ["Notifier"]

SECONDS = 1.0  # that a supervisor with a full queue may hold us up


class Notifier:
    """The supervisor's socket, taken out of the environment."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ):
        self._address = environ.pop("NOTIFY_SOCKET", "")

    def tell(self, state: str) -> None:
        """Sends a state, such as "READY=1".  Failure has no consequence
        here: a supervisor that misses the message ends us by itself."""
        address = self._address
        if address[:1] not in ("/", "@"):
            return  # none, or of a kind that is not known
        if address.startswith("@"):
            address = "\0" + address[1:]
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.settimeout(SECONDS)
            sock.connect(address)
            sock.send(state.encode())
