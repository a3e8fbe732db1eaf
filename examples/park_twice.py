# SPDX-License-Identifier: MIT
"""A response in two parts, each of which arrives when it is ready.

    greenloop --asyncio 10 --http-socket :9090 --wsgi-file \
        examples/park_twice.py
    curl --no-buffer http://localhost:9090/

The generator parks before each part.  A part is sent as soon as it is
yielded, so the client has the first two seconds before the second.
"""

import asyncio

import greenlet


def park(seconds):
    """Parks the calling request for a while."""
    request = greenlet.getcurrent()
    asyncio.get_event_loop().call_later(seconds, request.switch)
    request.parent.switch()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for part in (b"first\n", b"second\n"):
        park(2)
        yield part
