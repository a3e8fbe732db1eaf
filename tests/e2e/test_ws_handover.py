# SPDX-License-Identifier: MIT
"""WebSockets that were handed over to a coroutine on the loop."""

import asyncio
import signal
import struct
import sys
from collections.abc import Iterator

import aiohttp
import pytest
from harness import Server, server
from websocket_peer import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Frame,
    handshake,
    open_peer,
)
from websockets.sync.client import connect
from wire import (
    descriptors,
    real_memory,
    reset,
    resident_bytes,
    wait_until,
)

APP = """
    import asyncio, contextvars, greenloop, threading

    room = set()
    name = contextvars.ContextVar("name", default="nobody")

    def say(*words):
        print(*words, flush=True)

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/":
            start_response("200 OK", [])
            return [str(len(room)).encode()]
        if path == "/sends":
            start_response("200 OK", [])
            return [send_to_short_one().encode()]
        ws = greenloop.websocket(environ, subprotocols=["v1"])
        name.set(environ["QUERY_STRING"])
        if path == "/misuse":
            return misuse(ws)
        if path == "/wrapped":
            return middleware(ws.hand_over(echo))
        if path == "/finally":
            try:
                return ws.hand_over(echo)
            finally:
                greenloop.sleep(0.05)
                say("after the hand-over")
        return ws.hand_over(globals()[path.strip("/")])

    def middleware(items):
        for item in items:
            yield item

    async def echo(ws):
        async for message in ws:
            await ws.send(message)
        say("iterated", ws.closed)

    async def about(ws):
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop) is not None
        await ws.send(f"{type(ws).__name__} {ws.subprotocol} {name.get()} "
                      f"{task} {ws.closed} {ws.fileno() > 0}")

    async def returns(ws):
        pass

    async def raises(ws):
        await ws.receive()
        raise KeyError("broken on purpose")

    async def ends(ws):
        try:
            while True:
                await ws.receive()
        except greenloop.WebSocketClosed as error:
            say("ended", error.code, repr(error.reason))
            raise

    async def iterates(ws):
        async for message in ws:
            pass
        say("ended well")

    async def closes(ws):
        await ws.close(4000, "enough")
        say("closed", ws.closed)
        await ws.close()
        for use in (lambda: ws.send("late"), ws.receive):
            try:
                await use()
            except greenloop.WebSocketClosed as error:
                say("late:", error.code, repr(error.reason))

    async def chat(ws):
        room.add(ws)
        try:
            async for message in ws:
                for other in list(room):
                    await other.send(message)
        finally:
            room.discard(ws)

    async def gathers(ws):
        room.add(ws)
        async for message in ws:
            if message == "close others":
                for other in room - {ws}:
                    await other.close()
            results = await asyncio.gather(
                *(other.send(message) for other in room),
                return_exceptions=True)
            say("gathered", sorted(type(r).__name__ for r in results))

    async def asyncio_uses(ws):
        for tries in range(2):
            try:
                await asyncio.wait_for(ws.receive(), 0.05)
            except asyncio.TimeoutError:
                say("timed out")
        task = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        try:
            await ws.receive()
        except RuntimeError as error:
            say("second:", error)
        await ws.send("go")
        await ws.send(await task)
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(ws.receive())], timeout=10)
        await ws.send(done.pop().result())
        cancelled = asyncio.create_task(ws.receive())
        await asyncio.sleep(0.01)
        cancelled.cancel()
        try:
            await cancelled
        except asyncio.CancelledError:
            say("cancelled")
        await ws.send("still here")
        await ws.send(await ws.receive())
        once = ws.receive()
        await ws.send("again")
        await once
        try:
            await once
        except RuntimeError as error:
            say("reused:", error)

    async def misuses(ws):
        for bad in (None, 3, "\\ud800"):
            try:
                ws.send(bad)
            except (TypeError, UnicodeEncodeError) as error:
                say("send:", type(error).__name__)
        for bad in ((999,), (1000, "x" * 124), ("x",)):
            try:
                ws.close(*bad)
            except (ValueError, TypeError) as error:
                say("close:", type(error).__name__)
        def other():
            for use in (lambda: ws.send("x"), lambda: ws.close()):
                try:
                    use()
                except RuntimeError as error:
                    say("thread:", error)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        ws.ping(b"now")
        await ws.send("done")

    class Parks:
        def __init__(self, then):
            self.then = then

        def __buffer__(self, flags):
            return memoryview(b"parked")

        def __release_buffer__(self, view):
            self.then()

    async def short(ws):
        short_ones.append(ws)
        await ws.send("here")
        await ws.receive()

    def send_to_short_one():
        ws = short_ones.pop()
        ws.send(Parks(lambda: greenloop.sleep(0.2)))
        return str(ws.closed)

    short_ones = []

    def misuse(ws):
        async def handler(ws):
            pass
        for bad in (None, lambda ws: None, lambda ws: ws.send("x")):
            try:
                ws.hand_over(bad)
            except (TypeError, greenloop.WebSocketError) as error:
                say("hand_over:", type(error).__name__)
        result = ws.hand_over(echo)
        for use in (lambda: ws.hand_over(echo), lambda: ws.send("x"),
                    ws.receive, ws.close, ws.fileno):
            try:
                use()
            except greenloop.WebSocketError as error:
                say("handed over:", "use the object" in str(error))
        return result

    async def flood(ws):
        say("flooding")
        for n in range(400):
            await ws.send(b"x" * 65536)
        say("flooded")

    async def careless(ws):
        say("careless")
        for n in range(400):
            ws.send(b"x" * 65536)
        say("sent what it could")

    async def stubborn(ws):
        try:
            async for message in ws:
                await ws.send(message)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            say("cancelled")
            raise
        finally:
            say("unwound")

    async def greedy(ws):
        loop = asyncio.get_running_loop()
        turns = 0
        def turn():
            nonlocal turns
            turns += 1
            loop.call_later(0.001, turn)
        turn()
        n = 0
        async for message in ws:
            n += 1
            if message == b"end":
                break
        await ws.send(f"{n} {turns > 3}")
"""
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module", params=LOOPS)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    # Two cores: what is handed over must not keep one.
    options = ("--loop", request.param, "--asyncio", "2")
    with server(APP, *options, allow_traceback=True) as running:
        yield running


MESSAGES: "list[str | bytes]" = ["hello", b"\x00\xff", "", "é" * 99999]


@pytest.mark.smoke
@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("path", ["/echo", "/wrapped", "/finally"])
def test_echo_to_websockets(
    s: Server, path: str, compression: "str | None"
) -> None:
    address = f"ws://127.0.0.1:{s.port}{path}"
    with connect(address, compression=compression, max_size=None) as ws:
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=20) == message
    assert ws.protocol.close_code == 1000


def test_echo_to_aiohttp(s: Server) -> None:
    async def main() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(s.url + "/echo", compress=15) as ws,
        ):
            for _ in range(100):
                await ws.send_str("a message, and once more a message")
            for _ in range(100):
                text = await ws.receive_str()
                assert text == "a message, and once more a message"

    asyncio.run(main())


def test_what_the_handler_gets(s: Server) -> None:
    with open_peer(s, "/about?me", "Sec-WebSocket-Protocol: v1") as peer:
        wanted = b"AsyncWebSocket v1 me True False True"
        assert peer.frame() == Frame(TEXT, wanted)
        assert peer.frame().code == 1000


def test_frames_that_came_with_the_request(s: Server) -> None:
    with open_peer(s, "/echo") as peer:
        burst = b"".join(
            peer.bytes_of(TEXT, b"%d" % n, fin=True) for n in range(50)
        )
        peer.sock.sendall(burst)
        got = [peer.frame().payload for n in range(50)]
        assert got == [b"%d" % n for n in range(50)]


def test_no_core_is_kept(s: Server) -> None:
    """More than there are cores, and the cores still serve."""
    peers = [open_peer(s, "/echo") for _ in range(20)]
    opened = [peer.__enter__() for peer in peers]
    assert s.get("/").status == 200
    for n, peer in enumerate(opened):
        peer.send(BINARY, b"%d" % n)
    for n, peer in enumerate(opened):
        assert peer.frame() == Frame(BINARY, b"%d" % n)
        assert peer.close().code == 1000
    for peer in peers:
        peer.__exit__(None, None, None)


def test_returning_closes(s: Server) -> None:
    with open_peer(s, "/returns") as peer:
        assert peer.frame().code == 1000
        assert peer.at_end()


def test_an_exception_is_logged(s: Server) -> None:
    with open_peer(s, "/raises?x=1") as peer:
        peer.send(TEXT, b"go")
        assert peer.frame().code == 1011
        assert peer.at_end()
    s.wait_for("error in a WebSocket's handler: GET /raises?x=1")
    s.wait_for("KeyError: 'broken on purpose'")
    assert "was never retrieved" not in s.err


@pytest.mark.parametrize("code", [1000, 1001, 4000])
def test_the_end_that_a_client_gives(s: Server, code: int) -> None:
    before = len(s.err)
    with open_peer(s, "/ends") as peer:
        assert peer.close(code, b"why").code == code
        assert peer.at_end()
    s.wait_for(f"ended {code} 'why'")
    assert "Traceback" not in s.err[before:]


def test_a_client_that_vanishes(s: Server) -> None:
    with open_peer(s, "/ends") as peer:
        reset(peer.sock)
        s.wait_for("ended 1006 ")
    before = s.out.count("ended well")
    with open_peer(s, "/iterates") as peer:
        assert peer.close(1001).code == 1001
        s.wait_printed("ended well", before + 1)


def test_closing(s: Server) -> None:
    with open_peer(s, "/closes") as peer:
        assert peer.frame().code == 4000
        peer.send(TEXT, b"this is dropped")
        peer.send(CLOSE, struct.pack("!H", 4000))
        s.wait_for("closed True")
        assert peer.at_end()
    s.wait_for("late: 4000 ''")


def test_broadcast(s: Server) -> None:
    peers = [open_peer(s, "/chat") for _ in range(10)]
    opened = [peer.__enter__() for peer in peers]
    wait_until(lambda: s.get("/").body == b"10", "all are in the room")
    for n in range(20):
        opened[n % 10].send(TEXT, b"%d" % n)
        for peer in opened:
            assert peer.frame() == Frame(TEXT, b"%d" % n)
    for peer in peers:
        peer.__exit__(None, None, None)
    wait_until(lambda: s.get("/").body == b"0", "all have left the room")


def test_gather_tells_of_each(s: Server) -> None:
    with open_peer(s, "/gathers") as one, open_peer(s, "/gathers") as two:
        two.send(TEXT, b"both")
        assert two.frame() == Frame(TEXT, b"both")
        if one.frame() == Frame(TEXT, b"both"):
            s.wait_for("gathered ['NoneType', 'NoneType']")
        assert one.close().code == 1000
        assert one.at_end()
        two.send(TEXT, b"who is left")
        assert two.frame() == Frame(TEXT, b"who is left")
        s.wait_for("gathered ['NoneType', 'WebSocketClosed']")


def test_what_asyncio_makes_of_it(s: Server) -> None:
    before = s.out.count("timed out")
    with open_peer(s, "/asyncio_uses") as peer:
        assert peer.frame().payload == b"go"
        for text in (b"to the task", b"to the future"):
            peer.send(TEXT, text)
            assert peer.frame().payload == text
        assert peer.frame().payload == b"still here"
        peer.send(TEXT, b"nothing is lost")
        assert peer.frame().payload == b"nothing is lost"
        assert peer.frame().payload == b"again"
        peer.send(TEXT, b"x")
        assert peer.frame().code == 1000
    s.wait_printed("timed out", before + 2)
    s.wait_for("second: somebody else is receiving")
    s.wait_for("reused: this was awaited already")
    assert "cancelled\n" in s.out


def test_misuse(s: Server) -> None:
    with open_peer(s, "/misuses") as peer:
        assert peer.frame() == Frame(PING, b"now")
        assert peer.frame() == Frame(TEXT, b"done")
    with open_peer(s, "/misuse") as peer:
        peer.send(TEXT, b"works")
        assert peer.frame() == Frame(TEXT, b"works")
    s.wait_for("send: UnicodeEncodeError")
    s.wait_for("close: TypeError")
    s.wait_printed("hand_over: TypeError", 3)
    s.wait_printed("handed over: True", 5)
    s.wait_printed("call_soon_threadsafe", 2)


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="not on this Python: no __release_buffer__",
)
def test_it_ends_while_a_buffer_is_released(s: Server) -> None:
    with open_peer(s, "/short") as peer, s.connect() as other:
        assert peer.frame().payload == b"here"
        other.sendall(b"GET /sends HTTP/1.0\r\n\r\n")
        assert peer.frame().payload == b"parked"
        peer.send(TEXT, b"end")
        assert peer.frame().code == 1000
        answer = b""
        while piece := other.recv(65536):
            answer += piece
        assert answer.endswith(b"True")


def test_a_slow_reader_keeps_nobody_waiting(s: Server) -> None:
    with open_peer(s, "/flood", receive_bytes=4096) as peer:
        s.wait_for("flooding")
        before = resident_bytes(s.pid)
        assert s.get("/").status == 200
        assert "flooded" not in s.out
        assert resident_bytes(s.pid) - before < 8 << 20
        total = 0
        while (frame := peer.frame()).opcode != CLOSE:
            total += len(frame.payload)
        assert total == 400 * 65536
    s.wait_for("flooded")


@real_memory
def test_what_is_not_awaited_is_bounded(s: Server) -> None:
    """A slow client costs its buffer; a warning tells what it misses."""
    before = resident_bytes(s.pid)
    with open_peer(s, "/careless", receive_bytes=4096):
        s.wait_for("sent what it could")
        assert resident_bytes(s.pid) - before < 8 << 20
    s.wait_for("RuntimeWarning: a WebSocket's send() was not awaited")


def test_a_flood_leaves_the_loop_its_turns(s: Server) -> None:
    with open_peer(s, "/greedy") as peer:
        burst = peer.bytes_of(BINARY, b"x") * 200000
        peer.sock.sendall(burst + peer.bytes_of(BINARY, b"end"))
        assert peer.frame() == Frame(TEXT, b"200001 True")


def test_no_descriptor_stays(s: Server) -> None:
    assert s.get("/").status == 200
    before = descriptors(s.pid)
    for path in ("/echo", "/ends", "/returns", "/raises"):
        with open_peer(s, path):
            pass
    with s.connect() as sock:
        sock.sendall(handshake("/echo"))
    wait_until(lambda: descriptors(s.pid) <= before, "all are closed")


@pytest.mark.parametrize("loop", LOOPS)
def test_the_server_stops(loop: str) -> None:
    """1001 at once; after the graceful time the tasks are cancelled."""
    options = ("--loop", loop, "--graceful-timeout", "1.5")
    with server(APP, *options) as s, open_peer(s, "/stubborn") as peer:
        peer.send(TEXT, b"hello")
        assert peer.frame().payload == b"hello"
        s.send_signal(signal.SIGTERM)
        assert peer.frame().code == 1001
        peer.send(CLOSE, struct.pack("!H", 1001))
        s.wait_for("cancelled")
        s.wait_for("unwound")
        assert peer.at_end()
        assert s.wait_exit() == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_the_server_stops_at_once_when_all_have_left(loop: str) -> None:
    options = ("--loop", loop, "--graceful-timeout", "60")
    with server(APP, *options) as s, open_peer(s, "/iterates") as peer:
        s.send_signal(signal.SIGTERM)
        assert peer.frame().code == 1001
        peer.send(CLOSE, struct.pack("!H", 1001))
        s.wait_for("ended well")
        assert peer.at_end()
        assert s.wait_exit() == 0


def test_the_access_log_has_it_at_the_hand_over(s: Server) -> None:
    with open_peer(s, "/echo?logged"):
        s.wait_for("GET /echo?logged => generated 0 bytes")
        line = s.err.partition("GET /echo?logged")[2].partition("\n")[0]
        assert "(HTTP/1.1 101)" in line
