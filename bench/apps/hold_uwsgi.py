# SPDX-License-Identifier: MIT
"""/hold parks for longer than any measurement, /held counts who is parked."""

import asyncio

import greenlet

HOLD_SECONDS = 300.0
held = 0


def application(environ, start_response):
    global held
    if environ["PATH_INFO"] == "/hold":
        held += 1
        me = greenlet.getcurrent()
        asyncio.get_event_loop().call_later(HOLD_SECONDS, me.switch)
        me.parent.switch()
    body = b"%d" % held
    start_response(
        "200 OK",
        [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))],
    )
    return [body]
