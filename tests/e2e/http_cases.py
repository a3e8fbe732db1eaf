# SPDX-License-Identifier: MIT
"""Generated requests, right ones and wrong ones, for several parsers to read.

    case(seed, number)

is always the same bytes for the same two numbers: one to three requests,
each put together from parts of which some are odd, the whole then changed in
a few places, and behind it an honest request for /next.  Whether a parser
sees that one says where it thought that the others end.
"""

import random
from collections.abc import Callable, Sequence

__all__ = ["NEXT", "case"]

NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"

Chance = random.Random

METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"HEAD"]
ODD_METHODS = [b"get", b"G@T", b"QUERY", b"CONNECT", b"", b"A" * 33, b"PRI"]
TARGETS = [b"/", b"/a", b"/a/b?c=d&e", b"/%41%20", b"/x?y?z=%00", b"/~a;b"]
ODD_TARGETS = [
    *(b"*", b"http://host/a", b"http://u@host/", b"HTTPS://host:1?q", b"a"),
    *(b"/a#b", b"/\xe9", b"/a b", b"", b"//host/a", b'/"<>', b"/\x01", b"/^`"),
    *(b"http:///a", b"host:80", b"/\\..", b"http://h:x/", b"http://[::1]/"),
]
VERSIONS = [*([b"HTTP/1.1"] * 7), b"HTTP/1.0"]
ODD_VERSIONS = [
    *(b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.10", b"http/1.1", b""),
    *(b"HTTP/01.1", b"HTTP/1", b"HTTP/1.1 ", b"HTTP/9.9", b"HTTP/1,1"),
]
FIELDS = [
    *(b"Accept: */*", b"User-Agent: a b\tc", b"Cookie: a=1", b"Cookie: b=2"),
    *(b"X-Empty:", b"X-Blank: \t a \t", b"Accept: text/html", b"X-Y: \xe9"),
    *(b"Content-Type: text/plain", b"Expect: 100-continue", b"X_Y: z"),
    *(b"Connection: keep-alive", b"Connection: close", b"TE: trailers"),
    *(b"Host-Not: b", b"content-Lengthy: 3", b"X!#$%&'*+-.^_`|~: y"),
]
ODD_FIELDS = [
    *(b"Host: b", b"Host:", b"X : y", b"X\t: y", b": y", b"X y: z", b"X"),
    *(b" X: y", b"X: a\r\n b", b"X: a\x00b", b"X: a\x0bb", b"X: a\x7fb"),
    *(b"X\xe9: y", b"X(: y", b"Connection: close, x", b"Connection: Upgrade"),
    *(b"Upgrade: websocket", b"Connection: keep-alive, close", b"X: a\rb"),
    *(b"Host: a b", b"Host: a/b", b"Host: a,b", b"Host: u@a", b"Host: a:8x"),
    *(b"Proxy: z", b"Expect: 200-ok", b"Expect: 100-Continue", b"X:\x0b y"),
]
LENGTHS = [
    *(b"%d ", b"\t%d", b"+%d", b"-%d", b"0x%x", b"%d, %d", b"%d,%d", b"0%d"),
    *(b"000000000000000000000%d", b"%d.0", b"%d_0", b"", b"%d;a", b"%d\x0b"),
    *(b"18446744073709551616", b"9223372036854775808", b"\xb2", b"%d %d"),
    *(b"9223372036854775807", b"%d\x00", b"\x0c%d", b"%d,", b"'%d'"),
]
CODINGS = [
    *(b"Chunked", b"chunked ", b"\tchunked", b"xchunked", b"chunkedx"),
    *(b"chunked, identity", b"identity", b"gzip, chunked", b"chunked,"),
    *(b",chunked", b"chunked, chunked", b'"chunked"', b"\x0bchunked"),
    *(b"chunked;a=b", b"", b"chunk ed", b"chunked\x00", b"identity, chunked"),
    *(b"gzip", b"'chunked'", b"chunked\x0b", b"chunked\x85", b"trailers"),
]
CODING_NAMES = [
    *(b"Transfer-Encoding ", b"Transfer-Encoding\t", b"transfer-encoding"),
    *(b"Transfer_Encoding", b"Transfer-Encoding\x0b", b" Transfer-Encoding"),
    *(b"Transfer-Encod\r\n ing", b"Transfer-Encoding\x00", b"TE"),
]
SIZE_FORMS = [
    *(b"%x", b"%X", b"0%x", b"00000000000000%x", b"000000000000000000000%x"),
    *(b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x\t", b"%x_", b"", b"g%x"),
    *(b"1000000000000000%x", b"f000000000000000%x", b"%x\x00", b"%x\x0b"),
]
EXTENSIONS = [
    *(b";a", b";a=b", b'; a = "b;c"', b";a\nb", b";a\rb", b";", b";;", b" ;a"),
    *(
        b'; a="\r\n"',
        b";a=\x00",
        b";a=\xe9",
        b";" + b"e" * 200,
        b";\n",
        b";\r",
    ),
    *(b";" + b"e" * 300, b'; a="\\"', b"\n", b"\r", b"#a", b",a", b"; a=\x7f"),
]
ODD_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"", b" \r\n", b"\x0b\r\n"]
ODD_CHUNK_ENDS = [*ODD_ENDS, b"xx", b"\r\n\r\n", b"x\r\n", b"0\r\n", b"\n\n"]
TRAILERS = [
    *(b"X: y", b"X:", b"Content-Length: 9", b"Transfer-Encoding: chunked"),
    *(b"Host: b", b"X : y", b" X: y", b"X", b": y", b"X: \x01", b"X: a\r\n b"),
    *(b"X: a\nY: b", b"X: a\rb", b"X\xe9: a", b"X: \xe9", b"X: \x00"),
]
BODIES = [b"", b"a", b"hello", b"0\r\n\r\n", NEXT, b"\r\n", b"x" * 70]
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b"\r\n\r\n", b" ", b"\t", b":", b"\x0b"),
    *(b"\x0c", b"\x7f", b"\x80", b"\xff", b",", b";", b'"', b"0", b"5", b"f"),
    *(b"HTTP/1.1", b"GET ", b"chunked", b"\r\nContent-Length: 3"),
    *(
        b"\r\nTransfer-Encoding: chunked",
        b"\r\n ",
        b"0\r\n\r\n",
        b"\r\nHost: b",
    ),
    *(b"\r\nConnection: close", b"\x00\r\n", b"%", b"#", b"/", b"?"),
]


def some(
    chance: Chance, usual: Sequence[bytes], odd: Sequence[bytes], share: float
) -> bytes:
    """One of the usual, or, in so many cases, of the odd."""
    return chance.choice(odd if chance.random() < share else usual)


def end(chance: Chance, odd: Sequence[bytes] = ODD_ENDS) -> bytes:
    """A line's end."""
    return some(chance, [b"\r\n"], odd, 0.012)


def fill(form: bytes, number: int) -> bytes:
    """A form with the number in each of its places."""
    places = form.count(b"%")
    return form % ((number,) * places) if places else form


def chunk(chance: Chance, data: bytes) -> bytes:
    size = some(chance, [b"%x"], SIZE_FORMS, 0.08)
    extension = some(chance, [b""], EXTENSIONS, 0.1)
    return (
        fill(size, len(data)) + extension + end(chance) + data
        + (end(chance, ODD_CHUNK_ENDS) if data else b"")
    )  # fmt: skip


def chunks(chance: Chance, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    pieces = [piece for piece in (data[:at], data[at:]) if piece]
    coded = b"".join(chunk(chance, piece) for piece in pieces)
    coded += chunk(chance, b"")
    while chance.random() < 0.15:
        coded += chance.choice(TRAILERS) + end(chance)
    return coded + end(chance)


def framing(chance: Chance) -> tuple[list[bytes], bytes]:
    """The fields that say where a body ends, and the body."""
    data = chance.choice(BODIES)
    style = chance.random()
    if style < 0.3:
        return [], b""
    if style < 0.55:
        return [b"Content-Length: %d" % len(data)], data
    if style < 0.65:
        form = chance.choice(LENGTHS)
        return [b"Content-Length: " + fill(form, len(data))], data
    if style < 0.88:
        return [b"Transfer-Encoding: chunked"], chunks(chance, data)
    if style < 0.93:
        return [b"Transfer-Encoding: " + chance.choice(CODINGS)], chunks(
            chance, data
        )
    if style < 0.96:
        return [chance.choice(CODING_NAMES) + b": chunked"], chunks(
            chance, data
        )
    coded = chunks(chance, data)
    length = chance.choice((0, len(coded), len(data)))
    both = [b"Transfer-Encoding: chunked", b"Content-Length: %d" % length]
    if chance.random() < 0.3:
        both = [both[chance.randrange(2)]] * 2
    chance.shuffle(both)
    return both, coded


def request(chance: Chance) -> bytes:
    fields, body = framing(chance)
    if chance.random() < 0.98:
        fields.append(b"Host: a")
    for _ in range(chance.choice((0, 0, 1, 2, 4))):
        fields.append(some(chance, FIELDS, ODD_FIELDS, 0.12))
    chance.shuffle(fields)
    blank = some(chance, [b" "], [b"  ", b"\t", b"", b"\x0b"], 0.01)
    line = (
        some(chance, METHODS, ODD_METHODS, 0.04) + blank
        + some(chance, TARGETS, ODD_TARGETS, 0.08) + b" "
        + some(chance, VERSIONS, ODD_VERSIONS, 0.05)
    )  # fmt: skip
    before = some(chance, [b""], [b"\r\n", b"\r\n\r\n", b"\n", b" "], 0.03)
    head = b"".join(part + end(chance) for part in (line, *fields))
    return before + head + end(chance) + body


def flip(chance: Chance, data: bytearray) -> None:
    data[chance.randrange(len(data))] = chance.randrange(256)


def insert(chance: Chance, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(TOKENS)


def delete(chance: Chance, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 6)]


def repeat(chance: Chance, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randrange(1, 40)]


def replace(chance: Chance, data: bytearray) -> None:
    at = chance.randrange(len(data))
    token = chance.choice(TOKENS)
    data[at : at + len(token)] = token


CHANGES: list[Callable[[Chance, bytearray], None]] = [
    *(flip, insert, delete, repeat, replace)
]


def case(seed: int, number: int) -> bytes:
    """What one peer sends; see the module."""
    chance = Chance(seed * 1_000_003 + number)
    count = chance.choice((1, 1, 1, 2))
    data = bytearray(b"".join(request(chance) for _ in range(count)))
    for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2))):
        if data:
            chance.choice(CHANGES)(chance, data)
    return bytes(data) + NEXT
