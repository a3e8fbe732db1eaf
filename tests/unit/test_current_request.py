# SPDX-License-Identifier: MIT
"""current_request(), loop(): what code asks of where it runs."""

import asyncio
import threading
from typing import Any

import greenlet
import greenloop
import pytest
from embedded import Service, fetch, served


def current() -> greenloop.Request:
    request = greenloop.current_request()
    assert request is not None
    return request


@served(cores=3)
async def test_what_it_tells(service: Service) -> None:
    seen: list[Any] = []

    def app(environ: "dict[str, Any]", start: Any) -> "list[bytes]":
        request = current()
        assert request is current()
        assert request.environ is environ
        assert (request.method, request.uri) == ("POST", "/a%20b?c=d")
        assert request.core == environ["uwsgi.core"]
        assert request.client_disconnected is False
        greenloop.sleep(0)
        assert request is current()
        seen.append(request)
        start("200 OK", [])
        return [b"answer"]

    async with await greenloop.start_server(app, "127.0.0.1:0") as server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(3):
            assert (await fetch(port, "/a%20b?c=d")).body == b"answer"
        seen.append(seen[0])
    ids = {request.id for request in seen}
    assert len(ids) == 3  # although the core is one
    for request in seen:
        assert request.client_disconnected is True
        for name in ("environ", "method", "uri", "core"):
            with pytest.raises(RuntimeError, match="ended"):
                getattr(request, name)


@served()
async def test_whoever_does_not_keep_it_gets_a_new_one(
    service: Service,
) -> None:
    ids = [await service.call(lambda: current().id) for _ in range(3)]
    assert len(set(ids)) == 3
    assert service.stats["retired"] == 0


@served()
async def test_none_outside(service: Service) -> None:
    loop = asyncio.get_running_loop()

    async def task() -> Any:
        return greenloop.current_request()

    def in_request() -> Any:
        called: asyncio.Future[Any] = loop.create_future()
        loop.call_soon(lambda: called.set_result(greenloop.current_request()))
        return [
            greenloop.await_(task()),
            greenloop.await_(called),
            greenloop.await_(greenloop.spawn(greenloop.current_request)),
        ]

    assert greenloop.current_request() is None
    assert await service.call(in_request) == [None, None, None]


@served()
async def test_a_greenlet_of_the_request(service: Service) -> None:
    def in_request() -> bool:
        request = current()
        child = greenlet.greenlet(greenloop.current_request)
        return child.switch() is request

    assert await service.call(in_request) is True


@served(["run"])
async def test_another_thread(service: Service) -> None:
    errors: list[str] = []

    def elsewhere(request: greenloop.Request) -> None:
        assert greenloop.current_request() is None
        for read in (lambda: request.environ, greenloop.loop):
            with pytest.raises(RuntimeError) as caught:
                read()
            errors.append(str(caught.value))

    def in_request() -> None:
        thread = threading.Thread(target=elsewhere, args=[current()])
        thread.start()
        thread.join()

    await service.call(in_request)
    assert len(errors) == 2
    assert all("call_soon_threadsafe" in error for error in errors)


@served()
async def test_loop(service: Service) -> None:
    loop = asyncio.get_running_loop()
    called: asyncio.Future[Any] = loop.create_future()
    loop.call_soon(lambda: called.set_result(greenloop.loop()))
    assert await called is loop
    assert greenloop.loop() is loop
    assert await service.call(greenloop.loop) is loop
    assert await greenloop.spawn(greenloop.loop) is loop


def test_no_loop_without_a_server() -> None:
    with pytest.raises(RuntimeError):
        greenloop.loop()

    async def main() -> None:
        with pytest.raises(RuntimeError):
            greenloop.loop()

    asyncio.run(main())


def test_cancel_on_disconnect_outside() -> None:
    with pytest.raises(RuntimeError):
        greenloop.cancel_on_disconnect()
