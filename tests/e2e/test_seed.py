# SPDX-License-Identifier: MIT
"""The examples of uWSGI's asyncio engine run unchanged, by its own command.

Nothing of that document is kept here: its Python blocks are cut out of the
file, which lies beside the repository (or where GREENLOOP_SEED says), and so
are the texts that they print and send.  All examples run at the same time.
"""

import concurrent.futures
import contextlib
import dataclasses
import http.server
import os
import pathlib
import re
import textwrap
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from harness import Server, alias, finish, parallel, start

pytestmark = pytest.mark.smoke

CORES = 10
UPSTREAM_BODY = b"the upstream's answer"


def seed_path() -> pathlib.Path:
    named = os.environ.get("GREENLOOP_SEED")
    if named:
        return pathlib.Path(named)
    beside = pathlib.Path(__file__).resolve().parents[3]
    return beside / "shared" / "seed" / "asyncio-loop-engine.txt"


@dataclasses.dataclass(frozen=True)
class Example:
    """One block, and what it says itself about its effects."""

    source: str

    @property
    def printed(self) -> str:
        """The text of its print()."""
        found: list[str] = re.findall(r'print\("(.*?)"\)', self.source)
        return found[0]

    @property
    def sent(self) -> list[bytes]:
        """The bytes literals, which are what it answers."""
        return [b.encode() for b in re.findall(r'\bb"(.*?)"', self.source)]

    @property
    def options(self) -> list[str]:
        legacy = "asyncio.coroutine" in self.source
        return ["--legacy-coroutines"] if legacy else []

    def with_upstream(self, url: str) -> "Example":
        """The same, but asking another server."""
        source, count = re.subn(r"http://[\w.]+", url, self.source)
        assert count == 1
        return Example(source)


def cut_examples(text: str) -> list[Example]:
    """The Python code blocks, in their order."""
    blocks = re.findall(
        r"^\.\. code-block:: python\n\n((?:[ \t]+\S.*\n|[ \t]*\n)+)",
        text,
        re.M,
    )
    return [Example(textwrap.dedent(block)) for block in blocks]


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """A small HTTP server; yields its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(UPSTREAM_BODY)))
            self.end_headers()
            self.wfile.write(UPSTREAM_BODY)

        def log_message(self, *_: object) -> None:
            pass

    class Upstream(http.server.ThreadingHTTPServer):
        request_queue_size = 64

    with Upstream(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextlib.contextmanager
def served(
    example: Example, directory: pathlib.Path, port: int = 0
) -> Iterator[Server]:
    """The example behind the seed's command, called as uwsgi."""
    (directory / "app.py").write_text(example.source, "utf-8")
    command = f"--asyncio {CORES} --http-socket :{port} --greenlet"
    running = start(
        *command.split(),
        *"--wsgi-file app.py".split(),
        *example.options,
        directory=directory,
        program=alias(directory),
    )
    try:
        yield running
    except BaseException as error:
        running.kill()
        raise AssertionError(f"{error}\n{running.log}") from error
    finish(running)


def more_than_the_cores(s: Server, body: bytes) -> None:
    """As many requests as cores take two seconds; one more takes four."""
    answers = parallel(CORES + 1, lambda _: s.get())
    assert [(a.status, a.body) for a in answers] == [(200, body)] * 11
    seconds = sorted(a.seconds for a in answers)
    assert 1.95 < seconds[0], seconds
    assert seconds[CORES - 1] < 3.4, seconds
    # It may have been sent after the others, so from the first of them on.
    first = min(answer.sent for answer in answers)
    last = max(answer.sent + answer.seconds for answer in answers)
    assert 3.95 < last - first < 7, seconds


def callback_after_the_response(example: Example, s: Server) -> None:
    begin = time.monotonic()
    answer = s.get()
    assert (answer.status, [answer.body]) == (200, example.sent)
    assert answer.seconds < 1.5
    assert example.printed not in s.out
    s.wait_for(example.printed)
    assert 1.95 < time.monotonic() - begin < 4


def parked_until_a_callback(example: Example, s: Server) -> None:
    more_than_the_cores(s, example.sent[0])
    s.wait_printed(example.printed, CORES + 1)


def generator_parked_twice(example: Example, s: Server) -> None:
    begin = time.monotonic()
    arrived = []
    with contextlib.closing(s.client()) as client:
        client.request("GET", "/")
        response = client.getresponse()
        while piece := response.read1(100):
            arrived.append((piece, time.monotonic() - begin))
    assert [piece for piece, _at in arrived] == example.sent, arrived
    assert 1.95 < arrived[0][1] < 3.6, arrived
    assert 1.9 < arrived[1][1] - arrived[0][1] < 3.6, arrived
    s.wait_printed(example.printed, 2)


def coroutine_as_a_task(example: Example, s: Server) -> None:
    more_than_the_cores(s, example.sent[0])


def result_by_a_future(example: Example, s: Server) -> None:
    more_than_the_cores(s, example.sent[0])


def response_of_aiohttp(example: Example, s: Server) -> None:
    assert UPSTREAM_BODY not in example.sent
    more_than_the_cores(s, UPSTREAM_BODY)


CHECKS: list[Callable[[Example, Server], None]] = [
    callback_after_the_response,
    parked_until_a_callback,
    generator_parked_twice,
    coroutine_as_a_task,
    result_by_a_future,
    response_of_aiohttp,
]


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, "concurrent.futures.Future[None]"]]:
    """All checks, running at once: the name of each -> its future."""
    path = seed_path()
    if not path.is_file():
        pytest.skip(f"seed not here: there is no {path}")
    examples = cut_examples(path.read_text("utf-8"))
    assert len(examples) == len(CHECKS)

    with (
        upstream() as url,
        concurrent.futures.ThreadPoolExecutor(len(CHECKS)) as pool,
    ):
        examples[-1] = examples[-1].with_upstream(url)

        def check(index: int, directory: pathlib.Path) -> None:
            with served(examples[index], directory) as s:
                CHECKS[index](examples[index], s)

        yield {
            function.__name__: pool.submit(
                check, index, tmp_path_factory.mktemp(f"seed{index}")
            )
            for index, function in enumerate(CHECKS)
        }


@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
def test_seed_example(
    outcomes: dict[str, "concurrent.futures.Future[None]"], name: str
) -> None:
    outcomes[name].result(60)
