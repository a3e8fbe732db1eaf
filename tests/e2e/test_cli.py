# SPDX-License-Identifier: MIT
"""The program as a user types it: messages, exit statuses, loading."""

import contextlib
import importlib.metadata
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from greenloop import option_table
from harness import PROGRAM, Server, alias, finish, run, server, start

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""
NAMES = """
    import sys
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        names = environ["SCRIPT_NAME"], environ["PATH_INFO"]
        return [" ".join((__name__, *names)).encode()]
"""


def test_no_arguments() -> None:
    done = run()
    assert done.returncode == 1
    assert re.fullmatch(r"greenloop: .*--help\n", done.stderr)
    assert done.stdout == ""


def test_an_unknown_option_names_the_nearest_one() -> None:
    done = run("--htp-socket", ":9090")
    assert done.returncode == 1
    assert done.stderr == (
        "greenloop: unknown option --htp-socket; did you mean "
        "--http-socket? See greenloop --help\n"
    )


@pytest.mark.parametrize(
    "option", ["--master", "--processes", "-p", "--ini", "--stats"]
)
def test_what_is_not_there_yet_is_refused_in_a_sentence(option: str) -> None:
    done = run("--http-socket", ":0", option, "2", "--wsgi-file", "app.py")
    assert done.returncode == 1
    assert done.stderr.startswith(f"greenloop: {option} ")
    assert re.search(r" is not available yet: .*\.\n$", done.stderr)
    assert done.stderr.count("\n") == 1


def test_no_address() -> None:
    done = run("--wsgi-file", "app.py")
    assert done.returncode == 1
    assert "--http-socket" in done.stderr


def test_help_lists_every_option_once() -> None:
    done = run("--help", env={"COLUMNS": "100"})
    assert (done.returncode, done.stderr) == (0, "")
    starts = re.findall(r"^  (?:-\w, )?--([\w-]+)", done.stdout, re.M)
    assert sorted(starts) == sorted(row.name for row in option_table.OPTIONS)
    words = re.split(r"[\s,]+", done.stdout)
    for name in (n for row in option_table.OPTIONS for n in row.aliases):
        assert words.count(option_table.dashed(name)) == 1, name


@pytest.mark.smoke
def test_version() -> None:
    version = importlib.metadata.version("greenloop")
    for program in ([str(PROGRAM)], [sys.executable, "-m", "greenloop"]):
        done = subprocess.run(
            [*program, "--version"],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (0, f"Greenloop {version}\n")


def test_called_by_another_name(tmp_path: pathlib.Path) -> None:
    uwsgi = alias(tmp_path)
    done = run("--htp", program=uwsgi)
    assert done.returncode == 1
    assert done.stderr.startswith("uwsgi: unknown option --htp; ")
    assert done.stderr.endswith("See uwsgi --help\n")
    assert run("--help", program=uwsgi).stdout.startswith("Usage: uwsgi ")
    with server(HELLO, program=uwsgi) as s:
        assert s.get().body == b"hello"


def test_as_a_module(tmp_path: pathlib.Path) -> None:
    (tmp_path / "app.py").write_text(
        "def application(e, s):\n    s('200 OK', [])\n    return [b'm']\n"
    )
    s = start(
        "-m",
        "greenloop",
        "--http-socket=127.0.0.1:0",
        "--file=app.py",
        directory=tmp_path,
        program=pathlib.Path(sys.executable),
    )
    assert s.get().body == b"m"
    finish(s)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_on_request(tmp_path: pathlib.Path, number: int) -> None:
    with server(HELLO) as s:
        assert s.get().status == 200
        assert s.stop(number) == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_ends_any_wait(loop: str) -> None:
    """Also one that comes in the moment before the loop waits."""
    app = """
        import signal

        def application(environ, start_response):
            wakeup = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
            start_response("200 OK", [])
            return [b"%d" % wakeup]
    """
    with server(app, "--loop", loop) as s:
        assert int(s.get("/").text) > 2


def stopped_while_loading(
    folder: pathlib.Path, number: int, loading: str
) -> Server:
    source = f"import time\n{loading}\ndef application(e, s): pass\n"
    (folder / "app.py").write_text(source)
    s = start(
        *("--http-socket=127.0.0.1:0", "--wsgi-file=app.py"),
        directory=folder,
        ready=False,
    )
    try:
        s.wait_for("loading")
        assert s.stop(number) == 0
    finally:
        s.kill()
    return s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_the_application_loads(
    tmp_path: pathlib.Path, number: int
) -> None:
    begin = time.monotonic()
    wait = "print('loading')\ntime.sleep(60)"
    s = stopped_while_loading(tmp_path, number, wait)
    assert time.monotonic() - begin < 10
    assert "Traceback" not in s.log, s.log


def test_a_stop_that_an_import_swallowed(tmp_path: pathlib.Path) -> None:
    """As the import system itself does in its weak references' callbacks."""
    swallow = """
try:
    print("loading")
    time.sleep(60)
except BaseException:
    print("swallowed")
"""
    s = stopped_while_loading(tmp_path, signal.SIGINT, swallow)
    assert "swallowed" in s.out
    assert "ready" not in s.err


# Python makes a RuntimeError of what is raised here, before 3.12.
SLOW_CLASS = """
import time
class Slow:
    def __set_name__(self, owner, name):
        print("loading", flush=True)
        time.sleep(60)
class Owner:
    slow = Slow()
"""


def test_a_stop_that_became_another_exception(tmp_path: pathlib.Path) -> None:
    s = stopped_while_loading(tmp_path, signal.SIGINT, SLOW_CLASS)
    assert "ready" not in s.err


def test_a_stop_while_the_program_itself_loads(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"""
import sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "greenloop.options":
            exec({SLOW_CLASS!r}, {{}})
sys.meta_path.insert(0, Finder())
""")
    s = start(
        "--http-socket=127.0.0.1:0",
        directory=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        ready=False,
    )
    try:
        s.wait_for("loading")
        assert s.stop(signal.SIGINT) == 0
    finally:
        s.kill()
    assert "Traceback" not in s.log, s.log


@pytest.mark.parametrize("need_app", [[], ["--need-app"]])
def test_an_application_that_does_not_import(
    tmp_path: pathlib.Path, need_app: list[str]
) -> None:
    (tmp_path / "app.py").write_text("import no_such_module_here\n")
    done = run(
        "--http-socket=127.0.0.1:0",
        "--wsgi-file=app.py",
        *need_app,
        cwd=tmp_path,
    )
    assert done.returncode == 22
    assert done.stderr.count("Traceback (most recent call last):") == 1
    assert "ModuleNotFoundError: No module named 'no_such_mo" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "greenloop: cannot load app.py: it does not import."


@pytest.mark.parametrize(
    ("module", "source", "last"),
    [
        ("nope", "", "ModuleNotFoundError: No module named 'nope'"),
        ("wrong", "def f(:\n", "SyntaxError: invalid syntax"),
        (
            "wrong",
            "raise ValueError('on purpose')\n",
            "ValueError: on purpose",
        ),
        ("outer", "import nope\n", "No module named 'nope'"),
    ],
)
def test_tracebacks_begin_in_the_application(
    tmp_path: pathlib.Path, module: str, source: str, last: str
) -> None:
    (tmp_path / "wrong.py").write_text(source)
    (tmp_path / "outer.py").write_text(f"# a first line\n{source}")
    done = run("--http=127.0.0.1:0", f"--module={module}", cwd=tmp_path)
    assert done.returncode == 22
    assert last in done.stderr
    assert "importlib" not in done.stderr and "loader" not in done.stderr
    assert (f"{module}.py" in done.stderr) == bool(source)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--module", "wsgi.py"], "is a file; write --wsgi-file wsgi.py."),
        (
            ["--module", "wsgi.py:app"],
            "is a file; write --wsgi-file wsgi.py --callable app.",
        ),
        (["--wsgi-file", "."], "cannot load .: it is a folder, not a file."),
        (["--wsgi-file", "no.py"], "load no.py: there is no such file."),
    ],
)
def test_a_file_where_none_is_meant(
    tmp_path: pathlib.Path, arguments: list[str], text: str
) -> None:
    (tmp_path / "wsgi.py").write_text("")
    done = run("--http=127.0.0.1:0", *arguments, cwd=tmp_path)
    assert done.returncode == 22
    assert done.stderr.endswith(f"{text}\n") and "Traceback" not in done.stderr


def test_no_application() -> None:
    done = run("--http-socket", "127.0.0.1:0")
    assert done.returncode == 22
    assert "--wsgi-file" in done.stderr
    assert "Traceback" not in done.stderr


def test_need_app_is_accepted() -> None:
    with server(HELLO, "--need-app", "--greenlet", "-TL", "-i") as s:
        assert s.get().body == b"hello"


def test_coroutine_decorator_without_the_option(
    tmp_path: pathlib.Path,
) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("not on this Python: it still has @asyncio.coroutine")
    (tmp_path / "app.py").write_text(
        "import asyncio\n@asyncio.coroutine\ndef f():\n    yield\n"
    )
    done = run("--http-socket=127.0.0.1:0", "--wsgi-file=app.py", cwd=tmp_path)
    assert done.returncode == 22
    assert done.stderr.rstrip().endswith("start with --legacy-coroutines.")


def test_a_port_in_use(tmp_path: pathlib.Path) -> None:
    with server(HELLO) as s:
        done = run(
            f"--http-socket=127.0.0.1:{s.port}",
            f"--wsgi-file={s.directory}/app.py",
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_several_addresses(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "app.sock"
    with server(HELLO, "--http", "127.0.0.2:0", "--http", str(path)) as s:
        assert s.listeners[-1] == f"unix:{path}"
        assert len(s.ports) == 2
        places: list[tuple[int, Any]] = [
            (socket.AF_INET, ("127.0.0.1", s.ports[0])),
            (socket.AF_INET, ("127.0.0.2", s.ports[1])),
            (socket.AF_UNIX, str(path)),
        ]
        for family, place in places:
            with socket.socket(family) as sock:
                sock.settimeout(10)
                sock.connect(place)
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b""
                while piece := sock.recv(4096):
                    answer += piece
            assert answer.endswith(b"\r\n\r\nhello"), place


def test_what_is_printed_is_seen_at_once() -> None:
    app = """
        def application(environ, start_response):
            print("printed in a request")
            start_response("200 OK", [])
            return []
    """
    with server(app) as s:
        s.get()
        s.wait_for("printed in a request", 5)


def test_module_callable_and_pythonpath() -> None:
    files = {"lib/pack/__init__.py": "", "lib/pack/web.py": NAMES}
    module = ["--module", "pack.web:application"]
    with server(None, *module, "--pythonpath", "lib", files=files) as s:
        assert s.get("/x").text == "pack.web  /x"
    options = ["-w", "pack.web", "--callable", "application"]
    with server(None, *options, "--pp=lib", files=files) as s:
        assert s.get("/x").text == "pack.web  /x"


def test_chdir() -> None:
    app = """
        import os
        def application(environ, start_response):
            start_response("200 OK", [])
            return [os.path.basename(os.getcwd()).encode()]
    """
    files = {"deep/site/app.py": app}
    chdir = ["--chdir", "deep", "--wsgi-file", "site/app.py"]
    with server(None, *chdir, files=files) as s:
        assert s.get().text == "deep"


def test_virtualenv() -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    packages = f"venv/lib/python{version}/site-packages"
    files = {
        "venv/pyvenv.cfg": f"version = {version}.0\n",
        f"{packages}/only_there.py": "text = b'from the environment'\n",
    }
    app = """
        import only_there
        def application(environ, start_response):
            start_response("200 OK", [])
            return [only_there.text]
    """
    with server(app, "--virtualenv", "venv", files=files) as s:
        assert s.get().text == "from the environment"


def test_mounts() -> None:
    files = {"one.py": NAMES, "two.py": NAMES, "long.py": NAMES}
    mounts = [
        "--mount=/one=one.py",
        "--mount=/two=two:application",
        "--mount=/one/longer=long.py:application",
        "--manage-script-name",
    ]
    with server(NAMES, *mounts, files=files) as s:
        assert s.get("/one/a").text == "uwsgi_file_one /one /a"
        assert s.get("/two").text == "two /two "
        assert s.get("/two/").text == "two /two /"
        assert s.get("/one/longer/b").text == "uwsgi_file_long /one/longer /b"
        assert s.get("/one/long").text == "uwsgi_file_one /one /long"
        name, script, path = s.get("/onetwo").text.split(" ")
        assert name.endswith("_app")
        assert (script, path) == ("", "/onetwo")


def test_logto(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    (tmp_path / "app.py").write_text(
        "def application(e, s):\n    s('200 OK', [])\n"
        "    e['wsgi.errors'].write('from the application\\n')\n"
        "    return [b'x']\n"
    )
    s = start(
        "--http-socket=127.0.0.1:0",
        "--wsgi-file=app.py",
        f"--logto={log}",
        directory=tmp_path,
        ready=False,
    )
    ready = re.compile(r"http://127.0.0.1:(\d+)\n(?:.*\n)*\S+: ready$", re.M)
    give_up = time.monotonic() + 20
    while not (found := ready.search(log.read_text() + s.err)):
        assert time.monotonic() < give_up, s.log
        time.sleep(0.02)
    port = int(found[1])
    with contextlib.closing(s.connect(port=port)) as sock:
        sock.sendall(b"GET /logged HTTP/1.0\r\n\r\n")
        while sock.recv(4096):
            pass
    assert s.stop() == 0
    text = log.read_text()
    assert text.startswith("before\n")
    assert "from the application" in text
    assert "/logged" in text
    assert "/logged" not in s.err
