# SPDX-License-Identifier: MIT
"""Addresses to listen on: from text to listening sockets.

    :9090            every IPv4 address of the machine, as in uWSGI
    localhost:9090   every address that the name stands for
    [::1]:9090       one IPv6 address
    /run/app.sock    a Unix socket; a path has at least one slash in it
    @name            an abstract Unix socket
    fd://3           a listening socket that was inherited

Port 0 asks the system for a free port.  All sockets are made non-blocking
and close-on-exec, inherited ones too.  A Unix socket's file that a dead
server left behind is replaced; one on which somebody listens never is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import socket
import stat

from greenloop import unix_sockets
from greenloop.socket_options import SocketOptions

__all__ = [
    "Address",
    "AddressError",
    "listen",
    "listen_on",
    "parse",
    "resolve",
    "socket_name",
]

# Binding a second family to the port that the first one was given may fail,
# because somebody else has it there; then the pair is tried anew.
PORT_ATTEMPTS = 20

# Of a Unix socket's name, which a NUL byte ends or, abstract, begins.
UNIX_NAME_MAX_BYTES = 107

PLAIN = SocketOptions()


class AddressError(OSError):
    """No listening there; str() is a sentence that says where and why.

    `errno` is the system's, or EINVAL for a text that is no address.
    """

    def __str__(self) -> str:
        return str(self.strerror)


@dataclasses.dataclass(frozen=True)
class Address:
    """A parsed address.  `path` is set for Unix sockets, and only there;
    `fd` for an inherited socket.

    An abstract path begins with a NUL byte, as the socket module wants it.
    """

    text: str
    host: str = ""
    port: int = 0
    path: str | None = None
    fd: int | None = None


def parse(text: str) -> Address:
    """Reads an address; AddressError if it is none."""
    if text.startswith("@") and len(text) > 1:
        return Address(text, path="\0" + text[1:])
    if text.startswith("fd://"):
        number = text[5:]
        if not (number.isascii() and number.isdigit() and len(number) < 8):
            raise _no_address(text, "write fd:// and a number")
        return Address(text, fd=int(number))
    if "/" in text and "://" not in text:
        return Address(text, path=text)
    host, colon, port = text.rpartition(":")
    if not colon:
        hint = f"; write :{text} for a port" if text.isdigit() else ""
        raise _no_address(text, f"it has no port{hint}")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise _no_address(text, "the port is a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or "/" in host:
        raise _no_address(text, "write host:port, or [address]:port for IPv6")
    return Address(text, host=host, port=int(port))


def _no_address(text: str, why: str) -> AddressError:
    return AddressError(errno.EINVAL, f"cannot listen on {text!r}: {why}")


def listen(
    text: str, backlog: int = 1024, options: SocketOptions = PLAIN
) -> list[socket.socket]:
    """Listens on an address; returns its sockets, which the caller owns.

    A host name may give several.  Raises AddressError, and then leaves
    nothing open.
    """
    address = parse(text)
    try:
        if address.fd is not None:
            return [_adopt(address.fd, options)]
        if address.path is not None:
            return [_listen_unix(address.path, backlog, options)]
        return _listen_tcp(address, backlog, options)
    except OSError as error:
        raise _explain(address, error) from error


def listen_on(sock: socket.socket, backlog: int) -> None:
    """Has a socket that somebody else made and bound listen.

    Raises AddressError if it cannot.
    """
    try:
        _check_stream(sock)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        address = Address(repr(sock), fd=sock.fileno())
        raise _explain(address, error) from error


def socket_name(sock: socket.socket, scheme: str = "http") -> str:
    """Where a listening socket is: http://host:port or unix:/path."""
    if sock.family == socket.AF_UNIX:
        name = sock.getsockname()
        if isinstance(name, bytes):
            name = "@" + os.fsdecode(name[1:])
        return f"unix:{name}"
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if sock.family == socket.AF_INET6 else host
    return f"{scheme}://{shown}:{port}"


def _listen_tcp(
    address: Address, backlog: int, options: SocketOptions
) -> list[socket.socket]:
    places = resolve(address)
    for attempt in range(PORT_ATTEMPTS):
        try:
            return _listen_all(places, backlog, options)
        except OSError as error:
            unlucky = address.port == 0 and error.errno == errno.EADDRINUSE
            if not unlucky or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def resolve(address: Address) -> list[tuple[socket.AddressFamily, str, int]]:
    """The families and numeric hosts of an address, without repetition."""
    if not address.host:
        return [(socket.AF_INET, "0.0.0.0", address.port)]
    found = socket.getaddrinfo(
        address.host,
        address.port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    places = [
        (family, str(place[0]), address.port)
        for family, _type, _proto, _canon, place in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys(places))


def _listen_all(
    places: list[tuple[socket.AddressFamily, str, int]],
    backlog: int,
    options: SocketOptions,
) -> list[socket.socket]:
    """One socket for each place, all with the same port.

    A name often has an IPv6 address on machines whose IPv6 is off; such a
    place is passed over while another one can be had.
    """
    absent: OSError | None = None
    with contextlib.ExitStack() as undo:
        made: list[socket.socket] = []
        for place in places:
            if made:
                place = (*place[:2], made[0].getsockname()[1])
            try:
                sock = _bind_tcp(place, len(places) > 1, options)
            except OSError as error:
                if error.errno not in (
                    errno.EADDRNOTAVAIL,
                    errno.EAFNOSUPPORT,
                ):
                    raise
                absent = error
                continue
            undo.callback(sock.close)
            sock.listen(backlog)
            made.append(sock)
        if not made and absent is not None:
            raise absent
        undo.pop_all()
        return made


def _bind_tcp(
    place: tuple[socket.AddressFamily, str, int],
    alone: bool,
    options: SocketOptions,
) -> socket.socket:
    """A bound socket.  `alone`: leave IPv4 to another socket."""
    family, host, port = place
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(alone)
            )
        options.prepare_tcp(sock)
        options.prepare(sock)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(
    path: str, backlog: int, options: SocketOptions
) -> socket.socket:
    sock = socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    )
    try:
        options.prepare(sock)
        unix_sockets.bind(sock, path, options)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _adopt(fd: int, options: SocketOptions) -> socket.socket:
    """The listening socket that somebody opened for us."""
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        raise OSError(errno.EBADF, "nobody has passed it to us") from None
    if flags & fcntl.FD_CLOEXEC:
        raise OSError(
            errno.EBUSY, "it is not inherited, or an option has taken it"
        )
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        raise OSError(errno.ENOTSOCK, "it is not a socket")
    sock = socket.socket(fileno=fd)
    try:
        _check_listening(sock)
        options.prepare(sock)
        sock.setblocking(False)
        os.set_inheritable(fd, False)
    except BaseException:
        sock.detach()  # it stays whose it was
        raise
    return sock


def _check_stream(sock: socket.socket) -> None:
    if sock.type & socket.SOCK_DGRAM == socket.SOCK_DGRAM:
        raise OSError(errno.EPROTOTYPE, "it is a datagram socket")
    families = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
    if sock.family not in families or sock.type != socket.SOCK_STREAM:
        raise OSError(errno.EPROTOTYPE, "it is neither TCP nor a Unix stream")


def _check_listening(sock: socket.socket) -> None:
    _check_stream(sock)
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise OSError(errno.EINVAL, "it does not listen")


def _explain(address: Address, error: OSError) -> AddressError:
    """The sentence for what went wrong; the system's own text if unusual."""
    number = error.errno or errno.EINVAL
    why = _reason(address, error)
    return AddressError(number, f"cannot listen on {address.text}: {why}")


def _reason(address: Address, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name {address.host!r} stands for no address"
    if address.fd is not None:
        return error.strerror or str(error)
    name = os.fsencode((address.path or "").removeprefix("\0"))
    if len(name) > UNIX_NAME_MAX_BYTES:
        return (
            f"a Unix socket's name has at most {UNIX_NAME_MAX_BYTES} bytes, "
            f"and this one {len(name)}"
        )
    if error.errno == errno.EADDRINUSE:
        return _taken(address)
    if error.errno == errno.EACCES and address.path is None:
        return (
            "permission denied; ports below 1024 need root or "
            "CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    if error.errno == errno.ENOENT:
        return "its directory does not exist"
    return (error.strerror or str(error)).lower()


def _taken(address: Address) -> str:
    path = address.path
    if path is not None and not path.startswith("\0"):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                return "a file that is not a socket has this name"
    return "address already in use: another program listens there"
