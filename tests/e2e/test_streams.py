# SPDX-License-Identifier: MIT
"""Streams whose client leaves: server-sent events that end at once."""

import time
from collections.abc import Iterator

import pytest
from harness import Server, server
from wire import Wire, open_wire, request, reset, wait_until

LOOPS = ["asyncio", "uvloop"]
APP = """
    import asyncio
    import greenloop, os

    def say(text):
        print(text, flush=True)

    def events(kind):
        try:
            if kind != "/late":
                greenloop.cancel_on_disconnect()
            if kind == "/not-any-more":
                greenloop.cancel_on_disconnect(False)
            say("begun")
            number = 0
            while True:
                yield f"data: {number}\\n\\n".encode()
                number += 1
                if kind == "/await":
                    greenloop.await_(asyncio.sleep(60))
                elif kind == "/spawn":
                    greenloop.await_(greenloop.spawn(child))
                elif kind == "/fd":
                    greenloop.wait_readable(os.pipe()[0])
                elif kind == "/not-any-more":
                    greenloop.sleep(0.3)
                    say("not cancelled")
                    return
                elif kind == "/late":
                    departed = greenloop.current_request()
                    while not departed.client_disconnected:
                        greenloop.sleep(0.01)
                    greenloop.cancel_on_disconnect()
                else:
                    greenloop.sleep(60)
        except greenloop.ClientDisconnected:
            say("told")
            greenloop.sleep(0.05)
            raise
        finally:
            greenloop.sleep(0.05)
            say("ended")

    def child():
        say("child begun")
        try:
            greenloop.sleep(60)
        except asyncio.CancelledError:
            say("child cancelled")
            raise

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/":
            start_response("200 OK", [])
            return [b"answer"]
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events(environ["PATH_INFO"])
"""


@pytest.fixture(scope="module", params=LOOPS, ids=LOOPS)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param, "--asyncio", "2") as running:
        yield running


def begin(s: Server, path: str) -> Wire:
    """A stream whose first event has come."""
    wire = Wire(s.connect())
    wire.send(request("GET", path))
    begun = wire.sock.recv(65536)
    while b"data: 0" not in begun:
        begun += wire.sock.recv(65536)
    return wire


def leave(wire: Wire, how: str) -> None:
    if how == "reset":
        reset(wire.sock)
    elif how == "half-close":
        wire.half_close()
        wire.rest()
        wire.sock.close()
    elif how == "half-close, then reset":
        wire.half_close()
        reset(wire.sock)
    else:
        wire.sock.close()


HOW = ["close", "reset", "half-close", "half-close, then reset"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("path", ["/sleep", "/await", "/spawn", "/fd"])
def test_it_ends_with_its_client(s: Server, path: str, how: str) -> None:
    """Once: the wait in its `finally` is left alone."""
    texts = ("told", "ended", "child cancelled", "child begun")
    before = [s.out.count(text) for text in texts]
    wire = begin(s, path)
    if path == "/spawn":
        wait_until(lambda: s.out.count(texts[3]) > before[3], "its child")
    gone = time.monotonic()
    leave(wire, how)
    wait_until(lambda: s.out.count("ended") == before[1] + 1, "its end")
    assert time.monotonic() - gone < 5
    assert s.out.count("told") == before[0] + 1
    assert s.out.count("child cancelled") == before[2] + (path == "/spawn")
    assert s.get("/").body == b"answer"


@pytest.mark.parametrize("how", HOW)
def test_asked_for_when_it_has_gone(s: Server, how: str) -> None:
    before = s.out.count("told"), s.out.count("ended")
    leave(begin(s, "/late"), how)
    wait_until(lambda: s.out.count("ended") == before[1] + 1, "its end")
    assert s.out.count("told") == before[0] + 1


def test_not_any_more(s: Server) -> None:
    before = s.out.count("told"), s.out.count("not cancelled")
    leave(begin(s, "/not-any-more"), "close")
    wait_until(
        lambda: s.out.count("not cancelled") == before[1] + 1, "its end"
    )
    assert s.out.count("told") == before[0]


@pytest.mark.parametrize("loop", LOOPS)
def test_one_request_asks_for_itself_only(loop: str) -> None:
    """Neither the next request of the core, nor the others."""
    app = """
        import greenloop
        def application(environ, start_response):
            if environ["PATH_INFO"] == "/asks":
                greenloop.cancel_on_disconnect()
            else:
                print("napping", flush=True)
                greenloop.sleep(0.2)
                print("awake", flush=True)
            start_response("200 OK", [])
            return [b"answer"]
    """
    with server(app, "--loop", loop, "--asyncio", "1") as s:
        with open_wire(s) as wire:
            assert wire.get("/asks").body == b"answer"
            wire.send(request("GET", "/nap"))
            s.wait_for("napping")
            wire.sock.close()
        s.wait_for("awake")


@pytest.mark.parametrize("loop", LOOPS)
def test_many_clients_leave(loop: str) -> None:
    with server(APP, "--loop", loop, "--asyncio", "50") as s:
        wires = [begin(s, "/sleep") for _ in range(50)]
        for number, wire in enumerate(wires):
            leave(wire, HOW[number % len(HOW)])
        wait_until(lambda: s.out.count("ended") == 50, "their end")
        assert s.out.count("told") == 50
        assert s.get("/").body == b"answer"
