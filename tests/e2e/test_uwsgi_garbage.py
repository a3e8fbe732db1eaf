# SPDX-License-Identifier: MIT
"""Mutated uwsgi packets: the server answers, or closes, and is as before."""

import contextlib
import random
import re

from harness import parallel, server
from packets import Vars, ask, open_uwsgi, packet, variables
from wire import descriptors, wait_until

APP = """
    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"%d %d" % (len(environ), len(body))]
"""
INPUTS = 1600
THREADS = 8
WRONG = re.compile(
    "SystemError|MemoryError|UnicodeError|event loop:|Fatal|AddressSanitizer"
)
VALUES = ("", "x", "GET", "5", "chunked", "/", "\xff", "\0", "a\r\nb: c")
NAMES = (
    *("", "REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "CONTENT_LENGTH"),
    *("SERVER_PROTOCOL", "HTTPS", "UWSGI_SCHEME", "REMOTE_ADDR", "wsgi.input"),
    *("HTTP_COOKIE", "HTTP_", "HTTP_TRANSFER_ENCODING", "UWSGI_FILE", "\xe9"),
)
STATUSES = {200, 400, 408, 411, 413, 431}


def mutated(seed: int) -> bytes:
    """A packet, wrong in some ways; the same for the same number."""
    chance = random.Random(seed)
    pairs: Vars = variables()
    for _ in range(chance.randrange(4)):
        extra = chance.choice(NAMES), chance.choice(VALUES)
        pairs.insert(chance.randrange(len(pairs)), extra)
    body = b"12345" * chance.randrange(3)
    if chance.random() < 0.5:
        pairs.append(("CONTENT_LENGTH", str(len(body))))
        pairs.remove(("CONTENT_LENGTH", ""))
    data = bytearray(packet(pairs, body, chance.choice((0, 0, 0, 30, 100))))
    for _ in range(chance.randrange(3)):
        at = chance.choice((chance.randrange(len(data)), chance.randrange(9)))
        data[at] = chance.choice((0, 1, 255, chance.randrange(256)))
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


def test_mutated_packets() -> None:
    options = ("--limit-post", "12", "--http-headers-timeout", "5")
    with server(APP, "--socket", "127.0.0.1:0", *options, http=None) as s:
        usual = ask(s).body
        before = descriptors(s.pid)

        def play(thread: int) -> None:
            for seed in range(thread, INPUTS, THREADS):
                with open_uwsgi(s) as wire:
                    # It may have been refused while it is being sent.
                    with contextlib.suppress(ConnectionError):
                        wire.send(mutated(seed))
                        wire.half_close()
                    answer = wire.rest()
                if answer not in (b"", b"\x64\0\0\x01"):
                    assert answer.startswith(b"HTTP/1.1 "), (seed, answer)
                    assert int(answer[9:12]) in STATUSES, (seed, answer)

        parallel(THREADS, play)
        assert ask(s).body == usual
        wait_until(
            lambda: descriptors(s.pid) == before, "all connections are closed"
        )
        assert not WRONG.search(s.log), s.log
