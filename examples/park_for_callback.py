# SPDX-License-Identifier: MIT
"""A request that stands still until a callback wakes it.

    greenloop --asyncio 10 --http-socket :9090 --wsgi-file \
        examples/park_for_callback.py

Each request runs in a greenlet whose parent is the hub, where the loop runs.
Switching to the parent parks the request; whoever switches back resumes it,
and the value that is passed comes out of the switch.  The other requests go
on meanwhile: ten of these at once take two seconds, not twenty.
"""

import asyncio

import greenlet


def application(environ, start_response):
    request = greenlet.getcurrent()
    loop = asyncio.get_event_loop()
    loop.call_later(2, request.switch, b"Woken after two seconds.\n")
    body = request.parent.switch()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
