# SPDX-License-Identifier: MIT
"""A chat on WebSockets that needs nothing else; with Redis, over processes.

    greenloop --asyncio 100 --http-socket :9090 --wsgi-file \
        examples/websocket_chat.py

Open http://localhost:9090/ in two windows and say something.  To share the
room among several servers, let them meet in Redis:

    pip install redis
    export REDIS_URL=redis://localhost:6379

and start one on :9090 and another one on :9091.

The request ends with the handshake: from there on a client is a coroutine on
the loop, and while it says nothing it costs no greenlet, core or thread.
"""

import asyncio
import contextlib
import os
import pathlib
import time

import greenloop

REDIS_URL = os.environ.get("REDIS_URL")
CHANNEL = "greenloop-chat"
PAGE = pathlib.Path(__file__).with_name("chat.html").read_bytes()
LONGEST_BYTES = 4096  # of a message; who sends more is shown out
BACKLOG = 100  # lines kept for a client that reads too slowly


class Room:
    """Who chats in this process: for each one, the lines not yet sent."""

    def __init__(self):
        self.members = set()

    async def open(self):
        pass

    async def close(self):
        pass

    async def say(self, text):
        self.hear(text)

    def hear(self, text):
        line = f"[{time.time():.3f}] {text}"
        for lines in self.members:
            if lines.full():
                lines.get_nowait()  # the oldest is lost, for this one
            lines.put_nowait(line)


class SharedRoom(Room):
    """A room for several processes, which meet in a channel of Redis."""

    async def open(self):
        import redis.asyncio

        self.away = redis.exceptions.ConnectionError
        self.redis = redis.asyncio.from_url(REDIS_URL, decode_responses=True)
        self.channel = self.redis.pubsub()
        await self.channel.subscribe(CHANNEL)
        await self.channel.get_message(timeout=5)  # that it is subscribed
        self.listener = asyncio.create_task(self.listen())

    async def close(self):
        self.listener.cancel()
        await self.channel.aclose()
        await self.redis.aclose()

    async def say(self, text):
        await self.redis.publish(CHANNEL, text)

    async def listen(self):
        while True:
            try:
                async for message in self.channel.listen():
                    if message["type"] == "message":
                        self.hear(message["data"])
            except self.away:
                await asyncio.sleep(1)


room = SharedRoom() if REDIS_URL else Room()
greenloop.on_worker_start(room.open)
greenloop.on_worker_stop(room.close)


async def write(ws, lines):
    with contextlib.suppress(greenloop.WebSocketClosed):
        while True:
            await ws.send(await lines.get())


async def talk(ws):
    """One client, as long as it is there."""
    lines = asyncio.Queue(BACKLOG)
    writer = asyncio.create_task(write(ws, lines))
    room.members.add(lines)
    try:
        async for message in ws:
            if isinstance(message, str):
                await room.say(message)
    finally:
        room.members.discard(lines)
        writer.cancel()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/chat":
        ws = greenloop.websocket(environ, max_size=LONGEST_BYTES)
        return ws.hand_over(talk)
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]
