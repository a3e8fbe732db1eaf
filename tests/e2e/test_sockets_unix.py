# SPDX-License-Identifier: MIT
"""The files of Unix sockets: their mode, their owner, and their end."""

import contextlib
import os
import pathlib
import pwd
import signal
import socket
import stat
import threading
from collections.abc import Iterator

import pytest
from harness import run, server, start
from wire import Wire, wait_until

APP = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
"""


@contextlib.contextmanager
def unix_wire(path: pathlib.Path) -> Iterator[Wire]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        yield Wire(sock)


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def is_answered(path: pathlib.Path) -> bool:
    with unix_wire(path) as wire:
        return wire.get("/").text == "hello"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--chmod-socket"], 0o666),
        (["-C"], 0o666),
        (["--chmod-socket=660"], 0o660),
        (["--chmod-socket", "0600"], 0o600),
        (["-C", "777"], 0o777),
        (["-C600", "--umask", "077"], 0o600),
        (["-C666", "--umask", "077"], 0o666),
        (["--umask", "027"], 0o750),
        (["--umask=0"], 0o777),
    ],
)
def test_the_mode(
    tmp_path: pathlib.Path, options: list[str], expected: int
) -> None:
    path = tmp_path / "s"
    with server(APP, *options, http=str(path)):
        assert mode(path) == expected
        assert is_answered(path)


def test_the_mode_is_never_wider(tmp_path: pathlib.Path) -> None:
    """Somebody who looks all the while sees no other mode."""
    seen: set[int] = set()
    path = tmp_path / "s"
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            with contextlib.suppress(FileNotFoundError):
                seen.add(mode(path))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(3):
            options = "--chmod-socket=600", "--vacuum"
            with server(APP, *options, http=str(path)):
                assert is_answered(path)
    finally:
        done.set()
        watcher.join()
    assert seen == {0o600}


def test_the_mode_where_a_dead_server_left_its_file(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    path.chmod(0o777)
    with server(APP, "-C600", http=str(path)):
        assert mode(path) == 0o600


def check_that_only_root_may(path: pathlib.Path) -> None:
    done = run("--http", str(path), "--chown-socket", "0")
    assert done.returncode == 1
    why = "--chown-socket failed: operation not permitted"
    assert f"cannot listen on {path}: {why}" in done.stderr
    assert not path.exists()


def test_the_owner(tmp_path: pathlib.Path) -> None:
    if os.geteuid() != 0:
        check_that_only_root_may(tmp_path / "s")
        return
    nobody = pwd.getpwnam("nobody")
    path, other = tmp_path / "s", tmp_path / "t"
    options = "--chown-socket", f"nobody:{nobody.pw_gid}", "-C", "600"
    with server(APP, *options, "--http", str(other), http=str(path)):
        for file in (path, other):
            found = file.stat()
            owner = found.st_uid, found.st_gid
            assert owner == (nobody.pw_uid, nobody.pw_gid)
            assert mode(file) == 0o600
            assert is_answered(file)
    with server(APP, "--chown-socket=:7", "--vacuum", http=str(path)):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (os.geteuid(), 7)
    assert not path.exists()


def test_an_owner_that_is_nobody(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    done = run("--http", str(path), "--chown-socket", "no-such-user")
    assert done.returncode == 1
    text = "--chown-socket no-such-user: there is no user 'no-such-user'"
    assert text in done.stderr
    assert not path.exists()


# --- the end --------------------------------------------------------------


def test_the_file_stays_and_is_replaced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    for _ in range(2):
        with server(APP, http=str(path)):
            assert is_answered(path)
        assert path.is_socket()


def test_vacuum(tmp_path: pathlib.Path) -> None:
    """A relative path stays that of the start; TCP and @name have none."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "app.py").write_text("def application(e, s): s('200 OK', [])")
    options = "--vacuum", "--http", "127.0.0.1:0", "--http", f"@{tmp_path}"
    options += "--chdir", str(folder), "--wsgi-file", "app.py"
    s = start("--http", "./s", *options, directory=tmp_path)
    assert (tmp_path / "s").is_socket()
    assert s.stop() == 0
    assert not (tmp_path / "s").exists()


def test_vacuum_of_what_is_gone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    with server(APP, "--vacuum", http=str(path)):
        path.unlink()


@pytest.mark.parametrize("file", [True, False])
def test_vacuum_of_what_is_another_ones(
    tmp_path: pathlib.Path, file: bool
) -> None:
    path = tmp_path / "s"
    with (
        socket.socket(socket.AF_UNIX) as other,
        server(APP, "--vacuum", http=str(path)),
    ):
        path.unlink()
        if file:
            path.write_text("precious")
        else:
            other.bind(str(path))
    assert path.exists()


def test_vacuum_when_there_is_no_application(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    done = run("--http", str(path), "--vacuum", "--wsgi-file", "no.py")
    assert done.returncode == 22
    assert not path.exists()


def test_vacuum_after_a_stop_by_force(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    app = """
        import time

        def application(environ, start_response):
            print("blocks", flush=True)
            time.sleep(60)
    """
    options = "--vacuum", "--graceful-timeout", "0.2"
    with server(app, *options, http=str(path), status=1) as s:
        with unix_wire(path) as wire:
            wire.send(b"GET / HTTP/1.0\r\n\r\n")
            s.wait_for("blocks")
            s.send_signal(signal.SIGTERM)
            s.wait_exit()
    assert not path.exists()


def test_a_child_of_the_worker_removes_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    app = """
        import gc, os, sys
        from greenloop.listeners import Listeners

        def application(environ, start_response):
            child = os.fork()
            if child == 0:
                for found in gc.get_objects():
                    if isinstance(found, Listeners):
                        found.close()
                os._exit(7)
            _pid, status = os.waitpid(child, 0)
            start_response("200 OK", [])
            return [b"%d" % os.waitstatus_to_exitcode(status)]
    """
    with server(app, "--vacuum", http=str(path)):
        with unix_wire(path) as wire:
            assert wire.get("/").text == "7"
        assert path.exists()
    wait_until(lambda: not path.exists(), "it is removed")
