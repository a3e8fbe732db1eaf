# SPDX-License-Identifier: MIT
"""X-Sendfile: the application names a file, the server sends it."""

import os
import pathlib
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import descriptors_at_rest, open_wire, request

APP = """
    import json

    def application(environ, start_response):
        kind = environ["PATH_INFO"]
        fields = json.loads(environ.get("HTTP_X_FIELDS", "[]"))
        fields = [tuple(pair) for pair in fields]
        if kind == "/closing":
            start_response("200 OK", fields)
            return Closing()
        if kind == "/generator":
            return generator(start_response, fields)
        if kind == "/write":
            write = start_response("200 OK", fields)
            write(b"not this")
            return []
        if kind == "/raise":
            start_response("200 OK", fields)
            raise RuntimeError("on purpose")
        if kind == "/again":
            start_response("200 OK", fields)
            try:
                raise RuntimeError
            except RuntimeError:
                import sys
                start_response("200 OK", [("Content-Type", "text/plain")],
                               sys.exc_info())
            return [b"no file"]
        if kind == "/wrapped":
            start_response("200 OK", fields)
            return environ["wsgi.file_wrapper"](open(__file__, "rb"))
        start_response(kind[1:] or "200 OK", fields)
        return [b"not ", b"this"]

    def generator(start_response, fields):
        start_response("200 OK", fields)
        yield b""
        yield b"not this"
        yield b"nor this"

    class Closing(list):
        def __iter__(self):
            return iter([b"not this"])

        def close(self):
            print("closed", flush=True)
"""
TEXT = bytes(range(256)) * 300


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("sendfile")
    (folder / "data").write_bytes(TEXT)
    os.utime(folder / "data", (784111777, 784111777))
    (folder / "empty").write_bytes(b"")
    (folder / "other").mkdir()
    (folder / "other/file").write_bytes(b"other")
    return folder


@pytest.fixture(scope="module")
def s(top: pathlib.Path) -> Iterator[Server]:
    with server(
        APP,
        *("--x-sendfile", f"{top}/other"),
        *("--x-sendfile", f"{top}/"),
    ) as running:
        yield running


def fields(top: pathlib.Path, name: str = "data", *more: str) -> str:
    pairs = [f'["X-Sendfile", "{top}/{name}"]', '["Content-Type", "a/b"]']
    return "X-Fields: [" + ", ".join([*pairs, *more]) + "]"


@pytest.mark.smoke
@pytest.mark.parametrize("path", ["/", "/generator", "/write", "/wrapped"])
@pytest.mark.parametrize("name", ["data", "empty"])
def test_the_file_is_the_body(
    s: Server, top: pathlib.Path, path: str, name: str
) -> None:
    with open_wire(s) as wire:
        for _ in range(2):
            reply = wire.get(path, fields(top, name))
            assert reply.status == 200
            assert reply.body == (TEXT if name == "data" else b"")
            assert reply.field("Content-Type") == "a/b"
            assert reply.field("X-Sendfile") is None
            assert reply.field("Accept-Ranges") == "bytes"
        wire.send(request("HEAD", path, fields(top, name)))
        head = wire.reply("HEAD")
        assert head.field("Content-Length") == str(len(reply.body))
        assert wire.get("/", fields(top, name)).body == reply.body


def test_relative_to_a_folder(s: Server) -> None:
    with open_wire(s) as wire:
        line = 'X-Fields: [["X-Sendfile", "file"]]'
        assert wire.get("/", line).body == b"other"
        line = 'X-Fields: [["X-Sendfile", "other/file"]]'
        assert wire.get("/", line).body == b"other"


def test_fields_of_the_application(s: Server, top: pathlib.Path) -> None:
    with open_wire(s) as wire:
        more = '["Content-Length", "5"]', '["Set-Cookie", "a=b"]'
        reply = wire.get("/", fields(top, "data", *more))
        assert reply.body == TEXT  # the length is the file's
        assert reply.field("Set-Cookie") == "a=b"
        reply = wire.get("/403%20Forbidden", fields(top))
        assert (reply.status, reply.body) == (403, TEXT)


def test_conditions_and_ranges(s: Server, top: pathlib.Path) -> None:
    with open_wire(s) as wire:
        first = wire.get("/", fields(top))
        etag = first.field("ETag")
        assert first.field("Last-Modified") == "Sun, 06 Nov 1994 08:49:37 GMT"
        reply = wire.get("/", fields(top), f"If-None-Match: {etag}")
        assert (reply.status, reply.body) == (304, b"")
        assert reply.field("Content-Length") is None
        reply = wire.get("/", fields(top), "Range: bytes=10-19")
        assert (reply.status, reply.body) == (206, TEXT[10:20])
        assert reply.field("Content-Range") == f"bytes 10-19/{len(TEXT)}"
        reply = wire.get("/", fields(top), "Range: bytes=0-1,3-4")
        assert (reply.status, reply.body) == (200, TEXT)  # one at most
        reply = wire.get("/", fields(top), "Range: bytes=999999-")
        assert (reply.status, reply.body) == (416, b"")
        reply = wire.get("/", fields(top), 'If-Match: "x"')
        assert (reply.status, reply.body) == (412, b"")
        wire.send(
            request("POST", "/", fields(top), "Range: bytes=1-2", body=b"x")
        )
        assert wire.reply().body == TEXT
        reply = wire.get("/404%20None", fields(top), "Range: bytes=1-2")
        assert (reply.status, reply.body) == (404, TEXT)


def test_validators_of_the_application(s: Server, top: pathlib.Path) -> None:
    line = fields(top, "data", '["ETag", "\\"own\\""]')
    with open_wire(s) as wire:
        reply = wire.get("/", line, 'If-None-Match: "own"')
        assert (reply.status, reply.field("ETag")) == (200, '"own"')
        assert reply.field("Last-Modified") is None
        assert wire.get("/", line, "Range: bytes=0-1").status == 206
        reply = wire.get("/", line, "Range: bytes=0-1", 'If-Range: "own"')
        assert reply.status == 200  # which only the application could tell


def test_files_that_are_not_there(s: Server, top: pathlib.Path) -> None:
    with open_wire(s) as wire:
        for name in ("missing", "other", "../x", "data/", "data/x", "", "."):
            reply = wire.get("/", fields(top, name))
            assert (reply.status, reply.body) == (404, b"Not Found")
            assert reply.field("X-Sendfile") is None
        reply = wire.get("/generator", fields(top, "missing"))
        assert (reply.status, reply.body) == (404, b"Not Found")
    s.wait_for("X-Sendfile: ")
    s.wait_for("missing: no such file in a folder of --x-sendfile")


def test_close_is_called(s: Server, top: pathlib.Path) -> None:
    with open_wire(s) as wire:
        assert wire.get("/closing", fields(top)).body == TEXT
        s.wait_printed("closed", 1)


def test_start_response_again_forgets_the_file(
    s: Server, top: pathlib.Path
) -> None:
    with open_wire(s) as wire:
        assert wire.get("/again", fields(top)).body == b"no file"


def test_an_exception_is_a_500(top: pathlib.Path) -> None:
    with (
        server(APP, "--x-sendfile", str(top), allow_traceback=True) as s,
        open_wire(s) as wire,
    ):
        assert wire.get("/raise", fields(top)).status == 500
        assert wire.get("/", fields(top)).body == TEXT


def test_off_by_default(top: pathlib.Path) -> None:
    with server(APP, "--static-map", f"/s={top}") as s:
        with open_wire(s) as wire:
            reply = wire.get("/", fields(top))
            assert reply.body == b"not this"
            assert reply.field("X-Sendfile") == f"{top}/data"


def test_nothing_stays_open(s: Server, top: pathlib.Path) -> None:
    before = descriptors_at_rest(s)
    with open_wire(s) as wire:
        for _ in range(50):
            for name in ("data", "missing", "empty", "other"):
                wire.send(request("GET", "/", fields(top, name)))
                wire.reply()
            wire.get("/", fields(top), "If-None-Match: *")
    assert descriptors_at_rest(s) == before
