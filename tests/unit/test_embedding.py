# SPDX-License-Identifier: MIT
"""greenloop.start_server(): a server inside of somebody's own program."""

import asyncio
import contextlib
import gc
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import greenlet
import greenloop
import pytest
from embedded import (
    KINDS,
    Answer,
    Environ,
    Service,
    StartResponse,
    fetch,
    run_on,
    served,
    serving,
    until,
)
from greenloop import await_, current_request, mounts, sleep, start_server


def hello(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def named(name: bytes) -> Any:
    def app(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [name]

    return app


def port_of(server: Any, index: int = 0) -> int:
    port: int = server.sockets[index].getsockname()[1]
    return port


# --- the life of a server --------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_shape_of_asyncio_server(kind: str) -> None:
    async def main() -> None:
        server = await start_server(hello, "127.0.0.1:0", cores=100)
        port = port_of(server)
        assert server.is_serving()
        assert server.get_loop() is asyncio.get_running_loop()
        assert await fetch(port) == Answer(200, b"hello")
        assert server.stats()["requests"] == 1
        server.close()
        server.close()  # harmless
        assert not server.is_serving() and server.sockets == ()
        await server.wait_closed()
        await server.wait_closed()
        assert server.stats() == {}
        with pytest.raises(ConnectionRefusedError):
            await fetch(port)

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_async_with(kind: str) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with await start_server(hello, "127.0.0.1:0") as server:
                assert (await fetch(port_of(server))).status == 200
                raise ZeroDivisionError
        assert not server.is_serving() and server.stats() == {}

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_serve_forever_ends_by_cancellation(kind: str) -> None:
    """It must serve until then, and have closed all when it is over."""

    async def main() -> None:
        server = await start_server(hello, "127.0.0.1:0")
        port = port_of(server)
        forever = asyncio.ensure_future(server.serve_forever())
        assert (await fetch(port)).status == 200
        assert not forever.done()
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert server.stats() == {}
        with pytest.raises(ConnectionRefusedError):
            await fetch(port)

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_wait_closed_can_be_repeated(kind: str) -> None:
    async def main() -> None:
        async with serving() as service:
            running = service.begin(sleep, 0.5)
            await until(lambda: service.stats["busy"] == 1)
            service.server.close()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(service.server.wait_closed(), 0.01)
            await service.server.wait_closed()
            assert await running is None

    run_on(kind, main)


@served()
async def test_close_lets_requests_end(service: Service) -> None:
    port = service.port
    running = service.begin(sleep, 0.1)
    await until(lambda: service.stats["busy"] == 1)
    begin = time.monotonic()
    service.server.close()
    with pytest.raises(ConnectionRefusedError):
        await fetch(port)
    await service.server.wait_closed()
    assert time.monotonic() - begin < 3
    assert await running is None


@served(graceful_timeout=0.3)
async def test_graceful_timeout_ends_requests(service: Service) -> None:
    """A request that waits for ever must not keep the program from ending;
    it may clean up, even wait for that, but not without end."""
    events: list[str] = []

    def request() -> None:
        try:
            sleep(1e9)
        except greenlet.GreenletExit:
            events.append("exit")
            sleep(0.01)
            events.append("cleaned up")
            try:
                sleep(1e9)
            finally:
                events.append("out of time")

    running = service.begin(request)
    await until(lambda: service.stats["busy"] == 1)
    begin = time.monotonic()
    service.server.close()
    await service.server.wait_closed()
    assert 0.29 < time.monotonic() - begin < 2
    assert events == ["exit", "cleaned up", "out of time"]
    with pytest.raises(BaseException):  # noqa: B017 - cut off, or its answer
        await running


@served(graceful_timeout=0)
async def test_graceful_timeout_of_zero(service: Service) -> None:
    running = service.begin(sleep, 60)
    await until(lambda: service.stats["busy"] == 1)
    service.server.close()
    await asyncio.wait_for(service.server.wait_closed(), 2)
    with pytest.raises(BaseException):  # noqa: B017
        await running


@served()
async def test_close_inside_of_a_request(service: Service) -> None:
    """The answer of that very request must still arrive."""

    def request() -> str:
        service.server.close()
        sleep(0.01)
        return "closed"

    assert await service.call(request) == "closed"
    await asyncio.wait_for(service.server.wait_closed(), 2)


@served()
async def test_close_now_inside_of_a_request(service: Service) -> None:
    """Throwing into all from within one of them must wait for the hub."""
    caught: list[str] = []

    def other() -> None:
        try:
            sleep(60)
        except greenlet.GreenletExit:
            caught.append("other")
            raise

    def request() -> None:
        service.server.close_now()
        assert asyncio.get_event_loop() is service.server.get_loop()
        try:
            sleep(60)
        except greenlet.GreenletExit:
            caught.append("me")
            raise

    calls = [service.begin(other), service.begin(request)]
    await asyncio.wait_for(service.server.wait_closed(), 4)
    await asyncio.wait(calls, timeout=4)
    assert [call.exception() is not None for call in calls] == [True, True]
    assert sorted(caught) == ["me", "other"]
    assert asyncio.get_running_loop() is service.server.get_loop()


@served()
async def test_idle_connections_do_not_delay_the_end(
    service: Service,
) -> None:
    """Neither new ones nor those that are kept alive after a request."""
    new, new_writer = await asyncio.open_connection("127.0.0.1", service.port)
    old, old_writer = await asyncio.open_connection("127.0.0.1", service.port)
    old_writer.write(b"OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (await old.readline()).startswith(b"HTTP/1.1 ")
    await until(lambda: service.stats["accepted"] == 2)
    await service.idle()
    service.server.close()
    await asyncio.wait_for(service.server.wait_closed(), 2)
    assert await new.read() == b""
    assert b"close" not in (await old.read()).lower()
    new_writer.close()
    old_writer.close()


# --- several servers, several loops ----------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_several_servers_in_one_loop(kind: str) -> None:
    """Also when they end in another order than they began: the last one
    must still find its loop to be the current one."""

    def app(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        sleep(0.001)
        loops.append(asyncio.get_event_loop())
        return hello(environ, start)

    loops: list[Any] = []

    async def main() -> None:
        first = await start_server(app, "127.0.0.1:0")
        second = await start_server(app, "127.0.0.1:0")
        ports = port_of(first), port_of(second)
        for port in ports * 2:
            assert await fetch(port) == Answer(200, b"hello")
        first.close()
        await first.wait_closed()
        for _ in range(2):
            assert await fetch(ports[1]) == Answer(200, b"hello")
        third = await start_server(app, "127.0.0.1:0")
        second.close()
        await second.wait_closed()
        assert await fetch(port_of(third)) == Answer(200, b"hello")
        third.close()
        await third.wait_closed()
        assert set(loops) == {asyncio.get_running_loop()}

    run_on(kind, main)


def current_loop() -> Any:
    """The thread's current loop as set, or None; never makes one."""
    return mounts._current_loop()


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="not on this Python: asyncio.Runner"
)
def test_current_loop_is_set_and_restored() -> None:
    """Runner(loop_factory=...) does not make its loop the current one, and
    get_event_loop() in a request would find one that never runs."""
    other = asyncio.new_event_loop()
    asyncio.set_event_loop(other)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert current_loop() is other
        async with serving() as service:
            assert current_loop() is loop
            assert await service.call(asyncio.get_event_loop) is loop
        assert current_loop() is other

    try:
        run_on("runner", main)
        assert current_loop() is other
    finally:
        asyncio.set_event_loop(None)
        other.close()


def alone(source: str, *arguments: str) -> "tuple[str, str]":
    """What a fresh interpreter prints, with warnings as errors."""
    folder = pathlib.Path(__file__).parent
    begin = f"import asyncio, sys; sys.path.insert(0, {str(folder)!r})\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", begin + source, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_no_warnings(kind: str) -> None:
    """Asking for the current loop warns where none was ever set (3.12)."""
    if kind == "runner" and sys.version_info < (3, 11):
        pytest.skip("not on this Python: asyncio.Runner")
    source = textwrap.dedent("""
        from embedded import run_on, serving
        async def main():
            async with serving() as service:
                print(await service.call(int))
        run_on(sys.argv[1], main)
    """)
    assert alone(source, kind) == ("0\n", "")


def test_one_loop_after_the_other() -> None:
    """Nothing of a loop that is gone may be left in the thread's state."""

    async def main() -> "tuple[Any, Any]":
        async with serving() as service:
            seen = await service.call(asyncio.get_event_loop)
            assert seen is asyncio.get_running_loop()
            return weakref.ref(seen), weakref.ref(service.server)

    for kind in KINDS:
        if kind == "runner" and sys.version_info < (3, 11):
            continue
        references = run_on(kind, main)
        gc.collect()
        assert [reference() for reference in references] == [None, None]


def test_a_server_that_was_not_closed() -> None:
    """asyncio.run() ends without closing it: the next one is not harmed."""

    async def forgetful() -> None:
        await start_server(hello, "127.0.0.1:0")

    async def main() -> None:
        async with serving() as service:
            assert await service.call(lambda: await_(asyncio.sleep(0))) is None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(forgetful())
        gc.collect()
        asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_closed_after_its_loop(kind: str) -> None:
    """As that of asyncio, so that its port is free again."""

    def app(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        sleep(60)
        return []

    async def main() -> Any:
        server = await start_server(app, "127.0.0.1:0")
        client.connect(server.sockets[0].getsockname())
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        await until(lambda: server.stats()["busy"] == 1)
        return server

    with socket.socket() as client:
        server = run_on(kind, main)
        address = server.sockets[0].getsockname()
        server.close()
        server.close_now()
        assert server.sockets == () and server.stats() == {}
        assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 5)


def test_a_request_that_runs_when_the_loop_ends() -> None:
    """Nor by a request that still waited then."""

    async def forgetful() -> None:
        service = Service()
        service.server = await start_server(service.app, "127.0.0.1:0")
        service.begin(sleep, 60)
        await until(lambda: service.stats["busy"] == 1)

    async def main() -> None:
        async with serving() as service:
            assert await service.call(lambda: await_(asyncio.sleep(0))) is None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(forgetful())
        gc.collect()
        asyncio.run(main())


def test_what_such_a_request_left_behind() -> None:
    """Says that the request has ended, whatever became of the server."""
    kept: list[Any] = []

    def app(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        kept.append(current_request())
        kept.append(environ["greenloop.client_disconnected"])
        kept.append(environ["wsgi.input"])
        sleep(60)
        return []

    async def forgetful() -> None:
        server = await start_server(app, "127.0.0.1:0")
        client = asyncio.get_running_loop().create_task(fetch(port_of(server)))
        await until(lambda: kept)
        client.cancel()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(forgetful())
        gc.collect()
    ended, departed, body = kept
    assert departed() is True
    for use in (lambda: ended.core, body.read, body.fileno):
        with pytest.raises(RuntimeError, match="has ended"):
            use()


@served(cores=1)
async def test_a_queued_request_starts_in_no_task(service: Service) -> None:
    """It gets its slot while a task is stepped, which ended another one."""
    loop = asyncio.get_running_loop()
    resume: list[Callable[[], object]] = []

    def first() -> None:
        me = greenlet.getcurrent()
        resume.append(me.switch)
        me.parent.switch()

    def second() -> object:
        task = asyncio.current_task(loop)
        sleep(0.001)
        return task

    one = service.begin(first)
    await until(lambda: resume)
    two = service.begin(second)
    await until(lambda: service.stats["waiting"] == 1)
    own = asyncio.current_task()
    resume.pop()()
    assert asyncio.current_task() is own
    assert await one is None and await two is None


@pytest.mark.parametrize("kind", KINDS)
def test_in_another_thread(kind: str) -> None:
    """Each thread has its own hub; both serve at the same time."""
    done = threading.Event()
    ports: list[int] = []
    errors: list[BaseException] = []
    ready = threading.Event()

    async def aside() -> None:
        async with serving() as service:
            result = await service.call(lambda: await_(asyncio.sleep(0, 7)))
            assert result == 7
            ports.append(service.port)
            ready.set()
            while not done.is_set():
                await service.call(sleep, 0.001)

    def thread() -> None:
        try:
            run_on(kind, aside)
        except BaseException as error:
            errors.append(error)
        ready.set()

    async def main() -> None:
        async with serving() as service:
            for _ in range(20):
                assert await service.call(sleep, 0.001) is None

    if kind == "runner" and sys.version_info < (3, 11):
        pytest.skip("not on this Python: asyncio.Runner")
    worker = threading.Thread(target=thread)
    worker.start()
    try:
        assert ready.wait(10)
        run_on(kind, main)
    finally:
        done.set()
        worker.join(10)
    assert errors == [] and len(ports) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_started_by_a_request(kind: str) -> None:
    """On the worker's own loop as well, whose select() is taken already."""

    async def main() -> None:
        async with serving() as service:

            def start() -> Any:
                return await_(start_server(named(b"inner"), "127.0.0.1:0"))

            inner = await service.call(start)
            for _ in range(3):
                assert await fetch(port_of(inner)) == Answer(200, b"inner")
                assert await service.call(sleep, 0.001) is None
            inner.close()
            await inner.wait_closed()
            assert await service.call(sleep, 0.001) is None

    run_on(kind, main)


# --- what it leaves alone --------------------------------------------------


def process_state() -> "dict[str, Any]":
    numbers = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
    return {
        "signals": {n: signal.getsignal(n) for n in numbers},
        "root handlers": list(logging.getLogger().handlers),
        "our handlers": list(logging.getLogger("greenloop").handlers),
        "levels": (logging.root.level, logging.getLogger("greenloop").level),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "directory": os.getcwd(),
        "path": list(sys.path),
        "streams": (sys.stdout, sys.stderr),
        "run": asyncio.run,
        "create_task": asyncio.create_task,
        "wakeup": signal.set_wakeup_fd(-1),
    }


def test_takes_no_state_of_the_process() -> None:
    """It is a guest in somebody's program.  In an interpreter of its own,
    because other tests patch asyncio."""
    source = textwrap.dedent("""
        import test_embedding as t
        async def main():
            before = t.process_state()
            async with t.serving() as service:
                assert await service.call(t.sleep, 0) is None
                during = t.process_state()
            assert before == during == t.process_state()
        asyncio.run(main())
        print("unchanged")
    """)
    assert alone(source) == ("unchanged\n", "")


# --- errors ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_exceptions_are_logged(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        raise {"/key": KeyError, "/exit": SystemExit}[environ["PATH_INFO"]](
            "the application's own"
        )

    async def main() -> None:
        async with await start_server(app, "127.0.0.1:0") as server:
            for path, error in (("/key", KeyError), ("/exit", SystemExit)):
                caplog.clear()
                answer = await fetch(port_of(server), path)
                assert answer.status == 500
                [record] = caplog.records
                assert record.name == "greenloop"
                assert record.levelno == logging.ERROR
                assert f"POST {path}" in record.getMessage()
                assert record.exc_info and record.exc_info[0] is error

    run_on(kind, main)


def test_keyboard_interrupt_in_a_request() -> None:
    """It ends the program as Ctrl-C does, and its server gracefully."""
    server: Any = None
    ended: list[int] = []

    def app(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/interrupt":
            raise KeyboardInterrupt
        sleep(0.1)
        ended.append(1)
        return hello(environ, start)

    async def main() -> None:
        nonlocal server
        server = await start_server(app, "127.0.0.1:0")
        port = port_of(server)
        tasks = [asyncio.ensure_future(fetch(port))]
        await until(lambda: server.stats()["busy"] == 1)
        tasks.append(asyncio.ensure_future(fetch(port, "/interrupt")))
        try:
            await server.serve_forever()
        finally:
            for task in tasks:
                task.cancel()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert server.stats() == {} and ended == [1]


def test_bad_arguments_leave_nothing_behind() -> None:
    async def main() -> None:
        bad: list[tuple[type[Exception], dict[str, Any]]] = [
            (ValueError, {"cores": 0}),
            (ValueError, {"running_loop": "shown"}),
            (TypeError, {"options": {"no_such": 1}}),
            (ValueError, {"options": {"head_max_bytes": 1}}),
            (TypeError, {"options": {"head_max_bytes": "many"}}),
            (ValueError, {"cores": -1}),
            (ValueError, {"options": {"max_queued": -1}}),
            (ValueError, {"options": {"max_queued": 2**64}}),
            (ValueError, {"graceful_timeout": -1}),
            (ValueError, {"graceful_timeout": float("nan")}),
            (TypeError, {"graceful_timeout": "soon"}),
            (TypeError, {"ssl": True}),
            (TypeError, {"cores": 1.5}),
        ]
        before = os.listdir("/proc/self/fd")
        for error, arguments in bad:
            with pytest.raises(error):
                await start_server(hello, "127.0.0.1:0", **arguments)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == len(before)

    asyncio.run(main())


def test_outside_of_a_loop() -> None:
    coroutine = start_server(hello, "127.0.0.1:0")
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


# --- addresses -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_forms_of_addresses(kind: str, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "app.sock")
        sock = socket.create_server(("127.0.0.1", 0))
        addresses: list[Any] = ["127.0.0.1:0", ":0", path, sock]
        async with await start_server(hello, addresses) as server:
            assert len(server.sockets) >= 4
            for one in server.sockets:
                if one.family != socket.AF_UNIX:
                    answer = await fetch(one.getsockname()[1])
                    assert answer == Answer(200, b"hello")
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"hello")
            writer.close()
        assert sock.fileno() == -1  # the server owned it

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_that_does_not_listen_yet(kind: str) -> None:
    async def main() -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        async with await start_server(hello, sock) as server:
            assert await fetch(port_of(server)) == Answer(200, b"hello")

    run_on(kind, main)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: socket.socket(type=socket.SOCK_DGRAM), "a datagram socket"),
        (lambda: socket.socketpair()[0], "Invalid argument"),
        (lambda: socket.socketpair(type=socket.SOCK_SEQPACKET)[0], "neither"),
    ],
)
def test_sockets_that_cannot_listen(
    make: Callable[[], socket.socket], why: str
) -> None:
    """They are closed, as those that could."""

    async def main() -> None:
        good, bad = socket.create_server(("127.0.0.1", 0)), make()
        with pytest.raises(OSError, match=f"cannot listen on <.*{why}"):
            await start_server(hello, [good, bad])
        assert good.fileno() == bad.fileno() == -1

    asyncio.run(main())


def test_addresses_that_cannot_be_listened_on(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with await start_server(hello, "127.0.0.1:0") as server:
            taken = f"127.0.0.1:{port_of(server)}"
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(OSError):
                await start_server(hello, ["127.0.0.1:0", taken])
            with pytest.raises(OSError):
                await start_server(hello, str(tmp_path / "no" / "such"))
            for wrong in ("127.0.0.1:many", "nonsense", "127.0.0.1:99999"):
                with pytest.raises((OSError, ValueError)):
                    await start_server(hello, wrong)
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(main())


# --- the loop beside it ----------------------------------------------------


@served()
async def test_the_program_goes_on_meanwhile(service: Service) -> None:
    """The engine's turns must not starve the loop's other callbacks."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.ensure_future(tick())
    for _ in range(10):
        await asyncio.gather(*(service.begin(sleep, 0.001) for _ in range(8)))
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking
    assert ticks > 20


@served()
async def test_an_idle_server_does_not_spin(service: Service) -> None:
    await service.call(sleep, 0)
    turns = service.stats["turns"]
    used = time.process_time()
    await asyncio.sleep(0.2)
    assert time.process_time() - used < 0.1
    assert service.stats["turns"] - turns < 10


def test_lazy_names() -> None:
    assert greenloop.Server is type(asyncio.run(_closed_server()))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        greenloop.nonsense  # noqa: B018


async def _closed_server() -> Any:
    async with serving() as service:
        return service.server


@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_counted(kind: str) -> None:
    """By names in `options`, and in stats()."""

    async def main() -> None:
        limits = {"max_connections": 1, "max_connections_reject": 1}
        gate = asyncio.get_running_loop().create_future()

        def application(environ: Any, start_response: Any) -> list[bytes]:
            greenloop.await_(gate)
            start_response("200 OK", [])
            return [b""]

        server = await greenloop.start_server(
            application, "127.0.0.1:0", options=limits
        )
        port = server.sockets[0].getsockname()[1]
        first = asyncio.ensure_future(fetch(port))
        await until(lambda: server.stats()["running"] == 1)
        assert (await fetch(port)).status == 503
        assert server.stats()["rejected"] == 1
        gate.set_result(None)
        assert (await first).status == 200
        assert (server.stats()["overflowed"], server.stats()["expired"]) == (
            0,
            0,
        )
        server.close()
        await server.wait_closed()

    run_on(kind, main)
