# SPDX-License-Identifier: MIT
"""Options of listening sockets, and listeners of every kind side by side.

What is set on a connection the application tells, which has its descriptor.
"""

import contextlib
import http.client
import json
import pathlib
import re
import socket
import ssl
from typing import Any

import pytest
import trustme
from harness import Server, run, server, start
from wire import Wire, open_wire, request

APP = """
    import json, os, socket

    NAMES = {
        "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        "nodelay": (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        "sndbuf": (socket.SOL_SOCKET, socket.SO_SNDBUF),
        "rcvbuf": (socket.SOL_SOCKET, socket.SO_RCVBUF),
    }

    def application(environ, start_response):
        start_response("200 OK", [])
        fd = os.dup(environ["wsgi.input"].fileno())
        with socket.socket(fileno=fd) as sock:
            found = {name: sock.getsockopt(*row)
                     for name, row in NAMES.items()
                     if sock.family != socket.AF_UNIX}
        found["scheme"] = environ["wsgi.url_scheme"]
        found["pid"] = os.getpid()
        return [json.dumps(found).encode()]
"""
SOMAXCONN = pathlib.Path("/proc/sys/net/core/somaxconn")


def options_of(s: Server) -> dict[str, Any]:
    with open_wire(s) as wire:
        found: dict[str, Any] = json.loads(wire.get("/").body)
        return found


def test_what_is_set_by_itself() -> None:
    with server(APP) as s:
        found = options_of(s)
        assert (found["nodelay"], found["keepalive"]) == (1, 0)


def test_options_reach_each_connection() -> None:
    options = "--so-keepalive", "--socket-sndbuf", "40000", "--tcp-nodelay"
    options += "--socket-rcvbuf", "50000", "--defer-accept", "--freebind"
    with server(APP, *options) as s:
        found = options_of(s)
        assert (found["nodelay"], found["keepalive"]) == (1, 1)
        # The kernel doubles them, for its own needs.
        assert (found["sndbuf"], found["rcvbuf"]) == (80000, 100000)


def test_deferred_connections() -> None:
    """Who says nothing is accepted after a while, and times out as ever."""
    options = "--defer-accept", "--http-headers-timeout", "0.5"
    with server(APP, *options) as s, open_wire(s) as silent:
        with open_wire(s) as wire:
            assert wire.get("/").status == 200
        silent.send(b"GET /")
        assert silent.reply().status == 408
    with server(APP, "--defer-accept") as s, open_wire(s) as wire:
        wire.sock.close()
        with open_wire(s) as wire:
            wire.send(request("GET", "/"))
            wire.half_close()
            assert wire.reply().status == 200


def test_two_servers_on_one_port() -> None:
    with server(APP, "--reuse-port") as s:
        with server(APP, "--reuse-port", http=f"127.0.0.1:{s.port}") as other:
            pids = set()
            for _ in range(200):
                pids.add(options_of(s)["pid"])
                if len(pids) == 2:
                    break
            assert pids == {s.pid, other.pid}
        done = run("--http", f"127.0.0.1:{s.port}", "--wsgi-file", "app.py")
        assert done.returncode == 1
        assert "address already in use" in done.stderr


def test_an_address_that_is_not_there() -> None:
    done = run("--http-socket", "192.0.2.1:0", "--wsgi-file", "app.py")
    assert "does not have that address" in done.stderr
    with server(APP, "--freebind", "--http", "192.0.2.1:0") as s:
        assert options_of(s)["scheme"] == "http"


@pytest.mark.skipif(not SOMAXCONN.exists(), reason="no somaxconn in /proc")
def test_a_backlog_that_the_kernel_cuts() -> None:
    most = int(SOMAXCONN.read_text())
    with server(APP, "--listen", str(most + 1)) as s:
        assert s.logged("net.core.somaxconn") == 2  # in one line
        text = f"--listen {most + 1} has the effect of {most}:"
        assert s.logged(text) == 1
    with server(APP, "--listen", str(most)) as s:
        assert "somaxconn" not in s.err


# --- several listeners ----------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def ask(sock: socket.socket) -> str:
    with sock:
        sock.settimeout(20)
        scheme: str = json.loads(Wire(sock).get("/").body)["scheme"]
        return scheme


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_listeners_of_every_kind(tmp_path: pathlib.Path, loop: str) -> None:
    ca = trustme.CA()
    pem = tmp_path / "pem"
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(pem)
    )
    unix = [tmp_path / "one", tmp_path / "two"]
    sealed = f"127.0.0.1:0,{pem},{pem}"
    options = ["--https-socket", sealed, "--http-socket", str(unix[0])]
    options += ["--http", "127.0.0.1:0", "--http", str(unix[1])]
    options += ["--https", sealed, "--http", f"@{tmp_path}", "-C", "600"]
    if has_ipv6():
        options += ["--http", "[::1]:0"]
    with server(APP, "--loop", loop, "--vacuum", *options) as s:
        for port in s.ports[:2]:
            place = "127.0.0.1", port
            assert ask(socket.create_connection(place)) == "http"
        for path in (*map(str, unix), f"\0{tmp_path}"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            assert ask(sock) == "http"
        context = ssl.create_default_context()
        ca.configure_trust(context)
        ports = re.findall(r"https://127.0.0.1:(\d+)", s.err)
        assert len(ports) == 2
        for port in map(int, ports):
            with contextlib.closing(
                http.client.HTTPSConnection("localhost", port, context=context)
            ) as client:
                client.request("GET", "/")
                body = client.getresponse().read()
                assert json.loads(body)["scheme"] == "https"
        if has_ipv6():
            assert ask(socket.create_connection(("::1", s.ports[2]))) == "http"
    assert not any(path.exists() for path in unix)


def test_one_of_several_cannot_be_had(tmp_path: pathlib.Path) -> None:
    """Then none stays, and no file is left behind."""
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = "--vacuum", "--http", str(path), "--http"
        s = start(
            *options, f"127.0.0.1:{port}", directory=tmp_path, ready=False
        )
        assert s.wait_exit() == 1
        assert f"cannot listen on 127.0.0.1:{port}" in s.err
    assert not path.exists()
