# SPDX-License-Identifier: MIT
"""Greenlets of an application that end after their request has ended.

Their parent is the core's greenlet, which rests in the hub by then.
"""

from __future__ import annotations

import pytest
from harness import Server, server

APP = """
    import asyncio, greenlet

    def fails():
        raise LookupError("too late")

    def application(environ, start_response):
        work = fails if environ["PATH_INFO"] == "/fails" else list
        late = greenlet.greenlet(work)
        asyncio.get_event_loop().call_soon(late.switch)
        start_response("200 OK", [])
        return [b"answered"]
"""


def is_served(s: Server, path: str) -> None:
    assert s.get(path).body == b"answered"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_late_end_goes_to_an_idle_core(loop: str) -> None:
    with server(APP, "--loop", loop) as s:
        for _ in range(3):
            is_served(s, "/")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_late_exception_is_logged_and_no_more(loop: str) -> None:
    with server(APP, "--loop", loop, allow_traceback=True) as s:
        is_served(s, "/fails")
        s.wait_for("LookupError: too late")
        is_served(s, "/fails")
        is_served(s, "/")
