# SPDX-License-Identifier: MIT
"""The servers that are compared: how each is found, started and stopped."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "APPS",
    "BACKLOG",
    "ROOT",
    "SERVERS",
    "Environment",
    "Missing",
    "Running",
    "Server",
    "ask",
    "compiled",
    "complete",
    "raise_descriptor_limit",
    "started",
]

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
APPS = BENCH / "apps"
BUILT_C_SERVER = ROOT / "build" / "c-release" / "src/engine/hello_server"
READY_SECONDS = 15.0
STOP_SECONDS = 3.0
BACKLOG = 1024


class Missing(Exception):
    """A server that is not here; the text says what to install."""


@dataclass(frozen=True)
class Environment:
    """Where the servers are looked for, and where they may write."""

    python: Path  # not resolved: a virtual environment's link is its name
    work: Path
    server_cpu: int

    def script(self, name: str) -> Path | None:
        """The program of this name beside the Python, or None."""
        path = self.python.parent / name
        return path if os.access(path, os.X_OK) else None

    def can_import(self, module: str) -> bool:
        """Whether the compared Python has the module."""
        probe = subprocess.run(
            [self.python, "-c", f"import {module}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.work,
            check=False,
        )
        return probe.returncode == 0

    def require(self, module: str, advice: str) -> None:
        """Raises Missing with the advice unless the module imports."""
        if not self.can_import(module):
            raise Missing(advice)


def compiled(env: Environment, name: str) -> Path:
    """The program of a C file of this folder; raises Missing."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("no C compiler: `apt-get install gcc libc6-dev`")
    program = env.work / name
    build = subprocess.run(
        [
            *(compiler, "-std=c11", "-D_GNU_SOURCE", "-O2"),
            *("-o", program, BENCH / f"{name}.c"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode != 0:
        raise Missing(f"{name}.c does not compile: {build.stderr}")
    return program


class Server:
    """One row of the tables.

    `apps` names the file in apps/ per kind of application; `without` tells
    which kinds of work it cannot do, in the words that the tables show.
    """

    name = ""
    title = ""
    protocol = "http"  # of the workloads in which it takes part
    apps: Mapping[str, str] = {}
    without: Mapping[str, str] = {}
    notes = ""

    def find(self, env: Environment) -> None:
        """Raises Missing if this server cannot run here; may build it."""
        raise NotImplementedError

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        """The program and arguments that serve apps[kind] on the port."""
        raise NotImplementedError


class Greenloop(Server):
    """The server that this repository makes, on one of the two loops."""

    apps = {
        "hello": "hello.py",
        "sleep": "sleep_greenloop.py",
        "hold": "hold_greenloop.py",
    }

    def __init__(self, loop: str) -> None:
        self.loop = loop
        self.name = f"greenloop-{loop}"
        self.title = f"Greenloop, {loop} loop"

    def find(self, env: Environment) -> None:
        advice = "greenloop is not installed: run `make bench`"
        if env.script("greenloop") is None:
            raise Missing(advice)
        env.require("greenloop", advice)
        if self.loop == "uvloop":
            env.require("uvloop", "uvloop is not installed: use --setup")

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        return [
            env.python.parent / "greenloop",
            *("--http-socket", f"127.0.0.1:{port}"),
            *("--asyncio", str(cores)),
            *("--loop", self.loop),
            *("--listen", str(BACKLOG)),
            "--disable-logging",
            *("--wsgi-file", APPS / self.apps[kind]),
            *("--running-loop", "hidden"),
        ]


class Bjoern(Server):
    """The fastest WSGI server in C: libev, no greenlets, no asyncio."""

    name = "bjoern"
    title = "bjoern"
    apps = {"hello": "serve_bjoern.py"}
    without = {"sleep": "blocks", "hold": "blocks"}

    def find(self, env: Environment) -> None:
        env.require(
            "bjoern",
            "bjoern is not installed: `apt-get install libev-dev`, "
            "then use --setup",
        )

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        return [env.python, APPS / self.apps[kind], str(port)]


class UwsgiAsyncio(Server):
    """uWSGI's own asyncio loop engine, which Greenloop does again."""

    name = "uwsgi-asyncio"
    title = "uWSGI, asyncio engine"
    apps = {
        "hello": "hello.py",
        "sleep": "sleep_uwsgi.py",
        "hold": "hold_uwsgi.py",
    }
    without = {"idle": "no keep-alive"}
    notes = "no keep-alive: a new connection for every request"

    def find(self, env: Environment) -> None:
        advice = "uWSGI's asyncio engine is not installed: use --setup"
        program = env.script("uwsgi")
        if program is None:
            raise Missing(advice)
        probe = subprocess.run(
            [program, "--plugins-list"],
            capture_output=True,
            text=True,
            check=False,
        )
        if "asyncio" not in (probe.stdout + probe.stderr).split():
            raise Missing(advice)

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        # Without the header wrk takes the connection for a lasting one and
        # counts its end as an error.
        return [
            env.python.parent / "uwsgi",
            *("--asyncio", str(cores)),
            "--greenlet",
            *("--http-socket", f"127.0.0.1:{port}"),
            *("--listen", str(BACKLOG)),
            *("--socket-timeout", "300"),
            *("--add-header", "Connection: close"),
            *("--home", env.python.parent.parent),
            *("--wsgi-file", APPS / self.apps[kind]),
            "--disable-logging",
            "--die-on-term",
        ]


class CServer(Server):
    """The C-only server on Greenloop's engine: what Python adds, shows."""

    name = "engine-floor"
    title = "C-only server on the engine"
    without = {"hold": "no application"}
    delays_ms = {"sleep": "10"}

    def __init__(self) -> None:
        self.program: Path | None = None

    def find(self, env: Environment) -> None:
        path = Path(os.environ.get("GREENLOOP_C_SERVER", BUILT_C_SERVER))
        if not os.access(path, os.X_OK):
            raise Missing(
                f"the C-only server is not at {path}: `make c-release`, "
                "or name it in GREENLOOP_C_SERVER"
            )
        self.program = path.absolute()

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        assert self.program is not None  # find() came first
        return [self.program, str(port), self.delays_ms.get(kind, "0")]


class Floor(Server):
    """floor.c: the least that an HTTP server can cost."""

    name = "floor"
    title = "bare epoll loop in C"
    without = {"sleep": "no application", "hold": "no application"}

    def find(self, env: Environment) -> None:
        compiled(env, "floor")

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        return [env.work / "floor", str(port)]


SERVERS: tuple[Server, ...] = (
    Greenloop("asyncio"),
    Greenloop("uvloop"),
    Bjoern(),
    UwsgiAsyncio(),
    CServer(),
    Floor(),
)


class Running:
    """A started server: where it listens and which processes it is."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, log: Path
    ) -> None:
        self.process = process
        self.port = port
        self.log = log

    def pids(self) -> list[int]:
        """The server's process and all its descendants."""
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    path = f"/proc/{pid}/task/{task}/children"
                    found += map(int, Path(path).read_text().split())
        return found

    def wait_ready(self) -> None:
        """Returns once a request is answered with 200."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if ask(self.port, "/").startswith(b"HTTP/1.1 200"):
                    return
            time.sleep(0.02)
        lines = self.log.read_text(errors="replace").splitlines()
        tail = "\n    ".join(["the server did not come up", *lines[-6:]])
        raise RuntimeError(tail)

    def stop(self) -> None:
        """Ends every process of the server, by its pid, and waits."""
        pids = self.pids()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # Five thousand requests parked for minutes: no grace for them.
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


def ask(port: int, path: str) -> bytes:
    """One request on a connection of its own; the whole response."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        response = b""
        while not complete(response):
            piece = sock.recv(65536)
            if not piece:
                break
            response += piece
    return response


def complete(response: bytes) -> bool:
    """Whether head and body are here; the body is one short line."""
    head, blank, body = response.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return blank != b"" and len(body) >= int(line.split(b":")[1])
    return False


def free_port() -> int:
    """A port of the loopback that nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def started(
    server: Server, env: Environment, kind: str, cores: int
) -> Iterator[Running]:
    """Runs the server, pinned and ready, for the length of a with block."""
    port = free_port()
    log = env.work / f"{server.name}.log"

    def pin() -> None:
        os.sched_setaffinity(0, {env.server_cpu})

    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in server.command(env, kind, port, cores)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=env.work,
            preexec_fn=pin,
        )
    running = Running(process, port, log)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


def raise_descriptor_limit(needed: int) -> None:
    """Lets this process, and the servers it starts, hold the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(
            f"{needed} descriptors are needed, the hard limit is {hard}: "
            f"raise it with `ulimit -Hn {needed}`"
        )
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
