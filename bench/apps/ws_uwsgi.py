# SPDX-License-Identifier: MIT
"""/echo and /chat on the uwsgi module's functions."""

import uwsgi

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "5")]
sockets = set()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path not in ("/echo", "/chat"):
        start_response("200 OK", HEADERS)
        return [b"ready"]
    uwsgi.websocket_handshake()
    try:
        echo() if path == "/echo" else chat()
    except OSError:
        pass  # the client has closed: there is no other sign of it
    return []


def echo():
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


def chat():
    me = uwsgi.request_context()
    sockets.add(me)
    try:
        uwsgi.websocket_send("joined")
        while True:
            message = uwsgi.websocket_recv()
            for other in tuple(sockets):
                uwsgi.websocket_send(message, request_context=other)
    finally:
        sockets.discard(me)
