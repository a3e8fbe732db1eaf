# SPDX-License-Identifier: MIT
"""What waits for a client is kept: the loop itself has weak references only.

A task that waits for a message, its coroutine and its WebSocket refer to each
other, and nothing of the interpreter refers to them.
"""

import pytest
from frames import TEXT, Frame, frame, open_websocket
from harness import server
from wire import wait_until

APP = """
    import gc

    import greenloop

    async def handler(ws):
        async for message in ws:
            await ws.send(message)

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/echo":
            return greenloop.websocket(environ).hand_over(handler)
        gc.collect()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d tasks" % sum(
            type(each).__name__ == "AsyncWebSocket"
            for each in gc.get_objects()
        )]
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_handed_over_is_not_collected(loop: str) -> None:
    with (
        server(APP, "--loop", loop) as s,
        open_websocket(s, "/echo") as first,
        open_websocket(s, "/echo") as second,
    ):
        first.send(frame(TEXT, b"before"))
        first.expect(Frame(TEXT, b"before"))
        assert s.get("/collect").text == "2 tasks"
        for peer in (first, second):
            peer.send(frame(TEXT, b"still there"))
            peer.expect(Frame(TEXT, b"still there"))
        second.wire.sock.close()
        first.send(frame(8))
        first.expect_close(1005)
        wait_until(
            lambda: s.get("/collect").text == "0 tasks", "all have ended"
        )
