# SPDX-License-Identifier: MIT
"""Two Chromium windows talk through two server processes and Redis."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from example_server import example
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from services import chromium, redis_server

pytestmark = pytest.mark.once

SECONDS = 20.0


class Window:
    """One window of a browser, with the chat in it."""

    def __init__(self, browser: Chrome, handle: str, url: str) -> None:
        self.browser = browser
        self.handle = handle
        self.front().get(url)

    def front(self) -> Chrome:
        self.browser.switch_to.window(self.handle)
        return self.browser

    def wait(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self.front(), SECONDS).until(lambda _: condition())

    def state(self) -> str | None:
        body = self.front().find_element(By.TAG_NAME, "body")
        return body.get_attribute("data-state")

    def wait_state(self, state: str) -> None:
        self.wait(lambda: self.state() == state)

    def say(self, name: str, text: str) -> None:
        form = self.front().find_element(By.ID, "form")
        field = form.find_element(By.ID, "name")
        field.clear()
        field.send_keys(name)
        form.find_element(By.ID, "text").send_keys(text)
        form.find_element(By.ID, "send").click()

    def lines(self) -> list[tuple[str, str, str]]:
        """Who said what, and whether it is shown as one's own."""
        found = []
        for item in self.front().find_elements(By.CSS_SELECTOR, "#log li"):
            who = item.find_element(By.CLASS_NAME, "who").text
            text = item.find_element(By.TAG_NAME, "p").text
            found.append((who, text, item.get_attribute("class") or ""))
        return found

    def wait_lines(self, lines: list[tuple[str, str, str]]) -> None:
        self.wait(lambda: len(self.lines()) >= len(lines))
        assert self.lines() == lines


@contextlib.contextmanager
def two_windows(*urls: str) -> Iterator[list[Window]]:
    with chromium() as browser:
        handles = [browser.current_window_handle]
        browser.switch_to.new_window("window")
        handles.append(browser.current_window_handle)
        yield [
            Window(browser, handle, url)
            for handle, url in zip(handles, urls, strict=True)
        ]
        # What the pages complained of, but of a server that was away.
        log = browser.get_log("browser")
        log = [line for line in log if "WebSocket" not in line["message"]]
        assert log == []


@pytest.mark.parametrize("name", ["websocket_chat", "websocket_chat_uwsgi"])
def test_two_windows(name: str) -> None:
    with redis_server() as redis, contextlib.ExitStack() as away:
        first = away.enter_context(example(name, REDIS_URL=redis))
        with contextlib.ExitStack() as stack:
            second = stack.enter_context(example(name, REDIS_URL=redis))
            port = second.port
            windows = two_windows(first.url, second.url)
            one, two = away.enter_context(windows)
            one.wait_state("open")
            two.wait_state("open")
            one.say("Ada", "Hello from one process")
            hello = ("Ada", "Hello from one process")
            two.wait_lines([(*hello, "")])
            two.say("Grace", '<img src="x" onerror="alert(1)"> & so on')
            reply = ("Grace", '<img src="x" onerror="alert(1)"> & so on')
            one.wait_lines([(*hello, "mine"), (*reply, "")])
            two.wait_lines([(*hello, ""), (*reply, "mine")])
            assert not one.front().find_elements(By.TAG_NAME, "img")
        two.wait_state("closed")
        assert one.state() == "open"
        http = f"127.0.0.1:{port}"
        away.enter_context(example(name, http=http, REDIS_URL=redis))
        two.wait_state("open")
        two.say("Grace", "Back again")
        back = ("Grace", "Back again")
        one.wait_lines([(*hello, "mine"), (*reply, ""), (*back, "")])
        two.wait_lines([(*hello, ""), (*reply, "mine"), (*back, "mine")])
