# SPDX-License-Identifier: MIT
"""The application of the long WebSocket proof.

/room     joins the room, whose members get every message to /tell
/tell     sends each message that comes to all in the room, then "told"
/flood    joins the room too, and is sent more than anybody takes
/handed, /native, /uwsgi
          send back what comes, each in one of the three ways
/census   what a leak or a slow member would change, as JSON
"""

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import greenlet
import greenloop
import uwsgi

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]

FLOOD = b"\0" * 16384
loop = asyncio.get_event_loop()
room: set[greenloop.AsyncWebSocket] = set()
sending: set["asyncio.Task[None]"] = set()
flood = {"taken": 0, "ended": 0}


async def deliver(ws: greenloop.AsyncWebSocket, message: str | bytes) -> None:
    """To one member, who may be slow: nobody else waits for it."""
    try:
        await ws.send(message)
    except greenloop.WebSocketClosed:
        room.discard(ws)


async def member(ws: greenloop.AsyncWebSocket) -> None:
    room.add(ws)
    await ws.send("joined")
    try:
        async for _message in ws:
            pass
    finally:
        room.discard(ws)


async def teller(ws: greenloop.AsyncWebSocket) -> None:
    async for message in ws:
        for other in tuple(room):
            task = loop.create_task(deliver(other, message))
            sending.add(task)
            task.add_done_callback(sending.discard)
        await ws.send("told")


async def flooded(ws: greenloop.AsyncWebSocket) -> None:
    room.add(ws)
    try:
        while True:
            await ws.send(FLOOD)
            flood["taken"] += len(FLOOD)
    except greenloop.WebSocketClosed:
        flood["ended"] += 1
    finally:
        room.discard(ws)


async def handed(ws: greenloop.AsyncWebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def native(environ: Environ) -> None:
    ws = greenloop.websocket(environ)
    for message in ws:
        ws.send(message)


def original() -> None:
    uwsgi.websocket_handshake()
    try:
        while True:
            uwsgi.websocket_send(uwsgi.websocket_recv())
    except OSError:
        pass  # the client has closed


def census(start: Start) -> Iterable[bytes]:
    gc.collect()
    kinds = [type(each) for each in gc.get_objects()]
    count = {
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "greenlets": sum(issubclass(k, greenlet.greenlet) for k in kinds),
        "tasks": len(asyncio.all_tasks(loop)),
        "room": len(room),
        "sending": len(sending),
        **flood,
    }
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(count).encode()]


HANDLERS = {
    "/room": member,
    "/tell": teller,
    "/flood": flooded,
    "/handed": handed,
}


def application(environ: Environ, start: Start) -> Any:
    path = environ["PATH_INFO"]
    if path == "/census":
        return census(start)
    if path == "/native":
        native(environ)
    elif path == "/uwsgi":
        original()
    else:
        ws = greenloop.websocket(environ, compression=False)
        return ws.hand_over(HANDLERS[path])
    return []
