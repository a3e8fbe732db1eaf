# SPDX-License-Identifier: MIT
"""Listeners: a listening socket, and what its clients speak."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
import ssl

from greenloop import addresses, inherited, tls, unix_sockets
from greenloop.options import Settings
from greenloop.socket_options import SocketOptions, parse_owner

__all__ = ["Listener", "Listeners", "Opener", "open_listeners"]


@dataclasses.dataclass(frozen=True, eq=False)
class Listener:
    """One listening, non-blocking socket, owned by whoever made it.

    protocol  how requests come: "http"
    tls       the context that seals its connections, or None
    """

    sock: socket.socket
    protocol: str = "http"
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """Where it is: http://host:port, unix:/path."""
        scheme = self.protocol if self.tls is None else f"{self.protocol}s"
        return addresses.socket_name(self.sock, scheme)


@dataclasses.dataclass
class Listeners:
    """All listeners of a worker, and the certificates behind them.

    files     of Unix sockets, which close() removes
    remarks   sentences for the log
    """

    listeners: list[Listener] = dataclasses.field(default_factory=list)
    contexts: list[tls.Contexts] = dataclasses.field(default_factory=list)
    files: list[unix_sockets.SocketFile] = dataclasses.field(
        default_factory=list
    )
    remarks: list[str] = dataclasses.field(default_factory=list)

    def close(self) -> None:
        """Closes the sockets, removes files (--vacuum); harmless when
        repeated."""
        for listener in self.listeners:
            listener.sock.close()
        for file in self.files:
            with contextlib.suppress(OSError):  # not allowed any more
                file.remove()


def open_listeners(settings: Settings) -> Listeners:
    """Listens wherever the command line says.

    Raises addresses.AddressError and tls.CertificateError, whose texts name
    the address, and then leaves nothing open.
    """
    found = Listeners()
    try:
        opener = Opener(settings, found)
        for address in settings.http_sockets:
            found.listeners += [Listener(s) for s in opener.open(address)]
        for text in settings.https_sockets:
            _add_tls(found, text, settings, opener)
        if not found.listeners:
            found.listeners += [Listener(s) for s in opener.open_rest()]
        opener.finish()
    except BaseException:
        found.close()
        raise
    return found


class Opener:
    """Opens the sockets of addresses, with what the command line says of
    all of them; `found` gets the files that are to be removed, and remarks.
    """

    def __init__(self, settings: Settings, found: Listeners) -> None:
        self._settings = settings
        self._found = found
        self._inherited = inherited.Inherited()
        self._options = _socket_options(settings)

    def open(self, text: str) -> list[socket.socket]:
        """The listening sockets of one address."""
        socks = self._inherited.find(text)
        if socks:
            return self._prepared(socks)
        socks = addresses.listen(text, self._settings.backlog, self._options)
        if self._settings.vacuum and not text.startswith("fd://"):
            files = map(unix_sockets.SocketFile.of, socks)
            self._found.files += [file for file in files if file is not None]
        return socks

    def open_rest(self) -> list[socket.socket]:
        """Inherited sockets that no option named."""
        return self._prepared(self._inherited.take_rest())

    def finish(self) -> None:
        """Remarks on what will not be as the command line reads."""
        remarks = self._found.remarks
        remarks += [
            f"the inherited socket {name} is not served: no option names it"
            for name in self._inherited.leave_rest()
        ]
        most = _backlog_limit()
        if most is not None and self._settings.backlog > most:
            remarks.append(
                f"--listen {self._settings.backlog} has the effect of {most}:"
                f" net.core.somaxconn is {most}; to raise it, "
                f"sysctl -w net.core.somaxconn={self._settings.backlog}"
            )

    def _prepared(self, socks: list[socket.socket]) -> list[socket.socket]:
        for sock in socks:
            self._options.prepare(sock)
        return socks


def _socket_options(settings: Settings) -> SocketOptions:
    owner = settings.socket_owner
    try:
        numbers = None if owner is None else parse_owner(owner)
    except ValueError as error:
        raise addresses.AddressError(
            errno.EINVAL, f"--chown-socket {owner}: {error}"
        ) from None
    return SocketOptions(
        mode=settings.socket_mode,
        owner=numbers,
        reuse_port=settings.reuse_port,
        freebind=settings.freebind,
        keepalive=settings.so_keepalive,
        defer_accept=settings.defer_accept,
        send_buffer=settings.socket_sndbuf,
        receive_buffer=settings.socket_rcvbuf,
    )


def _backlog_limit() -> int | None:
    """What the kernel cuts every backlog at, if it says so."""
    try:
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _add_tls(
    found: Listeners, text: str, settings: Settings, opener: Opener
) -> None:
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
        Listener(sock, tls=contexts.main) for sock in opener.open(address)
    ]
