# SPDX-License-Identifier: MIT
"""A request that starts a coroutine as a task and waits for its end.

    greenloop --asyncio 10 --http-socket :9090 --wsgi-file \
        examples/wait_for_task.py

The last thing that the coroutine does is to switch into the request; it is
finished itself when the request parks again or ends.  `greenloop.await_`
does the same in one call, and brings exceptions along.
"""

import asyncio

import greenlet


async def prepare(request, steps):
    for number in range(4):
        await asyncio.sleep(0.5)
        steps.append(f"step {number + 1}\n")
    request.switch()


def application(environ, start_response):
    request = greenlet.getcurrent()
    steps = []
    # The loop keeps only a weak reference to a task: this one keeps it.
    task = asyncio.get_event_loop().create_task(prepare(request, steps))
    request.parent.switch()
    start_response("200 OK", [("Content-Type", "text/plain")])
    steps.append(f"prepared by {task.get_coro().__name__}()\n")
    return [step.encode() for step in steps]
