# SPDX-License-Identifier: MIT
"""The access log: its two formats, what it escapes, and that it never waits.

Lines are written in batches, and all of them are there once the server has
ended.
"""

import pathlib
import re
import socket
import subprocess
import time
from typing import IO

import pytest
from harness import (
    LISTENING,
    PROGRAM,
    READY,
    Server,
    Stream,
    finish,
    server,
    start,
)
from wire import Wire, cpu_while, open_wire, request, wait_until

APP = """
    def application(environ, start_response):
        environ["wsgi.input"].read()
        start_response("200 OK", [("X-One", "1"), ("X-Two", "2")])
        return [b"hello"]
"""
UWSGI = re.compile(
    r"\[pid: (?P<pid>\d+)\|app: 0\|req: (?P<app>\d+)/(?P<all>\d+)\] "
    r"(?P<addr>\S*) \((?P<user>[^)]*)\) "
    r"\{(?P<vars>\d+) vars in (?P<size>\d+) bytes\} \[(?P<date>[^]]+)\] "
    r"(?P<method>\S+) (?P<uri>\S+) => generated (?P<bytes>\d+) bytes in "
    r"(?P<msecs>\d+) msecs \((?P<proto>\S+) (?P<status>\d+)\) "
    r"(?P<headers>\d+) headers in (?P<hsize>\d+) bytes "
    r"\((?P<switches>\d+) switches on core (?P<core>\d+)\)"
)
COMBINED = re.compile(
    r"(?P<addr>\S+) - (?P<user>\S+) \[(?P<date>[^]]+)\] "
    r'"(?P<method>\S+) (?P<uri>\S+) (?P<proto>\S+)" (?P<status>\d+) '
    r'(?P<bytes>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)


def lines_of(s: Server, pattern: "re.Pattern[str]") -> list[dict[str, str]]:
    """The access log's lines; everything else begins with our name."""
    rest = [x for x in s.err.splitlines() if not x.startswith("greenloop:")]
    found = [pattern.fullmatch(x) for x in rest]
    assert None not in found, rest
    return [x.groupdict() for x in found if x is not None]


def test_the_format_of_uwsgi() -> None:
    with server(APP) as s, open_wire(s) as wire:
        reply = wire.get("/a?b=c", "X: y")
        wire.send(request("POST", "/d", body=b"abc"))
        assert wire.reply().status == 200
        wire.sock.close()
        s.stop()
        first, second = lines_of(s, UWSGI)
        assert first == {
            "pid": str(s.pid),
            "app": "1",
            "all": "1",
            "addr": "127.0.0.1",
            "user": "",
            "vars": "2",
            "size": str(len(request("GET", "/a?b=c", "X: y"))),
            "date": first["date"],
            "method": "GET",
            "uri": "/a?b=c",
            "bytes": "5",
            "msecs": first["msecs"],
            "proto": "HTTP/1.1",
            "status": "200",
            "headers": "2",
            "hsize": first["hsize"],
            "switches": first["switches"],
            "core": "0",
        }
        told = time.mktime(time.strptime(first["date"]))
        assert abs(told - time.time()) < 30
        assert int(first["hsize"]) >= sum(
            len(name) + len(value) + 4 for name, value in reply.fields
        )
        assert (second["app"], second["method"]) == ("2", "POST")


def test_the_combined_format() -> None:
    with server(APP, "--access-log-format", "combined") as s:
        s.get("/a?b", {"Referer": "http://r/?x", "User-Agent": "ua/1 (x; y)"})
        s.raw(b"HEAD /c HTTP/1.0\r\n\r\n")
        s.stop()
        first, second = lines_of(s, COMBINED)
        told = time.strptime(first["date"], "%d/%b/%Y:%H:%M:%S %z")
        assert told.tm_gmtoff == time.localtime().tm_gmtoff
        assert abs(time.mktime(told) - time.time()) < 30
        assert first == {
            "addr": "127.0.0.1",
            "user": "-",
            "date": first["date"],
            "method": "GET",
            "uri": "/a?b",
            "proto": "HTTP/1.1",
            "status": "200",
            "bytes": "5",
            "referer": "http://r/?x",
            "agent": "ua/1 (x; y)",
        }
        assert (second["method"], second["bytes"]) == ("HEAD", "0")
        assert (second["proto"], second["referer"]) == ("HTTP/1.0", "-")


def test_what_comes_from_outside_is_escaped() -> None:
    """Nobody can end a line, a field or a terminal's colours from afar."""
    with server(APP, "--access-log-format", "combined") as s:
        s.raw(
            b'GET /"quoted" HTTP/1.0\r\nReferer: a"b\\c\td\r\n'
            b"User-Agent: \xe9\xff\r\n\r\n"
        )
        s.stop()
        (line,) = lines_of(s, COMBINED)
        assert line["uri"] == r"/\x22quoted\x22"
        assert line["referer"] == r"a\x22b\x5cc\x09d"
        assert line["agent"] == r"\xe9\xff"


@pytest.mark.parametrize("style", ["uwsgi", "combined"])
def test_long_texts_are_cut(style: str) -> None:
    with server(APP, "--access-log-format", style) as s:
        path = "/" + '"' * 8000
        s.raw(f"GET {path} HTTP/1.0\r\nReferer: {path}\r\n\r\n".encode())
        s.get("/after")
        s.stop()
        pattern = UWSGI if style == "uwsgi" else COMBINED
        first, second = lines_of(s, pattern)
        assert first["uri"].startswith(r"/\x22\x22")
        assert len(first["uri"]) < 2000
        assert second["uri"] == "/after"


def test_refusals_are_logged() -> None:
    options = ["--access-log-format", "combined", "--limit-post", "10"]
    with server(APP, *options) as s:
        s.raw(b"rubbish\r\n\r\n")
        s.raw(b"GET /3 HTTP/3.0\r\n\r\n")
        s.raw(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        s.raw(b"GET /" + 9000 * b"x" + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        s.raw(b"GET /b HTTP/1.1\r\n" + 101 * b"A: b\r\n" + b"\r\n")
        s.stop()
        lines = lines_of(s, COMBINED)
        assert [
            (line["status"], line["method"], line["uri"][:3]) for line in lines
        ] == [
            ("400", "rubbish", "-"),
            ("505", "GET", "/3"),
            ("413", "PUT", "/a"),
            ("414", "GET", "/xx"),
            ("431", "GET", "/b"),
        ]
        assert {line["addr"] for line in lines} == {"127.0.0.1"}
        for reason in [
            "refused with 413: its body has over 10 bytes (--limit-post)",
            "414: its line has over 8190 bytes (--limit-request-line)",
            "over 100 fields (--limit-request-fields)",
        ]:
            assert reason in s.err


@pytest.mark.parametrize("style", ["uwsgi", "combined"])
def test_a_departed_client_is_logged_as_by_nginx(style: str) -> None:
    """499: there was no answer, and a log's reader expects a status."""
    app = """
        def application(environ, start_response):
            environ["wsgi.input"].read()
    """
    with server(app, "--access-log-format", style) as s:
        with open_wire(s) as wire:
            wire.send(request("PUT", "/a", "Content-Length: 5") + b"abc")
            wire.half_close()
            wire.expect_end()
        s.stop()
        (line,) = lines_of(s, UWSGI if style == "uwsgi" else COMBINED)
        assert line["status"] == "499"


def test_an_answer_of_its_own_making_is_no_departure() -> None:
    """uwsgi.send() before start_response: nobody knows its status."""
    app = """
        import uwsgi

        def application(environ, start_response):
            uwsgi.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
            return []
    """
    with server(app) as s:
        assert s.get("/").status == 200
        s.stop()
        (line,) = lines_of(s, UWSGI)
        assert line["status"] == "0"


def test_lines_come_soon_and_together() -> None:
    with server(APP) as s, open_wire(s) as wire:
        for _ in range(3):
            before = len(lines_of(s, UWSGI))
            wire.send(request("GET", "/") * 100)
            assert {wire.reply().status for _ in range(100)} == {200}
            s.wait_for(f"|req: {before + 100}/")


@pytest.mark.parametrize("option", ["--disable-logging", "-L"])
def test_no_access_log(option: str) -> None:
    app = APP.replace(
        'environ["wsgi.input"].read()',
        'if environ["PATH_INFO"] == "/e": raise ValueError("still logged")',
    )
    with server(app, option, allow_traceback=True) as s:
        assert s.get("/hello").status == 200
        assert s.get("/e").status == 500
        s.raw(b"rubbish\r\n\r\n")
        s.stop()
        assert "/hello" not in s.err and " 400 " not in s.err
        assert "ValueError: still logged" in s.err


def test_a_file(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    (tmp_path / "app.py").write_text(
        "def application(e, s):\n    s('200 OK', [])\n    return [b'x']\n"
    )
    s = start(
        *("--http-socket", "127.0.0.1:0", "--wsgi-file", "app.py"),
        *("--logto", str(log), "--access-log-format", "combined"),
        directory=tmp_path,
        ready=False,
    )
    wait_until(
        lambda: READY.search(log.read_text()) is not None, "it is ready"
    )
    s.listeners = LISTENING.findall(log.read_text())
    for number in range(50):
        assert s.get(f"/{number}").status == 200
    finish(s)
    assert s.err == ""
    text = log.read_text()
    assert text.startswith("before\n")
    uris = [found["uri"] for found in COMBINED.finditer(text)]
    assert uris == [f"/{number}" for number in range(50)]


def begin_unread(tmp_path: pathlib.Path) -> "subprocess.Popen[bytes]":
    (tmp_path / "app.py").write_text(
        "def application(e, s):\n    s('200 OK', [])\n    return [b'x']\n"
    )
    return subprocess.Popen(
        [PROGRAM, "--http-socket", "127.0.0.1:0", "--wsgi-file", "app.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def port_when_ready(pipe: IO[bytes]) -> int:
    port, line = 0, ""
    while not READY.search(line):
        line = pipe.readline().decode()
        assert line, "it ended"
        if found := LISTENING.search(line):
            port = int(found[1].rpartition(":")[2])
    return port


def serve_lines(port: int, count: int) -> None:
    """Requests that make long lines; every one must be answered."""
    some = request("GET", "/" + "x" * 900) * 100
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        wire = Wire(sock)
        for _ in range(count // 100):
            wire.send(some)
            assert {wire.reply().body for _ in range(100)} == {b"x"}


def test_a_log_that_nobody_reads_stops_nobody(tmp_path: pathlib.Path) -> None:
    """A full pipe: lines are dropped, the server answers, and says so."""
    with begin_unread(tmp_path) as process:
        assert process.stderr is not None
        try:
            port = port_when_ready(process.stderr)
            serve_lines(port, 2500)  # 2 MB: pipe and memory are full
            assert cpu_while(process.pid) < 0.2
            log = Stream(process.stderr)
            give_up = time.monotonic() + 10
            while "access log lines were dropped" not in log.text:
                assert time.monotonic() < give_up
                serve_lines(port, 100)
        finally:
            process.terminate()
        assert process.wait(20) == 0
        log.close()
    dropped = re.search(r"(\d+) access log lines were dropped", log.text)
    assert dropped is not None and int(dropped[1]) > 500
    assert log.text.count("GET /xxx") > 500


@pytest.mark.parametrize("kind", ["list", "write", "iterator"])
def test_only_what_was_sent_is_counted(kind: str) -> None:
    """The client leaves when it has seen the beginning."""
    app = """
        SIZE = 50_000_000

        def application(environ, start_response):
            size = [("Content-Length", str(SIZE))]
            write = start_response("200 OK", size)
            if environ["PATH_INFO"] == "/list":
                return [b"x" * SIZE]
            if environ["PATH_INFO"] == "/iterator":
                return iter([b"x" * SIZE])
            write(b"x" * SIZE)
            return []
    """
    with server(app) as s:
        with s.connect() as sock:
            sock.sendall(f"GET /{kind} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            got = 0
            while got < 100_000:
                got += len(sock.recv(65536))
        wait_until(lambda: len(lines_of(s, UWSGI)) == 1, "its line")
        (line,) = lines_of(s, UWSGI)
        assert 90_000 < int(line["bytes"]) < 49_000_000
