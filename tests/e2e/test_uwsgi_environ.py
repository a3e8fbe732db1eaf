# SPDX-License-Identifier: MIT
"""The environ of requests that come as uwsgi packets, and what cannot be
done with a variable."""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, server
from packets import Vars, ask, open_uwsgi, packet, variables

APP = """
    import json

    def application(environ, start_response):
        shown = {key: value if isinstance(value, (str, int)) else repr(value)
                 for key, value in environ.items()}
        shown["app"] = "main"
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(shown).encode()]
"""
OTHER = """
    import app

    def application(environ, start_response):
        body = app.application(environ, start_response)[0]
        return [body.replace(b'"main"', b'"other"')]
"""
# What the server itself adds.
OWN = {
    "greenloop.client_disconnected",
    "uwsgi.core",
    "uwsgi.node",
    "uwsgi.version",
    "wsgi.errors",
    "wsgi.file_wrapper",
    "wsgi.input",
    "wsgi.input_terminated",
    "wsgi.multiprocess",
    "wsgi.multithread",
    "wsgi.run_once",
    "wsgi.url_scheme",
    "wsgi.version",
    "x-wsgiorg.fdevent.readable",
    "x-wsgiorg.fdevent.timeout",
    "x-wsgiorg.fdevent.writable",
}


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    with server(APP, "--socket", "127.0.0.1:0", http=None) as running:
        yield running


def environ_of(
    s: Server, more: Vars = (), body: bytes = b"", modifier1: int = 0
) -> dict[str, Any]:
    reply = ask(s, more, body, modifier1)
    assert reply.status == 200, s.log
    found = json.loads(reply.body)
    assert isinstance(found, dict)
    return found


def environ_of_exactly(s: Server, pairs: Vars) -> dict[str, Any]:
    with open_uwsgi(s) as wire:
        wire.send(packet(pairs))
        found = json.loads(wire.reply().body)
        assert isinstance(found, dict)
        return found


@pytest.mark.smoke
def test_the_variables_of_nginx(s: Server) -> None:
    environ = environ_of(
        s,
        {
            "PATH_INFO": "/a b/\xe9",
            "REQUEST_URI": "/a%20b/%E9?q=%20",
            "QUERY_STRING": "q=%20",
            "HTTP_X_A": "1",
            "OWN_VARIABLE": "mine",
        },
    )
    assert {k: v for k, v in environ.items() if k not in OWN} == {
        "app": "main",
        "QUERY_STRING": "q=%20",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/a%20b/%E9?q=%20",
        "PATH_INFO": "/a b/\xe9",
        "SCRIPT_NAME": "",
        "DOCUMENT_ROOT": "/srv/www",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711",
        "SERVER_PORT": "80",
        "SERVER_NAME": "www.example.org",
        "HTTP_HOST": "www.example.org",
        "HTTP_X_A": "1",
        "OWN_VARIABLE": "mine",
    }
    assert set(environ) >= OWN
    assert environ["wsgi.url_scheme"] == "http"


def test_content_fields_only_if_sent(s: Server) -> None:
    environ = environ_of(s, {"CONTENT_TYPE": "text/plain"}, b"abc")
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["CONTENT_LENGTH"] == "3"
    assert "CONTENT_LENGTH" not in environ_of(s, {"CONTENT_LENGTH": ""})


def test_the_least_that_a_packet_needs(s: Server) -> None:
    environ = environ_of_exactly(s, {"REQUEST_METHOD": "BREW"})
    assert environ["REQUEST_METHOD"] == "BREW"
    assert environ["PATH_INFO"] == environ["QUERY_STRING"] == ""
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["SERVER_NAME"] and environ["SERVER_PORT"].isdigit()
    assert "REQUEST_URI" not in environ


def test_a_client_without_a_port(s: Server) -> None:
    """The proxy's own port is not the client's."""
    pairs = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "::1"}
    environ = environ_of_exactly(s, pairs)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("::1", "")


@pytest.mark.parametrize(
    ("more", "scheme"),
    [
        ({"HTTPS": "on"}, "https"),
        ({"HTTPS": "1"}, "https"),
        ({"HTTPS": "off"}, "http"),
        ({"HTTPS": ""}, "http"),
        ({"UWSGI_SCHEME": "https"}, "https"),
        ({"UWSGI_SCHEME": "http", "HTTPS": "on"}, "http"),
        ({"UWSGI_SCHEME": "gopher"}, "http"),
    ],
)
def test_scheme(s: Server, more: dict[str, str], scheme: str) -> None:
    assert environ_of(s, more)["wsgi.url_scheme"] == scheme


def test_the_last_of_a_name_counts(s: Server) -> None:
    environ = environ_of_exactly(
        s,
        [
            *variables(),
            ("REMOTE_ADDR", "203.0.113.9"),
            ("PATH_INFO", "/last"),
            ("REQUEST_METHOD", "PUT"),
        ],
    )
    assert environ["REMOTE_ADDR"] == "203.0.113.9"
    assert environ["PATH_INFO"] == "/last"
    assert environ["REQUEST_METHOD"] == "PUT"


def test_repeated_fields_are_joined(s: Server) -> None:
    environ = environ_of_exactly(
        s,
        [
            *variables(),
            ("HTTP_ACCEPT", "a"),
            ("HTTP_ACCEPT", ""),
            ("HTTP_ACCEPT", "b"),
            ("HTTP_COOKIE", "a=1"),
            ("HTTP_COOKIE", "b=2"),
        ],
    )
    assert environ["HTTP_ACCEPT"] == "a, , b"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


def test_fields_that_are_dropped(s: Server) -> None:
    dropped = {
        "HTTP_PROXY": "http://evil",
        "HTTP_CONTENT_LENGTH": "7",
        "HTTP_CONTENT_TYPE": "x/y",
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
    environ = environ_of(s, dropped, b"abc")
    assert not set(dropped) & set(environ)
    assert environ["CONTENT_LENGTH"] == "3"


def test_names_of_the_server_cannot_be_sent(s: Server) -> None:
    evil = {name: "evil" for name in OWN}
    evil |= {"wsgi.x": "evil", "uwsgi.x": "evil", "greenloop.x": "evil"}
    environ = environ_of(s, {**evil, "x-wsgiorg.x": "evil"})
    assert "evil" not in environ.values()


def test_long_names_and_values(s: Server) -> None:
    long = {"HTTP_" + "A" * 300: "b" * 20000, "L" * 200: "\xff\t" * 100}
    environ = environ_of(s, long)
    assert long.items() <= environ.items()
    assert long.items() <= environ_of(s, long).items()


MAGIC = (
    "UWSGI_SCRIPT",
    "UWSGI_MODULE",
    "UWSGI_CALLABLE",
    "UWSGI_FILE",
    "UWSGI_PYHOME",
    "UWSGI_CHDIR",
    "UWSGI_APPID",
    "UWSGI_TOUCH_RELOAD",
    "UWSGI_CACHE_GET",
    "UWSGI_SETENV",
    "UWSGI_POSTFILE",
    "UWSGI_HOME",
)


def test_no_variable_loads_or_changes_anything(tmp_path: pathlib.Path) -> None:
    app = """
        import os

        def application(environ, start_response):
            start_response("200 OK", [])
            return [repr((os.getcwd(), os.environ.get("EVIL"))).encode()]
    """
    marker = tmp_path / "marker"
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(marker)!r}, 'w')\n")
    with server(app, "--socket", "127.0.0.1:0", http=None) as s:
        before = ask(s).body
        assert b"None" in before
        for value in (str(evil), str(tmp_path), "evil", "EVIL=1"):
            for name in MAGIC:
                assert ask(s, {name: value}).body == before
            assert ask(s, dict.fromkeys(MAGIC, value), b"x").body == before
        assert not marker.exists()
        assert sorted(tmp_path.iterdir()) == [evil]


# --- SCRIPT_NAME and mounts -------------------------------------------------


@pytest.mark.parametrize(
    ("script", "path", "left"),
    [
        ("/app", "/app/x", ("/app", "/x")),
        ("/app", "/app", ("/app", "")),
        ("/app/", "/app/x", ("/app", "/x")),
        ("/app", "/apple/x", ("/app", "/apple/x")),
        ("/app", "/x", ("/app", "/x")),
        ("", "/x", ("", "/x")),
        ("/", "/x", ("/", "/x")),
    ],
)
def test_modifier_30(
    s: Server, script: str, path: str, left: tuple[str, str]
) -> None:
    pairs = {"SCRIPT_NAME": script, "PATH_INFO": path}
    environ = environ_of(s, pairs, modifier1=30)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == left
    environ = environ_of(s, pairs)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, path)


@contextlib.contextmanager
def mounted(*options: str) -> Iterator[Server]:
    with server(
        APP,
        *("--socket", "127.0.0.1:0", "--mount", "/other=other.py", *options),
        http=None,
        files={"other.py": OTHER},
    ) as s:
        yield s


def place(
    s: Server, script: str | None, path: str, modifier1: int = 0
) -> tuple[str, str, str]:
    more = {"PATH_INFO": path}
    if script is not None:
        more["SCRIPT_NAME"] = script
    environ = environ_of(s, more, modifier1=modifier1)
    return environ["app"], environ["SCRIPT_NAME"], environ["PATH_INFO"]


def test_mounts() -> None:
    with mounted() as s:
        assert place(s, None, "/other/x") == ("other", "", "/other/x")
        assert place(s, None, "/x") == ("main", "", "/x")
        # The proxy says which one it is.
        assert place(s, "/other", "/x") == ("other", "/other", "/x")
        assert place(s, "/other", "/other/x", 30) == ("other", "/other", "/x")
        assert place(s, "/else", "/x") == ("main", "/else", "/x")


def test_manage_script_name() -> None:
    with mounted("--manage-script-name") as s:
        assert place(s, None, "/other/x") == ("other", "/other", "/x")
        assert place(s, None, "/x") == ("main", "", "/x")
        assert place(s, "/other", "/other/x") == ("other", "/other", "/x")
        assert place(s, "/other", "/x") == ("other", "/other", "/x")
        # Of a site whose prefix the proxy knows, and the mounts within it.
        assert place(s, "/site", "/site/other/x") == (
            "other",
            "/site/other",
            "/x",
        )
