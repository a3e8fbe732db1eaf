# SPDX-License-Identifier: MIT
"""on_worker_start() and on_worker_stop() under the command line."""

import pathlib
import signal
import textwrap

import pytest
from harness import run, server, start

LOOPS = ["asyncio", "uvloop"]

# A client session that lives as long as the worker, and asks the worker.
SESSION = """
    import aiohttp
    import greenloop

    @greenloop.on_worker_start
    async def open_session():
        global session
        session = aiohttp.ClientSession()
        print("session opened", flush=True)

    @greenloop.on_worker_stop
    async def close_session():
        await session.close()
        print("session closed", flush=True)

    async def fetch(url):
        async with session.get(url) as answer:
            return await answer.text()

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/inner":
            return [str(id(session)).encode()]
        url = f"http://{environ['HTTP_HOST']}/inner"
        return [greenloop.await_(fetch(url)).encode()]
"""

PLAIN = """
    import greenloop

    def say(text):
        print(text, flush=True)

    @greenloop.on_worker_start
    def first():
        greenloop.sleep(0.01)
        say("first")

    @greenloop.on_worker_start
    async def second():
        say("second")

    @greenloop.on_worker_stop
    def last():
        greenloop.sleep(0.01)
        say("last")

    @greenloop.on_worker_stop
    async def before_the_last():
        say("before the last")

    def application(environ, start_response):
        say("request")
        if environ["PATH_INFO"] == "/slow":
            greenloop.sleep(0.3)
            say("slow request ended")
        start_response("200 OK", [])
        return [b"answer"]
"""

FAILS = """
    import greenloop

    @greenloop.on_worker_start
    {kind} connect():
        raise ConnectionError("no database")

    @greenloop.on_worker_stop
    def stop():
        print("stopped", flush=True)

    def application(environ, start_response):
        raise AssertionError
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_session_of_the_worker(loop: str) -> None:
    with server(SESSION, "--loop", loop) as s:
        answers = {s.get().text for _ in range(5)}
        assert len(answers) == 1
        assert s.stop() == 0
        assert s.out.splitlines() == ["session opened", "session closed"]
        assert "Unclosed" not in s.err


@pytest.mark.parametrize("loop", LOOPS)
def test_order(loop: str) -> None:
    with server(PLAIN, "--loop", loop) as s:
        s.wait_for("second")
        assert s.out.splitlines() == ["first", "second"]
        with s.connect() as sock:
            sock.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
            s.wait_for("request")
            s.send_signal(signal.SIGTERM)
            assert sock.makefile("rb").read().endswith(b"answer")
        assert s.stop() == 0
        assert s.out.splitlines()[2:] == [
            "request",
            "slow request ended",
            "before the last",
            "last",
        ]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_start_that_fails_ends_the_program(
    loop: str, kind: str, tmp_path: pathlib.Path
) -> None:
    source = textwrap.dedent(FAILS.format(kind=kind))
    (tmp_path / "app.py").write_text(source, "utf-8")
    options = ["--http-socket", "127.0.0.1:0", "--loop", loop]
    done = run(*options, "--wsgi-file", "app.py", cwd=tmp_path)
    assert done.returncode == 22
    assert "ConnectionError: no database" in done.stderr
    assert "on_worker_start()" in done.stderr
    assert "in connect" in done.stderr
    assert "hooks.py" not in done.stderr  # it begins in the user's code
    assert "listening" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", ["greenloop.sleep(60)", "while True: pass"])
def test_a_start_that_waits_can_be_interrupted(
    loop: str, number: int, wait: str, tmp_path: pathlib.Path
) -> None:
    app = f"""
        import greenloop
        @greenloop.on_worker_start
        def connect():
            print("connecting", flush=True)
            {wait}
        def application(environ, start_response):
            raise AssertionError
    """
    (tmp_path / "app.py").write_text(textwrap.dedent(app), "utf-8")
    options = ["--http-socket", "127.0.0.1:0", "--loop", loop]
    starting = start(
        *options, "--wsgi-file", "app.py", directory=tmp_path, ready=False
    )
    try:
        starting.wait_for("connecting")
        assert starting.stop(number, seconds=5) == 0
        assert "Traceback" not in starting.err
    finally:
        starting.kill()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_that_fails_is_logged(loop: str) -> None:
    app = (
        PLAIN
        + """
    @greenloop.on_worker_stop
    async def fails():
        raise ValueError("cannot flush")
"""
    )
    with server(app, "--loop", loop, allow_traceback=True) as s:
        assert s.get().body == b"answer"
        assert s.stop() == 0
        assert "fails, called at the worker's stop, failed" in s.err
        assert "ValueError: cannot flush" in s.err
        assert s.out.splitlines()[-2:] == ["before the last", "last"]


@pytest.mark.parametrize("loop", LOOPS)
def test_an_endless_stop_is_cut_off(loop: str) -> None:
    app = (
        PLAIN
        + """
    @greenloop.on_worker_stop
    async def endless():
        import asyncio
        await asyncio.sleep(60)
"""
    )
    with server(app, "--loop", loop, "--graceful-timeout", "0.3") as s:
        assert s.stop(seconds=5) == 0
        assert "the graceful timeout ended endless" in s.err
