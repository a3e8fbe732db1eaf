# SPDX-License-Identifier: MIT
"""Thousands of generated requests, read by Greenloop and by two others.

http_cases.py makes them, http_readers.py reads them, http_model.py says what
Greenloop must do, and http_differences.py names what h11 and httptools do
differently; `make differential` runs many more.  A case that fails is made
again by `case(SEED, number)`.
"""

import collections
import pathlib
import re
from collections.abc import Iterator, Sequence

import http_model
import pytest
from harness import Server, server
from http_cases import NEXT, case
from http_differences import LISTED, PEERS, difference, unlike_the_model
from http_readers import APP, Request, ask, reading

SEED = 20251126
CASES = 6000
BATCH = 1500
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/http-conformance.md"


@pytest.fixture(scope="module")
def s() -> Iterator[Server]:
    # A client that leaves within a body is no error, but is logged.
    with server(
        APP, "--asyncio", "64", "--disable-logging", allow_traceback=True
    ) as running:
        yield running


def batch(first: int) -> Sequence[bytes]:
    return [case(SEED, number) for number in range(first, first + BATCH)]


@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_greenloop_reads_what_its_documentation_says(
    s: Server, first: int
) -> None:
    cases = batch(first)
    for number, found in enumerate(ask(s.port, cases), first):
        data = cases[number - first]
        wrong = unlike_the_model(found, http_model.read(data))
        assert not wrong, f"seed {SEED}, case {number}: {wrong}\n{data!r}"


@pytest.mark.parametrize("peer", PEERS)
def test_every_difference_is_a_known_one(peer: str) -> None:
    """From the model, which the server was compared with above."""
    seen: collections.Counter[str] = collections.Counter()
    for number in range(CASES):
        data = case(SEED, number)
        try:
            seen[difference(peer, data, http_model.read(data))] += 1
        except AssertionError as error:
            raise AssertionError(
                f"seed {SEED}, case {number}: {error}"
            ) from None
    print(f"seed {SEED}, {peer}: {dict(seen.most_common())}")
    assert seen[""] > CASES // 2


def test_the_cases_reach_what_they_are_for() -> None:
    """Every refusal, and requests of every kind that are served."""
    seen: collections.Counter[str] = collections.Counter()
    for number in range(CASES):
        model = http_model.read(case(SEED, number))
        seen[model.reading.refused] += 1
        for request in model.reading.requests:
            seen["body"] += request.body != ""
            seen["chunked"] += "HTTP_TRANSFER_ENCODING" in request.fields
            seen["next"] += request.target == "/next"
    assert not set(http_model.REFUSALS) - set(seen), seen
    assert min(seen["body"], seen["chunked"], seen["next"]) > 300, seen


def test_a_known_answer() -> None:
    """The readers see what a person sees."""
    data = (
        b"POST http://h/a%20b?c HTTP/1.1\r\nHost: x\r\nCookie: a\r\n"
        b"cookie: b\r\nX_Y: z\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'3;x="y"\r\nabc\r\n0\r\nT: u\r\n\r\n'
    )
    seen = Request(
        "POST",
        "http://h/a%20b?c",
        "HTTP/1.1",
        {
            "HTTP_HOST": "h",
            "HTTP_COOKIE": "a; b",
            "HTTP_TRANSFER_ENCODING": "chunked",
        },
        "abc",
    )
    following = Request("GET", "/next", "HTTP/1.1", {"HTTP_HOST": "next"}, "")
    model = http_model.read(data + NEXT)
    assert model.reading.requests == (seen, following)
    assert model.starts == (0, len(data), len(data + NEXT))
    for read in PEERS.values():
        assert read(data + NEXT).requests == (seen, following)


def test_what_is_unlike_is_noticed() -> None:
    model = http_model.read(NEXT)
    assert unlike_the_model(reading(b""), model)
    assert unlike_the_model(model.reading, http_model.read(NEXT[:-2])) != ""
    assert not unlike_the_model(model.reading, model)
    wrong = http_model.read(b"GET /other HTTP/1.1\r\nHost: next\r\n\r\n")
    with pytest.raises(AssertionError, match="not listed"):
        difference("h11", NEXT, wrong)


def test_the_page_names_every_difference() -> None:
    text = PAGE.read_text("utf-8")
    rows = set(re.findall(r"^\| ([^|]+?) \|", text, re.M))
    names = {row.name for row in LISTED} | set(http_model.REFUSALS)
    assert names <= rows, names - rows
