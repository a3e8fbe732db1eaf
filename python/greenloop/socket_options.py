# SPDX-License-Identifier: MIT
"""What is set on listening sockets, beside their address.

Linux hands SO_KEEPALIVE, the buffer sizes and TCP_NODELAY of a listening
socket on to each connection, so nothing here costs a call for one of them.
"""

from __future__ import annotations

import dataclasses
import grp
import pwd
import re
import socket

__all__ = ["SocketOptions", "parse_owner"]

IP_FREEBIND = 15  # of <linux/in.h>; the socket module knows it since 3.14


@dataclasses.dataclass(frozen=True)
class SocketOptions:
    """The command line's options of that kind.

    mode    permissions of a Unix socket's file; None: by the umask
    owner   its user and group, -1 for one that stays; None: both stay
    """

    mode: int | None = None
    owner: tuple[int, int] | None = None
    reuse_port: bool = False
    freebind: bool = False
    keepalive: bool = False
    defer_accept: bool = False
    send_buffer: int = 0
    receive_buffer: int = 0

    def prepare_tcp(self, sock: socket.socket) -> None:
        """Sets what has to be there before bind()."""
        if self.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if self.freebind:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)

    def prepare(self, sock: socket.socket) -> None:
        """Sets what connections inherit; before listen(), for the window."""
        tcp = sock.family != socket.AF_UNIX
        if self.keepalive and tcp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.defer_accept and tcp:
            # One second: then silent clients are ours to time out.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        if self.send_buffer > 0:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer
            )
        if self.receive_buffer > 0:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer
            )


def parse_owner(text: str) -> tuple[int, int]:
    """The numbers behind USER, USER:GROUP or :GROUP; -1 for what is not said.

    Raises ValueError for a name that nobody has.
    """
    user, _colon, group = text.partition(":")
    if not user and not group:
        raise ValueError("it is written USER[:GROUP]")
    return _user(user), _group(group)


def _number(text: str) -> int | None:
    """An identity that is written as a number; 2**32 - 1 is none."""
    if re.fullmatch("[0-9]{1,10}", text) and int(text) < 2**32 - 1:
        return int(text)
    return None


def _user(name: str) -> int:
    if not name:
        return -1
    if (number := _number(name)) is not None:
        return number
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {name!r}") from None


def _group(name: str) -> int:
    if not name:
        return -1
    if (number := _number(name)) is not None:
        return number
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {name!r}") from None
