# SPDX-License-Identifier: MIT
"""Behind a real nginx, with the configurations that docs/nginx.md shows."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import random
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from frames import TEXT, Frame, Peer, close_frame, frame, upgrade
from harness import Server, finish, server, start
from nginx_docs import configuration
from services import Nginx, nginx
from wire import Wire, request, wait_until

APP = """
    import hashlib
    import json

    import greenloop

    produced = 0
    waiting = None

    def show(environ):
        return json.dumps({k: v for k, v in environ.items()
                           if isinstance(v, str)}).encode()

    def digest(environ):
        total, sha = 0, hashlib.sha256()
        while piece := environ["wsgi.input"].read(65536):
            total += len(piece)
            sha.update(piece)
        return f"{total} {sha.hexdigest()}".encode()

    def pieces(count):
        global produced
        produced = 0
        for number in range(count):
            produced += 1
            yield b"%015d\\n" % number * 4096

    def two_parts():
        global waiting
        waiting = greenloop.loop().create_future()
        yield b"first\\n"
        greenloop.await_(waiting)
        yield b"second\\n"

    def wait():
        print("waiting", flush=True)
        try:
            greenloop.cancel_on_disconnect()
            greenloop.sleep(30)
        except greenloop.ClientDisconnected:
            print("gone", flush=True)
            raise
        return b"in vain"

    def websocket(environ):
        peer = greenloop.websocket(environ)
        for message in peer:
            peer.send("echo " + message)

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        fields = [("Content-Type", "text/plain")]
        status = "200 OK"
        if path == "/websocket":
            return websocket(environ)
        if path == "/error":
            raise ValueError("on purpose")
        if path == "/redirect":
            status = "302 Found"
            fields.append(("Location", environ["QUERY_STRING"]))
            body = b""
        elif path == "/digest" or path == "/events/digest":
            body = digest(environ)
        elif path == "/events/slow":
            start_response(status, fields)
            return pieces(2000)
        elif path == "/pieces":
            start_response(status, fields)
            return pieces(200)
        elif path == "/events/halves":
            environ["wsgi.input"].read(5)
            print("half", flush=True)
            body = environ["wsgi.input"].read()
        elif path == "/produced":
            body = str(produced).encode()
        elif path == "/events/parts":
            start_response(status, fields)
            return two_parts()
        elif path == "/go":
            waiting.set_result(None)
            body = b"gone"
        elif path == "/wait":
            body = wait()
        elif path == "/sleep":
            greenloop.sleep(0.02)
            body = b"slept"
        else:
            body = show(environ)
        start_response(status, fields)
        return [body]
"""
WAYS = ("uwsgi_pass", "proxy_pass")
LISTENERS = {"uwsgi_pass": "--socket", "proxy_pass": "--http-socket"}
PIECE = 65536


@dataclasses.dataclass
class Site:
    """An application, and an nginx before it."""

    way: str
    app: Server
    nginx: Nginx

    def get(self, path: str, **headers: str) -> Any:
        return self.nginx.get(path, headers)

    def environ(self, path: str, **headers: str) -> dict[str, str]:
        answer = self.get(path, **headers)
        assert answer.status == 200, self.nginx.log
        found = json.loads(answer.body)
        assert isinstance(found, dict)
        return found


def place_of(app: Server) -> str:
    """The application's listener, as nginx names it."""
    return app.listeners[0].partition("://")[2] or app.listeners[0]


@contextlib.contextmanager
def open_site(
    way: str, address: str, *options: str, allow_traceback: bool = False
) -> Iterator[Site]:
    listen = (LISTENERS[way], address)
    with server(
        APP, *listen, *options, http=None, allow_traceback=allow_traceback
    ) as app:
        with nginx(configuration(way, place_of(app))) as n:
            yield Site(way, app, n)


@pytest.fixture(
    scope="module",
    params=[(way, kind) for way in WAYS for kind in ("tcp", "unix")],
    ids=lambda param: "-".join(param),
)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    way, kind = request.param
    with tempfile.TemporaryDirectory() as folder:
        address = "127.0.0.1:0" if kind == "tcp" else f"{folder}/app.sock"
        with open_site(way, address, allow_traceback=True) as running:
            yield running


# --- requests ---------------------------------------------------------------


def test_get(site: Site) -> None:
    environ = site.environ("/a%20b/%C3%A9?q=%20&r", Cookie="a=1", Proxy="evil")
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
    assert environ["REQUEST_URI"] == "/a%20b/%C3%A9?q=%20&r"
    assert environ["QUERY_STRING"] == "q=%20&r"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["HTTP_COOKIE"] == "a=1"
    assert environ["HTTP_HOST"].partition(":")[0] == "127.0.0.1"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["wsgi.url_scheme"] == "http"
    assert not {"HTTP_PROXY", "CONTENT_LENGTH", "CONTENT_TYPE"} & set(environ)


def test_head(site: Site) -> None:
    answer = site.nginx.request("HEAD", "/digest")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(
        len(site.get("/digest").body)
    )


def expected(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("size", [0, 1, 5, 100_000, 10 << 20])
@pytest.mark.parametrize("path", ["/digest", "/events/digest"])
def test_bodies(site: Site, path: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    answer = site.nginx.request("POST", path, data)
    assert answer.text == expected(data), site.nginx.log


@pytest.mark.parametrize("path", ["/digest", "/events/digest"])
def test_chunked_upload(site: Site, path: str) -> None:
    data = random.Random(7).randbytes(1 << 20)
    parts = [data[i : i + 70_000] for i in range(0, len(data), 70_000)]
    answer = site.nginx.request("POST", path, iter(parts))
    assert answer.text == expected(data), site.nginx.log


def test_expect(site: Site) -> None:
    with site.nginx.connect() as sock:
        wire = Wire(sock)
        lines = ("Expect: 100-continue", "Content-Length: 3")
        wire.send(request("POST", "/digest", *lines))
        assert wire.reply().status == 100
        wire.send(b"abc")
        assert wire.reply().text == expected(b"abc")


def test_redirects(site: Site) -> None:
    for target in ("/env", "https://www.example.org/a"):
        answer = site.get(f"/redirect?{target}")
        assert (answer.status, answer.headers["Location"]) == (302, target)


def test_a_large_response(site: Site) -> None:
    body = b"".join(b"%015d\n" % i * 4096 for i in range(200))
    assert site.get("/pieces").body == body


def test_an_error(site: Site) -> None:
    answer = site.get("/error")
    assert (answer.status, answer.text) == (500, "Internal Server Error")
    site.app.wait_for("ValueError: on purpose")


def test_a_client_keeps_its_connection(site: Site) -> None:
    with site.nginx.connect() as sock:
        wire = Wire(sock)
        for path in ("/digest", "/pieces", "/redirect?/x", "/digest"):
            assert wire.get(path).status in (200, 302)


def test_a_websocket(site: Site) -> None:
    with site.nginx.connect() as sock:
        wire = Wire(sock)
        peer = Peer(wire, upgrade(wire, "/websocket"))
        for text in (b"a", b"b" * 1000):
            peer.send(frame(TEXT, text))
            peer.expect(Frame(TEXT, b"echo " + text))
        peer.send(close_frame(1000))
        peer.expect_close(1000, answer=False)


# --- streams ----------------------------------------------------------------


def test_parts_arrive_as_they_are_sent(site: Site) -> None:
    with site.nginx.connect() as sock:
        sock.sendall(b"GET /events/parts HTTP/1.0\r\nHost: a\r\n\r\n")
        wire = Wire(sock)
        while wire.line():  # the head
            pass
        assert wire.take(6) == b"first\n"
        assert site.get("/go").body == b"gone"
        assert wire.rest() == b"second\n"


def test_bodies_arrive_as_they_are_sent(site: Site) -> None:
    """The application has the first half while the second is awaited."""
    before = site.app.out.count("half\n")
    with site.nginx.connect() as sock:
        wire = Wire(sock)
        wire.send(request("POST", "/events/halves", "Content-Length: 10"))
        wire.send(b"first")
        wait_until(
            lambda: site.app.out.count("half\n") > before, "the first half"
        )
        wire.send(b"other")
        assert wire.reply().body == b"other"


def settled(ask: Callable[[], int]) -> int:
    """A number, once it changes no more."""
    before, now = -1, 0
    while now != before:
        time.sleep(0.1)
        before, now = now, ask()
    return now


def test_a_slow_client_holds_the_application_back(site: Site) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", site.nginx.port))
        sock.sendall(b"GET /events/slow HTTP/1.0\r\nHost: a\r\n\r\n")
        wire = Wire(sock)
        while wire.line():
            pass
        assert wire.take(16) == b"%015d\n" % 0
        made = settled(lambda: int(site.get("/produced").text))
        assert 0 < made < 1000  # of 2000 pieces of 64 KiB


def test_the_application_hears_of_a_client_that_left(site: Site) -> None:
    before = site.app.out.count("gone\n")
    with site.nginx.connect() as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        site.app.wait_for("waiting")
    wait_until(lambda: site.app.out.count("gone\n") > before, "the news")


# --- what each way has of its own -------------------------------------------


def test_the_client_of_uwsgi_pass(site: Site) -> None:
    environ = site.environ("/", **{"X-Forwarded-For": "192.0.2.1"})
    assert environ["HTTP_X_FORWARDED_FOR"] == (
        "192.0.2.1" if site.way == "uwsgi_pass" else "127.0.0.1"
    )
    if site.way == "uwsgi_pass":
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["REMOTE_PORT"].isdigit()
        assert environ["SERVER_PORT"] == str(site.nginx.port)
        assert environ["REQUEST_SCHEME"] == "http"
        site.app.wait_for("] 127.0.0.1 () {")
    else:
        assert environ["HTTP_X_FORWARDED_PROTO"] == "http"
        assert environ["HTTP_X_FORWARDED_HOST"] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/", "/events/show"])
def test_a_client_cannot_forge_its_address(
    path: str, tmp_path: pathlib.Path
) -> None:
    """nginx is believed, so it must not pass on what a client wrote."""
    address = str(tmp_path / "app.sock")
    with open_site("proxy_pass", address, "--trusted-proxies", "unix") as site:
        forged = {
            "X-Forwarded-For": "192.0.2.1",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.test",
        }
        environ = site.environ(path, **forged)
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["HTTP_X_FORWARDED_HOST"] == "127.0.0.1"


def test_own_variables(site: Site) -> None:
    if site.way == "uwsgi_pass":
        environ = site.environ("/events/show")
        assert environ["APP_REGION"] == "north"


def test_an_application_under_a_prefix(site: Site) -> None:
    environ = site.environ("/shop/a?b")
    place = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    if site.way == "uwsgi_pass":
        assert place == ("/shop", "/a")
        assert environ["REQUEST_URI"] == "/shop/a?b"
    else:
        assert place == ("", "/shop/a")


def test_proxy_pass_keeps_its_connections() -> None:
    with open_site("proxy_pass", "127.0.0.1:0") as site:
        ports = {site.environ("/")["REMOTE_PORT"] for _ in range(5)}
        assert len(ports) == 1
        assert not site.nginx.errors


def test_keepalive_does_no_harm_to_uwsgi_pass() -> None:
    with server(APP, "--socket", "127.0.0.1:0", http=None) as app:
        text = configuration("uwsgi_pass", place_of(app))
        kept = re.sub(r"(?m)^( +server 127.*)$", r"\1\n    keepalive 4;", text)
        assert kept != text
        with nginx(kept) as n:
            assert [n.get().status for _ in range(3)] == [200] * 3
            assert not n.errors


@pytest.mark.parametrize("way", WAYS)
def test_limits_are_told_to_the_client(way: str) -> None:
    options = ("--limit-post", "1000", "--limit-request-fields", "20")
    with open_site(way, "127.0.0.1:0", *options) as site:
        assert site.nginx.request("POST", "/digest", b"x" * 1000).status == 200
        assert site.nginx.request("POST", "/digest", b"x" * 1001).status == 413
        many = {f"X-{i}": "" for i in range(30)}
        assert site.nginx.get("/", many).status == 431
        chunks = iter([b"x" * 600, b"y" * 600])
        assert site.nginx.request("POST", "/digest", chunks).status == 413


@pytest.mark.parametrize("way", WAYS)
def test_a_large_body_is_refused_with_its_status(way: str) -> None:
    """nginx sends all of it, and would take a reset for a 502."""
    body = b"x" * (15 << 20)
    with open_site(way, "127.0.0.1:0", "--limit-post", "1000") as site:
        for _ in range(5):
            answer = site.nginx.request("POST", "/digest", body)
            assert answer.status == 413, site.nginx.log


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_amiss_in_the_log_of_nginx(way: str) -> None:
    with open_site(way, "127.0.0.1:0") as site:
        for path in ("/", "/pieces", "/redirect?/x", "/events/digest"):
            assert site.get(path).status in (200, 302)
        assert site.nginx.request("POST", "/digest", b"x" * 5000).status == 200
        assert not site.nginx.errors


# --- restarts ---------------------------------------------------------------


def ask_until(stop: threading.Event, n: Nginx, statuses: list[int]) -> None:
    while not stop.is_set():
        statuses.append(n.get("/sleep").status)


def await_more(statuses: list[int]) -> None:
    enough = len(statuses) + 20
    wait_until(lambda: len(statuses) > enough, "more answers", 30)


def restart(app: Server, arguments: tuple[str, ...]) -> Server:
    finish(app)
    return start(*arguments, directory=app.directory)


@pytest.mark.parametrize("way", WAYS)
def test_a_restart_loses_no_request(way: str, tmp_path: pathlib.Path) -> None:
    with server(APP) as first:  # for its application
        source = (first.directory / "app.py").read_text("utf-8")
    (tmp_path / "app.py").write_text(source, "utf-8")
    paths = [str(tmp_path / name) for name in ("one.sock", "two.sock")]
    commands = [
        (LISTENERS[way], path, "--wsgi-file", "app.py", "-L") for path in paths
    ]
    apps = [start(*words, directory=tmp_path) for words in commands]
    statuses: list[int] = []
    stop = threading.Event()
    try:
        places = [f"unix:{path}" for path in paths]
        with nginx(configuration(way, *places)) as n:
            threads = [
                threading.Thread(target=ask_until, args=(stop, n, statuses))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            try:
                await_more(statuses)
                for i, words in enumerate(commands):
                    apps[i] = restart(apps[i], words)
                    await_more(statuses)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            assert set(statuses) == {200}, n.log
    finally:
        for app in apps:
            app.kill()
