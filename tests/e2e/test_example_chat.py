# SPDX-License-Identifier: MIT
"""The chat examples: on uWSGI's functions, alone, and with Redis.

Clients are those of the `websockets` library; where there is a Redis, they
come through two server processes.
"""

import contextlib
import re
from collections.abc import Iterator

import pytest
from example_server import example
from frames import open_websocket
from harness import Server, parallel
from services import redis_server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from wire import reset

pytestmark = pytest.mark.smoke

LINE = re.compile(r"\[\d+\.\d{3}\] (.*)", re.DOTALL)
SECONDS = 10.0


@contextlib.contextmanager
def uwsgi_chat(*options: str) -> Iterator[list[Server]]:
    with (
        redis_server() as url,
        example("websocket_chat_uwsgi", *options, REDIS_URL=url) as one,
        example("websocket_chat_uwsgi", *options, REDIS_URL=url) as two,
    ):
        yield [one, two]


@contextlib.contextmanager
def chat(*options: str) -> Iterator[list[Server]]:
    with example("websocket_chat", *options) as only:
        yield [only, only]


@contextlib.contextmanager
def shared_chat(*options: str) -> Iterator[list[Server]]:
    with (
        redis_server() as url,
        example("websocket_chat", *options, REDIS_URL=url) as one,
        example("websocket_chat", *options, REDIS_URL=url) as two,
    ):
        yield [one, two]


each_chat = pytest.mark.parametrize("chat", [uwsgi_chat, chat, shared_chat])


def join(s: Server) -> ClientConnection:
    url = f"ws://127.0.0.1:{s.port}/chat"
    return connect(url, open_timeout=SECONDS, close_timeout=SECONDS)


def hear(client: ClientConnection) -> str:
    """The next line, without its time."""
    line = client.recv(SECONDS)
    assert isinstance(line, str)
    match = LINE.fullmatch(line)
    assert match, line
    return match.group(1)


@each_chat
def test_all_hear_all_in_one_order(chat) -> None:
    with chat() as servers, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(join(servers[n % 2])) for n in range(6)]

        def talk(n: int) -> list[str]:
            # All at once: nobody waits for what comes back.  In all fewer
            # than the room keeps for one who reads too slowly.
            for number in range(15):
                clients[n].send(f"client {n}: {number}")
            return [hear(clients[n]) for _ in range(90)]

        heard = parallel(6, talk)
        assert heard == [heard[0]] * 6
        for n in range(6):
            own = [line for line in heard[0] if line.startswith(f"client {n}")]
            assert own == [f"client {n}: {number}" for number in range(15)]


@each_chat
def test_departures_leave_the_others_in_peace(chat) -> None:
    # Two cores would be too few if a client's were not free afterwards.
    with chat("--asyncio", "2") as servers:
        for _ in range(3):
            with (
                join(servers[1]) as one,
                open_websocket(servers[1], "/chat") as two,
            ):
                one.send("Ada: here")
                assert hear(one) == "Ada: here"
                assert two.receive().payload.endswith(b" Ada: here")
                # One client says goodbye, the other one just breaks off.
                reset(two.wire.sock)
        assert "<title>Greenloop chat" in servers[1].get().text


@each_chat
def test_texts_of_all_kinds(chat) -> None:
    with chat() as servers, join(servers[0]) as one, join(servers[1]) as two:
        for text in ("ü: 👍 \0 \n", "<b>", "x" * 900):
            one.send(text)
            assert hear(one) == hear(two) == text
        # An empty message has nothing to say, and ends nothing.
        one.send(b"")
        one.send("after all that")
        assert hear(two) == "after all that"


@each_chat
def test_server_stops_with_clients_in_the_room(chat) -> None:
    with chat() as servers, join(servers[0]) as one, join(servers[1]) as two:
        one.send("Ada: here")
        assert hear(one) == hear(two) == "Ada: here"
        assert servers[1].stop() == 0
        with pytest.raises(ConnectionClosed) as closed:
            two.recv(SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        if servers[0] is not servers[1]:
            one.send("Ada: still here")
            assert hear(one) == "Ada: still here"


def test_too_long_a_message_ends_the_connection() -> None:
    with chat() as [s, _], join(s) as one, join(s) as two:
        two.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as closed:
            two.recv(SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        one.send("Ada: here")
        assert hear(one) == "Ada: here"


def test_a_browser_without_upgrade_is_told_so() -> None:
    with chat() as [s, _]:
        assert s.get("/chat").status in (400, 426)
