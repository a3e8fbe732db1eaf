# SPDX-License-Identifier: MIT
"""The synchronous WebSocket: each call parks its own greenlet, no other."""

import asyncio
import contextlib
import signal
import struct
from collections.abc import Iterator

import aiohttp
import pytest
from harness import Server, parallel, server
from websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    open_peer,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from wire import descriptors, reset, resident_bytes, wait_until

APP = """
    import asyncio, greenlet, greenloop, threading, time

    sockets = {}

    def say(*words):
        print(*words, flush=True)

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/":
            start_response("200 OK", [])
            return [str(len(sockets)).encode()]
        ws = greenloop.websocket(environ, ping_interval=0)
        function = globals()[path.strip("/")]
        return function(ws, environ["QUERY_STRING"])

    def echo(ws, query):
        for message in ws:
            ws.send(message)
        say("iterated", ws.closed)

    def types(ws, query):
        for message in ws:
            ws.send(f"{type(message).__name__} {len(message)}")

    def odd_sends(ws, query):
        ws.send(bytearray(b"1"))
        ws.send(memoryview(b"22"))
        for bad in (None, 3, "\\ud800", [b"x"]):
            try:
                ws.send(bad)
            except (TypeError, UnicodeEncodeError) as error:
                say(type(error).__name__)
        ws.send("")
        ws.receive()

    def returns(ws, query):
        return [b"", b""] if query == "items" else None

    def closes(ws, query):
        code, _, reason = query.partition("-")
        ws.close(int(code), reason)
        say("closed", ws.closed)
        ws.close()
        try:
            ws.send("too late")
        except greenloop.WebSocketClosed as error:
            say("send:", error.code, repr(error.reason))
        try:
            ws.receive()
        except ConnectionError as error:
            say("receive:", error.code, repr(error.reason))

    def bad_close(ws, query):
        for arguments in ((999,), (1005,), (1006,), (1015,), (5000,),
                          (1000, "x" * 124), (1000, "\\ud800"), ("1000",)):
            try:
                ws.close(*arguments)
            except (TypeError, ValueError) as error:
                say(type(error).__name__)
        ws.send("open")

    def raises(ws, query):
        raise KeyError("broken on purpose")

    def ends(ws, query):
        try:
            while True:
                ws.receive()
        except greenloop.WebSocketClosed as error:
            say("ended", error.code, repr(error.reason), str(error))
            raise

    def iterates(ws, query):
        for message in ws:
            pass
        say("ended well")

    def timeout(ws, query):
        for seconds in (0, 0.05):
            try:
                ws.receive(timeout=seconds)
            except asyncio.TimeoutError:
                say("timed out", seconds)
        for bad in (-1, "x", float("nan")):
            try:
                ws.receive(bad)
            except (TypeError, ValueError) as error:
                say("timeout:", type(error).__name__)
        ws.send("now")
        ws.send(ws.receive(10))

    def polls(ws, query):
        '''Nothing else has a turn: only receive() looks.'''
        ws.send("polling")
        for tries in range(1000):
            try:
                ws.send(ws.receive(timeout=0))
                break
            except asyncio.TimeoutError:
                time.sleep(0.01)

    def thrown_between(ws, query):
        '''The first may have to be waited for, the third has others run.'''
        me = greenlet.getcurrent()
        ws.receive()
        ws.receive()
        time.sleep(0.05)
        asyncio.get_event_loop().call_soon(me.throw, ValueError("in between"))
        try:
            say("no exception:", ws.receive())
        except ValueError as error:
            say(error)
        ws.send(ws.receive())

    def pings(ws, query):
        ws.ping()
        ws.ping(b"abc")
        ws.ping("def")
        for bad in (b"x" * 126, 3):
            try:
                ws.ping(bad)
            except (TypeError, ValueError) as error:
                say("ping:", type(error).__name__)
        ws.receive()

    def named(ws, query):
        sockets[query] = ws
        say("is there:", query)
        try:
            for message in ws:
                to, _, text = message.partition(" ")
                try:
                    sockets[to].send(text)
                except greenloop.WebSocketClosed as error:
                    ws.send(f"{to} is gone: {error.code}")
        finally:
            say("leaves:", query)

    def flood(ws, query):
        say("flooding")
        for n in range(int(query)):
            ws.send(b"x" * 65536)
        say("flooded")

    def greenlets(ws, query):
        me = greenlet.getcurrent()
        got = []

        def reader():
            for message in ws:
                got.append(message)
                if message == "done":
                    break
            ws.send(" ".join(got))

        child = greenlet.greenlet(reader)
        child.switch()

    def left_behind(ws, query):
        def reader():
            try:
                ws.receive()
            finally:
                say("reader ended")

        def parked():
            me = greenlet.getcurrent()
            ws.send("ready")
            try:
                greenloop.sleep(30)
            finally:
                say("sleeper ended")

        first = greenloop.spawn(reader)
        greenloop.sleep(0)
        try:
            ws.receive()
        except RuntimeError as error:
            say("second receiver:", error)
        ws.send("ready")

    def threads(ws, query):
        def other():
            for use in (lambda: ws.send("x"), ws.receive, ws.close, ws.fileno):
                try:
                    use()
                except RuntimeError as error:
                    say("thread:", error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        ws.send("here")

    def thrown(ws, query):
        me = greenlet.getcurrent()
        loop = asyncio.get_event_loop()
        loop.call_later(0.02, lambda: me.throw(ValueError("thrown in")))
        try:
            ws.receive()
        except ValueError as error:
            say(error)
        loop.call_later(0.02, me.switch)  # is none of its business
        ws.send("go on")
        ws.send(ws.receive())

    def in_callback(ws, query):
        loop = asyncio.get_event_loop()

        def callback():
            ws.send("from a callback")
            try:
                ws.receive()
            except RuntimeError as error:
                say("callback:", error)

        loop.call_soon(callback)
        greenloop.sleep(0.02)
        ws.receive()

    def descriptor(ws, query):
        loop = asyncio.get_event_loop()
        loop.add_reader(ws.fileno(), lambda: None)
        ws.send(str(ws.fileno()))

    def awaits(ws, query):
        async def double(text):
            await asyncio.sleep(0.001)
            return text * 2
        for message in ws:
            ws.send(greenloop.await_(double(message)))
"""
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(scope="module", params=LOOPS)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    options = ("--loop", request.param, "--asyncio", "100")
    with server(APP, *options, allow_traceback=True) as running:
        yield running


def url(s: Server, path: str) -> str:
    return f"ws://127.0.0.1:{s.port}{path}"


MESSAGES: "list[str | bytes]" = [
    "hello",
    b"\x00\xff",
    "",
    b"",
    "é\U0001f600" * 40000,
    b"x" * 125,
    b"x" * 126,
    b"x" * 65535,
    b"x" * 65536,
    b"x" * 1048576,
]


@pytest.mark.smoke
@pytest.mark.parametrize("compression", ["deflate", None])
def test_echo_to_websockets(s: Server, compression: "str | None") -> None:
    address = url(s, "/echo")
    with connect(address, compression=compression, max_size=None) as ws:
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=20) == message
    assert ws.protocol.close_code == 1000


@pytest.mark.parametrize("compress", [0, 9, 15])
def test_echo_to_aiohttp(s: Server, compress: int) -> None:
    async def main() -> "int | None":
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                s.url + "/echo", compress=compress, max_msg_size=0
            ) as ws,
        ):
            for message in MESSAGES:
                if isinstance(message, str):
                    await ws.send_str(message)
                    assert await ws.receive_str() == message
                else:
                    await ws.send_bytes(message)
                    assert await ws.receive_bytes() == message
            await ws.close(code=4001, message=b"bye")
            return ws.close_code

    assert asyncio.run(main()) == 4001


def test_text_is_str_and_binary_is_bytes(s: Server) -> None:
    with open_peer(s, "/types") as peer:
        peer.send(TEXT, "zwölf".encode())
        assert peer.frame().payload == b"str 5"
        peer.send(BINARY, b"12")
        assert peer.frame().payload == b"bytes 2"
        peer.send(TEXT, b"")
        assert peer.frame().payload == b"str 0"


def test_what_can_be_sent(s: Server) -> None:
    with open_peer(s, "/odd_sends") as peer:
        assert peer.frame() == Frame(BINARY, b"1")
        assert peer.frame() == Frame(BINARY, b"22")
        assert peer.frame() == Frame(TEXT, b"")
    s.wait_for("TypeError\nTypeError\nUnicodeEncodeError\nTypeError\n")


def test_fragments_are_one_message(s: Server) -> None:
    with open_peer(s, "/types") as peer:
        peer.send(TEXT, b"a\xc3", fin=False)
        peer.send(PING, b"between")
        peer.send(CONTINUATION, b"\xa4", fin=False)
        peer.send(CONTINUATION, b"", fin=False)
        peer.send(CONTINUATION, b"b")
        assert peer.frame() == Frame(PONG, b"between")
        assert peer.frame().payload == b"str 3"


@pytest.mark.parametrize("query", ["", "items"])
def test_returning_closes(s: Server, query: str) -> None:
    with open_peer(s, f"/returns?{query}") as peer:
        assert peer.frame() == Frame(CLOSE, struct.pack("!H", 1000))
        assert peer.at_end()


def test_closing(s: Server) -> None:
    with open_peer(s, "/closes?4000-enough") as peer:
        peer.send(TEXT, b"this is dropped")
        frame = peer.frame()
        assert (frame.code, frame.payload[2:]) == (4000, b"enough")
        assert "closed True" not in s.out  # it waits for our answer
        peer.send(TEXT, b"and this")
        peer.send(CLOSE, struct.pack("!H", 4000) + b"yes")
        s.wait_for("closed True")
        assert peer.at_end()
    s.wait_for("send: 4000 'yes'")
    s.wait_for("receive: 4000 'yes'")


def test_codes_that_may_not_be_sent(s: Server) -> None:
    with open_peer(s, "/bad_close") as peer:
        assert peer.frame() == Frame(TEXT, b"open")
        assert peer.frame().code == 1000
    wait_until(
        lambda: (
            s.out.count("ValueError\n") >= 6
            and "UnicodeEncodeError" in s.out
            and "TypeError" in s.out
        ),
        "each was refused",
    )


def test_an_exception_closes_with_1011(s: Server) -> None:
    with open_peer(s, "/raises") as peer:
        assert peer.frame().code == 1011
        assert peer.at_end()
    s.wait_for("error in a request: GET /raises")
    s.wait_for("KeyError: 'broken on purpose'")


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, b""), (1001, b"away"), (4999, b"\xc3\xa4")]
)
def test_the_end_that_a_client_gives(
    s: Server, code: int, reason: bytes
) -> None:
    before = len(s.err)
    with open_peer(s, "/ends") as peer:
        frame = peer.close(code, reason)
        assert frame.code == code
        assert peer.at_end()
    s.wait_for(f"ended {code} {reason.decode()!r}")
    assert "Traceback" not in s.err[before:]


def test_an_end_without_a_code(s: Server) -> None:
    with open_peer(s, "/ends") as peer:
        peer.send(CLOSE)
        assert peer.frame() == Frame(CLOSE, b"")
        assert peer.at_end()
    s.wait_for("ended 1005 ''")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_vanishes(s: Server, how: str) -> None:
    before = s.out.count("ended 1006")
    with open_peer(s, "/ends") as peer:
        if how == "reset":
            reset(peer.sock)
        else:
            peer.sock.close()
        s.wait_printed("ended 1006", before + 1)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(TEXT, b"\xff", {})], 1007),
        ([(TEXT, b"x", {"masked": False})], 1002),
        ([(TEXT, b"x", {"rsv1": True})], 1002),
        ([(CONTINUATION, b"x", {})], 1002),
        ([(3, b"x", {})], 1002),
        ([(PING, b"x", {"fin": False})], 1002),
        ([(BINARY, b"x" * 1048577, {})], 1009),
    ],
)
def test_what_is_against_the_rules(
    s: Server, frames: "list[tuple[int, bytes, dict[str, bool]]]", code: int
) -> None:
    before = s.out.count(f"ended {code} ")
    with open_peer(s, "/ends") as peer:
        for opcode, payload, how in frames:
            with contextlib.suppress(ConnectionError):
                peer.send(opcode, payload, **how)
        assert peer.frame().code == code
    s.wait_printed(f"ended {code} ", before + 1)


def test_iteration_ends_quietly(s: Server) -> None:
    for n, code in enumerate((1000, 1001), s.out.count("ended well") + 1):
        with open_peer(s, "/iterates") as peer:
            assert peer.close(code).code == code
            s.wait_printed("ended well", n)


def test_iteration_raises_for_other_ends(s: Server) -> None:
    before = s.out.count("ended well")
    with open_peer(s, "/iterates") as peer:
        assert peer.close(1008).code == 1008
        assert peer.at_end()
    assert s.get("/").status == 200
    assert s.out.count("ended well") == before


def test_timeouts(s: Server) -> None:
    with open_peer(s, "/timeout") as peer:
        assert peer.frame().payload == b"now"
        peer.send(TEXT, b"in time")
        assert peer.frame().payload == b"in time"
    for line in ("timed out 0\n", "timed out 0.05"):
        s.wait_for(line)
    s.wait_printed("timeout: ValueError", 2)
    s.wait_for("timeout: TypeError")


def test_a_timeout_of_zero_looks(s: Server) -> None:
    with open_peer(s, "/polls") as peer:
        assert peer.frame().payload == b"polling"
        peer.send(TEXT, b"found")
        assert peer.frame().payload == b"found"


def test_pings(s: Server) -> None:
    with open_peer(s, "/pings") as peer:
        assert peer.frame() == Frame(PING, b"")
        assert peer.frame() == Frame(PING, b"abc")
        assert peer.frame() == Frame(PING, b"def")
        for payload in (b"", b"abc", b"def"):
            peer.send(PONG, payload)
    s.wait_for("ping: ValueError")
    s.wait_for("ping: TypeError")


def test_keep_alive_pings() -> None:
    """A silent client is asked, one that does not answer is dropped."""
    app = """
        import greenloop
        def application(environ, start_response):
            ws = greenloop.websocket(environ)
            try:
                ws.receive()
            except greenloop.WebSocketClosed as error:
                print("ended", error.code, flush=True)
    """
    options = (
        "--websockets-ping-freq",
        "0.1",
        "--websockets-pong-tolerance",
        "0.3",
    )
    with server(app, *options) as s, open_peer(s, "/") as peer:
        for _ in range(3):
            assert peer.frame().opcode == PING
            peer.send(PONG)
        assert "ended" not in s.out
        assert peer.frame().opcode == PING
        s.wait_for("ended 1006")


def test_one_request_sends_to_another(s: Server) -> None:
    with open_peer(s, "/named?a") as a, open_peer(s, "/named?b") as b:
        s.wait_for("is there: a")
        s.wait_for("is there: b")
        a.send(TEXT, b"b hello b")
        assert b.frame().payload == b"hello b"
        b.send(TEXT, b"a hello a")
        assert a.frame().payload == b"hello a"
        assert b.close().code == 1000
        s.wait_for("leaves: b")
        a.send(TEXT, b"b are you there?")
        assert a.frame().payload == b"b is gone: 1000"


def test_a_sender_waits_for_a_socket_that_ends(s: Server) -> None:
    """Parked in another request's send(), it is told of the end."""
    with open_peer(s, "/named?c") as c:
        s.wait_for("is there: c")
        with open_peer(s, "/named?slow", receive_bytes=4096) as slow:
            s.wait_for("is there: slow")
            c.sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                while True:  # until it is parked and reads no more
                    c.send(TEXT, b"slow " + b"x" * 1000000)
            c.sock.settimeout(20)
            reset(slow.sock)
            assert c.frame().payload.startswith(b"slow is gone: 1006")


def test_a_slow_reader_keeps_nobody_waiting(s: Server) -> None:
    """Its sender parks; the memory of the server stays as it is."""
    with open_peer(s, "/flood?400", receive_bytes=4096) as peer:
        s.wait_for("flooding")
        before = resident_bytes(s.pid)
        answers = parallel(4, lambda _: s.get("/").status)
        assert answers == [200] * 4
        assert "flooded" not in s.out
        assert resident_bytes(s.pid) - before < 8 << 20
        total = 0
        while (frame := peer.frame()).opcode != CLOSE:
            total += len(frame.payload)
        assert total == 400 * 65536
    s.wait_for("flooded")


def test_in_another_greenlet_of_the_request(s: Server) -> None:
    with open_peer(s, "/greenlets") as peer:
        for text in (b"one", b"two", b"done"):
            peer.send(TEXT, text)
        assert peer.frame().payload == b"one two done"
        assert peer.frame().code == 1000


def test_what_a_request_leaves_behind(s: Server) -> None:
    """Who still receives when the request ends is told so."""
    with open_peer(s, "/left_behind") as peer:
        assert peer.frame().payload == b"ready"
        assert peer.frame().code == 1000
        s.wait_for("second receiver: somebody else is receiving")
        s.wait_for("reader ended")


def test_from_another_thread(s: Server) -> None:
    with open_peer(s, "/threads") as peer:
        assert peer.frame().payload == b"here"
    s.wait_printed("call_soon_threadsafe", 4)


def test_thrown_in(s: Server) -> None:
    with open_peer(s, "/thrown") as peer:
        assert peer.frame().payload == b"go on"
        s.wait_for("thrown in")
        peer.send(TEXT, b"received")
        assert peer.frame().payload == b"received"


def test_what_is_thrown_in_costs_no_message(s: Server) -> None:
    with open_peer(s, "/thrown_between") as peer:
        peer.sock.sendall(
            b"".join(peer.bytes_of(TEXT, b"%d" % n) for n in range(3))
        )
        assert peer.frame().payload == b"2"
    s.wait_for("in between")


def test_in_a_callback(s: Server) -> None:
    with open_peer(s, "/in_callback") as peer:
        assert peer.frame().payload == b"from a callback"
        s.wait_for("callback: waiting for a WebSocket can only be called by")


def test_readers_are_removed(s: Server) -> None:
    """B4: the next client with that descriptor is served."""
    for _ in range(3):
        with open_peer(s, "/descriptor") as peer:
            assert peer.frame().payload.isdigit()
            assert peer.frame().code == 1000
            assert peer.at_end()
        assert s.get("/").status == 200


def test_coroutines_in_between(s: Server) -> None:
    def one(n: int) -> None:
        with connect(url(s, "/awaits")) as ws:
            for i in range(20):
                ws.send(f"{n}.{i} ")
                assert ws.recv(timeout=20) == f"{n}.{i} " * 2

    parallel(8, one)


def test_no_descriptor_stays(s: Server) -> None:
    assert s.get("/").status == 200
    before = descriptors(s.pid)
    for path in ("/echo", "/ends", "/returns", "/raises"):
        with open_peer(s, path):
            pass
    wait_until(lambda: descriptors(s.pid) <= before, "all are closed")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("answers", [True, False])
def test_the_server_stops(loop: str, answers: bool) -> None:
    """Clients are told 1001; who does not answer is not waited for long."""
    app = """
        import greenloop
        def application(environ, start_response):
            ws = greenloop.websocket(environ)
            ws.send("hello")
            try:
                while True:
                    ws.receive()
            except greenloop.WebSocketClosed as error:
                print("ended", error.code, flush=True)
            except BaseException as error:
                print("thrown", type(error).__name__, flush=True)
                raise
    """
    options = ("--loop", loop, "--graceful-timeout", "1.5")
    with server(app, *options) as s, open_peer(s, "/") as peer:
        assert peer.frame().payload == b"hello"
        s.send_signal(signal.SIGTERM)
        assert peer.frame().code == 1001
        if answers:
            peer.send(CLOSE, struct.pack("!H", 1001))
            s.wait_for("ended 1001")
            assert peer.at_end()
        else:
            s.wait_for("thrown GreenletExit")
        assert s.wait_exit() == 0


def test_cancel_on_disconnect_is_for_http() -> None:
    """A WebSocket's own calls tell of its end."""
    with (
        server(APP, "--cancel-on-disconnect") as s,
        open_peer(s, "/ends") as peer,
    ):
        assert peer.close().code == 1000
        peer.sock.close()
        s.wait_for("ended 1000")
    assert "ClientDisconnected" not in s.log


def test_a_client_sees_the_code_of_a_failure(s: Server) -> None:
    with connect(url(s, "/raises")) as ws:
        with pytest.raises(ConnectionClosed) as raised:
            ws.recv(timeout=20)
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1011
