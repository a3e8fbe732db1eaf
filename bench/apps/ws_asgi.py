# SPDX-License-Identifier: MIT
"""/echo and /chat for ASGI servers; any HTTP request gets a short answer."""

sockets = set()


async def application(scope, receive, send):
    if scope["type"] == "http":
        await answer(send)
    elif scope["path"] == "/echo":
        await echo(receive, send)
    else:
        await chat(receive, send)


async def answer(send):
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send(
        {"type": "http.response.start", "status": 200, "headers": headers}
    )
    await send({"type": "http.response.body", "body": b"ready"})


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def chat(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    sockets.add(send)
    await send({"type": "websocket.send", "text": "joined"})
    try:
        while (event := await receive())["type"] == "websocket.receive":
            message = {"type": "websocket.send", "text": event["text"]}
            for other in tuple(sockets):
                await other(message)
    finally:
        sockets.discard(send)
