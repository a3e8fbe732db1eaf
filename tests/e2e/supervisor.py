# SPDX-License-Identifier: MIT
"""What systemd does with a .socket and a .service, without systemd.

    with supervisor(folder, page) as systemd:
        systemd.listen({"/run/app.sock": str(folder / "app.sock")})
        running = systemd.start(PROGRAM)
        assert systemd.told() == "READY=1"

The units are those of docs/systemd.md.  As the manual pages
systemd.socket(5), systemd.exec(5) and sd_listen_fds(3) say, it binds and
listens at each ListenStream=, forks, puts the sockets at descriptor 3 and on,
sets LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and executes ExecStart=; for
Type=notify it receives what comes to NOTIFY_SOCKET.

launch() does the part after the binding for sockets of any kind, in a process
that is the program from the exec on: LISTEN_PID is right only so.
"""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from harness import Server, environment

__all__ = ["Supervisor", "launch", "supervisor", "unit"]

# Runs in the new process, between fork and exec.
EXEC = """
import fcntl, os, sys
count, names, pid, *words = sys.argv[1:]
passed = [int(number) for number in count.split(",") if number]
# First out of the way, then into place.
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in passed]
for fd in range(3, 100):
    try:
        os.close(fd)
    except OSError:
        pass
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
    os.close(fd)
os.environ["LISTEN_PID"] = pid or str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(passed))
os.environ["LISTEN_FDNAMES"] = names
os.execv(words[0], words)
"""


def launch(
    words: Sequence[str],
    sockets: Sequence["socket.socket | int"],
    directory: pathlib.Path,
    *,
    names: str = "",
    pid: str = "",
    env: "Mapping[str, str] | None" = None,
) -> Server:
    """Starts a program with these descriptors, from 3 on.

    pid: for LISTEN_PID; empty is the program's own.
    """
    numbers = [s if isinstance(s, int) else s.fileno() for s in sockets]
    passed = ",".join(map(str, numbers))
    process = subprocess.Popen(
        [sys.executable, "-c", EXEC, passed, names, pid, *words],
        cwd=directory,
        env=environment(env),
        pass_fds=numbers,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return Server(process, directory)


def unit(text: str) -> dict[str, list[str]]:
    """The settings of a unit, sections left out; each may be repeated."""
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";", "[")):
            found.setdefault(name.strip(), []).append(value.strip())
    return found


class Supervisor:
    """One service with its sockets, in a folder of its own."""

    def __init__(
        self, folder: pathlib.Path, socket_unit: str, service_unit: str
    ) -> None:
        self.folder = folder
        self._socket = unit(socket_unit)
        self._service = unit(service_unit)
        self.sockets: list[socket.socket] = []
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.settimeout(20)

    def listen(self, places: Mapping[str, str]) -> None:
        """Opens what ListenStream= names; `places` maps the unit's addresses
        to those that a test may use."""
        for address in self._socket["ListenStream"]:
            place = places[address]
            if "/" in place:
                sock = socket.socket(socket.AF_UNIX)
                sock.bind(place)
                mode = self._socket.get("SocketMode", ["0666"])[-1]
                os.chmod(place, int(mode, 8))
            else:
                sock = socket.socket()
                sock.bind(("127.0.0.1", int(place)))
            backlog = int(self._socket.get("Backlog", ["4096"])[-1])
            sock.listen(backlog)
            self.sockets.append(sock)

    def start(self, program: pathlib.Path) -> Server:
        """Executes ExecStart=, the program's path replaced."""
        [line] = self._service["ExecStart"]
        words = [str(program), *shlex.split(line)[1:]]
        env = {}
        if self._service.get("Type") == ["notify"]:
            address = self.folder / "notify"
            self.notified.bind(str(address))
            env["NOTIFY_SOCKET"] = str(address)
        name = self._socket.get("FileDescriptorName", ["app.socket"])[-1]
        names = ":".join([name] * len(self.sockets))
        return launch(words, self.sockets, self.folder, names=names, env=env)

    def told(self) -> str:
        """The next notification."""
        return self.notified.recv(4096).decode()

    def kill_signal(self) -> int:
        name = self._service.get("KillSignal", ["SIGTERM"])[-1]
        return int(getattr(signal, name))

    def close(self) -> None:
        for sock in (*self.sockets, self.notified):
            sock.close()


@contextlib.contextmanager
def supervisor(
    folder: pathlib.Path, page: pathlib.Path
) -> Iterator[Supervisor]:
    """One with the first .socket and the first .service of a page."""
    blocks = re.findall(
        r"^```ini\n(.*?)^```$", page.read_text("utf-8"), re.M | re.DOTALL
    )
    [socket_unit] = [text for text in blocks if "[Socket]" in text]
    service_unit = next(text for text in blocks if "[Service]" in text)
    made = Supervisor(folder, socket_unit, service_unit)
    try:
        yield made
    finally:
        made.close()
