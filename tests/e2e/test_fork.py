# SPDX-License-Identifier: MIT
"""Children of the worker that go on in Python, as multiprocessing's do.

They have copies of everything, the running request included; but the server
and its loop are their parent's.
"""

from __future__ import annotations

import pytest
from harness import server

APP = """
    import asyncio, multiprocessing, time, greenloop

    context = multiprocessing.get_context("fork")

    async def job():
        await asyncio.sleep(0.01)
        return "ran"

    def child(pipe):
        said = [asyncio.run(job())]
        for wait in (lambda: greenloop.sleep(0.01),
                     lambda: greenloop.await_(asyncio.sleep(0))):
            try:
                wait()
            except RuntimeError:
                said.append("refused")
        pipe.send(said)

    def idle(pipe):
        pipe.send("ready")
        time.sleep(60)

    def application(environ, start_response):
        said = "none"
        if environ["PATH_INFO"] == "/terminate":
            ours, its = context.Pipe()
            process = context.Process(target=idle, args=(its,))
            process.start()
            ours.recv()
            process.terminate()
            process.join(10)
            said = str(process.exitcode)
        if environ["PATH_INFO"] == "/fork":
            ours, its = context.Pipe()
            process = context.Process(target=child, args=(its,))
            process.start()
            said = str(ours.recv() if ours.poll(10) else None)
            process.join(10)
            said += f" {process.exitcode}"
        start_response("200 OK", [])
        return [said.encode()]
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_child_may_run_coroutines_of_its_own(loop: str) -> None:
    with server(APP, "--loop", loop) as s:
        for _ in range(2):
            answer = s.get("/fork").body
            assert answer == b"['ran', 'refused', 'refused'] 0"
            assert s.get("/").body == b"none"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_to_a_child_is_its_own(loop: str) -> None:
    with server(APP, "--loop", loop) as s:
        assert s.get("/terminate").body == b"-15"
        assert s.get("/").body == b"none"
        assert "stopping" not in s.err
