# SPDX-License-Identifier: MIT
"""The environ of PEP 3333, as each kind of request fills it."""

import ast
import pathlib
import platform
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, server

APP = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        known = (str, bytes, bool, int, tuple, type(None))
        shown = {
            key: value if isinstance(value, known) else repr(value)
            for key, value in environ.items()
        }
        shown["type of environ"] = type(environ).__name__
        environ["wsgi.version"] = environ["left.behind"] = "changed"
        return [repr(shown).encode()]
"""


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    with server(APP) as running:
        yield running


def environ_of(s: Server, *lines: str, body: bytes = b"") -> dict[str, Any]:
    """What the application sees; Host and Connection are added."""
    head = (*lines, "Host: example.org", "Connection: close", "", "")
    answer = s.raw("\r\n".join(head).encode("latin-1") + body)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
    content = answer.partition(b"\r\n\r\n")[2]
    shown: dict[str, Any] = ast.literal_eval(content.decode())
    return shown


def test_keys_of_a_plain_request(s: Server) -> None:
    with s.connect() as sock:
        sock.sendall(
            b"GET /a/b?c=d&e HTTP/1.1\r\nHost: example.org:1234\r\n"
            b"Connection: close\r\n\r\n"
        )
        port = sock.getsockname()[1]
        with sock.makefile("rb") as file:
            content = file.read().partition(b"\r\n\r\n")[2]
    shown = ast.literal_eval(content.decode())
    assert "_core.Input object" in shown.pop("wsgi.input")
    assert "_core.FileWrapper" in shown.pop("wsgi.file_wrapper")
    assert "ClientDisconnected" in shown.pop("greenloop.client_disconnected")
    assert "name='<stderr>'" in shown.pop("wsgi.errors")
    assert "wait_fd_read" in shown.pop("x-wsgiorg.fdevent.readable")
    assert "wait_fd_write" in shown.pop("x-wsgiorg.fdevent.writable")
    assert 0 < len(shown.pop("uwsgi.version")) < 32
    assert 0 <= shown.pop("uwsgi.core") < 1000
    assert shown == {
        "type of environ": "dict",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/a/b?c=d&e",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "c=d&e",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": socket.gethostname(),
        "SERVER_PORT": str(s.port),
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(port),
        "HTTP_HOST": "example.org:1234",
        "HTTP_CONNECTION": "close",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "uwsgi.node": platform.node().encode(),
        "x-wsgiorg.fdevent.timeout": None,
    }


def test_uwsgi_keys_are_bytes(s: Server) -> None:
    shown = environ_of(s, "GET / HTTP/1.1")
    assert type(shown["uwsgi.version"]) is bytes
    assert type(shown["uwsgi.node"]) is bytes
    assert type(shown["uwsgi.core"]) is int


def test_each_request_has_its_own(s: Server) -> None:
    first = environ_of(s, "GET / HTTP/1.1", "X-First: 1")
    second = environ_of(s, "GET / HTTP/1.1")
    assert first["HTTP_X_FIRST"] == "1"
    assert second["wsgi.version"] == (1, 0)
    assert {"HTTP_X_FIRST", "left.behind"}.isdisjoint(second)


def test_query_string_is_always_there(s: Server) -> None:
    assert environ_of(s, "GET /x HTTP/1.1")["QUERY_STRING"] == ""
    assert environ_of(s, "GET /x? HTTP/1.1")["QUERY_STRING"] == ""
    assert environ_of(s, "GET /x?a?b HTTP/1.1")["QUERY_STRING"] == "a?b"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a%20b%2Fc%01", "/a b/c\1", ""),
        ("/a+b?a+b%20", "/a+b", "a+b%20"),
        ("/%e2%82%ac", "/\xe2\x82\xac", ""),
        ("/./a/../b//c", "/./a/../b//c", ""),
        ("/%2e%2e/x", "/../x", ""),
        ("http://other.example/a?b", "/a", "b"),
        ("http://other.example", "/", ""),
        ("http://other.example?q", "/", "q"),
        ("/http://x", "/http://x", ""),
    ],
)
def test_path(s: Server, target: str, path: str, query: str) -> None:
    shown = environ_of(s, f"GET {target} HTTP/1.1")
    assert shown["PATH_INFO"] == path
    assert shown["QUERY_STRING"] == query
    assert shown["REQUEST_URI"] == target
    assert shown["SCRIPT_NAME"] == ""


def test_authority_of_the_target_overrides_host(s: Server) -> None:
    shown = environ_of(s, "GET http://other.example:8/a HTTP/1.1")
    assert shown["HTTP_HOST"] == "other.example:8"
    assert shown["PATH_INFO"] == "/a"


def test_options_of_the_server_itself(s: Server) -> None:
    shown = environ_of(s, "OPTIONS * HTTP/1.1")
    assert shown["REQUEST_METHOD"] == "OPTIONS"
    assert shown["REQUEST_URI"] == "*"
    assert not shown["PATH_INFO"].startswith("/*")


def test_a_bad_escape_is_refused(s: Server) -> None:
    for target in (b"/%zz", b"/%", b"/a%2", b"/%00"):
        answer = s.raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "X-OWN"]
)
def test_method(s: Server, method: str) -> None:
    assert environ_of(s, f"{method} / HTTP/1.1")["REQUEST_METHOD"] == method


def test_content_fields_only_if_sent(s: Server) -> None:
    shown = environ_of(s, "GET / HTTP/1.1")
    assert {"CONTENT_TYPE", "CONTENT_LENGTH"}.isdisjoint(shown)
    shown = environ_of(
        s,
        "POST / HTTP/1.1",
        "Content-Type: text/x; a=b",
        "Content-Length: 3",
        body=b"abc",
    )
    assert shown["CONTENT_TYPE"] == "text/x; a=b"
    assert shown["CONTENT_LENGTH"] == "3"
    assert {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}.isdisjoint(shown)
    shown = environ_of(
        s,
        "POST / HTTP/1.1",
        "Transfer-Encoding: chunked",
        body=b"0\r\n\r\n",
    )
    assert "CONTENT_LENGTH" not in shown


def test_strings_are_latin_1(s: Server) -> None:
    shown = environ_of(
        s, "GET /%e9 HTTP/1.1", "X-Name: caf\u00e9", "User-Agent: \u00ff"
    )
    assert shown["HTTP_X_NAME"] == "caf\u00e9"
    assert shown["HTTP_USER_AGENT"] == "\u00ff"
    assert shown["PATH_INFO"] == "/\u00e9"


def test_blanks_around_values_are_dropped(s: Server) -> None:
    shown = environ_of(s, "GET / HTTP/1.1", "X-A: \t a \t b \t ", "X-B:")
    assert shown["HTTP_X_A"] == "a \t b"
    assert shown["HTTP_X_B"] == ""


def test_names_with_underscores_are_dropped(s: Server) -> None:
    long = "X" * 200
    shown = environ_of(
        s,
        "GET / HTTP/1.1",
        "X_Forwarded-For: 6.6.6.6",
        "X-Forwarded_For: 6.6.6.6",
        "Content_Length: 99",
        f"{long}_Y: 1",
        f"{long}-Y: 2",
    )
    assert {"HTTP_X_FORWARDED_FOR", "HTTP_CONTENT_LENGTH"}.isdisjoint(shown)
    assert shown[f"HTTP_{long}_Y"] == "2"


def test_proxy_is_dropped(s: Server) -> None:
    shown = environ_of(
        s, "GET / HTTP/1.1", "Proxy: http://evil/", "pROXY: x", "Proxy-X: y"
    )
    assert "HTTP_PROXY" not in shown
    assert shown["HTTP_PROXY_X"] == "y"


@pytest.mark.parametrize("value", ["a", "aa", "", "\u00e9"])
def test_repeated_fields_are_joined(s: Server, value: str) -> None:
    shown = environ_of(
        s,
        "GET / HTTP/1.1",
        f"X-List: {value}",
        "Accept: one",
        f"x-list: {value}",
        "accept: two",
        f"X-LIST: {value}",
    )
    assert shown["HTTP_X_LIST"] == f"{value}, {value}, {value}"
    assert shown["HTTP_ACCEPT"] == "one, two"


def test_cookie_lines_join_with_semicolons(s: Server) -> None:
    shown = environ_of(
        s, "GET / HTTP/1.1", "Cookie: a=1", "cookie: b=2; c=3", "Cookie: d=4"
    )
    assert shown["HTTP_COOKIE"] == "a=1; b=2; c=3; d=4"


def test_many_fields_and_long_values(s: Server) -> None:
    fields = {f"X-Field-{n}": "v" * (n * 7) for n in range(90)}
    shown = environ_of(
        s, "GET / HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())
    )
    for name, value in fields.items():
        assert shown["HTTP_" + name.upper().replace("-", "_")] == value


def test_http_10(s: Server) -> None:
    answer = s.raw(b"GET /old HTTP/1.0\r\n\r\n")
    shown = ast.literal_eval(answer.partition(b"\r\n\r\n")[2].decode())
    assert shown["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert shown["PATH_INFO"] == "/old"
    assert "HTTP_HOST" not in shown


def test_ipv6_and_unix_sockets(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "app.sock")
    with server(APP, http="[::1]:0") as six, server(APP, http=path):
        with socket.create_connection(("::1", six.port)) as sock:
            shown = ask(sock)
            assert shown["REMOTE_ADDR"] == "::1"
            assert shown["REMOTE_PORT"] == str(sock.getsockname()[1])
            assert shown["SERVER_PORT"] == str(six.port)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            shown = ask(sock)
            assert shown["REMOTE_ADDR"] == ""
            assert shown["SERVER_PORT"] == "80"  # PEP 3333: never empty
            assert shown["PATH_INFO"] == "/x"


def ask(sock: socket.socket) -> dict[str, Any]:
    sock.settimeout(20)
    sock.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    with sock.makefile("rb") as file:
        content = file.read().partition(b"\r\n\r\n")[2]
    shown: dict[str, Any] = ast.literal_eval(content.decode())
    return shown
