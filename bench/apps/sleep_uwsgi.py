# SPDX-License-Identifier: MIT
"""Hello after 10 ms, parked the way uWSGI's asyncio engine offers."""

import asyncio

import greenlet

BODY = b"Hello World"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "11")]


def application(environ, start_response):
    me = greenlet.getcurrent()
    asyncio.get_event_loop().call_later(0.01, me.switch)
    me.parent.switch()
    start_response("200 OK", HEADERS)
    return [BODY]
