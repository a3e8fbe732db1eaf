# SPDX-License-Identifier: MIT
"""The uwsgi protocol, spoken by hand: requests, limits, and what is none."""

import concurrent.futures
import contextlib
import pathlib
import re
import signal
import socket
from collections.abc import Iterator

import pytest
from frames import TEXT, Frame, Peer, close_frame, frame
from harness import Server, server
from packets import ask, ask_raw, open_uwsgi, packet, port_of, variables
from wire import wait_until

APP = """
    import greenloop

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/websocket":
            websocket = greenloop.websocket(environ)
            for message in websocket:
                websocket.send("echo " + message)
            return
        if path == "/sleep":
            print("sleeping", flush=True)
            greenloop.sleep(0.5)
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("X-Body", str(len(body)))])
        if path == "/stream":
            return (b"x" * 1000 for _ in range(300))
        return [body if body else b"hello"]
"""
GET = packet(variables())
POST = packet(
    variables({"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5"}), b"12345"
)


@contextlib.contextmanager
def uwsgi_server(*options: str, app: str = APP) -> Iterator[Server]:
    with server(app, "-s", "127.0.0.1:0", *options, http=None) as s:
        yield s


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """A server that every test leaves as it was."""
    with uwsgi_server() as s:
        yield s


# --- requests ---------------------------------------------------------------


@pytest.mark.smoke
def test_get_and_post(shared: Server) -> None:
    reply = ask(shared)
    assert (reply.status, reply.body) == (200, b"hello")
    assert reply.closes and reply.field("Content-Length") == "5"
    reply = ask(shared, {"REQUEST_METHOD": "POST"}, b"abc")
    assert (reply.body, reply.field("X-Body")) == (b"abc", "3")


def test_every_cut(shared: Server) -> None:
    for cut in range(1, len(POST)):
        with open_uwsgi(shared) as wire:
            wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.send(POST[:cut])
            wire.send(POST[cut:])
            assert wire.reply().body == b"12345"
            wire.expect_end()


def test_byte_by_byte(shared: Server) -> None:
    with open_uwsgi(shared) as wire:
        wire.drip(POST)
        assert wire.reply().body == b"12345"
        wire.expect_end()


def test_what_follows_is_no_request(shared: Server) -> None:
    for junk in (GET, POST, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100):
        answer = ask_raw(shared, POST + junk)
        assert answer.count(b"HTTP/1.1") == 1, answer
        assert answer.endswith(b"\r\n\r\n12345")


def test_head(shared: Server) -> None:
    with open_uwsgi(shared) as wire:
        wire.send(packet(variables({"REQUEST_METHOD": "HEAD"})))
        reply = wire.reply("HEAD")
        assert reply.field("Content-Length") == "5"
        wire.expect_end()


def test_an_answer_without_length_ends_with_the_connection(
    shared: Server,
) -> None:
    reply = ask(shared, {"PATH_INFO": "/stream"})
    assert reply.field("Transfer-Encoding") is None
    assert reply.field("Content-Length") is None
    assert reply.closes and reply.body == b"x" * 300000


def test_no_interim_answer(shared: Server) -> None:
    """The proxy has invited the body; a 100 would be taken for its answer."""
    with open_uwsgi(shared) as wire:
        pairs = variables(
            {"CONTENT_LENGTH": "3", "HTTP_EXPECT": "100-continue"}
        )
        wire.send(packet(pairs))
        assert wire.is_silent(0.1)
        wire.send(b"abc")
        assert wire.reply().body == b"abc"


def test_a_large_body_streams() -> None:
    app = """
        def application(environ, start_response):
            total = 0
            while piece := environ["wsgi.input"].read(65536):
                total += len(piece)
            start_response("200 OK", [])
            return [str(total).encode()]
    """
    with uwsgi_server(app=app) as s:
        body = b"x" * (10 << 20)
        assert ask(s, {}, body).body == str(len(body)).encode()


def test_listeners_of_both_kinds_share_a_worker(
    tmp_path: pathlib.Path,
) -> None:
    path = str(tmp_path / "app.sock")
    options = ["--socket", "127.0.0.1:0", "--uwsgi-socket", path]
    with server(APP, *options, "-s127.0.0.1:0") as s:
        names = sorted(name.partition(":")[0] for name in s.listeners)
        assert names == ["http", "unix", "uwsgi", "uwsgi"]
        assert ask(s).body == b"hello"  # through the Unix socket
        with s.connect(port=port_of(s)) as sock:
            sock.sendall(GET)
            assert sock.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        assert s.get().body == b"hello"


def test_more_requests_than_cores() -> None:
    with uwsgi_server("--asyncio", "2") as s:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            replies = pool.map(
                lambda _: ask(s, {"PATH_INFO": "/sleep"}), range(6)
            )
        assert [reply.body for reply in replies] == [b"hello"] * 6


def test_a_stop_waits_for_the_request() -> None:
    with uwsgi_server() as s, open_uwsgi(s) as wire:
        wire.send(packet(variables({"PATH_INFO": "/sleep"})))
        s.wait_for("sleeping")
        s.send_signal(signal.SIGTERM)
        assert wire.reply().body == b"hello"
        assert s.wait_exit() == 0


def test_a_websocket_through_the_proxy(shared: Server) -> None:
    """nginx's uwsgi_pass forwards the upgrade and then every byte."""
    fields = {
        "PATH_INFO": "/websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with open_uwsgi(shared) as wire:
        wire.send(packet(variables(fields)))
        reply = wire.reply()
        assert reply.status == 101
        accept = reply.field("Sec-WebSocket-Accept")
        assert accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        peer = Peer(wire, reply)
        peer.send(frame(TEXT, b"hi"))
        peer.expect(Frame(TEXT, b"echo hi"))
        peer.send(close_frame(1000))
        peer.expect_close(1000, answer=False)


def test_a_websocket_that_nobody_asked_for(shared: Server) -> None:
    assert ask(shared, {"PATH_INFO": "/websocket"}).status == 400


# --- limits and timeouts ----------------------------------------------------


def test_a_packet_over_the_buffer_size() -> None:
    with uwsgi_server("--buffer-size", "1000") as s:
        big = packet(variables({"HTTP_COOKIE": "x" * 1000}))
        assert b" 431 " in ask_raw(s, big)
        s.wait_for("raise --buffer-size (1000)")
        assert b" 431 " in ask_raw(s, big[:4])  # at once
        assert ask(s).status == 200


def test_too_many_fields() -> None:
    with uwsgi_server("--limit-request-fields", "5") as s:
        fields = {f"HTTP_X{i}": "" for i in range(4)}
        assert ask(s, fields).status == 200  # HTTP_HOST is the fifth
        assert ask(s, {**fields, "HTTP_Y": ""}).status == 431
        s.wait_for("over 5 header fields (--limit-request-fields)")


def test_a_body_over_the_limit() -> None:
    with uwsgi_server("--limit-post", "10") as s:
        assert ask(s, {}, b"1234567890").status == 200
        assert ask(s, {}, b"12345678901").status == 413


def test_a_slow_packet() -> None:
    with uwsgi_server("--http-headers-timeout", "0.2") as s:
        with open_uwsgi(s) as wire:
            wire.send(GET[:30])
            assert wire.reply().status == 408
            wire.expect_end()
        with open_uwsgi(s) as wire:
            wire.expect_end()  # it sent nothing


def test_a_body_that_stalls() -> None:
    with uwsgi_server("--socket-timeout", "0.2") as s, open_uwsgi(s) as wire:
        wire.send(POST[:-1])
        assert wire.reply().status == 408
        wire.expect_end()


def test_a_body_that_breaks_off() -> None:
    app = """
        def application(environ, start_response):
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                print(type(error).__name__, flush=True)
                raise
    """
    with uwsgi_server(app=app) as s, open_uwsgi(s) as wire:
        wire.send(POST[:-1])
        wire.half_close()
        wire.rest()
        s.wait_for("ClientDisconnected")


# --- what is no request -----------------------------------------------------

PAIRS = variables()


def changed(name: str, value: str) -> bytes:
    return packet({**dict(PAIRS), name: value})


WRONG = {
    "http": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "speaks HTTP"),
    "http post": (b"POST / HTTP/1.1\r\n\r\n", 400, 'but "POST": if it'),
    "tls": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", 400, r"but "),
    "empty": (b"\0\0\0\0", 400, "has no variables"),
    "name empty": (packet([("", "x"), *PAIRS]), 400, "do not fill it"),
    "name too long": (b"\0\x08\0\0\x09\0abcdef", 400, "do not fill it"),
    "value too long": (b"\0\x08\0\0\x01\0a\x04\0123", 400, "do not fill it"),
    "block too short": (b"\0\x03\0\0\x01\0a", 400, "do not fill it"),
    "odd byte": (b"\0\x06\0\0\x01\0a\0\0x", 400, "do not fill it"),
    "name with a blank": (changed("A B", "x"), 400, "bytes that its name"),
    "name not ASCII": (changed("\xe9", "x"), 400, "bytes that its name"),
    "NUL": (changed("PATH_INFO", "/\0"), 400, "bytes that its name"),
    "line end": (changed("HTTP_A", "b\r\nC: d"), 400, "bytes that its name"),
    "method": (changed("REQUEST_METHOD", "G T"), 400, "bytes that its name"),
    "no method": (packet({"PATH_INFO": "/"}), 400, "no REQUEST_METHOD"),
    "length": (changed("CONTENT_LENGTH", "5x"), 400, "CONTENT_LENGTH"),
    "length -1": (changed("CONTENT_LENGTH", "-1"), 400, "CONTENT_LENGTH"),
    "length huge": (changed("CONTENT_LENGTH", "9" * 30), 400, "_LENGTH"),
    "lengths": (
        packet([*PAIRS, ("CONTENT_LENGTH", "3")], b"abc"),
        400,
        "CONTENT_LENGTH came twice",
    ),
    "chunked": (
        packet(
            {"REQUEST_METHOD": "POST", "HTTP_TRANSFER_ENCODING": "chunked"},
            b"3\r\nabc\r\n0\r\n\r\n",
        ),
        411,
        "its body is chunked",
    ),
    "variables": (
        packet([*PAIRS, *((f"V{i}", "") for i in range(120))]),
        431,
        "over 128 variables",
    ),
    "modifier": (packet(PAIRS, b"", 5), 0, "modifier1 5, which is not"),
    "spooler": (packet(PAIRS, b"", 17), 0, "modifier1 17, which is not"),
    "pong": (b"\x64\0\0\x01", 0, "modifier1 100, which is not"),
    "signal": (b"\x6e\0\0\x01", 0, "modifier1 110, which is not"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_packets(shared: Server, name: str) -> None:
    data, status, logged = WRONG[name]
    before = shared.err
    with open_uwsgi(shared) as wire:
        wire.send(data)
        if status > 0:
            assert wire.reply().status == status
        wire.expect_end()

    def lines() -> list[str]:
        new = shared.err[len(before) :].splitlines()
        return [x for x in new if x.startswith("greenloop: ")]

    wait_until(lambda: len(lines()) == 1, "a line in the log")
    assert logged in lines()[0]
    assert "127.0.0.1" in lines()[0]
    assert ask(shared).status == 200
    assert len(lines()) == 1


def test_wrong_packets_of_a_unix_socket(tmp_path: pathlib.Path) -> None:
    with server(APP, "-s", str(tmp_path / "x"), http=None) as s:
        assert b" 400 " in ask_raw(s, b"GET / HTTP/1.1\r\n\r\n")
        s.wait_for("a Unix socket sent no uwsgi packet")


def test_a_packet_on_an_http_socket() -> None:
    with server(APP) as s:
        assert s.raw(GET).startswith(b"HTTP/1.1 400 ")
        s.wait_for("for uwsgi_pass give it a --socket")


def test_ping(shared: Server) -> None:
    before = shared.err
    assert ask_raw(shared, b"\x64\0\0\0") == b"\x64\0\0\x01"
    assert ask(shared).status == 200
    wait_until(lambda: shared.err != before, "the access log")
    assert "greenloop:" not in shared.err[len(before) :]


def test_a_chunked_body_of_known_length(shared: Server) -> None:
    """As nginx sends it on: the coding is off, its field is still there."""
    fields = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"}
    data = packet(variables(fields), b"3\r\nab" + GET)
    assert ask_raw(shared, data).endswith(b"\r\n\r\n3\r\nab")


# --- logs -------------------------------------------------------------------


def test_the_access_log_has_the_client() -> None:
    with uwsgi_server() as s:
        user = {"REMOTE_USER": "ann", "REQUEST_URI": "/a%20b"}
        ask(s, {**user, "SERVER_PROTOCOL": "HTTP/2.0"})
        s.stop()
        line = re.search(r"\[pid: .*", s.err)
        assert line is not None, s.err
        assert "192.0.2.7 (ann) {15 vars in " in line[0]
        assert "GET /a%20b => generated 5 bytes" in line[0]
        assert "(HTTP/2.0 200)" in line[0]


def test_no_path_forges_or_spoils_a_line() -> None:
    app = "def application(environ, start_response): raise ValueError"
    pairs = dict(variables({"PATH_INFO": "/a\ngreenloop: forged"}))
    with (
        server(
            app,
            *("--socket", "127.0.0.1:0"),
            http=None,
            allow_traceback=True,
        ) as s,
    ):
        assert ask(s, {"REQUEST_URI": '/\xe9"'}).status == 500
        s.wait_for('error in a request: GET /\\xe9"\nTraceback')
        del pairs["REQUEST_URI"]
        assert b" 500 " in ask_raw(s, packet(pairs))
        pairs["PATH_INFO"] = "/b"
        assert b" 500 " in ask_raw(s, packet(pairs))
        s.wait_for("error in a request: GET /b\n")
        assert "forged" not in s.err


def test_the_combined_access_log() -> None:
    with uwsgi_server("--access-log-format", "combined") as s:
        ask(s, {"REMOTE_USER": 'a"n', "HTTP_REFERER": "/x"})
        s.stop()
        assert re.search(
            r'^192\.0\.2\.7 - a\\x22n \[[^]]*\] "GET / HTTP/1\.1" 200 5 '
            r'"/x" "-"$',
            s.err,
            re.M,
        ), s.err
