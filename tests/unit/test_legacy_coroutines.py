# SPDX-License-Identifier: MIT
"""What --legacy-coroutines brings back, on every Python."""

import asyncio
import inspect
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from aiohttp import web
from greenloop.compat.legacy_coroutines import coroutine


def run_alone(program: str) -> str:
    """Runs a program that calls install() in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_generator_function_gives_a_real_coroutine() -> None:
    @coroutine
    def add(a: int, b: int = 2) -> Generator[Any, Any, int]:
        """Adds."""
        yield from asyncio.sleep(0)  # type: ignore[misc]
        return a + b

    made = add(1)
    assert isinstance(made, types.CoroutineType)
    assert asyncio.iscoroutine(made)
    assert asyncio.run(made) == 3
    assert inspect.iscoroutinefunction(add)
    assert (add.__name__, add.__doc__) == ("add", "Adds.")


def test_it_may_wait_for_anything() -> None:
    async def modern() -> str:
        await asyncio.sleep(0)
        return "modern"

    @coroutine
    def inner() -> Generator[Any, Any, str]:
        yield
        return "inner"

    @coroutine
    def outer() -> Generator[Any, Any, list[Any]]:
        future = asyncio.get_running_loop().create_future()
        future.get_loop().call_soon(future.set_result, "future")
        task = asyncio.ensure_future(inner())
        one = yield from modern()  # type: ignore[misc]
        two = yield from inner()
        three = yield from future
        four = yield from task
        return [one, two, three, four]

    assert asyncio.run(outer()) == ["modern", "inner", "future", "inner"]


def test_modern_code_may_wait_for_it() -> None:
    @coroutine
    def old() -> Generator[Any, Any, int]:
        yield from asyncio.sleep(0)  # type: ignore[misc]
        return 5

    async def modern() -> list[int]:
        return [await old(), *(await asyncio.gather(old(), old()))]

    assert asyncio.run(modern()) == [5, 5, 5]


def test_exceptions_and_cancellation_arrive() -> None:
    seen = []

    @coroutine
    def old() -> Generator[Any, Any, None]:
        try:
            yield from asyncio.sleep(60)  # type: ignore[misc]
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    @coroutine
    def failing() -> Generator[Any, Any, None]:
        yield
        raise LookupError("here")

    async def main() -> None:
        task = asyncio.ensure_future(old())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(LookupError, match="here"):
            await failing()

    asyncio.run(main())
    assert seen == ["cancelled"]


async def _value() -> int:
    return 7


def _generator() -> Generator[Any, Any, int]:
    yield
    return 7


@pytest.mark.parametrize("make", [lambda: 7, _value, _generator])
def test_a_plain_function_may_return_what_is_waited_for(
    make: Callable[[], Any],
) -> None:
    @coroutine
    def plain() -> Any:
        return make()

    assert asyncio.run(plain()) == 7


def test_a_coroutine_function_stays_itself() -> None:
    assert coroutine(_value) is _value


def test_methods() -> None:
    class Thing:
        @coroutine
        def double(self, n: int) -> Generator[Any, Any, int]:
            yield
            return 2 * n

    assert asyncio.run(Thing().double(4)) == 8


def test_install_puts_the_names_in_place_without_a_warning() -> None:
    out = run_alone(
        """
        import asyncio, sys
        sys.modules["aiohttp"] = None       # as if it were not there
        from greenloop.compat import legacy_coroutines
        legacy_coroutines.install()
        legacy_coroutines.install()
        from asyncio import coroutine
        @asyncio.coroutine
        def old():
            yield from asyncio.sleep(0)
            return "ran"
        assert coroutine is asyncio.coroutines.coroutine
        assert coroutine is legacy_coroutines.coroutine
        print(asyncio.run(old()))
        """
    )
    assert out == "ran\n"


AIOHTTP = """
    import asyncio, gc, sys, warnings
    warnings.filterwarnings("ignore", module="aiohttp")
    import aiohttp
    original = aiohttp.request
    from greenloop.compat import legacy_coroutines
    legacy_coroutines.install()
    once = aiohttp.request
    legacy_coroutines.install()
    assert aiohttp.request is once and once is not original

    problems = []
    closed = []
    close = aiohttp.ClientSession.close
    async def counted(session):
        closed.append(session)
        await close(session)
    aiohttp.ClientSession.close = counted

    @asyncio.coroutine
    def old(url):
        response = yield from aiohttp.request("GET", url)
        assert response.status == 200
        body = yield from response.read_and_close()
        assert response.closed
        return body

    async def awaited(url):
        response = await aiohttp.request("GET", url)
        return await response.read_and_close()

    async def managed(url):
        async with aiohttp.request("GET", url) as response:
            return await response.read()

    async def session(url):
        async with aiohttp.ClientSession() as own:
            response = await own.get(url)
            body = await response.read_and_close()
            assert not own.closed
            return body

    async def main(url):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, c: problems.append(c))
        for fetch in old, awaited, managed, session:
            print(fetch.__name__, await fetch(url))
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main(sys.argv[1]))
    assert len(closed) == 4, closed
    assert not problems, problems
"""


def with_upstream(use: Callable[[str], Awaitable[Any]]) -> Any:
    """Calls `use` with the URL of a small HTTP server."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"upstream")

    async def main() -> Any:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            return await use(f"http://{host}:{port}/")
        finally:
            await runner.cleanup()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return asyncio.run(main())


def test_aiohttp_requests_in_the_old_and_the_new_way() -> None:
    async def use(url: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-X",
            "dev",
            "-c",
            textwrap.dedent(AIOHTTP),
            url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, out.decode(), err.decode()

    status, out, err = with_upstream(use)
    assert status == 0, err
    assert out.splitlines() == [
        f"{name} b'upstream'"
        for name in ("old", "awaited", "managed", "session")
    ]
    assert "Unclosed" not in err, err
