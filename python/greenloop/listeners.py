# SPDX-License-Identifier: MIT
"""Listeners: a listening socket, and what its clients speak."""

from __future__ import annotations

import dataclasses
import functools
import socket

from greenloop import addresses, tls
from greenloop.options import Settings

__all__ = ["Listener", "Listeners", "open_listeners"]


@dataclasses.dataclass(frozen=True, eq=False)
class Listener:
    """One listening, non-blocking socket, owned by whoever made it.

    protocol  how requests come: "http"
    tls       where the contexts that seal its connections come from, or None
    """

    sock: socket.socket
    protocol: str = "http"
    tls: tls.Source | None = None

    @property
    def name(self) -> str:
        """Where it is: http://host:port, unix:/path."""
        scheme = self.protocol if self.tls is None else f"{self.protocol}s"
        return addresses.socket_name(self.sock, scheme)


@dataclasses.dataclass
class Listeners:
    """All listeners of a worker, and the certificates behind them."""

    listeners: list[Listener] = dataclasses.field(default_factory=list)
    sources: list[tls.Source] = dataclasses.field(default_factory=list)

    def load_late(self) -> None:
        """Makes the contexts that come from modules of the user's.

        Raises tls.CertificateError.
        """
        _load([source for source in self.sources if source.late])

    def reload(self) -> None:
        """Reads all certificates again, for handshakes from now on.

        Raises tls.CertificateError, and then all the old ones stay.
        """
        _load(self.sources)

    def close(self) -> None:
        """Closes the sockets; harmless when repeated."""
        for listener in self.listeners:
            listener.sock.close()


def _load(sources: list[tls.Source]) -> None:
    for source in sources:
        source.prepare()
    for source in sources:
        source.commit()


def open_listeners(settings: Settings) -> Listeners:
    """Listens wherever the command line says.

    Raises addresses.AddressError and tls.CertificateError, whose texts name
    the address, and then leaves nothing open.
    """
    found = Listeners()
    try:
        for address in settings.http_sockets:
            found.listeners += [
                Listener(sock)
                for sock in addresses.listen(address, settings.backlog)
            ]
        for text in settings.https_sockets:
            _add_tls(found, text, settings)
    except BaseException:
        found.close()
        raise
    return found


def _add_tls(found: Listeners, text: str, settings: Settings) -> None:
    """The sockets of one --https-socket."""
    label = f"--https-socket {text}"
    try:
        address, plan = tls.plan_of(text, settings)
    except tls.CertificateError as error:
        raise tls.CertificateError(f"{label}: {error}") from None
    if plan is not None:
        source = tls.Source(plan.context, label)
        _load([source])
    else:
        make = functools.partial(tls.custom, settings.ssl_context or "")
        source = tls.Source(make, "--ssl-context", late=True)
    found.sources.append(source)
    found.listeners += [
        Listener(sock, tls=source)
        for sock in addresses.listen(address, settings.backlog)
    ]
