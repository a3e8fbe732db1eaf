# SPDX-License-Identifier: MIT
"""A client that reads nothing: its sender waits, and is told when it ends.

Its memory is bounded by --websockets-max-unsent; --socket-timeout ends it.
"""

import pytest
from frames import Peer, open_websocket, upgrade
from harness import Server, server
from wire import cpu_while, open_wire, reset, slow_wire, wait_until

APP = """
    import greenloop
    import uwsgi

    PIECE = b"." * 16384
    sent = 0

    def count():
        global sent
        sent += 1

    async def handed(ws):
        try:
            while True:
                await ws.send(PIECE)
                count()
        except greenloop.WebSocketClosed as closed:
            print("ended:", closed.code, flush=True)

    def native(environ):
        ws = greenloop.websocket(environ)
        try:
            while True:
                ws.send(PIECE)
                count()
        except greenloop.WebSocketClosed as closed:
            print("ended:", closed.code, flush=True)
        return []

    def original(environ):
        uwsgi.websocket_handshake()
        try:
            while True:
                uwsgi.websocket_send_binary(PIECE)
                count()
        except OSError:
            print("ended: 1006", flush=True)
        return []

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/handed":
            return greenloop.websocket(environ).hand_over(handed)
        if path == "/native":
            return native(environ)
        if path == "/uwsgi":
            return original(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % sent]
"""
WAYS = ("/handed", "/native", "/uwsgi")
UNSENT_KIB = 256


def flooded(s: Server, path: str) -> Peer:
    """A client that reads nothing of what the server sends and sends."""
    wire = slow_wire(s)
    return Peer(wire, upgrade(wire, path))


def sent(s: Server) -> int:
    return int(s.get("/").text)


def settled(s: Server) -> bool:
    """Whether the server has stopped sending."""
    before = sent(s)
    cpu_while(s.pid, 0.1)
    return before == sent(s) > 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", WAYS)
def test_sender_of_a_lost_client_is_told(way: str, loop: str) -> None:
    with server(APP, "--loop", loop) as s:
        peer = flooded(s, way)
        wait_until(lambda: settled(s), "the sender waits")
        reset(peer.wire.sock)
        s.wait_for("ended: 1006")


@pytest.mark.parametrize("way", WAYS)
def test_who_takes_nothing_is_ended_in_time(way: str) -> None:
    with server(APP, "--socket-timeout", "1") as s:
        peer = flooded(s, way)
        s.wait_for("ended: 1006")
        peer.wire.sock.close()


@pytest.mark.parametrize("way", WAYS)
def test_waiting_costs_neither_time_nor_memory(way: str) -> None:
    limit = ("--websockets-max-unsent", str(UNSENT_KIB))
    with server(APP, *limit) as s:
        slow = flooded(s, way)
        wait_until(lambda: settled(s), "the sender waits")
        assert cpu_while(s.pid) < 0.1
        with open_wire(s) as other:
            assert other.get("/").status == 200
        # It goes on where it was once the client reads.
        before = sent(s)
        for _ in range(before + 5):
            assert slow.receive().payload == b"." * 16384
        wait_until(lambda: sent(s) > before, "more is sent")
        reset(slow.wire.sock)
        s.wait_for("ended: 1006")


def test_others_are_not_delayed() -> None:
    with server(APP) as s, open_websocket(s, "/handed") as fast:
        slow = flooded(s, "/native")
        for _ in range(1000):
            assert len(fast.receive().payload) == 16384
        reset(slow.wire.sock)
        reset(fast.wire.sock)
