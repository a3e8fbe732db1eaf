# SPDX-License-Identifier: MIT
"""wsgiref.validate, between the server and an application that uses all."""

import contextlib
from collections.abc import Iterator

import pytest
from harness import Server, server

APP = """
    import sys
    import warnings
    from wsgiref.validate import validator

    warnings.simplefilter("error")

    def read(environ):
        stream = environ["wsgi.input"]
        how = environ["QUERY_STRING"]
        if how == "lines":
            return b"".join(stream.readlines())
        if how == "line":
            return stream.readline() + stream.readline(3) + stream.read(1000)
        if how == "iterate":
            return b"".join(stream)
        if how == "pieces":
            return b"".join(iter(lambda: stream.read(3), b""))
        return stream.read(100000)

    class Closing:
        def __init__(self, items):
            self.items = iter(items)

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.items)

        def close(self):
            print("closed", flush=True)

    @validator
    def application(environ, start_response):
        errors = environ["wsgi.errors"]
        errors.write("to the log, ")
        errors.writelines(["line one\\n", "line two\\n"])
        errors.flush()
        body = read(environ)
        path = environ["PATH_INFO"]
        headers = [("Content-Type", "text/plain"), ("X-A", "b")]
        if path == "/204":
            start_response("204 No Content", [])
            return []
        if path == "/length":
            headers.append(("Content-Length", str(len(body))))
        if path == "/exc_info":
            start_response("200 OK", headers)
            try:
                raise ValueError
            except ValueError:
                start_response("501 Sorry", headers, sys.exc_info())
        else:
            write = start_response("200 OK", headers)
        if path == "/write":
            write(body)
            return []
        return Closing([body[:4], b"", body[4:]])
"""
BODY = b"first line\nsecond\n\nlast, without an end"
READING = ["all", "lines", "line", "iterate", "pieces"]


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    # The validator's generator reports an unclosed iterator to stderr.
    with server(APP) as running:
        yield running
        assert "without being closed" not in running.log


@pytest.mark.parametrize("how", READING)
@pytest.mark.parametrize("path", ["/", "/length", "/write"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_valid(s: Server, method: str, path: str, how: str) -> None:
    answer = s.request(method, f"{path}?{how}", BODY)
    assert (answer.status, answer.body) == (200, BODY)
    chunks = iter([BODY[:5], BODY[5:20], BODY[20:]])
    answer = s.request(method, f"{path}?{how}", chunks)
    assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/length", "/204", "/write"])
def test_valid_without_a_body(s: Server, method: str, path: str) -> None:
    answer = s.request(method, f"{path}?all")
    assert answer.status == (204 if path == "/204" else 200)
    assert answer.body == b""


def test_valid_with_exc_info(s: Server) -> None:
    answer = s.request("POST", "/exc_info?all", BODY)
    assert (answer.status, answer.body) == (501, BODY)
    assert answer.headers["X-A"] == "b"
    s.wait_for("closed")


def test_errors_reach_the_log(s: Server) -> None:
    assert s.get("/?all").status == 200
    s.wait_for("to the log, line one\nline two\n")


def test_valid_on_one_connection(s: Server) -> None:
    with contextlib.closing(s.client()) as client:
        for n in range(20):
            body = BODY * n
            client.request("POST", f"/?{READING[n % 5]}", body)
            response = client.getresponse()
            assert (response.status, response.read()) == (200, body)
