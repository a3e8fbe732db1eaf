# SPDX-License-Identifier: MIT
"""What the files in examples/ promise, by the command each of them names.

Those that need other programs have files of their own.  The others run at
the same time: most of what they do is waiting.
"""

import concurrent.futures
import contextlib
import http.server
import pathlib
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from example_server import EXAMPLES, example
from harness import Answer, Server, parallel, server

pytestmark = pytest.mark.smoke

CORES = 10


def ten_at_once_and_one_more(s: Server) -> list[Answer]:
    """Ten take two seconds together; the eleventh waits for a core."""
    answers = parallel(CORES + 1, lambda _: s.get())
    assert {a.status for a in answers} == {200}
    seconds = sorted(a.seconds for a in answers)
    assert 1.95 < seconds[0], seconds
    assert seconds[CORES - 1] < 3.4, seconds
    # It may have been sent after the others, so from the first of them on.
    first = min(answer.sent for answer in answers)
    last = max(answer.sent + answer.seconds for answer in answers)
    assert 3.95 < last - first < 7, seconds
    return answers


def after_response() -> None:
    with example("after_response") as s:
        begin = time.monotonic()
        answer = s.get("/4711")
        assert (answer.status, answer.seconds < 1.5) == (202, True)
        assert "4711" not in s.out
        s.wait_for("receipt for 4711 is on its way")
        assert 1.95 < time.monotonic() - begin < 4


def park_for_callback() -> None:
    with example("park_for_callback") as s:
        for answer in ten_at_once_and_one_more(s):
            assert answer.text == "Woken after two seconds.\n"


def park_twice() -> None:
    with (
        example("park_twice") as s,
        contextlib.closing(s.client()) as client,
    ):
        begin = time.monotonic()
        client.request("GET", "/")
        response = client.getresponse()
        arrived = []
        while piece := response.read1(100):
            arrived.append((piece, time.monotonic() - begin))
        assert [p for p, _at in arrived] == [b"first\n", b"second\n"]
        assert 1.95 < arrived[0][1] < 3.6, arrived
        assert 1.9 < arrived[1][1] - arrived[0][1] < 3.6, arrived


def wait_for_task() -> None:
    expected = "".join(f"step {n}\n" for n in (1, 2, 3, 4))
    with example("wait_for_task") as s:
        for answer in ten_at_once_and_one_more(s):
            assert answer.text == expected + "prepared by prepare()\n"


def future_result() -> None:
    with example("future_result") as s:
        for answer in ten_at_once_and_one_more(s):
            assert answer.text == "49\n"
        assert s.get("/?12").text == "144\n"


def future_exception() -> None:
    path = EXAMPLES / "future_result.py"
    with server(path, allow_traceback=True) as s:
        assert s.get("/?twelve").status == 500
        s.wait_for("ValueError: invalid literal for int()")
        assert s.get("/?12").text == "144\n"


def aiohttp_upstream() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.path.encode()
            self.send_response(203)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_address[1]}/some/path"
        with example("aiohttp_upstream", UPSTREAM=url) as s:
            assert s.get().body == b"upstream said 203:\n/some/path"
        other.shutdown()


def hello() -> None:
    with example("hello") as s:
        assert "<h1>Hello World</h1>" in s.get("/").text
        answers = parallel(20, lambda n: s.get(("/sleep", "/await")[n % 2]))
        for n, answer in enumerate(answers):
            title = ("Slept a second", "A coroutine said hello")[n % 2]
            assert f"<h1>{title}</h1>" in answer.text
            assert 0.95 < answer.seconds < 3, answer.seconds


CHECKS: list[Callable[[], None]] = [
    after_response,
    park_for_callback,
    park_twice,
    wait_for_task,
    future_result,
    future_exception,
    aiohttp_upstream,
    hello,
]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, "concurrent.futures.Future[None]"]]:
    with concurrent.futures.ThreadPoolExecutor(len(CHECKS)) as pool:
        yield {check.__name__: pool.submit(check) for check in CHECKS}


@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
def test_example(
    outcomes: dict[str, "concurrent.futures.Future[None]"], name: str
) -> None:
    outcomes[name].result(60)


def test_every_example_is_tested() -> None:
    """Here, or in a file of its own."""
    tested = {check.__name__ for check in CHECKS}
    for path in pathlib.Path(__file__).parent.glob("test_example_*.py"):
        tested.update(re.findall(r'\bexample\(\s*"(\w+)"', path.read_text()))
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert len(names) >= 7
    assert names <= tested, names - tested
