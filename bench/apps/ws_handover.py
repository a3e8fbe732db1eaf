# SPDX-License-Identifier: MIT
"""/echo and /chat handed over to coroutines, which keep no greenlet."""

import greenloop

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "5")]
sockets = set()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        return greenloop.websocket(environ).hand_over(echo)
    if path == "/chat":
        return greenloop.websocket(environ).hand_over(chat)
    start_response("200 OK", HEADERS)
    return [b"ready"]


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def chat(ws):
    sockets.add(ws)
    await ws.send("joined")
    try:
        async for message in ws:
            for other in tuple(sockets):
                await other.send(message)
    finally:
        sockets.discard(ws)
