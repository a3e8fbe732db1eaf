# SPDX-License-Identifier: MIT
"""uwsgi packets, as a proxy sends them.

    with server(APP, "--socket", "127.0.0.1:0", http=None) as s:
        reply = ask(s, {"PATH_INFO": "/a"})
        assert reply.status == 200

Written for the tests: packet() makes any packet, also wrong ones, ask() sends
a request on a connection of its own and takes the one answer.
"""

import contextlib
import socket
from collections.abc import Iterable, Iterator, Mapping

from harness import Server
from wire import Reply, Wire

__all__ = [
    "Vars",
    "ask",
    "ask_raw",
    "open_uwsgi",
    "packet",
    "port_of",
    "variables",
]

Vars = Mapping[str, str] | Iterable[tuple[str, str]]


def sized(text: str) -> bytes:
    data = text.encode("latin-1")
    return len(data).to_bytes(2, "little") + data


def packet(
    pairs: Vars, body: bytes = b"", modifier1: int = 0, modifier2: int = 0
) -> bytes:
    """A packet with exactly these variables, and what follows it."""
    if isinstance(pairs, Mapping):
        pairs = pairs.items()
    block = b"".join(sized(name) + sized(value) for name, value in pairs)
    size = len(block).to_bytes(2, "little")
    return bytes([modifier1]) + size + bytes([modifier2]) + block + body


def variables(more: Vars = ()) -> list[tuple[str, str]]:
    """Those that nginx always sends; `more` replaces or adds some."""
    added = dict(more)
    path = added.get("PATH_INFO", "/")
    usual = {
        "QUERY_STRING": "",
        "REQUEST_METHOD": "GET",
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "",
        "REQUEST_URI": path,
        "PATH_INFO": path,
        "DOCUMENT_ROOT": "/srv/www",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711",
        "SERVER_PORT": "80",
        "SERVER_NAME": "www.example.org",
        "HTTP_HOST": "www.example.org",
    }
    return [*{**usual, **added}.items()]


def port_of(s: Server) -> int:
    """The port of the first listener that speaks uwsgi."""
    names = [name for name in s.listeners if name.startswith("uwsgi:")]
    return int(names[0].rpartition(":")[2])


@contextlib.contextmanager
def open_uwsgi(s: Server, timeout: float = 20.0) -> Iterator[Wire]:
    """A connection to that listener, or to the first one of a path."""
    paths = [x[5:] for x in s.listeners if x.startswith("unix:/")]
    if paths:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(paths[0])
    else:
        sock = s.connect(timeout, port_of(s))
    with sock:
        yield Wire(sock)


def ask_raw(s: Server, data: bytes) -> bytes:
    """All that the server answers to these bytes."""
    with open_uwsgi(s) as wire:
        wire.send(data)
        return wire.rest()


def ask(
    s: Server, more: Vars = (), body: bytes = b"", modifier1: int = 0
) -> Reply:
    """The answer to the usual variables and these, and its end."""
    pairs = dict(variables(more))
    if body:
        pairs["CONTENT_LENGTH"] = str(len(body))
    with open_uwsgi(s) as wire:
        wire.send(packet(pairs, body, modifier1))
        reply = wire.reply(pairs["REQUEST_METHOD"])
        wire.expect_end()
        return reply
