# SPDX-License-Identifier: MIT
"""A clock in the browser, by server-sent events from a generator.

    greenloop --asyncio 1000 --http-socket :9090 --wsgi-file \
        examples/sse_clock.py

http://localhost:9090/ shows the time of the server, which ticks.  Each page
that is open is a request: parked until the next second, it costs nobody
anything, and it ends when its client leaves.  curl shows what is sent:

    curl --no-buffer http://localhost:9090/events
"""

import time

import greenloop

PAGE = b"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The server's clock</title>
<link rel="icon" href="data:,">
<style>
  body {
    display: grid;
    place-content: center;
    min-height: 100vh;
    margin: 0;
    font-family: system-ui, sans-serif;
    text-align: center;
  }
  time { font-size: 18vmin; font-variant-numeric: tabular-nums; }
  .late time { opacity: .3; }
</style>
<main>
  <time id="clock">--:--:--</time>
  <p id="state" role="status">connecting</p>
</main>
<script type="module">
  const clock = document.getElementById("clock");
  const state = document.getElementById("state");
  // It connects again by itself, after the time that the server names.
  const source = new EventSource("events");

  source.onopen = () => {
    state.textContent = "by server-sent events";
    document.body.className = "";
  };
  source.onerror = () => {
    state.textContent = "not connected, trying again";
    document.body.className = "late";
  };
  source.onmessage = (event) => {
    clock.textContent = clock.dateTime = event.data;
  };
</script>
</html>
"""


def ticks():
    """The events; when the client has left, a wait does not return."""
    count = 0
    second = int(time.time())
    try:
        yield b"retry: 1000\n\n"
        while True:
            text = time.strftime("%H:%M:%S", time.localtime(second))
            yield f"data: {text}\n\n".encode()
            count += 1
            second = max(second + 1, int(time.time()))
            greenloop.sleep(max(0, second - time.time()))
    finally:
        print(f"a client left after {count} ticks", flush=True)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/events":
        headers = [
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store"),
        ]
        start_response("200 OK", headers)
        return ticks()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]
