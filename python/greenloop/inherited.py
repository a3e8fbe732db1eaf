# SPDX-License-Identifier: MIT
"""Listening sockets that whoever started us has opened: socket activation.

systemd tells of them by LISTEN_FDS (how many, from descriptor 3 on),
LISTEN_PID (for whom) and LISTEN_FDNAMES (their names, with colons between);
see sd_listen_fds(3).  The variables are taken out of the environment, so
that no child believes that they are for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterable, Mapping, MutableMapping

from greenloop import addresses
from greenloop.addresses import AddressError

__all__ = ["Inherited", "announced"]

FIRST = 3  # SD_LISTEN_FDS_START
VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


def announced(environ: Mapping[str, str] = os.environ) -> int:
    """How many sockets the environment says that this process has got."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID", "") != str(os.getpid()):
        return 0
    return int(count) if re.fullmatch("[0-9]{1,5}", count) else 0


class Inherited:
    """Those sockets, until each is served somewhere."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ):
        count = announced(environ)
        names = environ.get("LISTEN_FDNAMES", "").split(":")
        for variable in VARIABLES:
            environ.pop(variable, None)
        self._names = {
            FIRST + i: names[i] if i < len(names) else "" for i in range(count)
        }

    def find(self, text: str) -> list[socket.socket]:
        """The sockets that an address of the command line means, if any.

        fd://NAME is all those of that name; an address where one of them
        listens is that one, since nobody else can listen there.  Raises
        AddressError for a name that none has.
        """
        name = text.removeprefix("fd://")
        if name != text and not (name.isascii() and name.isdigit()):
            return self._named(name)
        wanted = addresses.parse(text)
        if wanted.fd is not None:
            self._names.pop(wanted.fd, None)
            return []
        return self._take(n for n in self._names if _is_at(n, wanted))

    def take_rest(self) -> list[socket.socket]:
        """All that are left, in their order."""
        return self._take(self._names)

    def leave_rest(self) -> list[str]:
        """Keeps all that are left from children; returns what they are
        called on a command line."""
        for number in self._names:
            with contextlib.suppress(OSError):
                os.set_inheritable(number, False)
        return [f"fd://{number}" for number in self._names]

    def _named(self, name: str) -> list[socket.socket]:
        found = self._take(n for n, own in self._names.items() if own == name)
        if not found:
            known = ", ".join(own for own in self._names.values() if own)
            raise AddressError(
                errno.ENOENT,
                f"cannot listen on fd://{name}: no inherited socket has that "
                "name" + (f"; there are {known}" if known else ""),
            )
        return found

    def _take(self, numbers: Iterable[int]) -> list[socket.socket]:
        made: list[socket.socket] = []
        try:
            for number in list(numbers):
                made += addresses.listen(f"fd://{number}")
                del self._names[number]
        except BaseException:
            for sock in made:
                sock.close()
            raise
        return made


def _is_at(number: int, wanted: addresses.Address) -> bool:
    """Whether the socket listens at an address."""
    try:
        sock = socket.socket(fileno=number)
    except OSError:
        return False  # whoever takes it is told what is wrong with it
    try:
        return _matches(sock, wanted)
    finally:
        sock.detach()


def _matches(sock: socket.socket, wanted: addresses.Address) -> bool:
    at = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        shown = os.fsdecode(at)
        path = wanted.path or ""
        return bool(shown) and shown in (path, os.path.abspath(path or "/"))
    if wanted.path is not None or wanted.port == 0 or at[1] != wanted.port:
        return False
    hosts = {at[0]}
    if at[0] == "::" and not sock.getsockopt(
        socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    ):
        hosts.add("0.0.0.0")
    with contextlib.suppress(OSError):  # told by who then listens there
        return any(host in hosts for _, host, _ in addresses.resolve(wanted))
    return False
