# SPDX-License-Identifier: MIT
"""No way out of a folder that is served: paths, links, races."""

import contextlib
import os
import pathlib
import threading
from collections.abc import Iterator

import pytest
from harness import Server, read_to_end, server
from wire import open_wire, request

SECRET = b"the-secret-that-must-not-leak"
APP = """
    def application(environ, start_response):
        start_response("404 Not Found", [
            ("Content-Type", "text/plain"),
            *([("X-Sendfile", environ["HTTP_X_NAME"])]
              if "HTTP_X_NAME" in environ else []),
        ])
        return [b"no such page"]
"""
UP = [
    "..",
    "%2e%2e",
    "%2E%2E",
    ".%2e",
    "%2e.",
    "%252e%252e",
    "%25252e%25252e",
    "..;",
    "..;a=b",
    "..%00",
    "..%01",
    "..%20",
    "..%09",
    "..%0d",
    "..%0a",
    "..%2500",
    ". .",
    "...",
    "....",
    "%c0%ae%c0%ae",
    "%c0%2e%c0%2e",
    "%e0%80%ae%e0%80%ae",
    "%f0%80%80%ae%f0%80%80%ae",
    "%uff0e%uff0e",
    "%u002e%u002e",
    "%ef%bc%8e%ef%bc%8e",
    "\u00ae\u00ae",
    "./..",
    ".//..",
    "../.",
    "%2e%2e%2f.",
    "x/../..",
    "sub/../..",
    "sub/%2e%2e/..",
    "sub/./../..",
    "sub//../..",
    "sub/..%2f..",
    "sub/..%5c..",
    "sub\\..\\..",
    "file.txt/../..",
    "a" * 300 + "/../..",
    "\\..",
    "%5c..",
    "..\\",
    "..%5c",
    "..%255c",
]
JOINTS = [
    "/",
    "//",
    "%2f",
    "%2F",
    "/./",
    "%5c",
    "\\",
    "%252f",
    "%c0%af",
    "%e0%80%af",
    "%bg%qf",
    "%2f%2f",
    "/%2f",
    "%ef%bc%8f",
]
WHOLE = [
    "/etc/passwd",
    "//etc/passwd",
    "/%2fetc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "proc/self/environ",
    "/proc/self/served/etc/passwd",
    "C:%5cwindows",
    "secret",
    "%00",
    "file.txt%00",
    "file.txt%00.html",
    "%00/../secret",
    "..secret",
    "~/secret",
    "~root/.profile",
    "./secret",
    ".",
    "..",
    "/..",
    "../",
    "%2e%2e%2f",
    "..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
    "../" * 40 + "etc/passwd",
    "%2e%2e/" * 40 + "etc/passwd",
    "../served_beside/secret",
    "_beside/secret",
    "..%2fserved_beside%2fsecret",
    "a/" * 1000 + "../" * 1001 + "secret",
    "/" * 3000 + "../secret",
]
ATTACKS = [up + joint + "secret" for up in UP for joint in JOINTS]
ATTACKS += [2 * (up + "/") + "secret" for up in UP]
ATTACKS += ["sub/" + up + "/" + up + "/secret" for up in UP]
ATTACKS += WHOLE


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wall")
    root = folder / "served"
    for name in ("served/sub", "served_beside", "safe", "served/.git"):
        (folder / name).mkdir(parents=True)
    for name in (
        "secret",
        "served_beside/secret",
        "served/.secret",
        "served/.git/secret",
        "served/sub/.secret",
    ):
        (folder / name).write_bytes(SECRET)
    (root / "file.txt").write_bytes(b"file")
    (folder / "safe/file.txt").write_bytes(b"safe")
    for target, name in {
        "file.txt": "inside",
        f"{root}/file.txt": "inside_whole",
        "../served/file.txt": "out_and_in",
        "../secret": "to_secret",
        f"{folder}/secret": "to_secret_whole",
        "..": "to_top",
        str(folder): "to_top_whole",
        "/": "to_all",
        "../served_beside": "to_beside",
        f"{folder}/safe": "to_safe",
        "/proc/self/root": "to_proc_root",
        "/proc/self/cwd": "to_proc_cwd",
        "round": "round",
    }.items():
        (root / name).symlink_to(target)
    (root / "sub/up").symlink_to("../file.txt")
    (root / "sub/up_up").symlink_to("../../secret")
    return folder


@pytest.fixture(scope="module")
def s(top: pathlib.Path) -> Iterator[Server]:
    with server(
        APP,
        *("--static-map", f"/s={top}/served"),
        *("--static-map", f"/t={top}/served/"),
        *("--check-static", f"{top}/served"),
        *("--static-safe", f"{top}/safe"),
        *("--static-index", "secret"),
        *("--x-sendfile", f"{top}/served"),
    ) as running:
        yield running


def leaks(answer: bytes) -> bool:
    return SECRET in answer or b"root:" in answer


@pytest.mark.parametrize("prefix", ["/s/", "/t/", "/", "/s", "/s%2f", "s/"])
def test_attacks(s: Server, prefix: str) -> None:
    """Each on its own: what is malformed ends the connection."""
    for attack in ATTACKS:
        target = (prefix + attack).encode("latin-1", "replace")
        answer = s.raw(
            b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert not leaks(answer), target
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404")), target
    assert s.get("/s/file.txt").body == b"file"


def test_files_that_are_there(s: Server) -> None:
    for name in ("file.txt", "inside", "inside_whole", "out_and_in", "sub/up"):
        for prefix in ("/s/", "/t/", "/"):
            assert s.get(prefix + name).body == b"file"
    assert s.get("/s/to_safe/file.txt").body == b"safe"


@pytest.mark.parametrize(
    "name",
    [
        "to_secret",
        "to_secret_whole",
        "to_top/secret",
        "to_top_whole/secret",
        "to_top/served/file.txt/../../secret",
        "to_all/etc/passwd",
        "to_beside/secret",
        "to_beside/",
        "to_beside",
        "to_top",
        "to_top/",
        "to_proc_root/etc/passwd",
        "to_proc_cwd/app.py",
        "sub/up_up",
        "round",
        ".secret",
        ".git/secret",
        "sub/.secret",
        ".git/",
        ".git",
    ],
)
def test_links_that_lead_out(s: Server, name: str) -> None:
    for prefix in ("/s/", "/"):
        answer = s.get(prefix + name)
        assert (answer.status, answer.body) == (404, b"no such page")


def test_x_sendfile_stays_inside(s: Server, top: pathlib.Path) -> None:
    names = [
        f"{top}/served/{attack}" for attack in ATTACKS if len(attack) < 999
    ]
    names += [
        f"{top}/{n}" for n in ("secret", "served_beside/secret", "served")
    ]
    names += ["/etc/passwd", "../secret", "", "/", ".", "to_secret", f"{top}"]
    with open_wire(s) as wire:
        for name in names:
            if not name.isascii():
                continue
            reply = wire.get("/x", f"X-Name: {name}")
            assert not leaks(reply.body), name
            assert (reply.status, reply.body) == (404, b"Not Found"), name
        reply = wire.get("/x", f"X-Name: {top}/served/file.txt")
        assert reply.body == b"file"


def test_a_link_that_changes_all_the_time(
    s: Server, top: pathlib.Path
) -> None:
    """No moment between looking and opening: the file is never the other."""
    link, other = top / "served/racing", top / "served/racing_new"
    done = threading.Event()

    def race() -> None:
        targets = ["file.txt", "../secret", f"{top}/secret", "to_safe"]
        while not done.is_set():
            for target in targets:
                with contextlib.suppress(FileNotFoundError):
                    other.unlink()
                other.symlink_to(target)
                os.rename(other, link)

    thread = threading.Thread(target=race)
    thread.start()
    try:
        bodies = set()
        with open_wire(s) as wire:
            for _ in range(100):
                wire.send(20 * request("GET", "/s/racing"))
                bodies |= {wire.reply().body for _ in range(20)}
    finally:
        done.set()
        thread.join()
        link.unlink()
    assert bodies <= {b"file", b"no such page"}
    assert b"file" in bodies


def test_bytes_that_are_no_path(s: Server) -> None:
    for target in (b"*", b"a", b"%", b"/%", b"/%2", b"/s/%zz", b"/s/%00"):
        with s.connect() as sock:
            sock.sendall(
                b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n"
                b"Connection: close\r\n\r\n"
            )
            answer = read_to_end(sock)
        assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404"), target
