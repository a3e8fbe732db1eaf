# SPDX-License-Identifier: MIT
"""Three readers of the same bytes: Greenloop, and h11 and httptools.

Each takes all that a peer sends before it ends its side, and tells a Reading:
the requests that are whole, and how it ended.  Greenloop's comes from a real
server, whose application answers with what it saw; of the others a request's
fields are put as PEP 3333 and docs/http-conformance.md say an environ has
them, so that all can be compared.
"""

import dataclasses
import json
import re
import socket
from collections.abc import Iterable, Iterator, Sequence

import h11
import httptools

__all__ = [
    "APP",
    "Reading",
    "Request",
    "ask",
    "by_h11",
    "by_httptools",
    "environ",
    "version_of",
]

APP = """
    import json

    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        fields = {
            key: value for key, value in environ.items()
            if key.startswith(("HTTP_", "CONTENT_")) and value is not None
        }
        seen = {
            "method": environ["REQUEST_METHOD"],
            "target": environ["REQUEST_URI"],
            "version": environ["SERVER_PROTOCOL"],
            "fields": fields,
            "body": body.decode("latin-1"),
        }
        start_response("200 OK", [
            ("X-Seen", json.dumps(seen)), ("Content-Length", "0")])
        return []
"""
AT_ONCE = 48  # connections
SECONDS = 30.0
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) ")
SEEN = re.compile(rb"\r\nX-Seen: ([^\r]*)\r\n")
AUTHORITY = re.compile(r"(?i:https?)://([^/?]+)")


@dataclasses.dataclass(frozen=True)
class Request:
    """A whole request, as an application would see it."""

    method: str
    target: str
    version: str
    fields: dict[str, str]
    body: str


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a parser made of a stream; `refused` says why, or is empty."""

    requests: tuple[Request, ...]
    refused: str


# --- a request as an environ has it ------------------------------------------


def environ(
    target: str, pairs: Iterable[tuple[bytes, bytes]]
) -> dict[str, str]:
    """Fields by their environ keys; repeated ones are one list."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        value = value.strip(" \t")
        key = name.upper().replace("-", "_")
        if "_" in name or key == "PROXY":
            continue
        if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            key = "HTTP_" + key
        if key in fields:
            between = "; " if key == "HTTP_COOKIE" else ", "
            value = fields[key] + between + value
        fields[key] = value
    authority = AUTHORITY.match(target)
    if authority is not None:
        fields["HTTP_HOST"] = authority[1]
    return without_empty_content(fields)


def without_empty_content(fields: dict[str, str]) -> dict[str, str]:
    """CONTENT_TYPE and CONTENT_LENGTH may be empty or absent (PEP 3333)."""
    return {
        key: value
        for key, value in fields.items()
        if value or not key.startswith("CONTENT_")
    }


def version_of(text: str) -> str:
    """HTTP/1.0, or HTTP/1.1 for every later minor (RFC 9110, 2.5)."""
    return "HTTP/1.0" if text == "1.0" else "HTTP/1.1"


# --- h11 ---------------------------------------------------------------------


def h11_request(conn: h11.Connection) -> Request | None:
    """The next whole request; None if the stream ends before its end."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = conn.next_event()
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            return None
    assert head is not None
    target = head.target.decode("latin-1")
    return Request(
        head.method.decode("latin-1"),
        target,
        version_of(head.http_version.decode()),
        environ(target, head.headers),
        body.decode("latin-1"),
    )


def h11_answer(conn: h11.Connection) -> bool:
    """Answers, as a server does; whether another request may follow."""
    conn.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
    conn.send(h11.EndOfMessage())
    if conn.our_state is not h11.DONE or conn.their_state is not h11.DONE:
        return False
    conn.start_next_cycle()
    return True


def by_h11(data: bytes) -> Reading:
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
    requests: list[Request] = []
    conn.receive_data(data)
    conn.receive_data(b"")
    try:
        while True:
            request = h11_request(conn)
            if request is None:
                break
            requests.append(request)
            if not h11_answer(conn):
                break
    except h11.RemoteProtocolError as error:
        # An end in the middle is no fault of the syntax.
        cut = "closed" in str(error) or "incomplete" in str(error)
        return Reading(tuple(requests), "" if cut else str(error) or "?")
    return Reading(tuple(requests), "")


# --- httptools ---------------------------------------------------------------


class Collector:
    """Callbacks of one httptools parser, from one request to the next."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.last = False
        self.parser: httptools.HttpRequestParser
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.target = b""
        self.pairs: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # else of the trailers
            self.pairs.append((name, value or b""))

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.last:
            return
        target = self.target.decode("latin-1")
        self.requests.append(
            Request(
                self.parser.get_method().decode("latin-1"),
                target,
                version_of(self.parser.get_http_version()),
                environ(target, self.pairs),
                self.body.decode("latin-1"),
            )
        )
        self.last = not self.parser.should_keep_alive()


def by_httptools(data: bytes) -> Reading:
    collector = Collector()
    refused = ""
    while data and not refused and not collector.last:
        collector.parser = httptools.HttpRequestParser(collector)
        try:
            collector.parser.feed_data(data)
            data = b""
        except httptools.HttpParserUpgrade as error:
            data = data[error.args[0] :]  # declined, as any server may
        except httptools.HttpParserError as error:
            refused = str(error) or "?"
    # What follows a last request is not looked at.
    return Reading(
        tuple(collector.requests), "" if collector.last else refused
    )


# --- Greenloop ---------------------------------------------------------------


def answers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Status and head of each final answer; a refusal is the last."""
    while data:
        match = ANSWER.match(data)
        assert match is not None, data[:200]
        head, found, data = data.partition(b"\r\n\r\n")
        assert found, head
        status = int(match[1])
        if status == 100:
            continue
        yield status, head + b"\r\n"
        if status != 200:
            return


def reading(data: bytes) -> Reading:
    requests: list[Request] = []
    for status, head in answers(data):
        seen = SEEN.search(head)
        if seen is None:
            closes = b"\r\nConnection: close\r\n" in head
            how = str(status) if closes else f"{status}, and goes on"
            return Reading(tuple(requests), how)
        request = json.loads(seen[1])
        request["fields"] = without_empty_content(request["fields"])
        requests.append(Request(**request))
    return Reading(tuple(requests), "")


def begin(port: int, data: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), SECONDS)
    try:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass  # what it answered before is still to be read
    return sock


def rest(sock: socket.socket) -> bytes:
    with sock:
        pieces = []
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def ask(port: int, cases: Sequence[bytes]) -> list[Reading]:
    """What a server with APP makes of each."""
    readings: list[Reading] = []
    for at in range(0, len(cases), AT_ONCE):
        sockets = [begin(port, data) for data in cases[at : at + AT_ONCE]]
        readings += [reading(rest(sock)) for sock in sockets]
    return readings
