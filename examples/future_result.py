# SPDX-License-Identifier: MIT
"""A coroutine that hands its result to a request by a future.

    greenloop --asyncio 10 --http-socket :9090 --wsgi-file \
        examples/future_result.py

The future may get an exception just as well: result() raises it in the
request, which then is answered 500 like any other that fails.
"""

import asyncio

import greenlet


async def compute(number, future):
    await asyncio.sleep(2)
    try:
        future.set_result(int(number) ** 2)
    except ValueError as error:
        future.set_exception(error)


def application(environ, start_response):
    request = greenlet.getcurrent()
    loop = asyncio.get_event_loop()
    future = loop.create_future()
    future.add_done_callback(lambda _: request.switch())
    # The loop keeps only a weak reference to a task: this one keeps it.
    task = loop.create_task(compute(environ["QUERY_STRING"] or "7", future))
    request.parent.switch()
    start_response("200 OK", [("Content-Type", "text/plain")])
    assert not task.cancelled()
    return [f"{future.result()}\n".encode()]
