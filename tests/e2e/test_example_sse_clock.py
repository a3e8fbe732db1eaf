# SPDX-License-Identifier: MIT
"""examples/sse_clock.py: a tick a second, until the client leaves."""

import contextlib
import re
import time

import pytest
from example_server import example
from harness import Server, parallel
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from services import chromium

EVENT = re.compile(rb"data: (\d\d):(\d\d):(\d\d)\n\n")
TIME = re.compile(r"\d\d:\d\d:\d\d")


def listen(s: Server, ticks: int) -> list[tuple[int, float]]:
    """Second of the day and time of arrival, of so many events."""
    with contextlib.closing(s.client()) as client:
        client.request("GET", "/events")
        response = client.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        arrived: list[tuple[int, float]] = []
        seen = b""
        while len(arrived) < ticks:
            seen += response.read1(1000)
            for hour, minute, second in EVENT.findall(seen)[len(arrived) :]:
                of_day = int(hour) * 3600 + int(minute) * 60 + int(second)
                arrived.append((of_day, time.monotonic()))
        assert seen.startswith(b"retry: 1000\n\n")
        # A wrapped response keeps the connection open behind it.
        response.close()
        return arrived


@pytest.mark.smoke
def test_ticks() -> None:
    with example("sse_clock") as s:
        for arrived in parallel(20, lambda _: listen(s, 3)):
            (first, _), (second, early), (third, late) = arrived
            assert (second - first) % 86400 == 1
            assert (third - second) % 86400 == 1
            assert 0.5 < late - early < 2
        # All have left by now, and each is noticed at its wait.
        s.wait_printed("a client left after", 20)


def test_page() -> None:
    with example("sse_clock") as s:
        with chromium() as browser:
            browser.get(s.url)
            wait = WebDriverWait(browser, 10)
            clock = browser.find_element(By.ID, "clock")
            wait.until(lambda _: TIME.fullmatch(clock.text))
            shown = clock.text
            wait.until(lambda _: clock.text != shown)
            state = browser.find_element(By.ID, "state")
            assert state.text == "by server-sent events"
            assert "a client left" not in s.out
        s.wait_printed("a client left after", 1)
