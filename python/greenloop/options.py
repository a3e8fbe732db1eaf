# SPDX-License-Identifier: MIT
"""The options of the command line: one table, and what is read from it.

Parsing, `--help` and docs/options.md all come from OPTIONS.  The engine's
own options (those with `engine=`) keep their default and range in C; they
are asked for here and never repeated.

Names are uWSGI's where uWSGI has the option.  `--name value` and
`--name=value` mean the same, short letters may be joined (`-LT`, `-b4096`),
and of an option that is not a list the last one wins.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import math
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = [
    "GROUPS",
    "OPTIONS",
    "REFUSALS",
    "Kind",
    "Option",
    "Refusal",
    "RefusedError",
    "Settings",
    "UsageError",
    "help_text",
    "parse",
    "reference",
    "scan",
]


class UsageError(Exception):
    """A command line that cannot be followed; the text is one sentence."""


class RefusedError(UsageError):
    """An option of uWSGI that is not there; the text says all there is."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line asks for; the worker's whole input."""

    http_sockets: list[str]
    cores: int
    https_sockets: list[str] = dataclasses.field(default_factory=list)
    sni: list[str] = dataclasses.field(default_factory=list)
    prog: str = "greenloop"
    loop: str = "auto"
    running_loop: str = "hidden"
    wsgi_file: str | None = None
    module: str | None = None
    callable: str = "application"
    chdir: str | None = None
    pythonpath: list[str] = dataclasses.field(default_factory=list)
    virtualenv: str | None = None
    mounts: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    manage_script_name: bool = False
    legacy_coroutines: bool = False
    graceful_timeout: float = 30.0
    backlog: int = 1024
    engine: dict[str, int] = dataclasses.field(default_factory=dict)
    opt: dict[str, Any] = dataclasses.field(
        default_factory=dict, compare=False
    )
    access_log: bool = True
    access_log_format: str = "uwsgi"
    logto: str | None = None


class Kind(enum.Enum):
    """How the value of an option is written and read."""

    FLAG = enum.auto()  # takes no value
    INT = enum.auto()
    KIB = enum.auto()  # an integer, for 1024 bytes each
    SECONDS = enum.auto()  # a decimal fraction is allowed
    TEXT = enum.auto()
    CHOICE = enum.auto()
    MAPPING = enum.auto()  # /prefix=target


GROUPS = (
    "Listening",
    "Application",
    "Concurrency and the loop",
    "Limits",
    "Timeouts",
    "WebSockets",
    "Logging",
    "General",
    "Accepted for compatibility",
)
(
    LISTENING,
    APPLICATION,
    CONCURRENCY,
    LIMITS,
    TIMEOUTS,
    WEBSOCKETS,
    LOGGING,
    GENERAL,
    COMPATIBILITY,
) = GROUPS


@dataclasses.dataclass(frozen=True)
class Option:
    """One row of the table.

    name      without the dashes; the one that messages use
    group     heading under which --help lists it
    kind      how its value is read
    help      a phrase: what the option does
    aliases   other names; one letter makes a short option
    metavar   what --help calls the value
    field     of Settings; empty if nothing there changes
    repeat    the field is a list, each use adds to it
    optional  the value may be left out
    constant  what a flag stores
    choices   the values of a CHOICE
    minimum   the least value of a number that is not the engine's
    engine    names of the engine's options that the value goes to
    """

    name: str
    group: str
    kind: Kind
    help: str
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    field: str = ""
    repeat: bool = False
    optional: bool = False
    constant: bool = True
    choices: tuple[str, ...] = ()
    minimum: int = 0
    engine: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def scale(self) -> int:
        """From the option's unit to the engine's: seconds become ms."""
        return {Kind.SECONDS: 1000, Kind.KIB: 1024}.get(self.kind, 1)


OPTIONS: tuple[Option, ...] = (
    Option(
        "http-socket",
        LISTENING,
        Kind.TEXT,
        "serve HTTP on this address: :9090 (every IPv4 address), "
        "host:port, [::1]:port, /path of a Unix socket, or @name of an "
        "abstract one; port 0 takes a free port; may be repeated",
        aliases=("http",),
        metavar="ADDR",
        field="http_sockets",
        repeat=True,
    ),
    Option(
        "https-socket",
        LISTENING,
        Kind.TEXT,
        "serve HTTPS on this address with this certificate (PEM files); "
        "clients may, with !CA must, show one that CA has signed; may be "
        "repeated",
        aliases=("https",),
        metavar="ADDR,CERT,KEY[,CIPHERS[,[!]CA]]",
        field="https_sockets",
        repeat=True,
    ),
    Option(
        "sni",
        LISTENING,
        Kind.TEXT,
        "a further certificate, for clients that ask for this host name or "
        "for one that *.domain stands for; may be repeated",
        metavar="NAME CERT,KEY[,CIPHERS[,[!]CA]]",
        field="sni",
        repeat=True,
    ),
    Option(
        "listen",
        LISTENING,
        Kind.INT,
        "connections that the kernel keeps waiting for us; the kernel "
        "itself cuts this at net.core.somaxconn",
        aliases=("l",),
        metavar="N",
        field="backlog",
        minimum=1,
    ),
    Option(
        "wsgi-file",
        APPLICATION,
        Kind.TEXT,
        "load the application from this file",
        aliases=("file",),
        metavar="FILE",
        field="wsgi_file",
    ),
    Option(
        "module",
        APPLICATION,
        Kind.TEXT,
        "load the application from this module; pkg.mod:name also names "
        "the callable",
        aliases=("wsgi", "w"),
        metavar="MODULE",
        field="module",
    ),
    Option(
        "callable",
        APPLICATION,
        Kind.TEXT,
        "name of the callable in the file or module",
        metavar="NAME",
        field="callable",
    ),
    Option(
        "mount",
        APPLICATION,
        Kind.MAPPING,
        "serve another application under this prefix; APP is file.py, "
        "file.py:name or pkg.mod:name; may be repeated",
        metavar="/PREFIX=APP",
        field="mounts",
        repeat=True,
    ),
    Option(
        "manage-script-name",
        APPLICATION,
        Kind.FLAG,
        "move the longest mounted prefix from PATH_INFO to SCRIPT_NAME",
        field="manage_script_name",
    ),
    Option(
        "chdir",
        APPLICATION,
        Kind.TEXT,
        "change to this directory before anything is loaded",
        metavar="DIR",
        field="chdir",
    ),
    Option(
        "pythonpath",
        APPLICATION,
        Kind.TEXT,
        "look for modules here first; may be repeated",
        aliases=("pp",),
        metavar="DIR",
        field="pythonpath",
        repeat=True,
    ),
    Option(
        "virtualenv",
        APPLICATION,
        Kind.TEXT,
        "use the packages of this virtual environment, which must be one "
        "of the same Python version",
        aliases=("venv", "home", "H"),
        metavar="DIR",
        field="virtualenv",
    ),
    Option(
        "legacy-coroutines",
        APPLICATION,
        Kind.FLAG,
        "bring back @asyncio.coroutine, a `yield from`-able "
        "aiohttp.request() and its read_and_close()",
        field="legacy_coroutines",
    ),
    Option(
        "asyncio",
        CONCURRENCY,
        Kind.INT,
        "cores: how many requests run at the same time; more of them wait "
        "their turn",
        metavar="N",
        engine=("cores",),
    ),
    Option(
        "loop",
        CONCURRENCY,
        Kind.CHOICE,
        "asyncio's own loop or uvloop; auto takes uvloop if it is installed",
        field="loop",
        choices=("auto", "asyncio", "uvloop"),
    ),
    Option(
        "running-loop",
        CONCURRENCY,
        Kind.CHOICE,
        "whether a request sees a running loop, as it does in uWSGI",
        field="running_loop",
        choices=("hidden", "visible"),
    ),
    Option(
        "cancel-on-disconnect",
        CONCURRENCY,
        Kind.FLAG,
        "throw greenloop.ClientDisconnected into a waiting request whose "
        "client went away",
        engine=("cancel_on_disconnect",),
    ),
    Option(
        "buffer-size",
        LIMITS,
        Kind.INT,
        "request line and header fields together; more is answered 431",
        aliases=("b",),
        metavar="BYTES",
        engine=("head_max_bytes",),
    ),
    Option(
        "limit-request-line",
        LIMITS,
        Kind.INT,
        "request line; a longer one is answered 414",
        metavar="BYTES",
        engine=("line_max_bytes",),
    ),
    Option(
        "limit-request-fields",
        LIMITS,
        Kind.INT,
        "number of header fields; more are answered 431",
        metavar="N",
        engine=("fields_max",),
    ),
    Option(
        "limit-post",
        LIMITS,
        Kind.INT,
        "request body; a larger one is answered 413, 0 is no limit",
        metavar="BYTES",
        engine=("body_max_bytes",),
    ),
    Option(
        "http-headers-timeout",
        TIMEOUTS,
        Kind.SECONDS,
        "for a whole request head, from its first byte",
        metavar="SECONDS",
        engine=("head_timeout_ms",),
    ),
    Option(
        "http-keepalive",
        TIMEOUTS,
        Kind.SECONDS,
        "how long a connection may be idle between two requests; 0 closes "
        "it after each response",
        metavar="SECONDS",
        optional=True,
        engine=("keepalive_timeout_ms",),
    ),
    Option(
        "socket-timeout",
        TIMEOUTS,
        Kind.SECONDS,
        "how long reading a body or writing a response may make no progress",
        aliases=("z",),
        metavar="SECONDS",
        engine=("body_timeout_ms", "write_timeout_ms"),
    ),
    Option(
        "graceful-timeout",
        TIMEOUTS,
        Kind.SECONDS,
        "how long requests may go on after the server was told to stop",
        metavar="SECONDS",
        field="graceful_timeout",
    ),
    Option(
        "websockets-max-size",
        WEBSOCKETS,
        Kind.KIB,
        "a message that a client sends, in KiB; a larger one closes its "
        "WebSocket with code 1009",
        metavar="KIB",
        engine=("websocket_message_max_bytes",),
    ),
    Option(
        "websockets-max-unsent",
        WEBSOCKETS,
        Kind.KIB,
        "what one slow client may leave unsent, in KiB, before a sender "
        "has to wait for it",
        metavar="KIB",
        engine=("websocket_output_max_bytes",),
    ),
    Option(
        "websockets-ping-freq",
        WEBSOCKETS,
        Kind.SECONDS,
        "of silence after which a client is sent a ping; 0 sends none",
        metavar="SECONDS",
        engine=("websocket_ping_interval_ms",),
    ),
    Option(
        "websockets-pong-tolerance",
        WEBSOCKETS,
        Kind.SECONDS,
        "for a sign of life after that ping; then the client is gone",
        metavar="SECONDS",
        engine=("websocket_pong_timeout_ms",),
    ),
    Option(
        "websockets-no-compression",
        WEBSOCKETS,
        Kind.FLAG,
        "never agree to permessage-deflate",
        constant=False,
        engine=("websocket_deflate",),
    ),
    Option(
        "websockets-window-bits",
        WEBSOCKETS,
        Kind.INT,
        "compression windows of 2^N bytes for each direction of a "
        "WebSocket that compresses, from 9 to 15: memory against size",
        metavar="N",
        engine=("websocket_window_bits",),
    ),
    Option(
        "disable-logging",
        LOGGING,
        Kind.FLAG,
        "write no access log; errors are still logged",
        aliases=("L",),
        field="access_log",
        constant=False,
    ),
    Option(
        "access-log-format",
        LOGGING,
        Kind.CHOICE,
        "a line like uWSGI's, or the combined format of Apache",
        field="access_log_format",
        choices=("uwsgi", "combined"),
    ),
    Option(
        "logto",
        LOGGING,
        Kind.TEXT,
        "append the log and the access log to this file",
        metavar="FILE",
        field="logto",
    ),
    Option("version", GENERAL, Kind.FLAG, "print the version and exit"),
    Option(
        "help", GENERAL, Kind.FLAG, "print this text and exit", aliases=("h",)
    ),
    Option(
        "greenlet",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: every request runs in a greenlet",
    ),
    Option(
        "need-app",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: without an application the server ends with status 22",
    ),
    Option(
        "enable-threads",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: Python threads always run",
        aliases=("T",),
    ),
    Option(
        "single-interpreter",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: all applications share one interpreter",
        aliases=("i",),
    ),
    Option(
        "lazy-apps",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: the worker itself loads the applications",
    ),
    Option(
        "ignore-sigpipe",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: SIGPIPE never ends the server",
    ),
    Option(
        "die-on-term",
        COMPATIBILITY,
        Kind.FLAG,
        "implied: SIGTERM stops the server gracefully",
    ),
    Option(
        "thunder-lock",
        COMPATIBILITY,
        Kind.FLAG,
        "has no effect here: one process accepts",
    ),
)


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Options of uWSGI that are not there, and the sentence saying so."""

    names: tuple[str, ...]
    sentence: str


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        ("processes", "workers", "p"),
        "is not available yet: Greenloop runs one worker process; start "
        "several behind the same proxy meanwhile.",
    ),
    Refusal(
        ("master", "M"),
        "is not available yet: Greenloop runs one worker process; let "
        "systemd or a similar program restart it meanwhile.",
    ),
    Refusal(
        ("cheaper", "cheaper-algo", "cheaper-initial", "cheaper-step"),
        "is not available yet: there is one worker process, which never "
        "grows or shrinks in number.",
    ),
    Refusal(
        ("threads",),
        "is not available: requests run in cores on one thread; raise "
        "--asyncio instead.",
    ),
    Refusal(
        ("async", "gevent", "ugreen"),
        "is not available: asyncio is the only loop engine; give the "
        "number of cores with --asyncio.",
    ),
    Refusal(
        ("emperor",),
        "is not available yet: start one Greenloop for each application.",
    ),
    Refusal(
        ("ini", "yaml", "yml", "json", "xml", "config", "x", "y", "j"),
        "is not available yet: configuration files cannot be read so far; "
        "give the options on the command line.",
    ),
    Refusal(
        ("socket", "uwsgi-socket", "s"),
        "is not available yet: Greenloop does not speak the uwsgi protocol "
        "so far; use --http-socket and let the proxy speak HTTP.",
    ),
    Refusal(
        ("fastcgi-socket", "scgi-socket", "raw-socket"),
        "is not available: use --http-socket and let the proxy speak HTTP.",
    ),
    Refusal(
        ("http2", "https2", "suwsgi-socket"),
        "is not available: use --https-socket, and let a proxy in front of "
        "it speak HTTP/2.",
    ),
    Refusal(
        ("http11-socket",),
        "is not needed: --http-socket keeps connections alive itself.",
    ),
    Refusal(
        ("stats", "stats-server", "stats-http"),
        "is not available yet: there is no statistics server so far.",
    ),
    Refusal(
        ("daemonize", "daemonize2", "d"),
        "is not available: run Greenloop in the foreground under systemd "
        "or a similar program.",
    ),
    Refusal(
        ("uid", "gid", "chroot"),
        "is not available yet: start Greenloop as the user it shall run as.",
    ),
    Refusal(
        ("static-map", "static-map2", "check-static"),
        "is not available yet: let the proxy or the application serve files.",
    ),
    Refusal(
        ("harakiri", "t"),
        "is not available yet: a request may take as long as it needs.",
    ),
    Refusal(
        ("max-requests", "R", "max-worker-lifetime", "reload-on-rss"),
        "is not available yet: the worker process is never replaced.",
    ),
    Refusal(
        ("touch-reload", "py-autoreload", "py-auto-reload"),
        "is not available yet: stop Greenloop and start it again to load "
        "new code.",
    ),
    Refusal(
        ("log-format", "logformat"),
        "is not available yet: choose one of the two formats with "
        "--access-log-format.",
    ),
    Refusal(
        ("plugin", "plugins"),
        "is not needed: there are no plugins, all parts are built in; "
        "leave it out.",
    ),
    Refusal(
        ("vacuum",),
        "is not needed: a Unix socket left behind is replaced at the next "
        "start; leave it out.",
    ),
    Refusal(
        ("mule", "mules", "spooler", "cron", "cache2", "queue"),
        "is not available yet: there is only the worker that serves requests.",
    ),
)


@functools.cache
def engine_rows() -> dict[str, dict[str, Any]]:
    """The engine's option table: name -> its row."""
    # Imported when first asked for, so that this module can be read (by
    # tools that write documentation, say) without the extension.
    from greenloop import _core

    return {row["name"]: row for row in _core.options()}


@functools.cache
def _by_name() -> dict[str, Option]:
    return {name: option for option in OPTIONS for name in option.names}


@functools.cache
def _refused() -> dict[str, Refusal]:
    return {name: row for row in REFUSALS for name in row.names}


def dashed(name: str) -> str:
    """The name as it is written on the command line."""
    return f"-{name}" if len(name) == 1 else f"--{name}"


def scan(arguments: Sequence[str]) -> list[tuple[Option, str | None]]:
    """Splits a command line into options and their values.

    A value is None where none was given.  Raises UsageError for what is
    not an option of ours.
    """
    found: list[tuple[Option, str | None]] = []
    rest = list(reversed(arguments))
    while rest:
        word = rest.pop()
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            option = _lookup(name)
            given = value if equals else None
        elif word.startswith("-") and len(word) > 1:
            option, given = _short(word, rest)
        else:
            raise UsageError(_stray(word))
        if option.kind is Kind.FLAG:
            if given is not None:
                raise UsageError(f"{dashed(option.name)} takes no value.")
        elif given is None:
            given = _next_value(option, rest)
        found.append((option, given))
    return found


def _short(word: str, rest: list[str]) -> tuple[Option, str | None]:
    """The first letter of `word`; other flags after it go back to `rest`."""
    option = _lookup(word[1])
    if len(word) == 2:
        return option, None
    if option.kind is Kind.FLAG:
        rest.append("-" + word[2:])
        return option, None
    return option, word[2:]


def _next_value(option: Option, rest: list[str]) -> str | None:
    if option.optional and not (rest and rest[-1][:1].isdigit()):
        return None
    if not rest or rest[-1].startswith("--"):
        raise UsageError(
            f"{dashed(option.name)} needs a value: "
            f"{dashed(option.name)} {option.metavar}."
        )
    return rest.pop()


def _stray(word: str) -> str:
    if word.endswith((".py", ".wsgi")):
        return f"{word!r} is no option; did you mean --wsgi-file {word}?"
    if ":" in word:
        return f"{word!r} is no option; did you mean --http-socket {word}?"
    return f"{word!r} is no option."


def _lookup(name: str) -> Option:
    option = _by_name().get(name)
    if option is not None:
        return option
    refusal = _refused().get(name)
    if refusal is not None:
        shown = dashed(name)
        if len(name) == 1:
            shown += f" ({dashed(refusal.names[0])})"
        raise RefusedError(f"{shown} {refusal.sentence}")
    nearest = _nearest(name)
    if nearest is None:
        raise UsageError(f"unknown option {dashed(name)}.")
    raise UsageError(
        f"unknown option {dashed(name)}; did you mean {dashed(nearest)}?"
    )


def _nearest(name: str) -> str | None:
    known = [n for n in (*_by_name(), *_refused()) if len(n) > 1]
    plain = name.replace("_", "-").lower()
    matches = difflib.get_close_matches(plain, known, 1, 0.5)
    return matches[0] if matches else None


def parse(
    found: Sequence[tuple[Option, str | None]], prog: str = "greenloop"
) -> Settings:
    """Turns what scan() found into Settings; UsageError if it cannot be."""
    fields: dict[str, Any] = {"http_sockets": [], "engine": {}, "prog": prog}
    for option, text in found:
        value = _value(option, text)
        if value is None:
            continue
        for name in option.engine:
            fields["engine"][name] = value
        if option.repeat:
            fields.setdefault(option.field, []).append(value)
        elif option.field:
            fields[option.field] = value
    cores = engine_rows()["cores"]["initial"]
    fields["cores"] = fields["engine"].get("cores", cores)
    fields["opt"] = _as_given(found)
    settings = Settings(**fields)
    _check(settings)
    return settings


def _as_given(
    found: Iterable[tuple[Option, str | None]],
) -> dict[str, bytes | bool | list[bytes]]:
    """The command line as `uwsgi.opt` shows it to applications."""
    shown: dict[str, bytes | bool | list[bytes]] = {}
    for option, text in found:
        if text is None:
            shown[option.name] = True
            continue
        value = os.fsencode(text)
        before = shown.get(option.name)
        if isinstance(before, list):
            before.append(value)
        elif isinstance(before, bytes):
            shown[option.name] = [before, value]
        else:
            shown[option.name] = value
    return shown


def _check(settings: Settings) -> None:
    """What no option can see alone."""
    if not settings.http_sockets and not settings.https_sockets:
        raise UsageError(
            "no address to listen on: give one with --http-socket, "
            "for example --http-socket :9090."
        )
    if settings.wsgi_file is not None and settings.module is not None:
        raise UsageError(
            "--wsgi-file and --module both name the application; give one "
            "of them, and --mount for more."
        )
    prefixes = [prefix for prefix, _target in settings.mounts]
    named = settings.wsgi_file is not None or settings.module is not None
    if named and "" in prefixes:
        raise UsageError(
            "--mount / and --wsgi-file or --module both name the "
            "application for every path; give one of them."
        )
    for prefix in prefixes:
        if prefixes.count(prefix) > 1:
            raise UsageError(f"--mount {prefix or '/'} is given twice.")


def _value(option: Option, text: str | None) -> Any:
    """The value as Settings or the engine keep it; None changes nothing."""
    if option.kind is Kind.FLAG:
        return int(option.constant) if option.engine else option.constant
    if text is None:
        return None
    if option.kind in (Kind.INT, Kind.KIB, Kind.SECONDS):
        return _number(option, text)
    if option.kind is Kind.CHOICE and text not in option.choices:
        allowed = ", ".join(option.choices[:-1]) + " or " + option.choices[-1]
        raise UsageError(f"{dashed(option.name)} is {allowed}, not {text!r}.")
    if option.kind is Kind.MAPPING:
        return _mapping(option, text)
    if not text:
        raise UsageError(f"{dashed(option.name)} needs a value, not ''.")
    return text


def _number(option: Option, text: str) -> int | float:
    """A number in the unit of its field or engine option, range checked."""
    number: float
    try:
        if option.kind in (Kind.INT, Kind.KIB):
            if not (text.isascii() and text.lstrip("-").isdigit()):
                raise ValueError
            number = int(text)
        else:
            number = float(text)
            if not math.isfinite(number):
                raise ValueError
    except ValueError:
        wanted = "seconds" if option.kind is Kind.SECONDS else "a number"
        raise UsageError(
            f"{dashed(option.name)} needs {wanted}, not {text!r}."
        ) from None
    if not option.engine:
        _check_range(option, text, number, option.minimum, None)
        return number
    for name in option.engine:
        row = engine_rows()[name]
        low, high = row["min"] / option.scale, row["max"] / option.scale
        if option.kind is Kind.KIB:
            low, high = math.ceil(low), math.floor(high)
        _check_range(option, text, number, low, high)
    return round(number * option.scale)


def _check_range(
    option: Option, text: str, number: float, low: float, high: float | None
) -> None:
    if number < low or (high is not None and number > high):
        span = f"at least {low:.16g}"
        if high is not None:
            span = f"from {low:.16g} to {high:.16g}"
        raise UsageError(f"{dashed(option.name)} must be {span}, not {text}.")


def _mapping(option: Option, text: str) -> tuple[str, str]:
    """'/prefix=target', the prefix without its last slash."""
    prefix, equals, target = text.partition("=")
    if not prefix.startswith("/") or not equals or not target:
        raise UsageError(
            f"{dashed(option.name)} is written /prefix=application, "
            f"not {text!r}."
        )
    return prefix.rstrip("/"), target


def _default(option: Option) -> str:
    """The default as --help shows it, or an empty string."""
    if option.kind is Kind.FLAG or option.repeat:
        return ""
    if option.engine:
        initial = engine_rows()[option.engine[0]]["initial"] / option.scale
        return f"{initial:g}" if initial < 1e6 else f"{initial:.0f}"
    for field in dataclasses.fields(Settings):
        if field.name == option.field and field.default is not None:
            shown = field.default
            return f"{shown:g}" if isinstance(shown, float) else str(shown)
    return ""


def _spelling(option: Option) -> str:
    """'-l, --listen N': every name, short ones first."""
    short = [n for n in option.names if len(n) == 1]
    long = [n for n in option.names if len(n) > 1]
    value = option.metavar or "|".join(option.choices)
    if option.optional:
        value = f"[{value}]"
    return f"{', '.join(map(dashed, short + long))} {value}".rstrip()


def _explanation(option: Option) -> str:
    default = _default(option)
    if not default:
        return option.help
    return f"{option.help} (default {default})"


def help_text(prog: str, width: int = 80) -> str:
    """What --help prints, for a terminal of this width."""
    width = max(40, min(width, 100))
    usage = f"Usage: {prog} --http-socket ADDR --wsgi-file FILE [option ...]"
    summary = (
        "Serves WSGI applications on one asyncio loop; each request runs in "
        "a greenlet of its own."
    )
    lines = textwrap.wrap(
        usage, width, subsequent_indent="  ", break_on_hyphens=False
    )
    lines += ["", *textwrap.wrap(summary, width)]
    for group in GROUPS:
        lines += ["", f"{group}:"]
        for option in OPTIONS:
            if option.group == group:
                lines += _help_rows(option, width)
    example = f"{prog} --asyncio 10 --http-socket :9090 --wsgi-file app.py"
    lines += ["", "Example:"]
    lines += textwrap.wrap(
        example,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


def _help_rows(option: Option, width: int) -> Iterator[str]:
    """The names on the left, the text beside them or, if narrow, below."""
    column = 32 if width >= 72 else 8
    left = "  " + _spelling(option)
    margin = " " * column
    rows = textwrap.wrap(_explanation(option), width - column)
    if len(left) > column - 2:
        yield left
    else:
        yield left.ljust(column) + rows.pop(0)
    for row in rows:
        yield margin + row


def reference() -> str:
    """The table as Markdown: docs/options.md."""
    lines = [
        "<!-- SPDX-License-Identifier: MIT -->",
        "# Options",
        "",
        "Written by `python -m greenloop.options` from the option table; "
        "a test compares the two.",
    ]
    for group in GROUPS:
        lines += ["", f"## {group}", "", "| option | meaning |", "|---|---|"]
        for option in OPTIONS:
            if option.group == group:
                cells = f"`{_spelling(option)}`", _explanation(option)
                shown = (cell.replace("|", "\\|") for cell in cells)
                lines.append(f"| {' | '.join(shown)} |")
    lines += ["", *_engine_reference()]
    lines += ["", "## Options of uWSGI that are refused", ""]
    for refusal in REFUSALS:
        names = ", ".join(f"`{dashed(name)}`" for name in refusal.names)
        lines.append(f"- {names}: {refusal.sentence}")
    return "\n".join(lines) + "\n"


def _engine_reference() -> Iterator[str]:
    """What `start_server(options=...)` takes: the engine's own table."""
    yield "## The engine's options"
    yield ""
    yield "The names that `greenloop.start_server(options={...})` takes."
    yield ""
    yield "| name | unit | range | default | on the command line | meaning |"
    yield "|---|---|---|---|---|---|"
    written = {
        name: dashed(option.name)
        for option in OPTIONS
        for name in option.engine
    }
    for row in engine_rows().values():
        yield (
            f"| `{row['name']}` | {row['unit']} | {row['min']} to "
            f"{row['max']} | {row['initial']} | `{written[row['name']]}` | "
            f"{row['help']} |"
        )


if __name__ == "__main__":
    print(reference(), end="")
