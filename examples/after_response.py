# SPDX-License-Identifier: MIT
"""Work that begins two seconds after the client has its answer.

    greenloop --asyncio 10 --http-socket :9090 --wsgi-file \
        examples/after_response.py

The loop of the server is an ordinary asyncio loop, and a request may leave
callbacks behind on it.  They run when no request does, and must not block.
"""

import asyncio


def send_receipt(order):
    print(f"receipt for {order} is on its way")


def application(environ, start_response):
    order = environ["PATH_INFO"].strip("/") or "nobody"
    asyncio.get_event_loop().call_later(2, send_receipt, order)
    start_response("202 Accepted", [("Content-Type", "text/plain")])
    return [b"Thank you, the receipt follows.\n"]
