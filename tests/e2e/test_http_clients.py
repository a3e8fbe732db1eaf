# SPDX-License-Identifier: MIT
"""Clients that others wrote: http.client, aiohttp and curl, on both loops."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import pathlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from harness import Server, server

APP = """
    import hashlib, json, greenloop

    def pieces(count):
        for number in range(count):
            greenloop.sleep(0.001)
            yield b"%d," % number

    def application(environ, start_response):
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        if path == "/stream":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return pieces(int(query))
        if path == "/none":
            start_response("204 No Content", [])
            return []
        if path == "/size":
            start_response("200 OK", [])
            return [bytes(range(256)) * (int(query) // 256)]
        if path == "/unread":
            start_response("200 OK", [])
            return [b"unread"]
        digest, count = hashlib.sha256(), 0
        while piece := environ["wsgi.input"].read(65536):
            digest.update(piece)
            count += len(piece)
        seen = {
            "method": environ["REQUEST_METHOD"],
            "protocol": environ["SERVER_PROTOCOL"],
            "path": path,
            "query": query,
            "agent": environ.get("HTTP_USER_AGENT", ""),
            "count": count,
            "digest": digest.hexdigest(),
        }
        body = json.dumps(seen).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]
"""
DATA = bytes(range(256)) * 8192  # 2 MB
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(
    scope="module", params=["asyncio", "uvloop"], ids=["asyncio", "uvloop"]
)
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param) as running:
        yield running


# --- http.client ----------------------------------------------------------


@pytest.mark.smoke
def test_http_client_on_one_connection(s: Server) -> None:
    with contextlib.closing(s.client()) as client:
        client.connect()
        first = client.sock
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            client.request(method, "/p%20q?r=s", DATA[:999])
            seen = json.loads(client.getresponse().read())
            assert seen["method"] == method
            assert (seen["path"], seen["query"]) == ("/p q", "r=s")
            assert seen["count"] == 999
        client.request("HEAD", "/size?512")
        response = client.getresponse()
        assert response.getheader("Content-Length") == "512"
        assert response.read() == b""
        client.request("GET", "/none")
        assert client.getresponse().read() == b""
        client.request("GET", "/stream?50")
        body = client.getresponse().read()
        assert body == b"".join(b"%d," % number for number in range(50))
        assert client.sock is first  # all of that on one connection


def test_http_client_sends_chunks(s: Server) -> None:
    with contextlib.closing(s.client()) as client:
        for _ in range(2):
            parts = iter([DATA[:70_000], DATA[70_000:]])
            client.request("POST", "/", parts, encode_chunked=True)
            seen = json.loads(client.getresponse().read())
            assert (seen["count"], seen["digest"]) == (len(DATA), DIGEST)


def test_http_client_10(s: Server) -> None:
    class Old(http.client.HTTPConnection):
        _http_vsn = 10
        _http_vsn_str = "HTTP/1.0"

    with contextlib.closing(Old("127.0.0.1", s.port, timeout=20)) as client:
        client.request("POST", "/", DATA)
        seen = json.loads(client.getresponse().read())
        assert (seen["protocol"], seen["digest"]) == ("HTTP/1.0", DIGEST)


# --- aiohttp --------------------------------------------------------------


def test_aiohttp(s: Server) -> None:
    async def upload() -> AsyncIterator[bytes]:
        for at in range(0, len(DATA), 100_000):
            yield DATA[at : at + 100_000]
            await asyncio.sleep(0)

    async def stream(session: aiohttp.ClientSession, count: int) -> None:
        async with session.get(f"{s.url}/stream?{count}") as response:
            text = await response.text()
            assert text == "".join(f"{number}," for number in range(count))

    async def post(
        session: aiohttp.ClientSession, expect100: bool = False
    ) -> None:
        async with session.post(
            f"{s.url}/", data=upload(), expect100=expect100
        ) as response:
            seen = await response.json()
            assert (seen["count"], seen["digest"]) == (len(DATA), DIGEST)

    async def main() -> None:
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(
                *(stream(session, number) for number in range(60)),
                *(post(session) for _ in range(5)),
                *(post(session, expect100=True) for _ in range(5)),
            )
            async with session.post(
                f"{s.url}/unread", data=DATA[:50_000], expect100=True
            ) as response:
                assert await response.text() == "unread"
            async with session.head(f"{s.url}/size?256") as response:
                assert response.headers["Content-Length"] == "256"
            async with session.get(f"{s.url}/none") as response:
                assert response.status == 204

    asyncio.run(main())


# --- curl -----------------------------------------------------------------


def curl(*arguments: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--max-time", "20", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture
def data(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return f"@{path}"


@pytest.mark.smoke
def test_curl_reuses_its_connection(s: Server) -> None:
    urls = [f"{s.url}/{number}?q" for number in range(10)]
    text = curl(*urls, "-w", "\n%{num_connects}\n")
    lines = text.splitlines()
    paths = [json.loads(line)["path"] for line in lines[::2]]
    assert paths == [f"/{number}" for number in range(10)]
    assert [int(line) for line in lines[1::2]] == [1] + [0] * 9


@pytest.mark.parametrize(
    "options",
    [
        ["-H", "Expect:"],
        ["-H", "Expect: 100-continue", "--expect100-timeout", "10"],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"],
        ["--http1.0"],
    ],
    ids=["plain", "expect", "chunked", "chunked expect", "1.0"],
)
def test_curl_uploads(s: Server, data: str, options: list[str]) -> None:
    text = curl(*options, "--data-binary", data, f"{s.url}/")
    seen = json.loads(text)
    assert (seen["count"], seen["digest"]) == (len(DATA), DIGEST)


def test_curl_is_refused_before_it_uploads(s: Server, data: str) -> None:
    """The answer of who does not read the body comes without a body."""
    text = curl(
        *("-H", "Expect: 100-continue", "--expect100-timeout", "10"),
        *("-w", " %{size_upload}", "--data-binary", data, f"{s.url}/unread"),
    )
    assert text == "unread 0"


def test_curl_heads(s: Server) -> None:
    text = curl("-I", f"{s.url}/size?1024", f"{s.url}/none", f"{s.url}/")
    assert text.count("HTTP/1.1 200 OK\n") == 2
    assert text.count("HTTP/1.1 204 No Content\n") == 1
    assert "Content-Length: 1024\n" in text


def test_curl_reads_a_large_stream(s: Server, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out"
    curl("-o", str(path), f"{s.url}/size?{50 << 20}")
    assert path.stat().st_size == 50 << 20
    assert curl(f"{s.url}/stream?200").count(",") == 200


def test_curl_speaks_to_a_unix_socket(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "s")
    with server(APP, http=path):
        text = curl("--unix-socket", path, "http://any/x", "http://any/y")
        assert '"path": "/x"' in text and '"path": "/y"' in text
