# SPDX-License-Identifier: MIT
"""`import uwsgi`: every name, what it says of the server, and the hooks."""

import asyncio
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import greenloop
import pytest
from harness import Server, environment, run, server

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs"
DOCUMENT /= "uwsgi-module.md"
HEAD = """
    import os

    import uwsgi

    def answer(start, text):
        start("200 OK", [("Content-Type", "text/plain")])
        return [str(text).encode()]
"""
STATES = {"works", "differs", "later", "out"}
# Not there until the application, or an option, sets them.
UNSET = {
    "after_req_hook",
    "atexit",
    "mode",
    "mule_msg_hook",
    "pidfile",
    "post_fork_hook",
    "spooler",
    "spoolers",
}
DYNAMIC = {"env", "start_response"}


def documented() -> dict[str, str]:
    """{name: state} of the document's tables."""
    rows = re.findall(
        r"^\| (`[^|]+) \| (\w+) \|", DOCUMENT.read_text("utf-8"), re.M
    )
    return {
        name: state
        for names, state in rows
        for name in re.findall(r"`(\w+)`", names)
    }


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    """Evaluates the body in a request."""
    app = f"""{HEAD}
    def text_of(error):
        return f"{{type(error).__name__}}: {{error}}"

    def error_of(name):
        try:
            getattr(uwsgi, name)(1, two=2)
        except Exception as error:
            return text_of(error)

    def application(environ, start):
        text = environ["wsgi.input"].read().decode()
        try:
            value = eval(text)
        except Exception as error:
            value = text_of(error)
        return answer(start, value)
    """
    with server(app, "--asyncio", "7", "-b8192", "--need-app") as running:
        yield running


def value(s: Server, text: str) -> str:
    answer = s.request("POST", "/", text)
    assert answer.status == 200, s.log
    return answer.text


# --- the names -------------------------------------------------------------


def test_every_name_is_documented_and_the_other_way_round(s: Server) -> None:
    table = documented()
    assert set(table.values()) == STATES
    there = set(value(s, "' '.join(dir(uwsgi))").split())
    there = {name for name in there if not name.startswith("_")}
    assert there | UNSET | DYNAMIC == set(table)
    assert len(table) > 150


def test_what_is_absent_names_the_alternative(s: Server) -> None:
    absent = {
        name: state
        for name, state in sorted(documented().items())
        if state in ("later", "out") and name not in UNSET
    }
    assert len(absent) > 100
    texts = value(s, f"'|'.join(map(error_of, {list(absent)!r}))").split("|")
    begins = {
        "later": "comes with the supervisor of several workers; until then ",
        "out": "stays out of Greenloop; ",
    }
    for (name, state), text in zip(absent.items(), texts, strict=True):
        begin = f"NotImplementedError: uwsgi.{name}() {begins[state]}"
        assert text.startswith(begin), text
        assert len(text) > len(begin) + 10


def test_functions_say_what_they_do(s: Server) -> None:
    present = [
        name
        for name, state in documented().items()
        if state in ("works", "differs") and name not in UNSET | DYNAMIC
    ]
    lost = value(
        s,
        f"[n for n in {present!r} if callable(getattr(uwsgi, n)) and not "
        "getattr(uwsgi, n).__text_signature__]",
    )
    assert lost == "[]"


def test_there_is_none_outside_of_a_server() -> None:
    code = "import greenloop, sys; print('uwsgi' in sys.modules); import uwsgi"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(None),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "False\n"
    assert "ModuleNotFoundError: No module named 'uwsgi'" in done.stderr


def test_unknown_names(s: Server) -> None:
    assert value(s, "uwsgi.no_such_name") == (
        "AttributeError: module 'uwsgi' has no attribute 'no_such_name'"
    )
    assert value(s, "hasattr(uwsgi, 'pidfile')") == "False"
    assert value(s, "__import__('importlib.util').util.find_spec('uwsgi')")


# --- data ------------------------------------------------------------------


def test_data(s: Server) -> None:
    number = ", ".join(greenloop.__version__.split("."))
    expected = {
        "version": repr(f"{greenloop.__version__}-greenloop".encode()),
        "version_info": f"({number}, 0, b'greenloop')",
        "env['uwsgi.version'] == uwsgi.version": "True",
        "hostname": repr(platform.node().encode()),
        "loop": "b'asyncio'",
        "cores": "7",
        "buffer_size": "8192",
        "numproc": "1",
        "has_threads": "1",
        "applications": "None",
        "is_a_reload": "False",
        "unbit": "False",
        "magic_table": "{}",
        "queue_size": "0",
        "SPOOL_OK, uwsgi.SPOOL_RETRY, uwsgi.SPOOL_IGNORE": "(-2, -1, 0)",
        "env is environ": "True",
        "start_response is start": "True",
    }
    for name, text in expected.items():
        assert value(s, f"uwsgi.{name}") == text, name
    assert abs(int(value(s, "uwsgi.started_on")) - time.time()) < 100
    fd = int(value(s, "uwsgi.sockets[0]"))
    name = os.readlink(f"/proc/{s.pid}/fd/{fd}")
    assert name.startswith("socket:")


def test_opt_is_the_command_line(s: Server) -> None:
    opt = eval(value(s, "uwsgi.opt"))
    assert opt.pop("wsgi-file").endswith(b"/app.py")
    assert opt == {
        "http-socket": b"127.0.0.1:0",
        "asyncio": b"7",
        "buffer-size": b"8192",
        "need-app": True,
    }
    app = f"""{HEAD}
    SEEN = uwsgi.opt["pythonpath"], hasattr(uwsgi, "env"), uwsgi.env

    def application(environ, start):
        return answer(start, SEEN)
    """
    with server(app, "--pp", "one", "--pythonpath=two") as other:
        assert other.get().text == "([b'one', b'two'], True, {})"


# --- the server and its process --------------------------------------------


def test_what_it_says_of_the_server(s: Server) -> None:
    assert value(s, "uwsgi.worker_id(), uwsgi.mule_id()") == "(1, 0)"
    assert value(s, "uwsgi.masterpid(), uwsgi.ready()") == "(0, True)"
    assert value(s, "uwsgi.accepting(), uwsgi.accepting(0)") == "(None, None)"
    before = int(value(s, "uwsgi.total_requests()"))
    assert int(value(s, "uwsgi.total_requests()")) == before + 1
    assert abs(int(value(s, "uwsgi.micros()")) / 1e6 - time.time()) < 100
    rss, vsz = eval(value(s, "uwsgi.mem()"))
    assert 1e6 < rss < vsz


def test_workers(s: Server) -> None:
    (worker,) = eval(value(s, "uwsgi.workers()"))
    again = eval(value(s, "uwsgi.workers()"))[0]
    assert worker["pid"] == s.pid
    assert worker["status"] == b"busy"
    assert again["requests"] == worker["requests"] + 1
    assert again["tx"] > worker["tx"]
    assert worker["apps"] == [{"id": 0, "modifier1": 0, "mountpoint": b""}]
    assert s.request("POST", "/", "1/0").text.startswith("ZeroDivisionError")
    assert again["exceptions"] == 0


def test_exceptions_are_counted() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        if environ["PATH_INFO"] == "/bad":
            raise ValueError("bad")
        return answer(start, uwsgi.workers()[0]["exceptions"])
    """
    with server(app, allow_traceback=True) as running:
        assert running.get("/bad").status == 500
        assert running.get("/").text == "1"


def test_listen_queue(tmp_path: pathlib.Path) -> None:
    app = f"""{HEAD}
    import time

    def application(environ, start):
        print("blocking", flush=True)
        while not os.path.exists({str(tmp_path / "go")!r}):
            time.sleep(0.01)
        results = [uwsgi.listen_queue(), uwsgi.listen_queue(0)]
        for id in (1, 2, -1):
            try:
                results.append(uwsgi.listen_queue(id))
            except Exception as error:
                results.append(type(error).__name__)
        return answer(start, results)
    """
    unix = str(tmp_path / "s")
    with server(app, "--http-socket", unix) as running:
        with running.connect() as sock:
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            running.wait_for("blocking")
            waiting = [running.connect() for _ in range(3)]
            (tmp_path / "go").touch()
            with sock.makefile("rb") as file:
                text = file.read().partition(b"\r\n\r\n")[2].decode()
            for other in waiting:
                other.close()
    assert text == "[3, 3, 'OSError', 'ValueError', 'ValueError']"


def test_log(s: Server, tmp_path: pathlib.Path) -> None:
    assert value(s, "uwsgi.log('a line')") == "True"
    assert value(s, r"uwsgi.log(b'b\xff line')") == "True"
    assert value(s, "uwsgi.set_warning_message('look')") == "True"
    assert value(s, "uwsgi.set_warning_message('x' * 81)") == (
        "ValueError: a warning message has at most 80 bytes"
    )
    assert value(s, "uwsgi.log(7)").startswith("TypeError: ")
    assert value(s, "uwsgi.log_this_request()") == "None"
    assert value(s, "uwsgi.logsize()") == "0"
    for line in ("\na line\n", "\nb\\xff line\n", "\nlook\n"):
        s.wait_for(line)


def test_logsize(tmp_path: pathlib.Path) -> None:
    app = f"""{HEAD}
    def application(environ, start):
        return answer(start, uwsgi.logsize())
    """
    log = tmp_path / "log"
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "greenloop", "--logto", str(log)),
            *("--http-socket", f"127.0.0.1:{port}", "-L"),
            *("--wsgi-file", str(written(tmp_path, app))),
        ],
        env=environment(None),
    )
    try:
        text = fetched(port)
        assert int(text) == log.stat().st_size > 10
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def written(folder: pathlib.Path, app: str) -> pathlib.Path:
    path = folder / "app.py"
    path.write_text(textwrap.dedent(app), "utf-8")
    return path


def fetched(port: int) -> str:
    """The body at `port`, once somebody listens there."""
    give_up = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(
                    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                )
                with sock.makefile("rb") as file:
                    return file.read().partition(b"\r\n\r\n")[2].decode()
        except ConnectionRefusedError:
            assert time.monotonic() < give_up
            time.sleep(0.02)


def test_setprocname() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        uwsgi.setprocname("a name of twenty one")
        return answer(start, open("/proc/self/comm").read())
    """
    with server(app) as running:
        assert running.get().text == "a name of twent\n"


def test_stop() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        return answer(start, [uwsgi.stop(), uwsgi.stop(), uwsgi.ready()])
    """
    with server(app) as running:
        assert running.get().text == "[True, True, False]"
        assert running.wait_exit() == 0
        assert "stopping: waiting for running requests" in running.err


# --- functions and applications that are set -------------------------------


def test_hooks() -> None:
    app = f"""{HEAD}
    def said(text):
        def hook():
            print(text, flush=True)
            if text == "after request":
                uwsgi.async_sleep(0.01)
                print("of", uwsgi.env["PATH_INFO"], flush=True)
            elif text == "fails":
                raise ValueError("hook")
        return hook

    uwsgi.post_fork_hook = said("post fork")
    uwsgi.atexit = said("at exit")

    def application(environ, start):
        if environ["PATH_INFO"] == "/set":
            uwsgi.after_req_hook = said("after request")
        elif environ["PATH_INFO"] == "/fails":
            uwsgi.after_req_hook = said("fails")
        return answer(start, environ["PATH_INFO"])
    """
    with server(app, allow_traceback=True) as running:
        running.wait_printed("post fork", 1)
        assert running.get("/").text == "/"
        assert running.get("/set").text == "/set"
        assert running.get("/again").text == "/again"
        running.wait_for("of /again")
        assert running.get("/fails").text == "/fails"
        running.wait_for("uwsgi.after_req_hook failed: GET /fails")
        assert running.get("/").text == "/"
        assert running.stop() == 0
        assert running.out.count("after request") == 2
        assert running.out.endswith("at exit\n")


def test_hooks_that_fail() -> None:
    app = f"""{HEAD}
    def fails():
        raise ValueError("hook")

    uwsgi.post_fork_hook = uwsgi.atexit = fails

    def application(environ, start):
        return answer(start, "served")
    """
    with server(app, allow_traceback=True) as running:
        assert running.get().text == "served"
        assert running.stop() == 0
        assert "uwsgi.post_fork_hook failed" in running.err
        assert "uwsgi.atexit failed" in running.err


APPLICATIONS = f"""{HEAD}
    def named(name):
        def app(environ, start):
            return answer(start, name)
        return app

    other = named("other")
"""


def test_applications() -> None:
    app = (
        APPLICATIONS
        + """
    uwsgi.applications = {
        "": named("main"), "/one": named("one"), "/two/": "other",
    }
    """
    )
    with server(app, "--mount", "/three=app.py:other") as running:
        for path, name in {
            "/": "main",
            "/one/x": "one",
            "/onetwo": "main",
            "/two": "other",
            "/three": "other",
        }.items():
            assert running.get(path).text == name


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[1]", "uwsgi.applications must be a dict"),
        ("{'': 7}", "uwsgi.applications[''] is no callable"),
        ("{'x': other}", "'x' in uwsgi.applications does not begin"),
        ("{'/x': 'none'}", "there is no callable 'none'"),
        ("{'/a': other}", "there are two applications for /a"),
    ],
)
def test_applications_that_are_wrong(
    table: str, words: str, tmp_path: pathlib.Path
) -> None:
    path = written(tmp_path, f"{APPLICATIONS}    uwsgi.applications = {table}")
    done = run(
        *("--http-socket", "127.0.0.1:0", "--wsgi-file", str(path)),
        *("--mount", f"/a={path}:other"),
    )
    assert done.returncode == 22
    assert words in done.stderr


def test_an_embedded_server_has_it_when_asked() -> None:
    program = """
import asyncio, sys, greenloop

def app(environ, start):
    import uwsgi
    uwsgi.async_sleep(0.01)
    start("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/stop":
        uwsgi.stop()
    return [repr((uwsgi.cores, len(uwsgi.sockets))).encode()]

async def main():
    server = await greenloop.start_server(
        app, "127.0.0.1:0", cores=3, patch=True
    )
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(None),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert asyncio.run(asked(port, "/")) == "(3, 1)"
        assert asyncio.run(asked(port, "/stop")) == "(3, 1)"
        assert process.stdout.read() == "interrupted\n"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def asked(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    text = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return text.partition(b"\r\n\r\n")[2].decode()
