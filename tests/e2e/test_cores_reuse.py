# SPDX-License-Identifier: MIT
"""Greenlets are reused only where nobody else can reach them.

A new greenlet for each request would cost more than the request; a reused
one that somebody kept would let a late switch() wake a stranger's request.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, server

APP = """
    import asyncio, gc, json, weakref
    import greenlet, greenloop

    kept = {}
    results = []

    def engine_stats():
        engines = [o for o in gc.get_objects()
                   if type(o).__name__ == "Engine"]
        return engines[0].stats()

    def address(environ):
        return id(greenlet.getcurrent())

    def keep(environ):
        kept["me"] = greenlet.getcurrent()
        return id(kept["me"])

    def keep_weakly(environ):
        kept["weak"] = weakref.ref(greenlet.getcurrent())
        return id(greenlet.getcurrent())

    def keep_attribute(environ):
        greenlet.getcurrent().mine = "mine"
        return id(greenlet.getcurrent())

    def attribute(environ):
        return getattr(greenlet.getcurrent(), "mine", None)

    def keep_method(environ):
        kept["switch"] = greenlet.getcurrent().switch
        return id(greenlet.getcurrent())

    def let_go(environ):
        kept.clear()

    def retired(environ):
        return engine_stats()["retired"]

    def seed_style(environ):
        me = greenlet.getcurrent()
        asyncio.get_event_loop().call_later(0.01, me.switch)
        me.parent.switch()
        return id(me)

    def late(environ):
        '''Calls what was kept from the loop, while this request waits.'''
        me = kept["me"]
        loop = asyncio.get_event_loop()
        results.clear()
        loop.call_soon(lambda: results.append(repr(me.switch(1))))
        loop.call_soon(lambda: results.append(repr(me.throw(KeyError))))
        greenloop.sleep(0.02)
        results.append(repr(me.switch()))  # from a core, too
        return results

    def application(environ, start_response):
        result = globals()[environ["PATH_INFO"][1:]](environ)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(result).encode()]
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(
        APP, "--loop", request.param, "--asyncio", "3", "-L"
    ) as running:
        yield running


def ask(s: Server, name: str) -> Any:
    answer = s.get(f"/{name}")
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def test_private_ones_are_reused(s: Server) -> None:
    """Else each request would map and unmap a stack of the interpreter."""
    first = ask(s, "address")
    assert {ask(s, "address") for _ in range(20)} == {first}
    assert {ask(s, "seed_style") for _ in range(5)} == {first}
    assert ask(s, "address") == first
    assert ask(s, "retired") == 0


@pytest.mark.parametrize(
    "name", ["keep", "keep_weakly", "keep_attribute", "keep_method"]
)
def test_kept_ones_are_retired(s: Server, name: str) -> None:
    """Otherwise the next request would be reached through what was kept."""
    first = ask(s, name)
    assert ask(s, "attribute") is None
    if name == "keep":  # alive, so its address is not used again
        assert ask(s, "address") != first
    assert ask(s, "retired") == 1
    assert ask(s, "address") == ask(s, "address")
    assert ask(s, "retired") == 1


def test_let_go_before_the_next_request(s: Server) -> None:
    """The decision falls when the core is taken again: at the end of a
    request handles of the loop may still hold its greenlet."""
    first = ask(s, "seed_style")
    assert ask(s, "seed_style") == first
    assert ask(s, "retired") == 0


def test_late_switches_do_nothing(s: Server) -> None:
    """On an idle core, then on a retired one.  A dead greenlet's own
    switch() would jump to the hub and orphan its caller."""
    ask(s, "keep")
    for _ in range(2):
        assert ask(s, "late") == ["None"] * 3
    ask(s, "let_go")
    assert ask(s, "address") == ask(s, "address")


def test_a_late_timer_reaches_no_stranger() -> None:
    """The request that a kept timer was for is long over."""
    app = """
        import asyncio, greenlet, greenloop
        def application(environ, start_response):
            me = greenlet.getcurrent()
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/first":
                loop = asyncio.get_event_loop()
                for delay in (0.05, 0.06, 0.07):
                    loop.call_later(delay, me.switch, "late")
                return [b"first"]
            got = None
            asyncio.get_event_loop().call_later(0.3, me.switch, "mine")
            got = me.parent.switch()
            return [got.encode()]
    """
    with server(app, "--asyncio", "1") as s:
        assert s.get("/first").body == b"first"
        assert s.get("/second").body == b"mine"
