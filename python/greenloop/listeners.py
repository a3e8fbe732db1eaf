# SPDX-License-Identifier: MIT
"""Listeners: a listening socket, and what its clients speak."""

from __future__ import annotations

import dataclasses
import socket
import ssl

from greenloop import addresses, tls
from greenloop.options import Settings

__all__ = ["Listener", "Listeners", "open_listeners"]


@dataclasses.dataclass(frozen=True, eq=False)
class Listener:
    """One listening, non-blocking socket, owned by whoever made it.

    protocol  how requests come: "http" or "uwsgi"
    tls       the context that seals its connections, or None
    """

    sock: socket.socket
    protocol: str = "http"
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """Where it is: http://host:port, uwsgi://host:port, unix:/path."""
        scheme = self.protocol if self.tls is None else f"{self.protocol}s"
        return addresses.socket_name(self.sock, scheme)


@dataclasses.dataclass
class Listeners:
    """All listeners of a worker, and the certificates behind them."""

    listeners: list[Listener] = dataclasses.field(default_factory=list)
    contexts: list[tls.Contexts] = dataclasses.field(default_factory=list)

    def close(self) -> None:
        """Closes the sockets; harmless when repeated."""
        for listener in self.listeners:
            listener.sock.close()


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
        for address in settings.uwsgi_sockets:
            found.listeners += [
                Listener(sock, "uwsgi")
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
    try:
        address, certificate = tls.parse_socket(text)
        names = dict(tls.parse_name(name) for name in settings.sni)
        contexts = tls.Contexts(certificate, names)
    except (ValueError, tls.CertificateError) as error:
        raise tls.CertificateError(
            getattr(error, "errno", None), f"--https-socket {text}: {error}"
        ) from None
    found.contexts.append(contexts)
    found.listeners += [
        Listener(sock, tls=contexts.main)
        for sock in addresses.listen(address, settings.backlog)
    ]
