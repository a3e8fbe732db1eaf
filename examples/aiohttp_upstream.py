# SPDX-License-Identifier: MIT
"""A request that asks another server by aiohttp, and passes its answer on.

    pip install aiohttp
    UPSTREAM=http://localhost:8000/ greenloop --asyncio 10 \
        --http-socket :9090 --wsgi-file examples/aiohttp_upstream.py

Asynchronous libraries work as they are: `await_` runs the coroutine on the
server's loop, and the synchronous request waits for what it returns.
"""

import os

import aiohttp
import greenloop

UPSTREAM = os.environ.get("UPSTREAM", "http://localhost:8000/")


async def fetch(url):
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            return response.status, await response.read()


def application(environ, start_response):
    status, body = greenloop.await_(fetch(UPSTREAM), timeout=10)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    yield f"upstream said {status}:\n".encode()
    yield body
