# SPDX-License-Identifier: MIT
"""Where Greenloop, h11 and httptools read the same bytes differently.

Readings are compared up to the first request in which they differ.  Where
Greenloop refuses it, the difference has the refusal's name (REFUSALS in
http_model.py).  Where it does not, the difference must be one of LISTED; all
of them are in docs/http-conformance.md.
"""

import dataclasses
import re
from collections.abc import Callable

from http_model import Model
from http_readers import Reading, Request, by_h11, by_httptools

__all__ = ["LISTED", "PEERS", "Listed", "difference", "unlike_the_model"]

# Of refusals other than 400; each ends the connection.
STATUSES = {
    "coding": ("400", "501"),
    "method": ("501",),
    "version": ("505",),
}
PEERS: dict[str, Callable[[bytes], Reading]] = {
    "h11": by_h11,
    "httptools": by_httptools,
}


@dataclasses.dataclass(frozen=True)
class Listed:
    """A difference that is known, and what the RFC says of it.

    `theirs` is searched in what the other did: the text of its refusal, or
    one of the words of outcome().  `raw` is searched in the bytes of the
    request, or of the one before if that ended the connection.
    """

    name: str
    peer: str
    ours: str
    theirs: str
    raw: bytes
    rfc: str


LISTED = [
    Listed(
        "keep-alive in HTTP/1.0",
        "h11", "a request", "^the end$",
        rb"(?i) HTTP/1\.0\r\n(.*\n)?connection:[^\n]*keep-alive",
        "RFC 9112, 9.3: may be kept, if both sides ask for it",
    ),
    Listed(
        "close among other options",
        "httptools", "the end", "^a request$",
        rb"(?is)\nconnection:[^\n]*(close|keep-alive)"
        rb".*(close|keep-alive)",
        "RFC 9112, 9.3: close decides, whatever else is there",
    ),
    Listed(
        "an empty line first",
        "h11", "a request", "no request line", rb"^\r\n",
        "RFC 9112, 2.2: at least one is to be ignored",
    ),
    Listed(
        "a length with many zeros",
        "h11", "a request", "bad Content-Length",
        rb"(?i)\ncontent-length:[ \t]*0[0-9]{20}",
        "RFC 9110, 8.6: any number of digits",
    ),
    Listed(
        "a method of one's own",
        "httptools", "a request",
        "Invalid method|HTTP/2 Connection Preface|Expected space after method",
        rb"",
        "RFC 9110, 9.1: any token",
    ),
    Listed(
        "a later minor version",
        "httptools", "a request", "Invalid HTTP version", rb" HTTP/1\.[2-9]",
        "RFC 9110, 2.5: read as the highest known one",
    ),
    Listed(
        "blanks in an extension",
        "httptools", "a request", "Invalid character in chunk extensions",
        rb";[ \t]|[ \t][;=]|=[ \t]",
        "RFC 9112, 7.1.1: BWS is to be parsed",
    ),
    Listed(
        "framing fields as trailers",
        "httptools", "a request", "Content-Length|Transfer-Encoding|^the end$",
        rb"(?i)\r\n0+(?:;[^\n]*)?\r\n(?:[^\n]+\n)*"
        rb"(content-length|transfer-encoding|connection):",
        "RFC 9110, 6.5.1: no trailer changes the framing; dropped",
    ),
    Listed(
        "framing fields as trailers",
        "h11", "a request", "Content-Length|Transfer-Encoding",
        rb"(?i)\r\n0+(?:;[^\n]*)?\r\n(?:[^\n]+\n)*"
        rb"(content-length|transfer-encoding):",
        "RFC 9110, 6.5.1: no trailer changes the framing; dropped",
    ),
    Listed(
        "a tab behind a coding or length",
        "httptools", "a request", "Transfer-Encoding|Content-Length",
        rb"(?i)\n(transfer-encoding|content-length):[ \t]*\w+ *\t",
        "RFC 9112, 5: blanks around a value are SP and HTAB",
    ),
    Listed(
        "a body behind an offer to upgrade",
        "httptools", "a request", "^a request$",
        rb"(?i)\nconnection:[^\n]*upgrade.*\n|\nupgrade:",
        "RFC 9110, 7.8: a server that declines reads it as any other",
    ),
]  # fmt: skip


def outcome(reading: Reading, at: int) -> str:
    """What a reader made of the request at an index."""
    if at < len(reading.requests):
        return "a request"
    return reading.refused or "the end"


def as_compared(request: Request) -> Request:
    """h11 writes the one coding that it knows in small letters."""
    fields = dict(request.fields)
    if "HTTP_TRANSFER_ENCODING" in fields:
        fields["HTTP_TRANSFER_ENCODING"] = fields[
            "HTTP_TRANSFER_ENCODING"
        ].lower()
    return dataclasses.replace(request, fields=fields)


def common(one: Reading, other: Reading) -> int:
    """How many requests both read, and read the same."""
    count = 0
    for a, b in zip(one.requests, other.requests, strict=False):
        if as_compared(a) != as_compared(b):
            break
        count += 1
    return count


def listed(peer: str, ours: str, theirs: str, raw: bytes) -> str:
    for row in LISTED:
        if (
            (row.peer, row.ours) == (peer, ours)
            and re.search(row.theirs, theirs)
            and re.search(row.raw, raw, re.S)
        ):
            return row.name
    return ""


def difference(peer: str, data: bytes, model: Model) -> str:
    """The name of the difference; empty if there is none.

    AssertionError for one that has no name.
    """
    theirs = PEERS[peer](data)
    at = common(model.reading, theirs)
    ours, other = outcome(model.reading, at), outcome(theirs, at)
    if ours == other == "the end" or (
        ours not in ("a request", "the end")
        and other not in ("a request", "the end")
    ):
        return ""
    if model.reading.refused == ours:
        return ours
    if ours == "the end" and other != "a request":
        # Nobody reads on behind a last request, or waits for the rest.
        return ""
    end = model.starts[at + 1] if at + 1 < len(model.starts) else len(data)
    raw = data[model.starts[at] : end]
    if at > 0 and not model.cut and "the end" in (ours, other):
        # It was the one before that ended the connection.
        raw = data[model.starts[at - 1] : model.starts[at]]
    name = listed(peer, ours, other, raw)
    assert name, (
        f"a difference that is not listed: {ours}, and {peer}: {other}\n"
        f"{raw!r}\nours   {model.reading.requests[at : at + 1]}\n"
        f"theirs {theirs.requests[at : at + 1]}\nof {data!r}"
    )
    return name


def unlike_the_model(reading: Reading, model: Model) -> str:
    """How what the server did is not what it has to do; or nothing."""
    if reading.requests != model.reading.requests:
        return f"requests {reading.requests}, not {model.reading.requests}"
    status, why = reading.refused, model.reading.refused
    if bool(status) != bool(why) and not model.cut:
        return f"refused {status!r}, not {why!r}"
    if why and status not in STATUSES.get(why, ("400",)):
        return f"refused {status!r} for {why!r}"
    return ""
