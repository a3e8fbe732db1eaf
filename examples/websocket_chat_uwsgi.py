# SPDX-License-Identifier: MIT
"""A chat on uWSGI's functions: greenlets, asyncio, and Redis in between.

    pip install redis
    redis-server --port 6379 &
    greenloop --asyncio 100 --greenlet --http-socket :9090 --wsgi-file \
        examples/websocket_chat_uwsgi.py

Open http://localhost:9090/ in two windows and say something.  Start it once
more with --http-socket :9091: whoever comes through that port is in the same
room, because what is said goes through Redis; REDIS_URL may name another one.

Each client is a request, parked while nothing happens.  Three things wake
it: bytes of its client, which the loop sees on uwsgi.connection_fd(); a line
out of Redis; and a timer, so that the peer's pings are answered and a lost
one is noticed.  All three happen in the hub and only note what they saw; the
request does the rest.  websocket_chat.py is the same without uWSGI's
functions, in half of the code.
"""

import asyncio
import collections
import contextlib
import os
import pathlib
import time

import greenlet
import redis.asyncio
import uwsgi

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379")
CHANNEL = "foobar"
PAGE = pathlib.Path(__file__).with_name("chat.html").read_bytes()
LONGEST = 1000  # characters of a message
BACKLOG = 100  # lines kept for a client that does not read
SECONDS = 4.0  # between two looks at a silent client


class Alarm:
    """Wakes the request that made it, but only where it waits for that.

    A request also stands still in functions of the server, for instance
    where its client is slow; a switch from here must not end such a wait.
    """

    def __init__(self):
        self.request = greenlet.getcurrent()
        self.waits = False

    def ring(self, *_):
        if self.waits:
            self.request.switch()

    def wait_until(self, condition):
        while not condition():
            self.waits = True
            try:
                self.request.parent.switch()
            finally:
                self.waits = False

    def run(self, coroutine):
        """The result of a coroutine, which runs as a task on the loop."""
        task = asyncio.get_event_loop().create_task(coroutine)
        task.add_done_callback(self.ring)
        self.wait_until(task.done)
        return task.result()


class Client:
    """One client in the room, from its handshake to its departure."""

    def __init__(self):
        self.loop = asyncio.get_event_loop()
        self.alarm = Alarm()
        self.lines = collections.deque(maxlen=BACKLOG)
        self.joined = False
        self.readable = False

    async def listen(self, room):
        """Gathers what is said in the room; ends when it is cancelled."""
        async with room.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            async for message in channel.listen():
                if message["type"] == "message":
                    self.lines.append(message["data"])
                # The first that comes says that the subscription holds.
                self.joined = True
                self.alarm.ring()

    def note_readable(self):
        self.readable = True
        self.alarm.ring()

    @contextlib.contextmanager
    def watch(self):
        """Has the loop look at the client: at its bytes, and by a timer."""
        timer = None

        def tick():
            nonlocal timer
            timer = self.loop.call_later(SECONDS, tick)
            self.note_readable()

        descriptor = uwsgi.connection_fd()
        self.loop.add_reader(descriptor, self.note_readable)
        tick()
        try:
            yield
        finally:
            self.loop.remove_reader(descriptor)
            timer.cancel()

    def receive(self):
        """The client's next message, or an empty text."""
        self.readable = False
        message = uwsgi.websocket_recv_nb()
        return message.decode("utf-8", "replace")[:LONGEST]

    def chat(self, room, listener):
        """Passes on what is said, both ways; OSError once it is over."""
        while True:
            self.alarm.wait_until(
                lambda: self.readable or self.lines or listener.done()
            )
            while self.lines:
                line = self.lines.popleft()
                uwsgi.websocket_send(f"[{time.time():.3f}] {line}")
            if listener.done():
                return listener.result()
            if self.readable and (message := self.receive()):
                self.alarm.run(room.publish(CHANNEL, message))

    def serve(self):
        room = redis.asyncio.from_url(REDIS_URL, decode_responses=True)
        listener = self.loop.create_task(self.listen(room))
        listener.add_done_callback(self.alarm.ring)
        try:
            self.alarm.wait_until(lambda: self.joined or listener.done())
            if listener.done():
                listener.result()  # raises what Redis answered
            uwsgi.websocket_handshake()
            with self.watch():
                self.chat(room, listener)
        finally:
            listener.cancel()
            self.alarm.run(room.aclose())


def application(environ, start_response):
    if environ["PATH_INFO"] == "/chat":
        with contextlib.suppress(OSError):  # the client has left
            Client().serve()
        return []
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]
