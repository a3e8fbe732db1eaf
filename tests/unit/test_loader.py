# SPDX-License-Identifier: MIT
"""Loading applications: files, modules, mounts, paths, and what fails."""

import os
import pathlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from greenloop import loader
from greenloop.loader import LoadError
from greenloop.options import Settings

APP = """
def application(environ, start_response):
    return [__name__.encode()]
def other(environ, start_response):
    return [b"other"]
"""

Write = Callable[[str, str], pathlib.Path]


@pytest.fixture(autouse=True)
def place(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty current directory; the interpreter is as before after it."""
    cwd, path, modules = os.getcwd(), list(sys.path), set(sys.modules)
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(cwd)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(place: pathlib.Path) -> Write:
    def write(name: str, text: str) -> pathlib.Path:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    return write


def load(**fields: Any) -> list[tuple[str, Any]]:
    return loader.load_applications(
        Settings(http_sockets=[":0"], cores=1, **fields)
    )


def fails(**fields: Any) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load(**fields)
    return caught.value


def test_a_file_becomes_a_module(write: Write) -> None:
    path = write("app.py", APP)
    [(prefix, app)] = load(wsgi_file="app.py")
    assert prefix == ""
    assert app(None, None) == [b"uwsgi_file_app"]
    module = sys.modules["uwsgi_file_app"]
    assert module.__file__ == str(path)
    assert module.application is app
    assert module.__spec__ is not None


def test_the_module_name_is_made_of_the_path_as_given(write: Write) -> None:
    path = write("sub dir/my-app.v2.wsgi", APP)
    [(_, app)] = load(wsgi_file="sub dir/my-app.v2.wsgi")
    assert app.__module__ == "uwsgi_file_sub_dir_my_app_v2"
    [(_, app)] = load(wsgi_file=str(path))
    assert app.__module__.startswith("uwsgi_file__")


def test_files_that_differ_in_extension_only(write: Write) -> None:
    write("app.py", "def application(e, s): return [b'py']")
    write("app.wsgi", "def application(e, s): return [b'ws']")
    found = [load(wsgi_file=name)[0][1] for name in ("app.py", "app.wsgi")]
    assert [app(None, None) for app in found] == [[b"py"], [b"ws"]]


def test_the_directory_of_a_file_is_not_searched(write: Write) -> None:
    write("sub/app.py", "import beside\n" + APP)
    write("sub/beside.py", "")
    assert "does not import" in str(fails(wsgi_file="sub/app.py"))
    load(wsgi_file="sub/app.py", pythonpath=["sub"])


def test_the_current_directory_is_searched(write: Write) -> None:
    write("sub/app.py", "import beside\n" + APP)
    write("beside.py", "")
    load(wsgi_file="sub/app.py")


def test_pythonpath_comes_first_in_its_order(write: Write) -> None:
    for place in ("one", "two", "."):
        write(f"{place}/colour.py", f"name = {place!r}")
        write(f"{place}/only_{len(place)}.py", "")
    write("app.py", "import colour, only_1, only_3\n" + APP)
    load(wsgi_file="app.py", pythonpath=["one", "two"])
    assert sys.modules["colour"].name == "one"
    assert sys.path[:3] == [
        os.path.abspath(p) for p in ("one", "two", os.curdir)
    ]


def test_chdir_comes_before_everything(write: Write) -> None:
    write("deep/down/app.py", "import lib\n" + APP)
    write("deep/lib/lib.py", "")
    load(wsgi_file="down/app.py", chdir="deep", pythonpath=["lib"])
    assert pathlib.Path.cwd().name == "deep"


@pytest.mark.parametrize(
    ("target", "name", "result"),
    [
        ("pack.mod", "application", b"pack.mod"),
        ("pack.mod", "other", b"other"),
        ("pack.mod:other", "application", b"other"),
        ("pack.mod:Holder.inner.app", "application", b"inner"),
        ("pack:made", "application", b"made"),
    ],
)
def test_modules(write: Write, target: str, name: str, result: bytes) -> None:
    write("pack/__init__.py", "made = lambda e, s: [b'made']")
    write(
        "pack/mod.py",
        APP
        + """
class Holder:
    class inner:
        def app(environ, start_response):
            return [b"inner"]
""",
    )
    [(prefix, app)] = load(module=target, callable=name)
    assert prefix == ""
    assert app(None, None) == [result]


def test_mounts_come_after_the_default(write: Write) -> None:
    write("app.py", APP)
    write("mod.py", APP)
    found = load(
        wsgi_file="app.py",
        mounts=[
            ("/a", "app.py:other"),
            ("/b", "mod"),
            ("/c", "mod:other"),
            ("/d", "app.py"),
        ],
    )
    assert [(p, a(None, None)) for p, a in found] == [
        ("", [b"uwsgi_file_app"]),
        ("/a", [b"other"]),
        ("/b", [b"mod"]),
        ("/c", [b"other"]),
        ("/d", [b"uwsgi_file_app"]),
    ]
    assert found[0][1] is found[4][1], "one file was loaded twice"


def test_mounts_alone_are_enough(write: Write) -> None:
    write("app.py", APP)
    assert [p for p, _ in load(mounts=[("/a", "app.py")])] == ["/a"]


def test_objects_of_frameworks(write: Write) -> None:
    write(
        "app.py",
        """
        import flask
        app = flask.Flask(__name__)
        """,
    )
    [(_, app)] = load(wsgi_file="app.py", callable="app")
    assert type(app).__name__ == "Flask"
    message = str(fails(wsgi_file="app.py"))
    assert message == (
        "there is no callable 'application' in app.py, but app; choose "
        "with --callable."
    )


def test_what_was_imported_is_not_proposed(write: Write) -> None:
    write(
        "app.py",
        """
        import os
        from functools import partial
        from os.path import join
        class Site:
            pass
        def app(environ, start_response):
            pass
        _hidden = lambda: 0
        number = 3
        """,
    )
    assert "in app.py, but Site, app; choose" in str(fails(wsgi_file="app.py"))
    write("empty.py", "number = 3")
    assert str(fails(wsgi_file="empty.py")) == (
        "there is no callable 'application' in empty.py."
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("application = 3", "is no callable but of type int"),
        ("async def application(e, s): pass", "is a coroutine function"),
    ],
)
def test_what_is_no_wsgi_callable(
    write: Write, source: str, words: str
) -> None:
    write("app.py", source)
    assert words in str(fails(wsgi_file="app.py"))


def test_nothing_to_load() -> None:
    error = fails()
    assert error.exit_status == 22
    assert "--wsgi-file" in str(error) and "--module" in str(error)


def test_a_missing_file() -> None:
    error = fails(wsgi_file="app.py")
    assert str(error) == "cannot load app.py: there is no such file."
    assert error.exit_status == 22


@pytest.mark.parametrize(
    ("source", "last_line"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module"),
        ("def f():\n    1 / 0\nf()", "ZeroDivisionError: division by"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: "),
    ],
)
@pytest.mark.parametrize("how", ["wsgi_file", "module"])
def test_what_does_not_import(
    write: Write,
    capsys: pytest.CaptureFixture[str],
    how: str,
    source: str,
    last_line: str,
) -> None:
    write("broken.py", source)
    error = fails(**{how: "broken.py" if how == "wsgi_file" else "broken"})
    assert error.exit_status == 22
    assert "it does not import" in str(error)
    printed = capsys.readouterr().err
    ran = "SyntaxError" not in last_line  # there are frames to show
    assert printed.startswith("Traceback (most recent call last):\n") == ran
    assert printed.splitlines()[-1].startswith(last_line)
    assert "broken.py" in printed
    assert "importlib" not in printed, "our own frames are shown"
    assert "loader.py" not in printed, "our own frames are shown"
    assert "uwsgi_file_broken" not in sys.modules


def test_an_interrupt_while_loading_is_no_load_error(write: Write) -> None:
    write("app.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load(wsgi_file="app.py")


@pytest.mark.parametrize(
    "source",
    ["@asyncio.coroutine\ndef f(): yield", "from asyncio import coroutine"],
)
def test_a_missing_coroutine_decorator_is_explained(
    write: Write, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    import asyncio

    monkeypatch.delattr(asyncio, "coroutine", raising=False)
    write("app.py", "import asyncio\n" + source)
    assert str(fails(wsgi_file="app.py")).endswith(
        "This application uses @asyncio.coroutine, which Python removed in "
        "3.11: start with --legacy-coroutines."
    )


def test_another_missing_attribute_is_not_explained(write: Write) -> None:
    write("app.py", "import os\nos.coroutine")
    assert "--legacy-coroutines" not in str(fails(wsgi_file="app.py"))


def make_virtualenv(place: pathlib.Path, version: str) -> pathlib.Path:
    home = place / "venv"
    lib = "lib/python{}.{}".format(*sys.version_info)
    packages = home / lib / "site-packages"
    packages.mkdir(parents=True)
    (home / "pyvenv.cfg").write_text(f"home = /usr\nversion = {version}.9\n")
    return packages


def test_a_virtualenv(place: pathlib.Path, write: Write) -> None:
    packages = make_virtualenv(place, "{}.{}".format(*sys.version_info))
    counts = "import sys; sys.pth_runs = getattr(sys, 'pth_runs', 0) + 1\n"
    (packages / "linked.pth").write_text("../../../extra\n" + counts)
    (packages / "inside.py").write_text("")
    (packages / "json.py").write_text("raise ImportError('a backport')")
    write("venv/extra/further.py", "")
    write("app.py", "import inside, further, json\n" + APP)
    sys.modules.pop("json", None)
    load(wsgi_file="app.py", virtualenv="venv")
    assert sys.__dict__.pop("pth_runs") == 1
    inside = sys.modules["inside"].__file__
    assert inside == str(packages / "inside.py")
    ours = next(p for p in sys.path if p.endswith("site-packages"))
    assert ours == str(packages), "its packages come before the server's"


def test_a_virtualenv_of_another_python(place: pathlib.Path) -> None:
    make_virtualenv(place, "3.9")
    error = fails(wsgi_file="app.py", virtualenv="venv")
    assert error.exit_status == 1
    assert "is for Python 3.9, and this is Python" in str(error)


def test_what_is_no_virtualenv(place: pathlib.Path) -> None:
    error = fails(wsgi_file="app.py", virtualenv="nowhere")
    assert error.exit_status == 1
    assert f"{place}/nowhere is not a virtual environment" in str(error)


def test_a_directory_that_cannot_be_entered() -> None:
    error = fails(wsgi_file="app.py", chdir="nowhere")
    assert error.exit_status == 1
    assert str(error) == "cannot change to nowhere: No such file or directory."
