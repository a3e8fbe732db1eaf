# SPDX-License-Identifier: MIT
"""Requests that come together: one greenlet serves several in a row, and no
request sees anything of the one before it."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, server
from wire import Wire, open_wire, request

APP = """
    import asyncio, contextvars, json, time, weakref
    import greenlet, greenloop

    kept, weakly_kept, switched = [], [], []
    visitor = contextvars.ContextVar("visitor", default=None)

    def block(environ):
        '''Meanwhile the others arrive.'''
        print("blocking", environ["QUERY_STRING"], flush=True)
        time.sleep(0.15)

    def waiting(environ):
        print("waiting", environ["QUERY_STRING"], flush=True)
        greenloop.sleep(0.1)  # over before the others have arrived
        return globals()[environ["QUERY_STRING"]](environ)

    def address(environ):
        return id(greenlet.getcurrent())

    def trace(environ):
        switched.clear()
        greenlet.settrace(lambda event, who: switched.append(event))

    def switches(environ):
        greenlet.settrace(None)
        return len(switched)

    def keep(environ):
        kept.append(greenlet.getcurrent())
        return id(kept[-1])

    def keep_weakly(environ):
        me = greenlet.getcurrent()
        seen = any(reference() is me for reference in weakly_kept)
        weakly_kept.append(weakref.ref(me))
        return seen

    def keep_attribute(environ):
        mine = getattr(greenlet.getcurrent(), "mine", None)
        greenlet.getcurrent().mine = "mine"
        return mine

    def keep_child(environ):
        child = greenlet.greenlet(lambda: greenlet.getcurrent().parent)
        kept.append(child)  # its end would come to this greenlet
        return id(greenlet.getcurrent())

    def keep_started_child(environ):
        me = greenlet.getcurrent()
        child = greenlet.greenlet(lambda: me.switch())
        kept.append(child)
        child.switch()
        return id(me)

    def keep_handle(environ):
        me = greenlet.getcurrent()
        asyncio.get_event_loop().call_later(0.1, me.switch)
        return id(me)

    def context(environ):
        before = visitor.get()
        visitor.set(environ["QUERY_STRING"])
        return before

    def visible(environ):
        try:
            asyncio.get_running_loop()
            before = "visible"
        except RuntimeError:
            before = "hidden"
        kept.append(greenloop.loop_visible())
        kept[-1].__enter__()  # and never left
        return before

    def wait(environ):
        greenloop.sleep(0.2)
        return id(greenlet.getcurrent())

    def wait_in_child(environ):
        '''The child waits; its end brings the request back.'''
        loop = asyncio.get_event_loop()
        me = greenlet.getcurrent()

        def run():
            child = greenlet.getcurrent()
            loop.call_later(0.05, child.switch)
            me.parent.switch()

        child = greenlet.greenlet(run)
        kept.append(child)
        child.switch()
        return id(me)

    def fail(environ):
        raise ValueError("asked for")

    def ask_for_cancel(environ):
        greenloop.cancel_on_disconnect()

    def application(environ, start_response):
        result = globals()[environ["PATH_INFO"][1:]](environ)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(result).encode()]
"""
COUNT = 10


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    options = ("--loop", request.param, "--asyncio", "40", "-L")
    with server(APP, *options, allow_traceback=True) as running:
        yield running


def together(s: Server, *names: str) -> list[Any]:
    """Asks for all while the worker is busy; the answers' values."""
    wires = [Wire(s.connect()) for _ in names]
    for wire in wires:
        assert wire.get("/address").status == 200  # it is accepted
    with open_wire(s) as busy:
        number = s.out.count("blocking")
        busy.send(request("GET", f"/block?{number}"))
        s.wait_for(f"blocking {number}\n")
        for wire, name in zip(wires, names, strict=True):
            wire.send(request("GET", f"/{name}"))
        busy.reply()
    found = [value_of(wire) for wire in wires]
    for wire in wires:
        wire.sock.close()
    return found


def behind(s: Server, first: str, *names: str) -> list[Any]:
    """The same, while one that waited has come back and does the first."""
    with open_wire(s) as wire:
        number = s.out.count("waiting")
        wire.send(request("GET", f"/waiting?{first}"))
        s.wait_printed("waiting", number + 1)
        found = together(s, *names)
        return [value_of(wire), *found]


def value_of(wire: Wire) -> Any:
    reply = wire.reply()
    return json.loads(reply.body) if reply.status == 200 else reply.status


def test_one_greenlet_serves_them(s: Server) -> None:
    """A switch to the hub and back for each would cost as much again."""
    found = together(s, "trace", *["address"] * COUNT, "switches")
    assert len(set(found[1:-1])) == 1
    assert found[-1] < COUNT


def test_one_that_waited_goes_on_with_them(s: Server) -> None:
    """Its memory is warm, and the way to the hub and back is spared."""
    assert behind(s, "trace", "address", "switches")[-1] == 0
    assert len(set(behind(s, "address", *["address"] * COUNT))) == 1


REACHABLE = [
    "keep",
    "keep_child",
    "keep_started_child",
    "keep_handle",
    "wait_in_child",
]


@pytest.mark.parametrize("name", REACHABLE)
def test_one_that_waited_and_can_be_reached_does_not(
    s: Server, name: str
) -> None:
    kept, *others = behind(s, name, *["address"] * COUNT)
    assert kept not in others
    assert len(set(others)) == 1
    time.sleep(0.15)  # for the handles


def test_nothing_of_one_that_waited_is_seen(s: Server) -> None:
    assert behind(s, "context", "context?1", "context?2") == [None] * 3
    assert behind(s, "visible", "visible", "visible") == ["hidden"] * 3
    assert behind(s, "keep_weakly", "keep_weakly") == [False] * 2
    assert behind(s, "keep_attribute", "keep_attribute") == [None] * 2


@pytest.mark.parametrize("name", REACHABLE)
def test_one_that_somebody_can_reach_serves_no_more(
    s: Server, name: str
) -> None:
    """Else what was kept would reach the request of a stranger."""
    found = together(s, *[name] * COUNT)
    assert len(set(found)) == COUNT
    time.sleep(0.15)  # for the handles
    assert len(set(together(s, *["address"] * COUNT))) == 1


def test_attributes_are_not_seen(s: Server) -> None:
    assert together(s, *["keep_attribute"] * COUNT) == [None] * COUNT


def test_weak_references_lead_to_none(s: Server) -> None:
    assert together(s, *["keep_weakly"] * COUNT) == [False] * COUNT


def test_contexts_are_their_own(s: Server) -> None:
    names = [f"context?{n}" for n in range(COUNT)]
    assert together(s, *names) == [None] * COUNT


def test_each_sees_the_loop_anew(s: Server) -> None:
    assert together(s, *["visible"] * COUNT) == ["hidden"] * COUNT


def test_those_that_wait_wait_together(s: Server) -> None:
    begin = time.monotonic()
    names = ["address", "wait"] * COUNT
    found = together(s, *names)
    assert time.monotonic() - begin < 0.75 * COUNT * 0.2
    assert len(set(found[1::2])) == COUNT


def test_failures_are_their_own(s: Server) -> None:
    found = together(s, *["address", "fail"] * COUNT)
    assert found[1::2] == [500] * COUNT
    assert len(set(found[0::2])) == 1


def test_a_departed_client_ends_only_its_own(s: Server) -> None:
    """What the request before asked for is not the next one's."""
    assert together(s, "ask_for_cancel", "address")[0] is None
    with s.connect() as sock:
        sock.sendall(request("GET", "/wait"))
    assert together(s, "wait", "address")
    assert "ClientDisconnected" not in s.err
