# SPDX-License-Identifier: MIT
"""Socket activation and notification, as systemd does them."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator

import pytest
from harness import PROGRAM, Server, run, start
from supervisor import launch, supervisor
from wire import Wire, wait_until

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "systemd.md"
APP = """
import os, subprocess

def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/variables":
        names = [n for n in os.environ if n.startswith(("LISTEN", "NOTIFY"))]
        return [repr(names).encode()]
    if environ["PATH_INFO"] == "/child":
        return [subprocess.check_output(
            ["ls", "-l", "/proc/self/fd"], close_fds=False)]
    return [str(os.getpid()).encode()]
"""
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextlib.contextmanager
def launched(
    folder: pathlib.Path,
    sockets: list[socket.socket],
    *options: str,
    names: str = "",
) -> Iterator[Server]:
    words = [str(PROGRAM), *options, "--wsgi-file", "app.py"]
    s = launch(words, sockets, folder, names=names)
    try:
        s.wait_ready()
        yield s
    finally:
        status = s.stop()
    assert status == 0, s.log


def refused(
    folder: pathlib.Path,
    sockets: "list[socket.socket | int]",
    *options: str,
    names: str = "",
) -> str:
    """What a start that fails says; nothing is served then."""
    words = [str(PROGRAM), *options, "--wsgi-file", "app.py"]
    s = launch(words, sockets, folder, names=names)
    assert s.wait_exit() == 1, s.log
    assert "Traceback" not in s.err
    return s.err


def tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def unix(path: pathlib.Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def ask(sock: socket.socket, path: str = "/") -> str:
    """One request to who serves a listening socket."""
    with socket.socket(sock.family) as client:
        client.settimeout(20)
        client.connect(sock.getsockname())
        return Wire(client).get(path).text


# --- the units of the page ------------------------------------------------


def test_the_units_of_the_page(folder: pathlib.Path) -> None:
    path = folder / "app.sock"
    with supervisor(folder, PAGE) as systemd:
        systemd.listen({"/run/app.sock": str(path)})
        [sock] = systemd.sockets
        with socket.socket(socket.AF_UNIX) as early:
            early.settimeout(20)
            early.connect(str(path))  # before the server is there
            wire = Wire(early)
            s = systemd.start(PROGRAM)
            assert systemd.told() == "READY=1"
            s.wait_for("greenloop: ready\n")
            assert wire.get("/").text == str(s.pid)
        assert ask(sock, "/variables") == "[]"
        s.send_signal(systemd.kill_signal())
        assert systemd.told() == "STOPPING=1"
        assert s.wait_exit() == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o660  # still there
        systemd.notified.close()


def test_a_start_that_fails_is_not_ready(folder: pathlib.Path) -> None:
    (folder / "app.py").write_text("import nothing_of_that_name")
    with supervisor(folder, PAGE) as systemd:
        systemd.listen({"/run/app.sock": str(folder / "app.sock")})
        s = systemd.start(PROGRAM)
        assert s.wait_exit() == 22
        systemd.notified.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.told()


# --- which socket is served how --------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_all_are_served_without_an_address(
    folder: pathlib.Path, loop: str
) -> None:
    path = folder / "s"
    with tcp() as one, unix(path) as two, tcp() as three:
        sockets = [one, two, three]
        with launched(folder, sockets, "--loop", loop, "--vacuum") as s:
            for sock in sockets:
                assert ask(sock) == str(s.pid)
            assert len(s.listeners) == 3
        assert path.exists()


def test_by_number_and_name(folder: pathlib.Path) -> None:
    with tcp() as one, tcp() as two, tcp() as three, tcp() as four:
        options = "--http-socket", "fd://4", "--http-socket", "fd://web"
        sockets = [one, two, three, four]
        names = "web:other:web:rest"
        with launched(folder, sockets, *options, names=names) as s:
            for sock in (two, one, three):
                assert ask(sock) == str(s.pid)
            text = "the inherited socket fd://6 is not served"
            assert s.logged(text) == 1
            assert s.logged("is not served") == 1


def test_by_address(folder: pathlib.Path) -> None:
    """The command line of a service that had no socket unit before."""
    with tcp() as one, unix(folder / "s") as two:
        at = f"127.0.0.1:{one.getsockname()[1]}"
        options = "--http", at, "--http", str(folder / "s")
        options += "--http", "127.0.0.1:0"
        with launched(folder, [two, one], *options) as s:
            for sock in (one, two):
                assert ask(sock) == str(s.pid)
            assert len(s.ports) == 2
            assert "is not served" not in s.err


@pytest.mark.parametrize(
    ("bound", "written"),
    [
        ("0.0.0.0", ""),
        ("::", ""),
        ("::", "0.0.0.0"),
        ("127.0.0.1", "localhost"),
        ("::1", "[0::0:1]"),
    ],
)
def test_by_another_name_of_the_address(
    folder: pathlib.Path, bound: str, written: str
) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    dual = bound == "::"
    with socket.create_server(
        (bound, 0), family=family, dualstack_ipv6=dual
    ) as sock:
        at = f"{written}:{sock.getsockname()[1]}"
        with launched(folder, [sock], "--http", at) as s:
            assert ask(sock) == str(s.pid)
            assert "is not served" not in s.err


def test_an_ipv6_socket_has_no_ipv4_address(folder: pathlib.Path) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as sock:
        at = f":{sock.getsockname()[1]}"
        with launched(folder, [sock], "--http", at) as s:
            assert s.get("/").text == str(s.pid)
            assert "is not served" in s.err


def test_they_are_not_passed_on(folder: pathlib.Path) -> None:
    with tcp() as one, tcp() as two:
        with launched(folder, [one, two], "--http", "fd://3"):
            assert "socket:" not in ask(one, "/child")
            assert ask(one, "/variables") == "[]"
        assert os.get_blocking(one.fileno()) is False


def test_without_the_variables(folder: pathlib.Path) -> None:
    """Any program may pass a socket on."""
    with tcp() as sock:
        sock.set_inheritable(True)
        process = subprocess.Popen(
            [PROGRAM, "--http", f"fd://{sock.fileno()}", "-w", "app"],
            cwd=folder,
            pass_fds=[sock.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        s = Server(process, folder)
        s.wait_ready()
        assert ask(sock) == str(s.pid)
        assert s.stop() == 0


def test_a_client_waits_through_a_restart(folder: pathlib.Path) -> None:
    with tcp() as sock:
        for _ in range(2):
            with launched(folder, [sock]) as s:
                assert ask(sock) == str(s.pid)
        with socket.create_connection(sock.getsockname(), 20) as client:
            with launched(folder, [sock]) as s:
                assert Wire(client).get("/").text == str(s.pid)


# --- mistakes ---------------------------------------------------------------


def test_a_wrong_pid_is_ignored(folder: pathlib.Path) -> None:
    words = [str(PROGRAM), "--wsgi-file", "app.py"]
    with tcp() as sock:
        s = launch(words, [sock], folder, pid="1")
        assert s.wait_exit() == 1
        assert "no address to listen on" in s.err
        words += ["--http-socket", "127.0.0.1:0"]
        s = launch(words, [sock], folder, pid="1")
        s.wait_ready()
        assert s.get("/variables").text == "[]"
        assert "inherited" not in s.err
        assert s.stop() == 0


@pytest.mark.parametrize(
    ("count", "pid"), [("x", None), ("-1", None), ("", None), ("1", "")]
)
def test_variables_that_make_no_sense(
    folder: pathlib.Path, count: str, pid: "str | None"
) -> None:
    env = {"LISTEN_FDS": count, "LISTEN_PID": pid or str(os.getpid())}
    done = run("--wsgi-file", "app.py", cwd=folder, env=env)
    assert done.returncode == 1
    assert "no address to listen on" in done.stderr


def test_no_such_descriptor(folder: pathlib.Path) -> None:
    s = start("--http", "fd://77", "-w", "app", directory=folder, ready=False)
    assert s.wait_exit() == 1
    assert "cannot listen on fd://77: nobody has passed it to us" in s.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fd://x", "no inherited socket has that name; there are a, b"),
        ("fd://", "no inherited socket has that name"),
        ("fd://-1", "no inherited socket has that name"),
        ("fd://99999999999999999999", "write fd:// and a number"),
        ("fd://" + "9" * 5000, "write fd:// and a number"),
        ("fd://\u00b2", "no inherited socket has that name"),
    ],
)
def test_what_is_no_descriptor(
    folder: pathlib.Path, text: str, words: str
) -> None:
    with tcp() as one, tcp() as two:
        log = refused(folder, [one, two], "--http", text, names="a:b")
    assert words in log


def test_sockets_that_do_not_listen(folder: pathlib.Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        text = "cannot listen on fd://3: it does not listen"
        assert text in refused(folder, [sock])
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        text = "cannot listen on fd://3: it is a datagram socket"
        assert text in refused(folder, [sock])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(folder / "s"))
        sock.listen()
        text = "cannot listen on fd://3: it is neither TCP nor a Unix stream"
        assert text in refused(folder, [sock])


def test_a_file(folder: pathlib.Path) -> None:
    with (folder / "app.py").open() as file:
        text = "cannot listen on fd://3: it is not a socket"
        assert text in refused(folder, [file.fileno()])


def test_the_same_twice(folder: pathlib.Path) -> None:
    with tcp() as sock:
        twice = "--http", "fd://3", "--http", "fd://3"
        text = "cannot listen on fd://3: it is not inherited, or an option"
        assert text in refused(folder, [sock], *twice)


def test_a_descriptor_of_our_own(folder: pathlib.Path) -> None:
    """fd://N is never one of the sockets that the server itself opened."""
    options = ["--http", "127.0.0.1:0"]
    for number in range(3, 12):
        done = run(
            *options, "--http", f"fd://{number}", "-w", "app", cwd=folder
        )
        assert done.returncode == 1
        assert f"cannot listen on fd://{number}:" in done.stderr


# --- notification ---------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_notification(folder: pathlib.Path, abstract: bool) -> None:
    address = f"@{folder}" if abstract else str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if abstract else address)
        sock.settimeout(20)
        s = start(
            *("--http", "127.0.0.1:0", "--wsgi-file", "app.py"),
            directory=folder,
            env={"NOTIFY_SOCKET": address},
        )
        assert sock.recv(100) == b"READY=1"
        assert s.get("/variables").text == "[]"
        s.send_signal(signal.SIGTERM)
        assert sock.recv(100) == b"STOPPING=1"
        assert s.wait_exit() == 0


@pytest.mark.parametrize("address", ["/nowhere/at/all", "vsock:2:1", "x", "@"])
def test_nobody_listens_to_it(folder: pathlib.Path, address: str) -> None:
    s = start(
        *("--http", "127.0.0.1:0", "--wsgi-file", "app.py"),
        directory=folder,
        env={"NOTIFY_SOCKET": address},
    )
    assert s.get("/").status == 200
    assert s.stop() == 0
    assert "Traceback" not in s.err


# --- the real program -------------------------------------------------------


def test_systemd_socket_activate(folder: pathlib.Path) -> None:
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not installed")
    path = folder / "s"
    # Sanitizers are for the server alone.
    names = {"LD_PRELOAD", "ASAN_OPTIONS", "PYTHONMALLOC"} & {*os.environ}
    process = subprocess.Popen(
        [program, "-l", str(path), "--fdname=web"]
        + [f"--setenv={name}={os.environ[name]}" for name in names]
        + [str(PROGRAM), "--http", "fd://web", "--wsgi-file", "app.py"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    s = Server(process, folder)
    try:
        wait_until(path.exists, "it listens")
        s.wait_for("Listening on")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            wire = Wire(client)
            assert wire.get("/").text == str(s.pid)
            assert wire.get("/variables").text == "[]"
        assert s.stop(signal.SIGTERM) == 0
    finally:
        s.kill()
    assert path.exists()
