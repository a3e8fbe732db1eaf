# SPDX-License-Identifier: MIT
"""A first page: plain synchronous code that waits without blocking anybody.

  greenloop --http-socket :9090 --wsgi-file examples/hello.py

/         a greeting
/sleep    answers after a second; a thousand of these at once also take one
/await    the result of a coroutine, from a function that is none
"""

import asyncio
import time

import greenloop

PAGE = """<!DOCTYPE html>
<title>Greenloop</title>
<h1>{title}</h1>
<p>This request took {taken:.2f} seconds.
<p><a href="/">hello</a> &middot; <a href="/sleep">sleep</a>
&middot; <a href="/await">await</a>
"""


async def fetch_title():
    """Any coroutine: it runs as a task on the server's loop."""
    await asyncio.sleep(0.5)
    return "A coroutine said hello"


def application(environ, start_response):
    begin = time.monotonic()
    title = "Hello World"
    if environ["PATH_INFO"] == "/sleep":
        greenloop.sleep(1)
        title = "Slept a second"
    elif environ["PATH_INFO"] == "/await":
        greenloop.await_(asyncio.sleep(0.5))
        title = greenloop.await_(fetch_title())
    body = PAGE.format(title=title, taken=time.monotonic() - begin).encode()
    start_response(
        "200 OK",
        [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
        ],
    )
    return [body]
