# SPDX-License-Identifier: MIT
"""start_response, write() and close() of PEP 3333, right and wrong uses."""

import contextlib
import itertools
import re
from collections.abc import Iterator

import pytest
from harness import Server, server

APP = """
    import sys
    import threading

    kept = []

    def text(start_response, status="200 OK", extra=()):
        return start_response(
            status, [("Content-Type", "text/plain"), *extra]
        )

    def failure():
        try:
            raise KeyError("the reason")
        except KeyError:
            return sys.exc_info()

    def status(environ, start_response):
        text(start_response, environ["HTTP_X_STATUS"])
        return [b"body"]

    def twice(environ, start_response):
        text(start_response, "200 First")
        text(start_response, "200 Second")
        return [b"body"]

    def none_is_no_exc_info(environ, start_response):
        text(start_response, "200 First")
        start_response("200 Second", [], None)
        return [b"body"]

    def exc_info_before(environ, start_response):
        text(start_response, "200 First", [("X-First", "1")])
        start_response("503 Second", [("X-Second", "2")], failure())
        return [b"sorry"]

    def exc_info_keyword(environ, start_response):
        start_response("503 Only", [], exc_info=failure())
        return [b"sorry"]

    def exc_info_after(environ, start_response):
        text(start_response, "200 First", [("Content-Length", "100")])
        yield b"half"
        start_response("503 Second", [], failure())
        yield b"never"

    def exc_info_after_write(environ, start_response):
        text(start_response)(b"half")
        try:
            start_response("503 Second", [], failure())
        except KeyError as error:
            print("raised again:", error, flush=True)
            raise
        return [b"never"]

    def exc_info_wrong(environ, start_response):
        text(start_response)(b"fine")
        for wrong in (1, (), (None, None, None), (1, 2, 3), failure()[:2]):
            try:
                start_response("200 OK", [], wrong)
            except TypeError:
                continue
            raise AssertionError(wrong)
        return []

    def in_a_thread(environ, start_response):
        write = text(start_response)
        words = []
        calls = (
            lambda: write(b"x"),
            lambda: start_response("200 Evil", [], failure()),
            lambda: environ["wsgi.input"].read(1),
        )

        def run():
            for call in calls:
                try:
                    call()
                except RuntimeError as error:
                    words.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return ["|".join(words).encode()]

    def second_chance(environ, start_response):
        try:
            text(start_response, "200 OK", [("X-A", "b\\r\\nX-Evil: 1")])
        except ValueError:
            text(start_response, "200 Better", [("X-A", "c")])
        return [b"fine"]

    def bad_calls(environ, start_response):
        for args in ((), ("200 OK",), ("200 OK", [], None, 1)):
            try:
                start_response(*args)
            except TypeError:
                continue
            raise AssertionError(args)
        text(start_response)
        return [b"fine"]

    WRONG = {
        "status bytes": (b"200 OK", []),
        "status int": (200, []),
        "status None": (None, []),
        "status empty": ("", []),
        "status short": ("20", []),
        "status letters": ("abc OK", []),
        "status joined": ("200OK", []),
        "status long": ("2000 OK", []),
        "status 100": ("100 Continue", []),
        "status 101": ("101 Switching Protocols", []),
        "status 199": ("199 x", []),
        "status 600": ("600 x", []),
        "status CR": ("200 OK\\rX-Evil: 1", []),
        "status LF": ("200 OK\\nX-Evil: 1", []),
        "status CRLF": ("200 OK\\r\\nX-Evil: 1", []),
        "status NUL": ("200 O\\0K", []),
        "status wide": ("200 \\u20ac", []),
        "headers None": ("200 OK", None),
        "headers tuple": ("200 OK", (("X-A", "b"),)),
        "headers dict": ("200 OK", {"X-A": "b"}),
        "headers iterator": ("200 OK", iter([("X-A", "b")])),
        "pair list": ("200 OK", [["X-A", "b"]]),
        "pair str": ("200 OK", ["ab"]),
        "pair of one": ("200 OK", [("X-A",)]),
        "pair of three": ("200 OK", [("X-A", "b", "c")]),
        "name bytes": ("200 OK", [(b"X-A", "b")]),
        "name None": ("200 OK", [(None, "b")]),
        "name empty": ("200 OK", [("", "b")]),
        "name space": ("200 OK", [("X A", "b")]),
        "name end space": ("200 OK", [("X-A ", "b")]),
        "name colon": ("200 OK", [("X-A:", "b")]),
        "name CRLF": ("200 OK", [("X-A\\r\\nX-Evil", "b")]),
        "name LF": ("200 OK", [("X-A\\nX-Evil", "b")]),
        "name NUL": ("200 OK", [("X-A\\0", "b")]),
        "name latin": ("200 OK", [("X-\\xe9", "b")]),
        "name wide": ("200 OK", [("X-\\u20ac", "b")]),
        "value bytes": ("200 OK", [("X-A", b"b")]),
        "value int": ("200 OK", [("X-A", 1)]),
        "value None": ("200 OK", [("X-A", None)]),
        "value CR": ("200 OK", [("X-A", "b\\rX-Evil: 1")]),
        "value LF": ("200 OK", [("X-A", "b\\nX-Evil: 1")]),
        "value CRLF": ("200 OK", [("X-A", "b\\r\\nX-Evil: 1")]),
        "value folded": ("200 OK", [("X-A", "b\\r\\n X-Evil: 1")]),
        "value end": ("200 OK", [("X-A", "b\\r\\n\\r\\nevil body")]),
        "value NUL": ("200 OK", [("X-A", "a long enough \\0 value")]),
        "value DEL": ("200 OK", [("X-A", "\\x7f")]),
        "value wide": ("200 OK", [("X-A", "\\u20ac")]),
        "length text": ("200 OK", [("Content-Length", "four")]),
        "length empty": ("200 OK", [("Content-Length", "")]),
        "length negative": ("200 OK", [("Content-Length", "-4")]),
        "length signed": ("200 OK", [("Content-Length", "+4")]),
        "length list": ("200 OK", [("Content-Length", "4, 4")]),
        "length huge": ("200 OK", [("Content-Length", "9" * 30)]),
        "length twice": (
            "200 OK", [("Content-Length", "4"), ("content-length", "4")]
        ),
        "hop connection": ("200 OK", [("Connection", "upgrade")]),
        "hop keep-alive": ("200 OK", [("Keep-Alive", "timeout=5")]),
        "hop te": ("200 OK", [("TE", "trailers")]),
        "hop trailer": ("200 OK", [("Trailer", "X-T")]),
        "hop coding": ("200 OK", [("Transfer-Encoding", "chunked")]),
        "hop coding case": ("200 OK", [("transfer-ENCODING", "gzip")]),
        "hop upgrade": ("200 OK", [("Upgrade", "websocket")]),
        "too many": ("200 OK", [("X-A", "b" * 1000)] * 1100),
    }

    def wrong(environ, start_response):
        start_response(*WRONG[environ["HTTP_X_CASE"]])
        return [b"body"]

    def wrong_list(environ, start_response):
        text(start_response)
        return [",".join(WRONG).encode()]

    def fields(environ, start_response):
        start_response("200 OK", [
            ("X-Latin", "caf\\xe9"), ("X-Tab", "a\\tb"), ("X-Empty", ""),
            ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"),
            ("Date", "some day"), ("Server", "mine"),
        ])
        return [b""]

    def wants_close(environ, start_response):
        text(start_response, "200 OK", [("Connection", "close")])
        return [b"body"]

    def wants_keep_alive(environ, start_response):
        text(start_response, "200 OK", [("Connection", "keep-alive")])
        return [b"body"]

    def write(environ, start_response):
        write = text(start_response)
        write(b"one,")
        write(b"")
        write(b"two,")
        return [b"three,", b"four"]

    def write_only(environ, start_response):
        text(start_response)(b"all")
        return []

    def write_length(environ, start_response):
        write = text(start_response, "200 OK", [("Content-Length", "6")])
        write(b"one")
        write(b"two")
        return ()

    def write_none(environ, start_response):
        text(start_response)(b"")
        return []

    def write_wrong(environ, start_response):
        write = text(start_response)
        for wrong in ("str", None, 1, bytearray(b"x"), memoryview(b"x")):
            try:
                write(wrong)
            except TypeError:
                continue
            raise AssertionError(wrong)
        return [b"fine"]

    def write_big(environ, start_response):
        write = text(start_response)
        for _ in range(64):
            write(b"x" * 65536)
        return [b"end"]

    def no_start(environ, start_response):
        return [b"body"]

    def no_start_no_body(environ, start_response):
        return []

    def no_start_generator(environ, start_response):
        yield b"body"

    def late_start(environ, start_response):
        text(start_response, "202 Late")
        yield b"body"

    def late_after_empty(environ, start_response):
        yield b""
        text(start_response, "202 Later")
        yield b"body"

    def keep(environ, start_response):
        write = text(start_response)
        kept.append((start_response, write, environ))
        return [b"kept"]

    def use_kept(environ, start_response):
        text(start_response)
        words = []
        for start, write, other in kept:
            stream = other["wsgi.input"]
            for call in (
                lambda: start("200 Evil", []),
                lambda: write(b"evil"),
                lambda: stream.fileno(),
                lambda: stream.read(1),
            ):
                try:
                    call()
                except RuntimeError as error:
                    words.append(str(error))
            words.append(str(stream.closed))
            words.append(str(other["greenloop.client_disconnected"]()))
        return ["|".join(words).encode()]

    def application(environ, start_response):
        return globals()[environ["PATH_INFO"][1:]](environ, start_response)
"""


PAGE = b"Internal Server Error"
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    with server(APP, allow_traceback=True) as running:
        yield running


def failed(
    s: Server, path: str, text: str, method: str = "GET", **fields: str
) -> None:
    """The request gets a 500, and its exception, with `text`, is logged."""
    unique = f"{path}?{next(NUMBERS)}."
    answer = s.request(method, unique, None, fields)
    assert answer.status == 500
    assert answer.body == (b"" if method == "HEAD" else PAGE)
    assert "evil" not in str(answer.headers).lower()
    s.wait_for(f"error in a request: {method} {unique}\n")
    assert text in s.err.partition(unique)[2]


@pytest.mark.parametrize(
    "status", ["200 OK", "299 Own words", "404 Not Found", "599 \xe9"]
)
def test_status(s: Server, status: str) -> None:
    answer = s.get("/status", {"X-Status": status})
    assert f"{answer.status} {answer.reason}" == status
    assert answer.body == b"body"


def test_status_without_a_reason(s: Server) -> None:
    raw = s.raw(
        b"GET /status HTTP/1.1\r\nHost: x\r\nX-Status: 200\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert raw.startswith(b"HTTP/1.1 200 \r\n")


def cases() -> list[str]:
    block = APP[APP.index("WRONG = {") : APP.index("def wrong(")]
    return re.findall(r'^ +"([^"]+)": \(', block, re.M)


def test_the_list_of_wrong_uses_is_whole(s: Server) -> None:
    assert s.get("/wrong_list").text.split(",") == cases()


@pytest.mark.parametrize("case", cases())
def test_wrong_use_is_a_500_and_a_log_line(s: Server, case: str) -> None:
    failed(s, "/wrong", "Error: ", **{"X-Case": case})
    assert s.get("/write_only").body == b"all"


def test_twice_without_exc_info(s: Server) -> None:
    for path in ("/twice", "/none_is_no_exc_info"):
        failed(s, path, "start_response was called again")


def test_b11_exc_info_before_the_head(s: Server) -> None:
    answer = s.get("/exc_info_before")
    assert (answer.status, answer.reason) == (503, "Second")
    assert (answer.body, answer.headers["X-Second"]) == (b"sorry", "2")
    assert answer.headers["X-First"] is None
    answer = s.get("/exc_info_keyword")
    assert (answer.status, answer.body) == (503, b"sorry")


def test_b11_exc_info_after_the_head(s: Server) -> None:
    raw = s.raw(b"GET /exc_info_after HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 First\r\n")
    assert body == b"half"
    s.wait_for("error in a request: GET /exc_info_after\n")
    assert "KeyError: 'the reason'" in s.err.partition("/exc_info_after\n")[2]


def test_b11_exc_info_after_write(s: Server) -> None:
    raw = s.raw(b"GET /exc_info_after_write HTTP/1.1\r\nHost: x\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"\r\n4\r\nhalf\r\n"), "and no last chunk"
    s.wait_for("raised again: 'the reason'")


def test_exc_info_that_is_none(s: Server) -> None:
    answer = s.get("/exc_info_wrong")
    assert (answer.status, answer.body) == (200, b"fine")


def test_another_thread_is_refused(s: Server) -> None:
    words = s.get("/in_a_thread").text.split("|")
    assert len(words) == 3
    assert all("call_soon_threadsafe" in word for word in words), words


@pytest.mark.parametrize("path", ["/second_chance", "/bad_calls"])
def test_a_refused_call_can_be_repeated(s: Server, path: str) -> None:
    answer = s.get(path)
    assert (answer.status, answer.body) == (200, b"fine")
    assert answer.headers["X-Evil"] is None


def test_fields_arrive_as_given(s: Server) -> None:
    answer = s.get("/fields")
    assert answer.headers["X-Latin"] == "caf\xe9"
    assert answer.headers["X-Tab"] == "a\tb"
    assert answer.headers["X-Empty"] == ""
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers.get_all("Date") == ["some day"]
    assert answer.headers.get_all("Server") == ["mine"]
    assert answer.headers.get_all("Content-Length") == ["0"]


def test_connection_wishes(s: Server) -> None:
    answer = s.get("/wants_close")
    assert answer.headers.get_all("Connection") == ["close"]
    raw = s.raw(b"GET /wants_close HTTP/1.1\r\nHost: x\r\n\r\n")
    assert raw.endswith(b"\r\n\r\nbody"), "and the server closed"
    with contextlib.closing(s.client()) as client:
        for _ in range(3):
            client.request("GET", "/wants_keep_alive")
            assert client.getresponse().read() == b"body"
            assert client.sock is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/write", b"one,two,three,four"),
        ("/write_only", b"all"),
        ("/write_length", b"onetwo"),
        ("/write_none", b""),
        ("/write_wrong", b"fine"),
        ("/write_big", b"x" * 64 * 65536 + b"end"),
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_write(s: Server, path: str, body: bytes, version: bytes) -> None:
    answer = s.get(path)
    assert (answer.status, answer.body) == (200, body)
    head = path.encode() + b" HTTP/" + version + b"\r\nHost: x\r\n\r\n"
    raw = s.raw(
        b"HEAD " + head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    )
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"\r\n\r\n"), "HEAD has no body"
    if version == b"1.0":
        raw = s.raw(b"GET " + head)
        assert raw.partition(b"\r\n\r\n")[2] == body
        assert b"chunked" not in raw.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "path", ["/no_start", "/no_start_no_body", "/no_start_generator"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_start_response_is_not_called(
    s: Server, path: str, method: str
) -> None:
    failed(s, path, "before it called start_response", method)


@pytest.mark.parametrize("path", ["/late_start", "/late_after_empty"])
def test_start_response_may_come_late(s: Server, path: str) -> None:
    answer = s.get(path)
    assert (answer.status, answer.body) == (202, b"body")


def test_objects_of_an_ended_request_are_dead(s: Server) -> None:
    assert s.get("/keep").body == b"kept"
    words = s.get("/use_kept").text.split("|")
    assert words == ["this request has ended"] * 4 + ["True", "True"]


def test_a_connection_goes_on_after_a_500(s: Server) -> None:
    with contextlib.closing(s.client()) as client:
        for path in ("/twice", "/write_only", "/no_start", "/write_only"):
            client.request("GET", path)
            response = client.getresponse()
            response.read()
            assert client.sock is not None
        assert response.status == 200
