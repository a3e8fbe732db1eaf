# SPDX-License-Identifier: MIT
"""What docs/http-conformance.md says, as a reader of its own.

Written from the RFCs and the page, with regular expressions over whole
lines, and so in another way than the parser in C: where the two differ, one
of them is wrong.  A refusal has a name; REFUSALS says which paragraph allows
or demands it.  Limits of size are not modelled: no case comes near them.
"""

import dataclasses
import re

from http_readers import Reading, Request, environ, version_of

__all__ = ["REFUSALS", "Model", "read"]

# Why Greenloop refuses a message, and what allows it.
REFUSALS = {
    "bad first byte": "RFC 9112, 2.2: no method begins so",
    "bare LF": "RFC 9112, 2.2: a recipient may, and need not, take one",
    "bare CR": "RFC 9112, 2.2: invalid, or replaced by a blank",
    "request line": "RFC 9112, 3: not method SP target SP version",
    "version": "RFC 9110, 15.6.6: another major version",
    "method": "RFC 9110, 15.6.2: CONNECT, or over 32 bytes",
    "target": "RFC 9112, 3.2: a form that is no request to this server",
    "escape": "RFC 3986, 2.1: a '%' without two digits, or %00",
    "folding": "RFC 9112, 5.2: obs-fold is answered with 400",
    "blank before colon": "RFC 9112, 5.1: answered with 400",
    "field name": "RFC 9112, 5.1: a name is a token",
    "field value": "RFC 9110, 5.5: control bytes are dangerous",
    "host": "RFC 9112, 3.2: none, two, or no uri-host",
    "length": "RFC 9112, 6.3: not one number, which fits 63 bits",
    "two lengths": "RFC 9112, 6.3: also equal ones may be refused",
    "coding": "RFC 9112, 6.1: another coding than chunked, or two",
    "coding in HTTP/1.0": "RFC 9112, 6.1: framing is faulty",
    "coding and length": "RFC 9112, 6.1: may be refused",
    "chunk size": "RFC 9112, 7.1: 1 to 16 hex digits, at most 2^60",
    "blank after size": "RFC 9112, 7.1.1: BWS is an attacker's",
    "chunk extension": "RFC 9112, 7.1.1: not in the grammar, or too long",
    "chunk end": "RFC 9112, 7.1: no CRLF behind the data",
    "trailer": "RFC 9112, 7.1.2: no field line",
}

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VALUE = rb"[\t\x20-\x7e\x80-\xff]"
QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\' + VALUE + rb')*"'
REQUEST_LINE = re.compile(
    rb"(" + TOKEN + rb"+) ([!\"$-~]+) HTTP/([0-9])\.([0-9])"
)
FIELD = re.compile(
    rb"(" + TOKEN + rb"+):[ \t]*(" + VALUE + rb"*?)[ \t]*", re.S
)
HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,}\]|"
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
    rb"(?::[0-9]*)?"
)
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)([^?]*).*", re.S)
SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
EXTENSION = re.compile(
    rb"(?:;[ \t]*" + TOKEN + rb"+(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"+|"
    + QUOTED + rb"))?(?:[ \t]+(?=;))?)*"
)  # fmt: skip
BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00")
EXTENSION_MAX_BYTES = 256
LENGTH_MAX = 2**63 - 1
SIZE_MAX = 2**60


class Refused(Exception):
    """args[0] is one of REFUSALS."""


class Cut(Exception):
    """The stream ends within a message."""


@dataclasses.dataclass(frozen=True)
class Model:
    """What must be read, where each request and the rest began."""

    reading: Reading
    starts: tuple[int, ...]
    cut: bool  # what is left of the stream may also be refused already


@dataclasses.dataclass
class Head:
    """A head in the making."""

    method: bytes = b""
    target: bytes = b""
    minor: int = 0
    fields: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


class Stream:
    """The bytes, and how far they were read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def line(self) -> bytes:
        """The next line; refused unless CRLF and nothing else ends it."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Cut
        line = self.data[self.at : end]
        self.at = end + 1
        if not line.endswith(b"\r"):
            raise Refused("bare LF")
        return line[:-1]

    def take(self, count: int) -> bytes:
        data = self.data[self.at : self.at + count]
        self.at += len(data)
        if len(data) < count:
            raise Cut
        return data


# --- the head ----------------------------------------------------------------


def check_target(head: Head) -> None:
    target = head.target
    path = target.split(b"?", 1)[0]
    if not target.startswith(b"/") and target != b"*":
        match = ABSOLUTE.fullmatch(target)
        if match is None or not HOST.fullmatch(match[1]):
            raise Refused("target")
        path = match[2]
    if target == b"*" and head.method != b"OPTIONS":
        raise Refused("target")
    if BAD_ESCAPE.search(path):
        raise Refused("escape")


def request_line(stream: Stream) -> Head:
    if stream.data.startswith(b"\r\n", stream.at):
        stream.at += 2  # one empty line may come before
    rest = stream.data[stream.at :]
    if rest and not re.match(TOKEN, rest):
        raise Refused("bad first byte")
    line = stream.line()
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Refused("bare CR" if b"\r" in line else "request line")
    if match[3] != b"1":
        raise Refused("version")
    if match[1] == b"CONNECT" or len(match[1]) > 32:
        raise Refused("method")
    return Head(match[1], match[2], int(match[4] != b"0"))


def why_no_field(line: bytes) -> str:
    """The name of what is wrong with a line that is no field."""
    name, colon, value = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        return "folding"
    if colon and re.fullmatch(TOKEN + rb"+[ \t]+", name):
        return "blank before colon"
    if not colon or not re.fullmatch(TOKEN + rb"+", name):
        return "field name"
    return "bare CR" if b"\r" in value else "field value"


def check_field(head: Head, name: bytes, value: bytes) -> None:
    """What can be said of a field when it comes."""
    key = name.lower()
    again = len(head.values(key)) > 0
    if key == b"host" and (again or (value and not HOST.fullmatch(value))):
        raise Refused("host")
    if key == b"content-length":
        if again:
            raise Refused("two lengths")
        if not re.fullmatch(rb"[0-9]+", value) or int(value) > LENGTH_MAX:
            raise Refused("length")
    if key == b"transfer-encoding":
        if head.minor == 0:
            raise Refused("coding in HTTP/1.0")
        if again or value.lower() != b"chunked":
            raise Refused("coding")


def read_head(stream: Stream) -> Head:
    head = request_line(stream)
    target_refused = ""
    try:
        check_target(head)
    except Refused as error:
        if error.args[0] != "escape":
            raise
        target_refused = error.args[0]  # found when the environ is made
    while line := stream.line():
        match = FIELD.fullmatch(line)
        if match is None:
            raise Refused(why_no_field(line))
        check_field(head, match[1], match[2])
        head.fields.append((match[1], match[2]))
    if head.minor > 0 and not head.values(b"host"):
        raise Refused("host")
    if head.values(b"content-length") and head.values(b"transfer-encoding"):
        raise Refused("coding and length")
    if target_refused:
        raise Refused(target_refused)
    return head


# --- the body ----------------------------------------------------------------


def chunk_size(stream: Stream) -> int:
    """The size of the next chunk, from its line."""
    rest = stream.data[stream.at :]
    match = SIZE.match(rest)
    if match is None or int(match[0], 16) > SIZE_MAX:
        raise Refused("chunk size") if rest else Cut
    stop = rest[match.end() : match.end() + 1]
    if stop in (b" ", b"\t"):
        raise Refused("blank after size")
    if stop not in (b"\r", b";", b"\n", b""):
        raise Refused("chunk size")
    line = stream.line()
    if b"\r" in line:
        raise Refused("bare CR")
    extension = line[match.end() :]
    if (
        not EXTENSION.fullmatch(extension)
        or len(extension) > EXTENSION_MAX_BYTES + 1  # the first ';'
    ):
        raise Refused("chunk extension")
    return int(match[0], 16)


def read_chunks(stream: Stream) -> bytes:
    body = b""
    while size := chunk_size(stream):
        body += stream.take(size)
        end = stream.data[stream.at : stream.at + 2]
        if end != b"\r\n"[: len(end)]:
            raise Refused("chunk end")
        stream.take(2)
    while line := stream.line():
        if not FIELD.fullmatch(line):
            raise Refused("trailer")
    return body


def read_body(stream: Stream, head: Head) -> bytes:
    if head.values(b"transfer-encoding"):
        return read_chunks(stream)
    length = head.values(b"content-length")
    return stream.take(int(length[0])) if length else b""


def keeps_alive(head: Head) -> bool:
    options = {
        option.strip(b" \t").lower()
        for value in head.values(b"connection")
        for option in value.split(b",")
    }
    return b"close" not in options and (
        head.minor > 0 or b"keep-alive" in options
    )


def read_request(stream: Stream) -> tuple[Request, bool]:
    """The next request, and whether another may follow."""
    head = read_head(stream)
    body = read_body(stream, head)
    target = head.target.decode("latin-1")
    request = Request(
        head.method.decode("latin-1"),
        target,
        version_of(f"1.{head.minor}"),
        environ(target, head.fields),
        body.decode("latin-1"),
    )
    return request, keeps_alive(head)


def read(data: bytes) -> Model:
    stream = Stream(data)
    requests: list[Request] = []
    starts = [0]
    refused, cut, goes_on = "", False, True
    try:
        while goes_on and stream.at < len(data):
            request, goes_on = read_request(stream)
            requests.append(request)
            starts.append(stream.at)
    except Refused as error:
        refused = error.args[0]
    except Cut:
        cut = True
    return Model(Reading(tuple(requests), refused), tuple(starts), cut)
