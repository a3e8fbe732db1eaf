# SPDX-License-Identifier: MIT
"""Ranges of static files, against a reading of RFC 9110 in Python."""

import email.parser
import itertools
import pathlib
import random
import re
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import Reply, open_wire

APP = """
    def application(environ, start_response):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such page"]
"""
SIZES = [1, 2, 10, 1000, 16383, 16384, 16385, 70_000, 1_000_000]
MOST_RANGES = 8  # more are answered with the whole


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ranges")
    for size in [0, *SIZES]:
        (folder / f"{size}.txt").write_bytes(content(size))
    with server(APP, "--static-map", f"/s={folder}") as running:
        yield running


def expected(spec: str, size: int) -> "list[tuple[int, int]] | int":
    """First and last bytes, or the status 200 or 416."""
    found: list[tuple[int, int]] = []
    for item in spec.split(","):
        parts = re.fullmatch(r"(\d*)-(\d*)", item.strip(" \t"))
        if not item.strip(" \t"):
            continue
        if parts is None or not (parts[1] or parts[2]):
            return 200
        if not parts[1]:
            length = min(int(parts[2]), size)
            first, last = size - length, size - 1
        else:
            first = int(parts[1])
            last = int(parts[2]) if parts[2] else size - 1
            if parts[2] and last < first:
                return 200
            last = min(last, size - 1)
        if first <= last and first < size:
            found.append((first, last))
    if not found:
        return 416
    ordered = sorted(found)
    overlap = any(a[1] >= b[0] for a, b in itertools.pairwise(ordered))
    return 200 if overlap or len(found) > MOST_RANGES else found


def parts_of(reply: Reply) -> list[tuple[str, bytes]]:
    """Content-Range and body of each part, as the email module reads them."""
    kind = reply.field("Content-Type")
    assert kind is not None and kind.startswith("multipart/byteranges;")
    boundary = kind.partition("boundary=")[2].encode()
    assert len(boundary) == 32
    pieces = reply.body.split(b"--" + boundary)
    assert pieces[0] == b"" and pieces[-1] == b"--\r\n"
    found = []
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        assert head.startswith(b"\r\n") and body.endswith(b"\r\n")
        fields = email.parser.BytesParser().parsebytes(head[2:] + b"\r\n\r\n")
        assert fields["Content-Type"] == "text/plain"
        found.append((fields["Content-Range"], body[:-2]))
    return found


def check(reply: Reply, spec: str, size: int) -> None:
    data, want = content(size), expected(spec, size)
    if isinstance(want, int):
        assert reply.status == want, spec
        if want == 200:
            assert reply.body == data
        else:
            assert reply.field("Content-Range") == f"bytes */{size}"
        return
    assert reply.status == 206, spec
    if len(want) == 1:
        first, last = want[0]
        assert reply.field("Content-Range") == f"bytes {first}-{last}/{size}"
        assert reply.body == data[first : last + 1]
        return
    assert reply.field("Content-Range") is None
    assert parts_of(reply) == [
        (f"bytes {first}-{last}/{size}", data[first : last + 1])
        for first, last in want
    ]


def random_item(source: random.Random, size: int) -> str:
    first = source.randrange(size + size // 4 + 2)
    last = first + source.randrange(size // source.choice([1, 10, 100]) + 1)
    return source.choice(
        [f"{first}-{last}", f"{first}-{last}", f"{first}-", f"-{last}"]
    )


@pytest.mark.parametrize("seed", range(4))
def test_random_ranges(s: Server, seed: int) -> None:
    source = random.Random(seed)
    with open_wire(s) as wire:
        for _ in range(250):
            size = source.choice(SIZES)
            count = source.choice([1, 1, 1, 2, 3, 5, 9])
            spec = ",".join(random_item(source, size) for _ in range(count))
            reply = wire.get(f"/s/{size}.txt", f"Range: bytes={spec}")
            check(reply, spec, size)


@pytest.mark.parametrize("count", range(2, 11))
def test_ranges_that_follow_each_other(s: Server, count: int) -> None:
    size = 70_000
    step = size // count
    spec = ", ".join(f"{i * step}-{i * step + step - 2}" for i in range(count))
    with open_wire(s) as wire:
        reply = wire.get(f"/s/{size}.txt", f"Range: bytes={spec}")
        check(reply, spec, size)
        assert reply.status == (206 if count <= MOST_RANGES else 200)


@pytest.mark.parametrize("size", [0, *SIZES])
def test_whole_files(s: Server, size: int) -> None:
    with open_wire(s) as wire:
        for line in ("X: y", "Range: lines=0-1", "Range: bytes=", "Range: "):
            reply = wire.get(f"/s/{size}.txt", line)
            assert (reply.status, reply.body) == (200, content(size))
        if size == 0:
            assert wire.get("/s/0.txt", "Range: bytes=0-").status == 200


def test_a_range_costs_at_most_the_whole(s: Server) -> None:
    """Many small or overlapping ranges do not multiply the answer."""
    with open_wire(s) as wire:
        for spec in (
            ",".join(["0-"] * 1000),
            ",".join(f"{i}-" for i in range(500)),
            ",".join(f"{i}-{i}" for i in range(0, 2000, 2)),
        ):
            reply = wire.get("/s/16384.txt", f"Range: bytes={spec}")
            assert (reply.status, len(reply.body)) == (200, 16384)


def test_the_file_is_a_path(tmp_path: pathlib.Path) -> None:
    """A mapped file has ranges as well."""
    (tmp_path / "f").write_bytes(content(1000))
    with server(APP, "--static-map", f"/f={tmp_path}/f") as s:
        answer = s.get("/f", {"Range": "bytes=100-"})
        assert (answer.status, answer.body) == (206, content(1000)[100:])
