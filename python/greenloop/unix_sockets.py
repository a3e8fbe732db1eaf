# SPDX-License-Identifier: MIT
"""The files of Unix sockets: made, given away, found dead, removed.

A file never has more permissions than asked for, not even for a moment: it
is made with them.  It is given away, and removed, only if it is the one that
was made here: somebody may have put another one in its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
import stat
from collections.abc import Iterator

from greenloop.socket_options import SocketOptions

__all__ = ["SocketFile", "bind"]


@dataclasses.dataclass(frozen=True)
class SocketFile:
    """The file of a socket that was bound here.

    The inode's number alone is not enough: the next file may get it again.
    """

    path: str
    identity: tuple[int, int, int]
    pid: int

    @classmethod
    def of(cls, sock: socket.socket) -> SocketFile | None:
        """That of a bound socket; None if it has none."""
        path = sock.getsockname()
        if sock.family != socket.AF_UNIX or not isinstance(path, str):
            return None
        path = os.path.abspath(path)  # --chdir comes later
        return cls(path, _identity(os.lstat(path)), os.getpid())

    def remove(self) -> None:
        """Removes the file, unless it is gone or another one's.

        Raises OSError if that is not allowed.  In a child of the process that
        made the file it does nothing.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = _identity(os.lstat(self.path))
            if found == self.identity and self.pid == os.getpid():
                os.unlink(self.path)


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    # Nothing writes into a socket's file: this is when it was made.
    return found.st_dev, found.st_ino, found.st_mtime_ns


def bind(sock: socket.socket, path: str, options: SocketOptions) -> None:
    """Binds a socket to a path, also where a dead server left its file.

    Raises OSError.  An abstract path begins with a NUL byte.
    """
    if path.startswith("\0"):
        sock.bind(path)
        return
    with _permissions(sock, options.mode):
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _stale(path):
                raise
            # A server that has bound this name and listens only in the
            # next microsecond looks just as dead; it would be unreachable
            # then.  No lock guards this: bind() has none to offer.
            os.unlink(path)
            sock.bind(path)
    if options.owner is not None:
        try:
            _give_away(path, *options.owner)
        except OSError as error:
            os.unlink(path)
            raise OSError(
                error.errno, f"--chown-socket failed: {error.strerror}"
            ) from error


@contextlib.contextmanager
def _permissions(sock: socket.socket, mode: int | None) -> Iterator[None]:
    """What bind() makes within has this mode.

    Linux takes the mode of the socket itself, less the umask.  The umask is
    the whole process's: this is done while there is one thread.  Alone it
    would not be enough where a folder's default ACL takes its place.
    """
    if mode is None:
        yield
        return
    os.fchmod(sock.fileno(), mode)
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _give_away(path: str, user: int, group: int) -> None:
    """Changes the owner of the very file that was just made."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        ours = (
            stat.S_ISSOCK(found.st_mode)
            and found.st_uid == os.geteuid()
            and found.st_nlink == 1
        )
        if not ours:
            raise OSError(errno.EBUSY, "somebody replaced its file")
        os.chown(f"/proc/self/fd/{fd}", user, group)
    finally:
        os.close(fd)


def _stale(path: str) -> bool:
    """Whether this is a socket's file on which nobody listens."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    ) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED
