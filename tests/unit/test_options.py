# SPDX-License-Identifier: MIT
"""The option table, and what parsing makes of command lines."""

import dataclasses
import pathlib
import re

import pytest
from greenloop import _core, option_help, option_table, options
from greenloop.option_table import Kind
from greenloop.options import Settings, UsageError

LISTEN = ("--http-socket", ":0")


def parse(*arguments: str) -> Settings:
    return options.parse(options.scan([*LISTEN, *arguments]))


def fails(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(*arguments)
    return str(caught.value)


def test_nothing_but_an_address_gives_the_defaults() -> None:
    settings = parse()
    assert settings == Settings(http_sockets=[":0"], cores=1000)
    assert settings.engine == {}
    assert settings.callable == "application"
    assert (settings.backlog, settings.graceful_timeout) == (1024, 30.0)


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--http", "[::1]:1"], "http_sockets", [":0", "[::1]:1"]),
        (
            ["-s:1", "--uwsgi-socket", "/a/b", "--socket=@c"],
            "uwsgi_sockets",
            [":1", "/a/b", "@c"],
        ),
        (["-l", "7"], "backlog", 7),
        (["--listen=7"], "backlog", 7),
        (["--wsgi-file", "a.py"], "wsgi_file", "a.py"),
        (["--file=a=b.py"], "wsgi_file", "a=b.py"),
        (["-w", "m:a"], "module", "m:a"),
        (["-wm:a"], "module", "m:a"),
        (["--wsgi", "m"], "module", "m"),
        (["--callable", "app"], "callable", "app"),
        (["--chdir", "/"], "chdir", "/"),
        (["--pp", "a", "--pythonpath", "b"], "pythonpath", ["a", "b"]),
        (["-H", "v"], "virtualenv", "v"),
        (["--home=v"], "virtualenv", "v"),
        (["--venv", "v"], "virtualenv", "v"),
        (["--mount", "/a/=x.py"], "mounts", [("/a", "x.py")]),
        (["--mount", "/=x.py"], "mounts", [("", "x.py")]),
        (["--mount", "/a=m:f=g"], "mounts", [("/a", "m:f=g")]),
        (["--manage-script-name"], "manage_script_name", True),
        (["--legacy-coroutines"], "legacy_coroutines", True),
        (["--loop", "uvloop"], "loop", "uvloop"),
        (["--running-loop=visible"], "running_loop", "visible"),
        (["--graceful-timeout", "0.5"], "graceful_timeout", 0.5),
        (["--graceful-timeout", "0"], "graceful_timeout", 0),
        (["--disable-logging"], "access_log", False),
        (["-L"], "access_log", False),
        (["-TL"], "access_log", False),
        (["-iTl9"], "backlog", 9),
        (["--access-log-format", "combined"], "access_log_format", "combined"),
        (["--logto", "f"], "logto", "f"),
        (["--chmod-socket"], "socket_mode", 0o666),
        (["--chmod-socket", "--vacuum"], "socket_mode", 0o666),
        (["--chmod-socket=660"], "socket_mode", 0o660),
        (["-C", "0600"], "socket_mode", 0o600),
        (["-C0"], "socket_mode", 0),
        (["--umask", "27"], "umask", 0o27),
        (["--chown-socket", "a:b"], "socket_owner", "a:b"),
        (["--vacuum"], "vacuum", True),
        (["--reuse-port"], "reuse_port", True),
        (["--freebind"], "freebind", True),
        (["--so-keepalive"], "so_keepalive", True),
        (["--defer-accept"], "defer_accept", True),
        (["--socket-sndbuf", "9"], "socket_sndbuf", 9),
        (["--socket-rcvbuf", "9"], "socket_rcvbuf", 9),
        (["--asyncio", "10"], "cores", 10),
        (["--asyncio", "10", "--asyncio", "20"], "cores", 20),
    ],
)
def test_settings(arguments: list[str], field: str, value: object) -> None:
    assert getattr(parse(*arguments), field) == value


@pytest.mark.parametrize(
    ("arguments", "engine"),
    [
        (["--asyncio=1"], {"cores": 1}),
        (["-b", "4096"], {"head_max_bytes": 4096}),
        (["-b4096"], {"head_max_bytes": 4096}),
        (["--limit-request-line", "100"], {"line_max_bytes": 100}),
        (["--limit-request-fields", "9"], {"fields_max": 9}),
        (["--limit-post", str(2**62)], {"body_max_bytes": 2**62}),
        (["--http-headers-timeout", "1.5"], {"head_timeout_ms": 1500}),
        (["--http-keepalive"], {}),
        (["--http-keepalive", "-L"], {}),
        (["--http-keepalive", "0"], {"keepalive_timeout_ms": 0}),
        (["--http-keepalive=2"], {"keepalive_timeout_ms": 2000}),
        (
            ["-z", "4"],
            {"body_timeout_ms": 4000, "write_timeout_ms": 4000},
        ),
        (["--cancel-on-disconnect"], {"cancel_on_disconnect": 1}),
        (["--max-connections", "9"], {"max_connections": 9}),
        (
            ["--max-connections-reject", "--max-connections=1"],
            {"max_connections": 1, "max_connections_reject": 1},
        ),
        (["--max-queued", "9"], {"max_queued": 9}),
        (["--queue-timeout", "0.5"], {"queue_timeout_ms": 500}),
    ],
)
def test_engine_options(arguments: list[str], engine: dict[str, int]) -> None:
    assert parse(*arguments).engine == engine


@pytest.mark.parametrize(
    "name",
    [o.name for o in option_table.OPTIONS if o.group.startswith("Accepted")],
)
def test_accepted_options_change_nothing(name: str) -> None:
    assert parse(f"--{name}") == parse()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--htp-socket", ":1"], "--htp-socket; did you mean --http-socket?"),
        (["--wsgi_file", "a"], "--wsgi_file; did you mean --wsgi-file?"),
        (["--Asyncio"], "did you mean --asyncio?"),
        (["--htp", ":1"], "--htp; did you mean --http?"),
        (["--sock", ":1"], "--sock; did you mean --socket?"),
        (["--cancel"], "did you mean --cancel-on-disconnect?"),
        (["--proceses", "2"], "did you mean --processes?"),
        (["--user", "x"], "unknown option --user."),
        (["--qqqqqqqqqq"], "unknown option --qqqqqqqqqq."),
        (["-Q"], "unknown option -Q"),
        (["--=x"], "unknown option --."),
        (["app.py"], "did you mean --wsgi-file app.py?"),
        (["app.py:app"], "--wsgi-file app.py --callable app?"),
        (["wsgi:app"], "did you mean --module wsgi:app?"),
        (["pkg.web:make.app"], "did you mean --module pkg.web:make.app?"),
        ([":9090"], "did you mean --http-socket :9090?"),
        (["localhost:9090"], "did you mean --http-socket localhost:9090?"),
        (["--"], "unknown option --."),
        (["--asyncio"], "--asyncio needs a value: --asyncio N."),
        (["--asyncio", "--greenlet"], "--asyncio needs a value"),
        (["--asyncio", "ten"], "--asyncio needs a number, not 'ten'"),
        (["--asyncio", "1_0"], "--asyncio needs a number"),
        (["--asyncio", "\u0661"], "--asyncio needs a number"),
        (["--asyncio", "0"], "must be from 1 to 1000000, not 0"),
        (["--asyncio", "-1"], "must be from 1 to 1000000, not -1"),
        (["--listen", "0"], "must be at least 1, not 0"),
        (["--chmod-socket=rw"], "octal number up to 777, not 'rw'"),
        (["-C1000"], "--chmod-socket is an octal number up to 777"),
        (["-C", "68"], "octal number up to 777, not '68'"),
        (["-C="], "octal number up to 777, not '='"),
        (["--umask"], "--umask needs a value: --umask MODE."),
        (["--umask="], "octal number up to 777, not ''"),
        (["--socket-sndbuf", "-1"], "must be at least 0"),
        (["--socket-rcvbuf", str(2**31)], "must be from 0 to 2147483647"),
        (["--listen", str(2**31)], "must be from 1 to 2147483647"),
        (["--max-connections-reject"], "limit: --max-connections N."),
        (["--vacuum=1"], "--vacuum takes no value"),
        (["--graceful-timeout", "nan"], "needs seconds, not 'nan'"),
        (["--graceful-timeout", "-1"], "at least 0, not -1"),
        (["--socket-timeout", "0"], "--socket-timeout must be from 0.001"),
        (["--limit-post", str(2**64)], "--limit-post must be from 0 to"),
        (["--loop", "gevent"], "auto, asyncio or uvloop, not 'gevent'"),
        (["--mount", "a=b"], "written /prefix=application"),
        (["--mount", "/a"], "written /prefix=application"),
        (["--mount", "/a="], "written /prefix=application"),
        (["--static-map", "a=b"], "written /prefix=folder"),
        (["--static-max-age", "-1"], "at least 0, not -1"),
        (["--mount", "/a=x", "--mount", "/a/=y"], "--mount /a is given twi"),
        (["--greenlet=1"], "--greenlet takes no value"),
        (["--chdir="], "--chdir needs a value"),
        (["--file", "a.py", "--module", "m"], "both name the application"),
    ],
)
def test_mistakes_are_named(arguments: list[str], words: str) -> None:
    assert words in fails(*arguments)


def test_an_address_of_any_kind_is_enough() -> None:
    settings = options.parse(options.scan(["--socket", ":1"]))
    assert (settings.http_sockets, settings.uwsgi_sockets) == ([], [":1"])


def test_an_address_is_needed() -> None:
    with pytest.raises(UsageError, match="--http-socket :9090"):
        options.parse(options.scan(["--wsgi-file", "app.py"]))


@pytest.mark.parametrize(
    "name", [name for row in option_table.REFUSALS for name in row.names]
)
def test_what_is_not_there_yet_is_refused(name: str) -> None:
    with pytest.raises(options.RefusedError) as caught:
        options.scan([options.dashed(name), "1"])
    text = str(caught.value)
    assert text.startswith(options.dashed(name))
    assert text.endswith(".")


def test_what_a_refusal_advises_is_there() -> None:
    known = {name for row in option_table.OPTIONS for name in row.names}
    for row in option_table.REFUSALS:
        advised = re.findall(r"(?<!\w)--([a-z-]+[a-z])", row.sentence)
        assert set(advised) <= known, row.names


@pytest.mark.parametrize("name", ["--venv", "--home", "--pyhome", "-H"])
def test_names_of_the_virtual_environment(name: str) -> None:
    assert parse(name, "env").virtualenv == "env"


def test_a_refused_letter_names_the_whole_option() -> None:
    assert fails("-p", "4").startswith("-p (--processes) is not available")


def test_no_name_is_used_twice() -> None:
    names = [n for option in option_table.OPTIONS for n in option.names]
    names += [n for row in option_table.REFUSALS for n in row.names]
    assert sorted(names) == sorted(set(names))


def test_rows_fit_the_settings_and_the_engine() -> None:
    fields = {field.name for field in dataclasses.fields(Settings)}
    engine = {row["name"] for row in _core.options()}
    for option in option_table.OPTIONS:
        assert not option.field or option.field in fields, option.name
        assert set(option.engine) <= engine, option.name
        assert option.group in option_table.GROUPS, option.name
        takes_value = option.kind is not Kind.FLAG
        shown = bool(option.metavar or option.choices)
        assert shown == takes_value, option.name
    named = {name for option in option_table.OPTIONS for name in option.engine}
    assert named == engine, "an engine option has no option here"


@pytest.mark.parametrize("width", [20, 40, 72, 80, 200])
def test_help_keeps_to_the_width(width: int) -> None:
    text = option_help.help_text("greenloop", width)
    for line in text.splitlines():
        # Names are never broken, not even for a very narrow terminal.
        assert line.startswith("  -") or len(line) <= max(width, 40), line
        assert len(line) <= 100


def test_help_shows_each_option_once_with_its_default() -> None:
    text = option_help.help_text("greenloop", 80)
    for option in option_table.OPTIONS:
        pattern = rf"^  (-\w, )?--{option.name}(?![\w-])"
        assert len(re.findall(pattern, text, re.M)) == 1, option.name
    for row in _core.options():
        if row["unit"] == "ms":
            assert f"(default {row['initial'] / 1000:g})" in text, row
    assert "(default 8190)" in " ".join(text.split())


def test_the_reference_in_docs_is_current() -> None:
    root = pathlib.Path(__file__).resolve().parents[2]
    written = (root / "docs" / "options.md").read_text("utf-8")
    assert written == option_help.reference(), (
        "run: python -m greenloop.option_help > docs/options.md"
    )


@pytest.mark.parametrize("name", ["--wsgi-file", "--module"])
def test_one_application_for_every_path(name: str) -> None:
    text = fails("--http-socket", ":0", name, "a.py", "--mount", "/=b.py")
    assert "--mount /" in text and name in text
