# SPDX-License-Identifier: MIT
"""Bugs of the original's WSGI side that no other file is about.

B10 is in test_wsgi_mounts.py, B11 in test_wsgi_start_response.py.
"""

import contextlib

import pytest
from harness import Server, parallel, server

PARENT = """
    import asyncio

    import greenlet

    hub = greenlet.getcurrent()

    def application(environ, start_response):
        me = greenlet.getcurrent()
        assert me is not hub and me.parent is hub, (me, me.parent, hub)
        assert me.parent.parent is None
        asyncio.get_event_loop().call_later(0.05, me.switch)
        me.parent.switch()
        assert greenlet.getcurrent() is me
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"parked, "
        asyncio.get_event_loop().call_later(0.05, me.switch)
        me.parent.switch()
        yield b"and again"
"""


def all_parked(s: Server, count: int) -> None:
    answers = parallel(count, lambda _: s.get())
    assert {a.body for a in answers} == {b"parked, and again"}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_b18_the_hub_is_the_parent_without_an_option(loop: str) -> None:
    with server(PARENT, "--asyncio", "10", "--loop", loop) as s:
        all_parked(s, 10)
        assert "greenlet" not in s.err, "no warning either"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_b19_one_core(loop: str) -> None:
    with server(PARENT, "--asyncio", "1", "--loop", loop) as s:
        all_parked(s, 3)
        with contextlib.closing(s.client()) as client:
            for _ in range(3):
                client.request("GET", "/")
                assert client.getresponse().read() == b"parked, and again"
        answers = parallel(4, lambda _: s.get())
        # From the first question: the threads do not start at once.
        ended = max(a.sent + a.seconds for a in answers)
        seconds = ended - min(a.sent for a in answers)
        assert seconds > 0.39, "they took turns on the one core"


def test_b19_zero_cores_are_refused() -> None:
    with pytest.raises(AssertionError, match="is not ready"):
        with server(PARENT, "--asyncio", "0"):
            pass
