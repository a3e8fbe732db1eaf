# SPDX-License-Identifier: MIT
"""The smallest useful answer, the same for every server."""

BODY = b"Hello World"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "11")]


def application(environ, start_response):
    start_response("200 OK", HEADERS)
    return [BODY]
