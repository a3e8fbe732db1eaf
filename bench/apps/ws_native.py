# SPDX-License-Identifier: MIT
"""/echo and /chat on greenloop's native object, a greenlet for each socket."""

import greenloop

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "5")]
sockets = set()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        echo(greenloop.websocket(environ))
    elif path == "/chat":
        chat(greenloop.websocket(environ))
    else:
        start_response("200 OK", HEADERS)
        return [b"ready"]
    return []


def echo(ws):
    for message in ws:
        ws.send(message)


def chat(ws):
    sockets.add(ws)
    ws.send("joined")
    try:
        for message in ws:
            for other in tuple(sockets):
                other.send(message)
    finally:
        sockets.discard(ws)
