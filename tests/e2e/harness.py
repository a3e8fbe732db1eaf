# SPDX-License-Identifier: MIT
"""Starts the installed `greenloop` program and talks to it over real sockets.

    from harness import server

    def test_hello():
        with server('''
            def application(environ, start_response):
                start_response("200 OK", [("Content-Type", "text/plain")])
                return [b"hello"]
        ''', "--asyncio", "10") as s:
            answer = s.get("/path?x=1")
            assert (answer.status, answer.body) == (200, b"hello")

The server listens on a port that the system chose, is stopped by SIGINT at
the end of the block, and must then exit with status 0 and must not have
logged a traceback (`allow_traceback=True` where one is expected).  When the
block or one of these checks fails, the log is part of the report.

A Server has `port`, `url`, `pid`, `directory` (the temporary working
directory, with app.py in it), `err` and `out` (the text logged so far),
`wait_for(text)`, `get()`, `request()`, `raw()`, `connect()` and `stop()`.
`parallel(n, function)` runs a function in n threads at once, `run()` runs
the program to its end (for command lines that fail), `alias()` makes a link
by which the program is called by another name.
"""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeVar

__all__ = [
    "PROGRAM",
    "SANITIZED",
    "Answer",
    "Server",
    "alias",
    "exchange",
    "parallel",
    "run",
    "server",
    "start",
]

PROGRAM = pathlib.Path(sys.prefix) / "bin" / "greenloop"
# Whether the server runs under AddressSanitizer, whose memory is not ours.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
START_SECONDS = 20.0
STOP_SECONDS = 20.0
LISTENING = re.compile(
    r"^\S+: listening on ((?:http|uwsgi)://\S+|unix:.+)$", re.M
)
READY = re.compile(r"^\S+: ready$", re.M)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Answer:
    """One HTTP response, and the seconds from sending to its last byte."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float
    sent: float  # time.monotonic() just before it was asked for

    @property
    def text(self) -> str:
        return self.body.decode()


class Stream:
    """Everything a pipe delivered, gathered by a thread."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._bytes = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._thread.start()

    def _gather(self) -> None:
        descriptor = self._pipe.fileno()
        while piece := os.read(descriptor, 65536):
            with self._changed:
                self._bytes += piece
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        with self._changed:
            return self._bytes.decode(errors="backslashreplace")

    def wait_for(self, found: Callable[[str], bool], seconds: float) -> bool:
        """True once found(text) holds; False at the end or the deadline."""

        def settled() -> bool:
            text = self._bytes.decode(errors="backslashreplace")
            return found(text) or self._ended

        with self._changed:
            self._changed.wait_for(settled, seconds)
            return found(self._bytes.decode(errors="backslashreplace"))

    def close(self) -> None:
        # A grandchild that still holds the pipe must not hang the test.
        self._thread.join(5)
        if not self._thread.is_alive():
            self._pipe.close()


class Server:
    """A running server; made by `server()` or `start()`."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", directory: pathlib.Path
    ) -> None:
        assert process.stdout is not None and process.stderr is not None
        self.process = process
        self.directory = directory
        self.listeners: list[str] = []
        self._out = Stream(process.stdout)
        self._err = Stream(process.stderr)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        """What the application printed so far."""
        return self._out.text

    @property
    def err(self) -> str:
        """What the server logged so far."""
        return self._err.text

    @property
    def log(self) -> str:
        """Both streams, for searching and for reports."""
        return f"--- stdout\n{self.out}\n--- stderr\n{self.err}"

    @property
    def url(self) -> str:
        """The first TCP listener, as http://host:port without a slash."""
        return next(at for at in self.listeners if at.startswith("http:"))

    @property
    def ports(self) -> list[int]:
        """The port of each TCP listener, in the order they were given."""
        tcp = [at for at in self.listeners if at.startswith("http:")]
        return [int(at.rpartition(":")[2]) for at in tcp]

    @property
    def port(self) -> int:
        return self.ports[0]

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        ready = self._err.wait_for(lambda t: bool(READY.search(t)), seconds)
        if not ready:
            self.kill()
            raise AssertionError(f"the server is not ready\n{self.log}")
        self.listeners = LISTENING.findall(self.err)

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        """Waits until `text` was logged or printed, else fails."""
        give_up = time.monotonic() + seconds
        while text not in self.err and text not in self.out:
            left = give_up - time.monotonic()
            if left <= 0 or self.process.poll() is not None:
                # The pipes may still hold what came before the exit.
                self._err.wait_for(lambda t: text in t, 0.5)
                self._out.wait_for(lambda t: text in t, 0.5)
                if text in self.err or text in self.out:
                    return
                raise AssertionError(f"{text!r} was not logged\n{self.log}")
            self._out.wait_for(lambda t: text in t, min(left, 0.02))
            self._err.wait_for(lambda t: text in t, min(left, 0.02))

    def logged(self, text: str) -> int:
        """How often `text` was logged, once it was."""
        self.wait_for(text)
        return self.err.count(text)

    def wait_printed(self, text: str, times: int) -> None:
        """Waits until `text` was printed so many times, and not more."""
        self._out.wait_for(lambda t: t.count(text) >= times, 10.0)
        assert self.out.count(text) == times, self.log

    def connect(
        self, timeout: float = 20.0, port: int | None = None
    ) -> socket.socket:
        """A TCP connection to the server, yours to close."""
        return socket.create_connection(
            ("127.0.0.1", self.port if port is None else port), timeout
        )

    def client(self, timeout: float = 20.0) -> http.client.HTTPConnection:
        """A keep-alive client; `with contextlib.closing(s.client())`."""
        return http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=timeout
        )

    def request(
        self,
        method: str,
        path: str = "/",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20.0,
    ) -> Answer:
        """One request on a connection of its own."""
        with contextlib.closing(self.client(timeout)) as client:
            return exchange(client, method, path, body, headers)

    def get(
        self,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        timeout: float = 20.0,
    ) -> Answer:
        return self.request("GET", path, None, headers, timeout)

    def raw(self, data: bytes, timeout: float = 20.0) -> bytes:
        """Sends bytes as they are; returns all until the server closes.

        A reset by the server counts as its end, so that tests of refused
        requests see the answer which came before it.
        """
        with self.connect(timeout) as sock:
            sock.sendall(data)
            return read_to_end(sock)

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_exit(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status, once the server has ended by itself."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the server does not end\n{self.log}"
            ) from None
        self._out.close()
        self._err.close()
        return status

    def stop(
        self, number: int = signal.SIGINT, seconds: float = STOP_SECONDS
    ) -> int:
        """Sends a signal if the server still runs; returns its status."""
        if self.process.poll() is None:
            self.send_signal(number)
        return self.wait_exit(seconds)

    def kill(self) -> None:
        """The last resort; never an error."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._out.close()
        self._err.close()


def exchange(
    client: http.client.HTTPConnection,
    method: str,
    path: str = "/",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a client's connection."""
    begin = time.monotonic()
    client.request(method, path, body, dict(headers or {}))
    response = client.getresponse()
    content = response.read()
    return Answer(
        response.status,
        response.reason,
        response.headers,
        content,
        time.monotonic() - begin,
        begin,
    )


def read_to_end(sock: socket.socket) -> bytes:
    """All bytes until the peer closes or resets."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def parallel(count: int, function: Callable[[int], T]) -> list[T]:
    """Runs function(0) ... function(count-1) at once, one thread each."""
    with concurrent.futures.ThreadPoolExecutor(max(count, 1)) as pool:
        return list(pool.map(function, range(count)))


def alias(directory: pathlib.Path, name: str = "uwsgi") -> pathlib.Path:
    """A link called `name` to the installed program."""
    link = directory / name
    if not link.is_symlink():
        link.symlink_to(PROGRAM)
    return link


def environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """The test run's environment, without what would change the server."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env.update(extra or {})
    return env


def run(
    *arguments: str,
    program: pathlib.Path = PROGRAM,
    cwd: pathlib.Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> "subprocess.CompletedProcess[str]":
    """Runs the program to its end; for command lines that do not serve."""
    return subprocess.run(
        [str(program), *arguments],
        cwd=cwd,
        env=environment(env),
        timeout=timeout,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def start(
    *arguments: str,
    directory: pathlib.Path,
    program: pathlib.Path = PROGRAM,
    env: Mapping[str, str] | None = None,
    ready: bool = True,
) -> Server:
    """Starts the program with exactly these arguments in `directory`.

    For tests that need the whole command line to themselves; the caller
    stops the server.  With ready=False it may still be starting.
    """
    process = subprocess.Popen(
        [str(program), *arguments],
        cwd=directory,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    running = Server(process, directory)
    if ready:
        running.wait_ready()
    return running


@contextlib.contextmanager
def server(
    app: "str | pathlib.Path | None",
    *options: str,
    env: Mapping[str, str] | None = None,
    http: "str | None" = "127.0.0.1:0",
    program: pathlib.Path = PROGRAM,
    status: int = 0,
    allow_traceback: bool = False,
    files: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server for the length of a `with` block.

    app              source text (any indentation; written to app.py), the
                     path of a file, or None if the options name one
    options          further arguments, as on the command line
    env              added to the environment
    http             address to listen on; None if the options give it
    program          what to start, say alias(tmp_path)
    status           exit status that the stop must give
    allow_traceback  whether the log may hold a traceback
    files            more files for the working directory: name -> text
    """
    with tempfile.TemporaryDirectory(prefix="greenloop-test-") as name:
        directory = pathlib.Path(name)
        arguments = [] if http is None else ["--http-socket", http]
        if app is not None:
            arguments += ["--wsgi-file", _app_file(app, directory)]
        for other, text in (files or {}).items():
            path = directory / other
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), "utf-8")
        running = start(
            *arguments,
            *options,
            directory=directory,
            program=program,
            env=env,
        )
        try:
            yield running
        except BaseException:
            # pytest shows what a failing test wrote to standard error.
            running.kill()
            print(running.log, file=sys.stderr)
            raise
        finish(running, status, allow_traceback)


def _app_file(app: "str | pathlib.Path", directory: pathlib.Path) -> str:
    if isinstance(app, pathlib.Path):
        return str(app)
    path = directory / "app.py"
    path.write_text(textwrap.dedent(app), "utf-8")
    return str(path)


def finish(
    running: Server, status: int = 0, allow_traceback: bool = False
) -> None:
    """Stops a server; fails unless it ended as it should."""
    got = running.stop()
    assert got == status, f"exit status {got}, not {status}\n{running.log}"
    if not allow_traceback:
        assert "Traceback" not in running.log, running.log
