# SPDX-License-Identifier: MIT
"""HTTPS with the clients that people have, and what big bodies cost."""

import asyncio
import contextlib
import hashlib
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import websockets
from certificates import SECONDS, Authority, ask, connect, https, tls_port
from harness import Server, server
from services import program, running

APP = """
    import hashlib, itertools, os, greenloop

    PIECE = bytes(range(256)) * 256  # 64 KiB

    def application(environ, start_response):
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        if path == "/ws":
            ws = greenloop.websocket(environ, max_size=1 << 22)
            for message in ws:
                ws.send(message)
            return []
        start_response("200 OK", [("Content-Type", "text/plain")])
        if path == "/down":
            return itertools.repeat(PIECE, int(query))
        if path == "/one":
            return [PIECE * int(query)]
        if path == "/file":
            return environ["wsgi.file_wrapper"](open(query, "rb"))
        if path == "/up":
            digest = hashlib.sha1()
            while piece := environ["wsgi.input"].read(100_000):
                digest.update(piece)
            return [digest.hexdigest().encode()]
        return [path.encode(), environ.get("SSL_CLIENT_S_DN", "").encode()]

"""
PIECE = bytes(range(256)) * 256
MANY = 1600  # pieces: 100 MiB
ALLOWED_KIB = 12 << 10
# A sanitizer keeps freed memory for a while.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(
    request: pytest.FixtureRequest, authority: Authority
) -> Iterator[Server]:
    with https(APP, authority, "", "--loop", request.param) as (s, _port):
        yield s


@pytest.fixture
def port(s: Server) -> int:
    return tls_port(s)


def status_kib(pid: int, name: str) -> int:
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1])


@contextlib.contextmanager
def bounded_memory(s: Server, kib: int = ALLOWED_KIB) -> Iterator[None]:
    """The server's memory never grows by more, not even for a moment."""
    pathlib.Path(f"/proc/{s.pid}/clear_refs").write_text("5")  # the peak
    before = status_kib(s.pid, "VmRSS")
    yield
    grown = status_kib(s.pid, "VmHWM") - before
    print(f"grown by {grown} KiB")
    assert grown < kib or SANITIZED


# --- big bodies --------------------------------------------------------------


@pytest.mark.parametrize("path", ["/down", "/one"])
def test_a_big_download(
    s: Server, port: int, authority: Authority, path: str
) -> None:
    total, digest = 0, hashlib.sha1()
    allowed = ALLOWED_KIB if path == "/down" else 120 << 10  # its own bytes
    with bounded_memory(s, allowed), connect(port, authority.client()) as sock:
        sock.sendall(f"GET {path}?{MANY} HTTP/1.0\r\n\r\n".encode())
        with sock.makefile("rb") as file:
            while file.readline() != b"\r\n":
                pass
            while piece := file.read(len(PIECE)):
                total += len(piece)
                digest.update(piece)
    assert total == MANY * len(PIECE)
    assert digest.hexdigest() == hashlib.sha1(PIECE * MANY).hexdigest()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_big_upload(
    s: Server, port: int, authority: Authority, chunked: bool
) -> None:
    with bounded_memory(s), connect(port, authority.client()) as sock:
        framing = (
            "Transfer-Encoding: chunked"
            if chunked
            else f"Content-Length: {MANY * len(PIECE)}"
        )
        sock.sendall(
            f"POST /up HTTP/1.1\r\nHost: a\r\n{framing}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        for _ in range(MANY):
            if chunked:
                sock.sendall(b"10000\r\n" + PIECE + b"\r\n")
            else:
                sock.sendall(PIECE)
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        got = b""
        while piece := sock.recv(65536):
            got += piece
    assert hashlib.sha1(PIECE * MANY).hexdigest().encode() in got


def test_a_big_file_is_read_in_pieces(
    s: Server, port: int, authority: Authority
) -> None:
    """There is no sendfile here."""
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(MANY):
            file.write(PIECE)
        file.flush()
        total = 0
        with bounded_memory(s), connect(port, authority.client()) as sock:
            sock.sendall(f"GET /file?{file.name} HTTP/1.0\r\n\r\n".encode())
            while piece := sock.recv(1 << 20):
                total += len(piece)
    assert total > MANY * len(PIECE)


def test_slow_readers_cost_little_and_have_a_deadline(
    authority: Authority,
) -> None:
    options = ("--socket-timeout", "2")
    with https(APP, authority, "", *options) as (s, port):
        with connect(port, authority.client()) as sock:
            ask(sock, "/warm")
        with bounded_memory(s), contextlib.ExitStack() as stack:
            slow = []
            for _ in range(20):
                sock = stack.enter_context(connect(port, authority.client()))
                sock.sendall(f"GET /down?{MANY} HTTP/1.0\r\n\r\n".encode())
                slow.append(sock)
            with connect(port, authority.client()) as sock:
                assert ask(sock, "/others").endswith(b"/others")
            for sock in slow:
                assert sock.recv(1)  # it took nothing until the deadline
            give_up = time.monotonic() + SECONDS
            while s.err.count("GET /down") < len(slow):
                assert time.monotonic() < give_up, s.err
                time.sleep(0.05)
            for sock in slow:
                # Cut off, and never ended by the closing alert.
                with pytest.raises((ssl.SSLEOFError, ConnectionError)):
                    while sock.recv(1 << 20):
                        pass
                    raise AssertionError("an orderly end")


# --- clients -----------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(port: int, authority: Authority, version: str) -> None:
    curl = program("curl")
    url = f"https://localhost:{port}"
    words = [curl, "-sS", "--cacert", authority.ca_file]
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    words += [f"--tlsv{version}", "--tls-max", version]
    done = subprocess.run(
        [*words, "--data-binary", "@-", f"{url}/up", f"{url}/up"],
        input=PIECE * 16,
        capture_output=True,
        timeout=SECONDS,
        check=True,
        env=env,
    )
    assert done.stdout.decode() == 2 * hashlib.sha1(PIECE * 16).hexdigest()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_resumes_and_leaves(
    s: Server, port: int, authority: Authority, version: str
) -> None:
    openssl = program("openssl")
    words = [openssl, "s_client", "-connect", f"localhost:{port}", version]
    words += ["-CAfile", authority.ca_file]
    done = subprocess.run(
        [*words, "-reconnect"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "Verify return code: 0 (ok)" in done.stdout
    if version == "-tls1_2":  # 1.3 has its tickets later than it asks
        assert done.stdout.count("Reused, TLSv1.2") == 5
    with connect(port, authority.client()) as sock:
        assert ask(sock, "/still").endswith(b"/still")
    assert "Traceback" not in s.err


def test_aiohttp(port: int, authority: Authority) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:

            async def one(number: int) -> None:
                url = f"https://localhost:{port}/{number}"
                async with session.get(url, ssl=authority.client()) as answer:
                    assert await answer.text() == f"/{number}"

            await asyncio.gather(*map(one, range(50)))
            url = f"https://localhost:{port}/up"

            async def body() -> AsyncIterator[bytes]:
                for _ in range(50):
                    yield PIECE

            context = authority.client()
            async with session.post(url, data=body(), ssl=context) as answer:
                want = hashlib.sha1(PIECE * 50).hexdigest()
                assert await answer.text() == want

    asyncio.run(main())


def test_websockets(port: int, authority: Authority) -> None:
    async def main() -> None:
        async with websockets.connect(
            f"wss://localhost:{port}/ws",
            ssl=authority.client(),
            max_size=None,
        ) as ws:
            for size in (0, 1, 125, 126, 65536, 1 << 20):
                await ws.send(b"x" * size)
                assert await ws.recv() == b"x" * size
            await ws.send("text")
            assert await ws.recv() == "text"
        assert ws.close_code == 1000

    asyncio.run(main())


def test_an_idle_websocket_is_small(
    s: Server, port: int, authority: Authority
) -> None:
    count = 200

    async def main() -> float:
        context = authority.client()
        url = f"wss://localhost:{port}/ws"
        async with contextlib.AsyncExitStack() as stack:

            async def one() -> None:
                ws = await stack.enter_async_context(
                    websockets.connect(url, ssl=context, compression=None)
                )
                await ws.send("hello")
                await ws.recv()

            for _ in range(20):
                await one()
            before = status_kib(s.pid, "VmRSS")
            for _ in range(count):
                await one()
            grown = status_kib(s.pid, "VmRSS") - before
        return grown / count

    each = asyncio.run(main())
    print(f"{each:.1f} KiB per WebSocket in a greenlet")
    assert each < 60 or SANITIZED


NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    upstream app {{
        server 127.0.0.1:{upstream};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass https://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {ca};
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_ssl_certificate {cert};
            proxy_ssl_certificate_key {key};
        }}
    }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def test_nginx_asks_by_https(authority: Authority) -> None:
    """It checks our certificate, and shows its own."""
    nginx = program("nginx", pathlib.Path("/usr/sbin"))
    cert, key = authority.sign("nginx", "proxy.example").split(",")
    with (
        https(APP, authority, f",,!{authority.ca_file}") as (s, port),
        tempfile.TemporaryDirectory(prefix="greenloop-nginx-") as folder,
    ):
        os.chmod(folder, 0o755)
        front = free_port()
        config = pathlib.Path(folder, "nginx.conf")
        config.write_text(
            NGINX.format(
                folder=folder,
                upstream=port,
                port=front,
                ca=authority.ca_file,
                cert=cert,
                key=key,
            )
        )
        words = [nginx, "-c", str(config), "-p", folder, "-e", "stderr"]
        with running(words, "start worker process "):
            for number in range(20):
                with socket.create_connection(("127.0.0.1", front)) as sock:
                    sock.settimeout(SECONDS)
                    sock.sendall(
                        f"GET /{number} HTTP/1.0\r\nHost: a\r\n\r\n".encode()
                    )
                    got = b""
                    while piece := sock.recv(65536):
                        got += piece
                assert got.startswith(b"HTTP/1.1 200 "), (got, s.err)
                assert b"/%dCN=proxy.example" % number in got


def test_wsgi_servers_of_one_process(authority: Authority) -> None:
    """Plain and sealed addresses beside each other."""
    pair = authority.sign("pair", "localhost")
    words = ("--https", f"127.0.0.1:0,{pair}", "--https", f"[::1]:0,{pair}")
    with server(APP, *words) as s:
        with connect(tls_port(s), authority.client()) as sock:
            assert ask(sock, "/a").endswith(b"/a")
        assert s.get("/b").body == b"/b"
