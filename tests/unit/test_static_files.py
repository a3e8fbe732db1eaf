# SPDX-License-Identifier: MIT
"""From options to what Engine.serve_files() takes, and what it refuses."""

import asyncio
import contextlib
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from greenloop import options, static_files
from greenloop.listeners import Listener
from greenloop.server import Server
from greenloop.static_files import TypesError


def settings(*arguments: str) -> options.Settings:
    found = options.scan(["--http-socket", ":0", *arguments])
    return options.parse(found)


def lists(*arguments: str) -> dict[str, list[tuple[bytes, bytes]]]:
    made = static_files.configuration(settings(*arguments))
    assert made is not None
    return made[0]


def test_nothing_is_served_unasked() -> None:
    assert static_files.configuration(settings()) is None
    assert static_files.configuration(settings("--static-index", "a")) is None


def test_names_become_absolute(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.ico").write_bytes(b"")
    (tmp_path / "\xe4").mkdir()
    made = lists(
        *("--static-map", "/s/=folder/"),
        *("--static-map", "/i=one.ico"),
        *("--static-map2", "/m=top"),
        *("--check-static", "../x"),
        *("--x-sendfile", "\xe4"),
        *("--static-safe", "/safe/"),
    )
    here = str(tmp_path).encode()
    assert made["maps"] == [
        (b"/s", here + b"/folder"),
        (b"/m", here + b"/top/m"),
    ]
    assert made["files"] == [(b"/i", here + b"/one.ico")]
    assert made["checks"] == [(b"", str(tmp_path.parent).encode() + b"/x")]
    assert made["sendfile"] == [(here + b"/\xc3\xa4", b"")]
    assert made["safe"] == [(b"/safe", b"")]


def test_folders_that_are_missing(tmp_path: pathlib.Path) -> None:
    given = settings(
        *("--static-map", f"/a={tmp_path}"),
        *("--static-map", f"/b={tmp_path}/b"),
        *("--static-safe", f"{tmp_path}/c"),
    )
    missing = [f"{tmp_path}/b", f"{tmp_path}/c"]
    assert static_files.missing_folders(given) == missing


def test_media_types(tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("text/x-one one O2  # comment\n# comment\nfont/x woff2\n")
    second.write_text("text/x-two one\n")
    types = dict(
        lists(
            *("--check-static", "."),
            *("--mime-file", str(first)),
            *("--mime-file", str(second)),
        )["types"]
    )
    assert types[b".one"] == b"text/x-two"
    assert types[b".o2"] == b"text/x-one"
    assert types[b".woff2"] == b"font/x"
    assert types[b".js"] == b"text/javascript"
    assert types[b".html"] == b"text/html"
    with pytest.raises(TypesError, match="cannot read --mime-file"):
        lists("--check-static", ".", "--mime-file", str(tmp_path / "none"))


def test_max_age_has_a_bound() -> None:
    """Of 31 bits: more is the same to caches (RFC 9111, section 1.2.2)."""
    with pytest.raises(options.UsageError, match="from 0 to 2147483647"):
        settings("--check-static", ".", "--static-max-age", "9" * 20)


@contextlib.contextmanager
def server(files: Any) -> Iterator[Server]:
    loop = asyncio.new_event_loop()
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    try:
        made = Server(
            loop,
            [],
            [Listener(sock)],
            report=print,
            on_interrupt=lambda: None,
            graceful_timeout=1.0,
            files=files,
        )
        try:
            yield made
        finally:
            made.abandon()
    finally:
        sock.close()
        loop.close()


@pytest.mark.parametrize(
    ("files", "error"),
    [
        (({"other": []}, 0), ValueError),
        (({1: []}, 0), ValueError),
        (({"maps": ()}, 0), TypeError),
        (({"maps": [["", b""]]}, 0), TypeError),
        (({"maps": [("/a", "/b")]}, 0), TypeError),
        (({"maps": [(b"/a\0", b"/b")]}, 0), ValueError),
        (({"maps": [(b"/a", b"/b\0")]}, 0), ValueError),
        (({"types": [(b".a", b"a/b\r\nX: y")]}, 0), ValueError),
        (({"types": [(b".a", b"")]}, 0), ValueError),
        (({"types": [(b".a", b"a/" + 200 * b"b")]}, 0), ValueError),
        (({}, 2**31), ValueError),
        (([], 0), TypeError),
    ],
)
def test_what_the_engine_refuses(files: Any, error: type[Exception]) -> None:
    with pytest.raises(error), server(files):
        pass


def test_once_only() -> None:
    with server(({"maps": [(b"/a", b"/b")]}, -1)) as made:
        assert made.stats()["static"] == 0
        with pytest.raises(RuntimeError):
            made._engine.serve_files({}, -1)
