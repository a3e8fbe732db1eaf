# SPDX-License-Identifier: MIT
"""Reads a command line by the table of options.

`--name value` and `--name=value` mean the same, short letters may be joined
(`-LT`, `-b4096`), and of an option that is not a list the last one wins.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from greenloop import inherited
from greenloop.option_table import (
    OPTIONS,
    REFUSALS,
    Kind,
    Option,
    Refusal,
    dashed,
    engine_rows,
)

__all__ = ["RefusedError", "Settings", "UsageError", "parse", "scan"]


INT_MAX = 2**31 - 1

# How alike an option must be that is suggested for an unknown one: --socket
# for --sock, but not --master for --user.
LIKENESS = 0.65


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
    uwsgi_sockets: list[str] = dataclasses.field(default_factory=list)
    sni: list[str] = dataclasses.field(default_factory=list)
    trusted_proxies: list[str] = dataclasses.field(default_factory=list)
    forwarded_headers: list[str] = dataclasses.field(default_factory=list)
    certfile: str | None = None
    keyfile: str | None = None
    ca_certs: str | None = None
    ciphers: str = ""
    client_certificates: str | None = None
    ssl_context: str | None = None
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
    static_maps: list[tuple[str, str]] = dataclasses.field(
        default_factory=list
    )
    static_maps2: list[tuple[str, str]] = dataclasses.field(
        default_factory=list
    )
    check_static: list[str] = dataclasses.field(default_factory=list)
    static_indexes: list[str] = dataclasses.field(default_factory=list)
    static_safe: list[str] = dataclasses.field(default_factory=list)
    static_skip_ext: list[str] = dataclasses.field(default_factory=list)
    static_max_age: int | None = None
    mime_files: list[str] = dataclasses.field(default_factory=list)
    x_sendfile: list[str] = dataclasses.field(default_factory=list)
    graceful_timeout: float = 30.0
    backlog: int = 1024
    socket_mode: int | None = None
    socket_owner: str | None = None
    umask: int | None = None
    vacuum: bool = False
    reuse_port: bool = False
    freebind: bool = False
    so_keepalive: bool = False
    defer_accept: bool = False
    socket_sndbuf: int = 0
    socket_rcvbuf: int = 0
    engine: dict[str, int] = dataclasses.field(default_factory=dict)
    opt: dict[str, Any] = dataclasses.field(
        default_factory=dict, compare=False
    )
    access_log: bool = True
    access_log_format: str = "uwsgi"
    logto: str | None = None


@functools.cache
def _by_name() -> dict[str, Option]:
    return {name: option for option in OPTIONS for name in option.names}


@functools.cache
def _refused() -> dict[str, Refusal]:
    return {name: row for row in REFUSALS for name in row.names}


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
    file, _colon, name = word.rpartition(":")
    if file.endswith((".py", ".wsgi")):
        meant = f"--wsgi-file {file} --callable {name}"
        return f"{word!r} is no option; did you mean {meant}?"
    if re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", word):
        return f"{word!r} is no option; did you mean --module {word}?"
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
    """What it begins, or else is like: a refused option too, whose sentence
    says what to do instead."""
    plain = name.replace("_", "-").lower()
    begun = [n for n in _by_name() if plain and n.startswith(plain)]
    known = [n for n in (*_by_name(), *_refused()) if len(n) > 1]
    matches = difflib.get_close_matches(plain, known, 1, LIKENESS)
    return next(iter(sorted(begun, key=len) or matches), None)


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
    if not (
        settings.http_sockets
        or settings.https_sockets
        or settings.uwsgi_sockets
        or inherited.announced()
    ):
        raise UsageError(
            "no address to listen on: give one with --http-socket, "
            "for example --http-socket :9090."
        )
    engine = settings.engine
    if engine.get("max_connections_reject") and not engine.get(
        "max_connections"
    ):
        raise UsageError(
            "--max-connections-reject needs a limit: --max-connections N."
        )
    if settings.wsgi_file is not None and settings.module is not None:
        raise UsageError(
            "--wsgi-file and --module both name the application; give one "
            "of them, and --mount for more."
        )
    _check_proxies(settings)
    _check_tls(settings)
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


def _check_proxies(settings: Settings) -> None:
    from greenloop import _core  # as in engine_rows()

    lists = (
        ("--trusted-proxies", settings.trusted_proxies, 0),
        ("--forwarded-headers", settings.forwarded_headers, 1),
    )
    for name, texts, place in lists:
        given = ["", ""]
        given[place] = ",".join(texts)
        try:
            _core.check_trust(*given)
        except ValueError as error:
            raise UsageError(f"{name}: {error}.") from None
    if not settings.trusted_proxies:
        for used, name in (
            (settings.forwarded_headers, "--forwarded-headers"),
            (settings.engine.get("proxy_protocol"), "--enable-proxy-protocol"),
        ):
            if used:
                raise UsageError(
                    f"{name} needs --trusted-proxies, for example "
                    "--trusted-proxies 127.0.0.1: nobody else is believed."
                )


def _check_tls(settings: Settings) -> None:
    """Certificates are given whole, once, and to somebody."""
    bare = [text for text in settings.https_sockets if "," not in text]
    given = settings.certfile or settings.ssl_context
    rest = {
        "--keyfile": settings.keyfile,
        "--ca-certs": settings.ca_certs,
        "--ciphers": settings.ciphers,
        "--client-certificates": settings.client_certificates,
    }
    for name, value in rest.items():
        if value and not settings.certfile:
            raise UsageError(f"{name} needs --certfile.")
    if settings.client_certificates and not settings.ca_certs:
        raise UsageError(
            "--client-certificates needs --ca-certs: who signs them."
        )
    if settings.certfile and settings.ssl_context:
        raise UsageError(
            "--certfile and --ssl-context both give the certificate; give "
            "one of them."
        )
    if settings.sni and not settings.https_sockets:
        raise UsageError("--sni needs an --https-socket.")
    if settings.ssl_context:
        if not all(settings.ssl_context.partition(":")):
            raise UsageError("--ssl-context is written MODULE:NAME.")
        if settings.sni:
            raise UsageError(
                "--sni and --ssl-context do not go together: the context "
                "chooses by its sni_callback."
            )
    if bare and not given:
        raise UsageError(
            f"--https-socket {bare[0]} has no certificate: write "
            "ADDR,CERT,KEY, or give --certfile and --keyfile."
        )
    if given and not bare:
        name = "--certfile" if settings.certfile else "--ssl-context"
        raise UsageError(
            f"{name} is for an --https-socket without a certificate of its "
            "own, and there is none."
        )


def _value(option: Option, text: str | None) -> Any:
    """The value as Settings or the engine keep it; None changes nothing."""
    if option.kind is Kind.FLAG:
        return int(option.constant) if option.engine else option.constant
    if text is None:
        text = option.bare
        if not text:
            return None
    if option.kind is Kind.OCTAL:
        return _octal(option, text)
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
        # What is not the engine's goes to system calls, as an int of C.
        high = INT_MAX if number > INT_MAX else None
        _check_range(option, text, number, option.minimum, high)
        return number
    for name in option.engine:
        row = engine_rows()[name]
        low, high = row["min"] / option.scale, row["max"] / option.scale
        if option.kind is Kind.KIB:
            low, high = math.ceil(low), math.floor(high)
        _check_range(option, text, number, low, high)
    return round(number * option.scale)


def _octal(option: Option, text: str) -> int:
    """Permission bits: an octal number up to 777."""
    if re.fullmatch("[0-7]{1,4}", text) and int(text, 8) <= 0o777:
        return int(text, 8)
    raise UsageError(
        f"{dashed(option.name)} is an octal number up to 777, not {text!r}."
    )


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
            f"{dashed(option.name)} is written "
            f"/prefix={option.target}, not {text!r}."
        )
    return prefix.rstrip("/"), target
