# SPDX-License-Identifier: MIT
"""Hello after 10 ms, parked on the engine's own timers."""

import greenloop

BODY = b"Hello World"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "11")]


def application(environ, start_response):
    greenloop.sleep(0.01)
    start_response("200 OK", HEADERS)
    return [BODY]
