# SPDX-License-Identifier: MIT
"""Who may switch to whom: cores, other greenlets, callbacks and threads."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, parallel, server

APP = """
    import asyncio, gc, json, threading
    import greenlet, greenloop

    waiting = {}

    async def echo(value):
        await asyncio.sleep(0.005)
        return value

    def busy(environ):
        engine, = [o for o in gc.get_objects()
                   if type(o).__name__ == "Engine"]
        return engine.stats()["busy"]

    # --- children of the application's own

    def child_waits(environ):
        '''A greenlet of another class parks itself, and is resumed.'''
        me = greenlet.getcurrent()
        got = []
        def run():
            greenloop.sleep(0.005)
            got.append(greenloop.await_(echo(1)))
            got.append(greenlet.getcurrent() is child)
            return "ended"
        child = greenlet.greenlet(run)
        got.append(child.switch())  # its end comes back here
        return got

    def child_from_callback(environ):
        '''The hub switches to it: its view must not become the hub's.'''
        loop = asyncio.get_event_loop()
        got = []
        def run():
            got.append(greenloop.await_(echo(2)))
            greenloop.sleep(0.001)
            got.append("slept")
        def callback():
            greenlet.greenlet(run, me).switch()
            got.append(asyncio.get_running_loop() is loop)
        me = greenlet.getcurrent()
        loop.call_soon(callback)
        while len(got) < 3:
            greenloop.sleep(0.002)
        return got

    def child_from_task(environ):
        '''The same from inside of a coroutine's step.'''
        me = greenlet.getcurrent()
        got = []
        def run():
            got.append(greenloop.await_(echo(3)))
        async def step():
            task = asyncio.current_task()
            greenlet.greenlet(run, me).switch()
            got.append(asyncio.current_task() is task)
            await asyncio.sleep(0.02)
            got.append(asyncio.current_task() is task)
        greenloop.await_(step())
        return got

    def child_left_behind(environ):
        '''Its parent is the hub: ending it must not lose the request.'''
        hub = greenlet.getcurrent().parent
        me = greenlet.getcurrent()
        def run():
            me.switch()
            greenloop.sleep(60)
        child = greenlet.greenlet(run, hub)
        child.switch()
        asyncio.get_event_loop().call_soon(me.switch)
        child.switch()
        return "answered"

    # --- core to core

    def wait_for_partner(environ):
        me = greenlet.getcurrent()
        waiting["partner"] = me
        value = me.parent.switch("parked")
        waiting["answer"] = value
        try:
            me.parent.switch("parked again")
        except KeyError as error:
            return ["thrown", str(error), value]

    def wake_partner(environ):
        while "partner" not in waiting:
            greenloop.sleep(0.001)
        other = waiting.pop("partner")
        got = [other.switch({"from": "wake_partner"})]
        got.append(waiting["answer"])
        got.append(repr(other.throw(KeyError, "from wake_partner")))
        got.append(repr(other.switch()))  # it has ended
        return got

    def wait_simply(environ):
        me = greenlet.getcurrent()
        waiting["simple"] = me
        return me.parent.switch()

    def wake_simply(environ):
        while "simple" not in waiting:
            greenloop.sleep(0.001)
        return repr(waiting.pop("simple").switch("woken"))

    def ping(environ):
        '''Two cores that switch to each other, each for its turn.'''
        me = greenlet.getcurrent()
        waiting.setdefault("players", []).append(me)
        while len(waiting["players"]) < 2:
            greenloop.sleep(0.001)
        other, = [p for p in waiting["players"] if p is not me]
        for _ in range(5):
            other.switch("ball")
            greenloop.sleep(0)
        return "played"

    # --- threads and foreign greenlets

    def from_thread(environ):
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        errors = []
        def run():
            for call in (me.switch, me.throw):
                try:
                    call()
                except RuntimeError as error:
                    errors.append(str(error))
            loop.call_soon_threadsafe(me.switch, "from the thread")
        thread = threading.Thread(target=run)
        thread.start()
        value = me.parent.switch()
        thread.join()
        return [value, errors]

    def from_other_greenlet(environ):
        '''A greenlet beside the hub's calls in: the hub must not be lost.'''
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        got = []
        def switches():
            me.switch("switched", key="word")
            got.append(asyncio.get_running_loop() is loop)
        def throws():
            me.throw(KeyError, "thrown")
            got.append(asyncio.get_running_loop() is loop)
        hub = me.parent
        loop.call_soon(lambda: greenlet.greenlet(switches, hub).switch())
        got.append(repr(hub.switch()))
        loop.call_soon(lambda: greenlet.greenlet(throws, hub).switch())
        try:
            hub.switch()
        except KeyError as error:
            got.append(str(error))
        greenloop.sleep(0.01)
        return got

    def to_itself(environ):
        me = greenlet.getcurrent()
        got = [me.switch("through")]
        try:
            me.throw(KeyError, "mine")
        except KeyError as error:
            got.append(str(error))
        return got

    def application(environ, start_response):
        result = globals()[environ["PATH_INFO"][1:]](environ)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(result).encode()]
"""


@pytest.fixture(params=["asyncio", "uvloop"], scope="module")
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(
        APP,
        "--loop",
        request.param,
        "--asyncio",
        "10",
        "-L",
        "--graceful-timeout",
        "3",
    ) as running:
        yield running


def ask(s: Server, name: str) -> Any:
    answer = s.get(f"/{name}", timeout=5)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def both(s: Server, first: str, second: str) -> "list[Any]":
    return parallel(2, lambda n: ask(s, (first, second)[n]))


# --- greenlets of the application's own --------------------------------------


def test_children_wait(s: Server) -> None:
    assert ask(s, "child_waits") == [1, True, "ended"]


def test_children_that_a_callback_starts(s: Server) -> None:
    """A wait of theirs must not hide the loop in the hub, for everybody."""
    assert sorted(map(str, ask(s, "child_from_callback"))) == [
        "2",
        "True",
        "slept",
    ]
    assert ask(s, "child_waits") == [1, True, "ended"]


def test_children_that_a_task_starts(s: Server) -> None:
    assert ask(s, "child_from_task") == [True, 3, True]


def test_children_left_behind(s: Server) -> None:
    assert ask(s, "child_left_behind") == "answered"
    assert ask(s, "child_left_behind") == "answered"
    assert ask(s, "busy") == 1


# --- core to core ------------------------------------------------------------


def test_b20_core_to_core_switch(s: Server) -> None:
    """The original orphans the caller when the other one ends."""
    assert both(s, "wait_simply", "wake_simply") == ["woken", "()"]


def test_b20_values_and_exceptions_pass(s: Server) -> None:
    value = {"from": "wake_partner"}
    answer, got = both(s, "wait_for_partner", "wake_partner")
    assert answer == ["thrown", "'from wake_partner'", value] or (
        answer == ["thrown", "from wake_partner", value]
    )
    assert got == ["parked again", value, "()", "None"]


def test_b20_both_ways(s: Server) -> None:
    assert both(s, "ping", "ping") == ["played", "played"]


# --- others ------------------------------------------------------------------


def test_from_another_thread(s: Server) -> None:
    """It would run the request there; the error says what to do instead."""
    value, errors = ask(s, "from_thread")
    assert value == "from the thread"
    assert len(errors) == 2
    assert all("call_soon_threadsafe" in error for error in errors)


def test_from_a_greenlet_beside_the_hub(s: Server) -> None:
    got = ask(s, "from_other_greenlet")
    assert got.count(True) == 2 and len(got) == 4
    got = [one for one in got if one is not True]
    assert got[0] == "(('switched',), {'key': 'word'})"
    assert got[1].strip("'") == "thrown"
    assert ask(s, "child_waits") == [1, True, "ended"]


def test_to_itself(s: Server) -> None:
    got = ask(s, "to_itself")
    assert got[0] == "through" and got[1].strip("'") == "mine"
