# SPDX-License-Identifier: MIT
"""Static files: what is found, what the answers say, what is left alone."""

import contextlib
import gzip
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from harness import Server, run, server
from wire import Wire, descriptors_at_rest, open_wire, request, wait_until

APP = """
    import greenloop

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/sleep":
            greenloop.sleep(0.2)
        if environ["PATH_INFO"] == "/park":
            environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/x-app")])
        return [environ["REQUEST_METHOD"].encode(), b" ",
                environ["PATH_INFO"].encode("latin-1")]
"""
TEXT = b"0123456789" * 50
MODIFIED = 784111777
EXACT = "Sun, 06 Nov 1994 08:49:37 GMT"
OLDER = "Sun, 06 Nov 1994 08:49:36 GMT"


def write(path: pathlib.Path, content: bytes, seconds: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if seconds:
        os.utime(path, (seconds, seconds))


def build_tree(top: pathlib.Path) -> None:
    root = top / "root"
    write(root / "a.txt", TEXT, MODIFIED)
    write(root / "empty.css", b"")
    write(root / "odd name;?#%.js", b"odd")
    write(root / "UPPER.HTML", b"<p>")
    write(root / "no_type", b"?")
    write(root / "own.type", b"own")
    write(root / "code.py", b"secret = 1")
    write(root / "with/index.html", b"<h1>index</h1>")
    write(root / "with/default.htm", b"default")
    write(root / "other/default.htm", b"default")
    write(root / "none/file", b"file")
    write(root / ".hidden", b"hidden")
    write(root / ".well-known/security.txt", b"not at the top")
    write(top / "checked/.well-known/security.txt", b"Contact: us")
    write(root / "style.css", b"plain css", MODIFIED)
    write(root / "style.css.gz", gzip.compress(b"gzip css"), MODIFIED)
    write(root / "style.css.br", b"not really brotli", MODIFIED + 1)
    write(root / "stale.css", b"fresh", MODIFIED)
    write(root / "stale.css.gz", gzip.compress(b"stale"), MODIFIED - 1)
    write(root / "map2/b.txt", b"by map2")
    write(top / "checked/only.txt", b"checked")
    write(top / "checked/a.txt", b"at the top")
    write(top / "icon.ico", b"icon")
    write(top / "icon.ico.gz", b"not mapped")
    write(top / "own.types", b"# ours\nx-own/type type\n")


def options(top: pathlib.Path) -> list[str]:
    return [
        *("--static-map", f"/s={top}/root"),
        *("--static-map", f"/icon={top}/icon.ico"),
        *("--static-map", f"/later={top}/later"),
        *("--static-map2", f"/map2={top}/root"),
        *("--check-static", f"{top}/checked"),
        *("--static-index", "index.html"),
        *("--static-index", "default.htm"),
        *("--static-skip-ext", ".py"),
        *("--mime-file", f"{top}/own.types"),
    ]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("static")
    build_tree(folder)
    return folder


@pytest.fixture(scope="module")
def s(top: pathlib.Path) -> Iterator[Server]:
    with server(APP, *options(top), "--asyncio", "2") as running:
        yield running


@pytest.mark.smoke
def test_a_file_and_what_is_said_of_it(s: Server) -> None:
    answer = s.get("/s/a.txt")
    assert (answer.status, answer.body) == (200, TEXT)
    fields = {k.lower(): v for k, v in answer.headers.items()}
    assert fields.pop("date") and re.fullmatch('"[!-~]+"', fields.pop("etag"))
    assert fields == {
        "content-type": "text/plain",
        "content-length": str(len(TEXT)),
        "last-modified": EXACT,
        "accept-ranges": "bytes",
        "server": "greenloop",
    }


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/s/empty.css", b"", "text/css"),
        ("/s/odd%20name%3b%3F%23%25.js", b"odd", "text/javascript"),
        ("/s/UPPER.HTML", b"<p>", "text/html"),
        ("/s/no_type", b"?", "application/octet-stream"),
        ("/s/own.type", b"own", "x-own/type"),
        ("/s/a%2etxt?query=1", TEXT, "text/plain"),
        ("//s///a.txt", TEXT, "text/plain"),
        ("/s%2fa.txt", TEXT, "text/plain"),
        ("/s/with/", b"<h1>index</h1>", "text/html"),
        ("/s/other/", b"default", "text/html"),
        ("/.well-known/security.txt", b"Contact: us", "text/plain"),
        ("/icon", b"icon", "image/x-icon"),
        ("/map2/b.txt", b"by map2", "text/plain"),
        ("/only.txt", b"checked", "text/plain"),
        ("/a.txt", b"at the top", "text/plain"),
        ("http://a/only.txt", b"checked", "text/plain"),
    ],
)
def test_found(s: Server, path: str, body: bytes, kind: str) -> None:
    with open_wire(s) as wire:
        reply = wire.get(path)
        assert (reply.status, reply.body) == (200, body)
        assert reply.field("Content-Type") == kind
        assert wire.get("/s/a.txt").body == TEXT  # the connection goes on


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/s",
        "/s/",
        "/sx",
        "/s/missing",
        "/s/a.txt/",
        "/s/a.txt/x",
        "/s/none",
        "/s/none/",
        "/s/.hidden",
        "/s/.well-known/security.txt",
        "/s/code.py",
        "/S/a.txt",
        "/icon/",
        "/icon/x",
        "/later/x",
        "/only.txt/",
        "/s/" + "a/" * 3000,
        "/s/" + "%61" * 2000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_application_has_the_rest(
    s: Server, path: str, method: str
) -> None:
    answer = s.request(method, path)
    assert answer.status == 200
    decoded = path.replace("%61", "a")
    assert answer.body == f"{method} {decoded}".encode()


def test_a_folder_that_comes_later(s: Server, top: pathlib.Path) -> None:
    """What is mapped is looked up each time; so is a link to a folder."""
    s.wait_for(f"there is no {top}/later now")
    later = top / "later"
    later.symlink_to("root")
    assert s.get("/later/a.txt").body == TEXT
    later.unlink()
    later.symlink_to("checked")
    assert s.get("/later/a.txt").body == b"at the top"
    later.unlink()
    assert s.get("/later/a.txt").text == "GET /later/a.txt"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/s/with", "/s/with/"),
        ("//s//with", "/s/with/"),
        ("/s/with?a=%22b&c", "/s/with/?a=%22b&c"),
        ("/%73/with", "/s/with/"),
    ],
)
def test_folders_get_their_slash(s: Server, path: str, location: str) -> None:
    with open_wire(s) as wire:
        reply = wire.get(path)
        assert (reply.status, reply.body) == (301, b"")
        assert reply.field("Location") == location


def test_a_redirect_leads_nowhere_else(top: pathlib.Path) -> None:
    """Whatever folders are called, Location stays a path of ours."""
    for name in ("evil.example", "a b", "x\r\nSet-Cookie: a=b"):
        write(top / "traps" / name / "index.html", b"trap")
    with (
        server(
            APP,
            "--static-map",
            f"/={top}/traps",
            "--static-index",
            "index.html",
        ) as s,
        open_wire(s) as wire,
    ):
        reply = wire.get("//evil.example")
        assert reply.field("Location") == "/evil.example/"
        assert wire.get("/a%20b").field("Location") == "/a%20b/"
        reply = wire.get("/x%0d%0aSet-Cookie:%20a=b")
        assert reply.status == 301
        assert reply.field("Location") == "/x%0D%0ASet-Cookie%3A%20a=b/"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_other_methods(s: Server, method: str) -> None:
    with open_wire(s) as wire:
        wire.send(request(method, "/s/a.txt", body=b"body"))
        reply = wire.reply()
        assert (reply.status, reply.field("Allow")) == (405, "GET, HEAD")
        # What was only looked for is the application's.
        wire.send(request(method, "/only.txt", body=b"body"))
        assert wire.reply().text == f"{method} /only.txt"


@pytest.mark.parametrize("path", ["/s/a.txt", "/s/style.css", "/s/with"])
def test_head_says_what_get_says(s: Server, path: str) -> None:
    with open_wire(s) as wire:
        wire.send(request("GET", path) + request("HEAD", path))
        get, head = wire.reply(), wire.reply("HEAD")
        assert head.status == get.status
        assert sorted(head.fields) == sorted(get.fields)
        wire.send(request("HEAD", path, "Range: bytes=0-1"))
        assert wire.reply("HEAD").status == get.status


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=0.9, br;q=0.8", "gzip"),
        ("br;q=0, gzip;q=0", None),
        ("*", "br"),
        ("br;q=0, *;q=0.1", "gzip"),
        ("identity, br;q=0.5", None),
        ("identity;q=0.4, br;q=0.5", "br"),
        ("deflate", None),
    ],
)
def test_compressed_files(
    s: Server, accept: "str | None", coding: "str | None"
) -> None:
    lines = [] if accept is None else [f"Accept-Encoding: {accept}"]
    with open_wire(s) as wire:
        reply = wire.get("/s/style.css", *lines)
        assert reply.status == 200
        assert reply.field("Content-Encoding") == coding
        assert reply.field("Content-Type") == "text/css"
        assert reply.field("Vary") == "Accept-Encoding"
        body = reply.body
        if coding == "gzip":
            body = gzip.decompress(body)
        assert (
            body
            == {
                None: b"plain css",
                "gzip": b"gzip css",
                "br": b"not really brotli",
            }[coding]
        )
        etag = f"If-None-Match: {reply.field('ETag')}"
        assert wire.get("/s/style.css", *lines, etag).status == 304
        if coding is not None:  # each coding has a tag of its own
            assert wire.get("/s/style.css", etag).status == 200


def test_a_compressed_file_that_is_older_is_not_served(s: Server) -> None:
    with open_wire(s) as wire:
        reply = wire.get("/s/stale.css", "Accept-Encoding: gzip")
        assert (reply.body, reply.field("Vary")) == (b"fresh", None)
        reply = wire.get("/icon", "Accept-Encoding: gzip")
        assert reply.body == b"icon"


def test_conditions(s: Server) -> None:
    with open_wire(s) as wire:
        etag = wire.get("/s/a.txt").field("ETag")
        for status, *lines in [
            (304, f"If-None-Match: {etag}"),
            (304, f'If-None-Match: "x", W/{etag}'),
            (304, "If-None-Match: *"),
            (200, 'If-None-Match: "x"'),
            (304, f"If-Modified-Since: {EXACT}"),
            (200, f"If-Modified-Since: {OLDER}"),
            (304, "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"),
            (304, "If-Modified-Since: Sun Nov  6 08:49:37 1994"),
            (200, 'If-None-Match: "x"', f"If-Modified-Since: {EXACT}"),
            (412, 'If-Match: "x"'),
            (412, f"If-Match: W/{etag}"),
            (200, f"If-Match: {etag}"),
            (412, f"If-Unmodified-Since: {OLDER}"),
            (200, f"If-Unmodified-Since: {EXACT}"),
            (206, f"If-Range: {etag}", "Range: bytes=0-1"),
            (206, f"If-Range: {EXACT}", "Range: bytes=0-1"),
            (200, f"If-Range: {OLDER}", "Range: bytes=0-1"),
            (200, 'If-Range: "x"', "Range: bytes=0-1"),
            (200, "Range: bytes=0-1", "Range: bytes=2-3"),
            (304, 'If-None-Match: "x"', f"If-None-Match: {etag}"),
            (304, f"If-None-Match: {etag}", "Accept: */*", "If-None-Match: *"),
            (200, 'If-None-Match: "x"', 'If-None-Match: "y"'),
            (412, 'If-Match: "x"', 'If-Match: "y"', "Range: bytes=0-1"),
            (206, 'If-Match: "x"', f"If-Match: {etag}", "Range: bytes=0-1"),
            (200, *2 * (f"If-Modified-Since: {EXACT}",)),
            (200, *2 * (f"If-Range: {etag}",), "Range: bytes=0-1"),
        ]:
            reply = wire.get("/s/a.txt", *lines)
            assert reply.status == status, lines
            if status == 304:
                assert reply.field("ETag") == etag
                assert reply.field("Content-Length") is None
            if status == 200:
                assert reply.body == TEXT


def test_max_age(top: pathlib.Path) -> None:
    with server(
        APP, "--check-static", f"{top}/checked", "--static-max-age", "3600"
    ) as s:
        answer = s.get("/only.txt")
        assert answer.headers["Cache-Control"] == "max-age=3600"
        etag = answer.headers["ETag"]
        answer = s.get("/only.txt", {"If-None-Match": etag})
        assert answer.status == 304
        assert answer.headers["Cache-Control"] == "max-age=3600"


def test_the_first_map_that_has_the_file(top: pathlib.Path) -> None:
    with server(
        APP,
        *("--static-map", f"/x={top}/checked"),
        *("--static-map", f"/x={top}/root"),
    ) as s:
        assert s.get("/x/a.txt").body == b"at the top"
        assert s.get("/x/style.css").body == b"plain css"


def test_relative_folders_are_those_after_chdir(top: pathlib.Path) -> None:
    with server(APP, "--chdir", str(top), "--static-map", "/r=root") as s:
        assert s.get("/r/a.txt").body == TEXT


def test_a_request_body_is_thrown_away(s: Server) -> None:
    with open_wire(s) as wire:
        wire.send(request("GET", "/s/a.txt", body=b"x" * 1000))
        assert wire.reply().body == TEXT
        assert wire.get("/s/no_type").body == b"?"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_who_closes(s: Server, version: bytes) -> None:
    head = b"GET /s/a.txt HTTP/" + version + b"\r\nHost: a\r\n"
    answer = s.raw(head + b"Connection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n" + TEXT)
    assert b"Connection: close\r\n" in answer
    if version == b"1.0":
        answer = s.raw(
            2 * (head + b"Connection: keep-alive\r\n\r\n") + head + b"\r\n"
        )
        assert answer.count(TEXT) == 3
        assert answer.count(b"Connection: keep-alive\r\n") == 2


def test_pipelined_with_the_application(s: Server) -> None:
    """Answers stay in the order of their requests, whoever gives them."""
    with open_wire(s) as wire:
        paths = ["/sleep", "/s/a.txt", "/x", "/s/with/", "/sleep", "/icon"]
        wire.send(b"".join(request("GET", path) for path in 3 * paths))
        expected = [
            b"GET /sleep",
            TEXT,
            b"GET /x",
            b"<h1>index</h1>",
            b"GET /sleep",
            b"icon",
        ]
        assert [wire.reply().body for _ in 3 * paths] == 3 * expected


def test_no_core_is_needed(s: Server) -> None:
    """With all cores taken, files are served all the same."""
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(open_wire(s)) for _ in range(3)]
        for wire in waiting:
            wire.send(
                b"POST /park HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
            )
        assert s.get("/s/a.txt").body == TEXT
        for wire in waiting:
            wire.send(b"x")
        for wire in waiting:
            assert wire.reply().text == "POST /park"


def test_the_access_log(top: pathlib.Path) -> None:
    with server(APP, *options(top)) as s:
        s.get("/s/a.txt?q", {"User-Agent": "me"})
        s.get("/s/with")
        s.get("/s/a.txt", {"Range": "bytes=1-2"})
        s.wait_for("GET /s/a.txt => generated 2 bytes")
    lines = [line for line in s.err.splitlines() if "=> generated" in line]
    assert re.fullmatch(
        r"\[pid: \d+\|app: 0\|req: 1/1\] 127\.0\.0\.1 \(\) \{\d+ vars in \d+ "
        r"bytes\} \[.*\] GET /s/a\.txt\?q => generated 500 bytes in \d+ msecs "
        r"\(HTTP/1\.1 200\) 7 headers in \d+ bytes "
        r"\(0 switches on core 0\)",
        lines[0],
    )
    assert "GET /s/with => generated 0 bytes" in lines[1]
    assert "(HTTP/1.1 206)" in lines[2]


def test_the_combined_log(top: pathlib.Path) -> None:
    with server(APP, *options(top), "--access-log-format", "combined") as s:
        s.get("/s/a.txt", {"User-Agent": "me", "Referer": "http://here/"})
        s.wait_for('"GET /s/a.txt HTTP/1.1" 200 500 "http://here/" "me"')


def test_ten_thousand_requests_leave_nothing_open(s: Server) -> None:
    before = descriptors_at_rest(s)
    paths = ["/s/a.txt", "/s/style.css", "/s/missing", "/s/with", "/s/none/"]
    batch = b"".join(request("GET", p) for p in paths)
    batch += request("GET", "/s/a.txt", "Range: bytes=1-2,4-5")
    batch += request("GET", "/s/a.txt", "If-None-Match: *")
    batch += request("GET", "/s/a.txt", "Range: bytes=9999-")
    with open_wire(s) as wire:
        for _ in range(1250):
            wire.send(batch)
            for status in (200, 200, 200, 301, 200, 206, 304, 416):
                assert wire.reply().status == status
    assert descriptors_at_rest(s) == before


def test_without_descriptors(top: pathlib.Path) -> None:
    """503 for what may be a file, told once; the application goes on."""
    with server(APP, *options(top)) as s:
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (40, 40))
        wires = []
        try:
            while len(wires) < 100:
                wire = Wire(s.connect(timeout=1))
                wires.append(wire)
                # Idle ones are closed to make room for it.
                assert wire.get("/x").text == "GET /x"
            reply = wire.get("/s/a.txt")
            assert (reply.status, reply.closes) == (503, True)
        finally:
            for wire in wires:
                wire.sock.close()
        wait_until(
            lambda: s.get("/s/a.txt", timeout=5).status == 200, "files again"
        )
        assert s.logged("files cannot be opened") == 1


def curl(*arguments: str) -> bytes:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    # Sanitizers that are loaded into us are not for it.
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    done = subprocess.run(
        [program, "-sS", "--noproxy", "*", *arguments],
        capture_output=True,
        timeout=30,
        check=True,
        env=env,
    )
    return done.stdout


def test_curl(s: Server, top: pathlib.Path) -> None:
    url = f"{s.url}/s/a.txt"
    assert curl(url) == TEXT
    assert curl("-r", "10-19", url) == TEXT[10:20]
    assert curl("-r", "-5", url) == TEXT[-5:]
    assert (
        curl(
            "--compressed",
            "-H",
            "Accept-Encoding: gzip",
            f"{s.url}/s/style.css",
        )
        == b"gzip css"
    )
    assert curl("-L", f"{s.url}/s/with") == b"<h1>index</h1>"
    stamp = top / "stamp"
    write(stamp, b"", MODIFIED)
    assert curl("-z", str(stamp), url) == b""
    part = top / "part"
    write(part, TEXT[:123])
    curl("-C", "-", "-o", str(part), url)  # goes on with a download
    assert part.read_bytes() == TEXT


def test_a_media_type_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    done = run(
        *("--http-socket", "127.0.0.1:0", "--check-static", "."),
        *("--mime-file", "missing", "--wsgi-file", "app.py"),
        cwd=tmp_path,
    )
    assert done.returncode == 22  # the application is looked for first
    (tmp_path / "app.py").write_text("def application(e, s): pass\n")
    done = run(
        *("--http-socket", "127.0.0.1:0", "--check-static", "."),
        *("--mime-file", "missing", "--wsgi-file", "app.py"),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "cannot read --mime-file" in done.stderr


def test_special_files(tmp_path: pathlib.Path) -> None:
    """FIFOs and sockets are no files, and nobody waits for them."""
    write(tmp_path / "root/file", b"file")
    os.mkfifo(tmp_path / "root/fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(tmp_path / "root", os.O_PATH)
        try:
            listening.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
        (tmp_path / "root/zero").symlink_to("/dev/zero")
        with server(
            APP,
            *("--static-map", f"/s={tmp_path}/root"),
            *("--static-safe", "/dev"),
        ) as s:
            for name in ("fifo", "socket", "zero", "fifo", "socket"):
                begin = time.monotonic()
                assert s.get(f"/s/{name}").text == f"GET /s/{name}"
                assert time.monotonic() - begin < 5
            assert s.get("/s/file").body == b"file"
