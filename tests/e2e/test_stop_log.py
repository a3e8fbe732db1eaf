# SPDX-License-Identifier: MIT
"""Stopping where nobody reads the log, or where something blocks the end."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator

import pytest
from harness import PROGRAM, environment, server
from wire import wait_until

APP = """
    import pathlib
    import threading
    import time

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/blocks":
            pathlib.Path("blocking").touch()
            print("blocking", flush=True)
            time.sleep(60)
        if path == "/thread":
            threading.Thread(target=time.sleep, args=[60]).start()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""
STOPS = (signal.SIGINT, signal.SIGTERM)
# For the margin of the forced end, and a busy machine.
SPARE_SECONDS = 10.0


class Deaf:
    """A server on a Unix socket, whose standard error is `stderr`."""

    def __init__(self, folder: pathlib.Path, stderr: int, *options: str):
        (folder / "app.py").write_text(textwrap.dedent(APP))
        self._path = folder / "app.sock"
        self.process = subprocess.Popen(
            [
                str(PROGRAM),
                *("--http-socket", str(self._path), "--wsgi-file", "app.py"),
                *options,
            ],
            cwd=folder,
            env=environment(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        wait_until(self.answers, "an answer", 20)

    def send(self, path: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(str(self._path))
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return sock

    def answers(self) -> bool:
        with contextlib.suppress(OSError), self.send("/") as sock:
            return sock.recv(12) == b"HTTP/1.1 200"
        return False

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(SPARE_SECONDS)


@contextlib.contextmanager
def deaf(folder: pathlib.Path, stderr: int, *options: str) -> Iterator[Deaf]:
    running = Deaf(folder, stderr, *options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that takes nothing more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 65536)
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("number", STOPS)
def test_a_log_whose_reader_is_gone(
    tmp_path: pathlib.Path, number: int
) -> None:
    reader, writer = os.pipe()
    with deaf(tmp_path, writer) as s:
        os.close(writer)
        os.close(reader)
        assert s.answers()
        assert s.stop(number) == 0


@pytest.mark.parametrize("number", STOPS)
def test_a_log_on_a_full_disk(tmp_path: pathlib.Path, number: int) -> None:
    with open("/dev/full", "wb") as full:
        with deaf(tmp_path, full.fileno()) as s:
            assert s.stop(number) == 0


def test_a_log_that_is_full(tmp_path: pathlib.Path, full_pipe: int) -> None:
    with deaf(tmp_path, full_pipe) as s:
        assert s.stop(signal.SIGTERM) == 0


def test_a_forced_end_with_a_log_that_is_full(
    tmp_path: pathlib.Path, full_pipe: int
) -> None:
    with deaf(tmp_path, full_pipe, "--graceful-timeout", "0.2") as s:
        with s.send("/blocks"):
            blocking = tmp_path / "blocking"
            wait_until(blocking.exists, "the blocking request")
            assert s.stop(signal.SIGTERM) == 1


def test_a_refusal_does_not_wait_for_the_log(
    tmp_path: pathlib.Path, full_pipe: int
) -> None:
    """Its reason is a line that any stranger can have written."""
    with deaf(tmp_path, full_pipe) as s:
        with s.send("/" + 9000 * "x") as sock:
            assert sock.recv(12) == b"HTTP/1.1 414"
        assert s.answers()
        assert s.stop(signal.SIGTERM) == 0


def test_without_standard_error(tmp_path: pathlib.Path) -> None:
    """Closed before the start: what cannot be said changes no status."""
    command = f'exec "{PROGRAM}" --http-socket :0 --wsgi-file none.py 2>&-'
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment(None), timeout=30
    )
    assert done.returncode == 22


def test_streams_that_are_none(tmp_path: pathlib.Path) -> None:
    """An application may put there what it likes."""
    app = """
        import sys
        sys.stdout = sys.stderr = object()

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"hello"]
    """
    with server(app) as s:
        assert s.get("/").body == b"hello"


def test_a_blocked_loop_is_told_and_shown() -> None:
    options = "--graceful-timeout", "2"
    with server(APP, *options, status=1) as s, s.connect() as sock:
        assert s.get("/first").status == 200
        sock.sendall(b"GET /blocks HTTP/1.0\r\n\r\n")
        s.wait_for("blocking")
        s.send_signal(signal.SIGTERM)
        s.wait_for("told to stop, but the event loop is blocked")
        assert s.wait_exit() == 1
        assert "stopped by force: something still blocked the event" in s.err
        assert 'app.py", line 11 in application' in s.err


def test_a_second_signal_ends_a_blocked_loop() -> None:
    with server(APP, status=1) as s, s.connect() as sock:
        sock.sendall(b"GET /blocks HTTP/1.0\r\n\r\n")
        s.wait_for("blocking")
        s.send_signal(signal.SIGTERM)
        s.wait_for("told to stop")
        begin = time.monotonic()
        s.send_signal(signal.SIGTERM)
        assert s.wait_exit() == 1
        assert time.monotonic() - begin < SPARE_SECONDS


def test_the_access_log_survives_a_forced_end() -> None:
    """Its lines wait for company when the loop is blocked."""
    app = """
        import time
        served = 0

        def application(environ, start_response):
            global served
            served += 1
            if served == 2:
                print("blocking", flush=True)
                time.sleep(60)
            start_response("200 OK", [("Content-Length", "0")])
            return []
    """
    two = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.0\r\n\r\n"
    options = "--graceful-timeout", "0.2"
    with server(app, *options, status=1) as s, s.connect() as sock:
        sock.sendall(two)
        s.wait_for("blocking")
        assert "GET /one" not in s.err
        s.send_signal(signal.SIGTERM)
        assert s.wait_exit() == 1
        assert "GET /one" in s.err


def test_a_thread_that_does_not_end() -> None:
    options = "--graceful-timeout", "0.5"
    with server(APP, *options, status=1) as s:
        assert s.get("/thread").status == 200
        s.send_signal(signal.SIGTERM)
        assert s.wait_exit() == 1
        assert "a thread that is no daemon did not end" in s.err


def test_a_second_signal_does_not_wait_for_a_thread() -> None:
    with server(APP, status=1) as s:
        assert s.get("/thread").status == 200
        s.send_signal(signal.SIGTERM)
        s.wait_for("stopping")
        begin = time.monotonic()
        s.send_signal(signal.SIGTERM)
        assert s.wait_exit() == 1
        assert time.monotonic() - begin < SPARE_SECONDS


def test_sighup_without_certificates_does_no_harm() -> None:
    with server(APP) as s:
        s.send_signal(signal.SIGHUP)
        s.wait_for("SIGHUP: there are no certificates to read again")
        assert s.get("/").status == 200
