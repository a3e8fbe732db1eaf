# SPDX-License-Identifier: MIT
"""`import uwsgi`: what belongs to the running request."""

from harness import server

HEAD = """
    import asyncio
    import threading

    import greenlet
    import uwsgi

    def answer(start, text):
        start("200 OK", [("Content-Type", "text/plain")])
        return [str(text).encode()]
"""

ORIGINAL = "you can call uwsgi api function only from the main callable"


def test_calls_belong_to_the_request() -> None:
    """In a callback of the loop they do not, unless it was handed over."""
    app = f"""{HEAD}
    kept = []

    def attempt(results, *args, **kwargs):
        try:
            results.append(uwsgi.connection_fd(*args, **kwargs))
        except Exception as error:
            results.append(f"{{type(error).__name__}}: {{error}}")

    def application(environ, start):
        results = []
        if environ["PATH_INFO"] == "/late":
            attempt(results, request_context=kept[0])
            attempt(results, request_context=object())
            return answer(start, "|".join(results))
        context = uwsgi.request_context()
        kept[:] = [context]
        loop = asyncio.get_event_loop()
        me = greenlet.getcurrent()
        loop.call_soon(attempt, results)
        loop.call_soon(lambda: attempt(results, request_context=context))
        loop.call_soon(me.switch)
        me.parent.switch()
        thread = threading.Thread(
            target=attempt, args=(results,),
            kwargs={{"request_context": context}},
        )
        thread.start()
        thread.join()
        attempt(results)
        return answer(start, "|".join(map(str, results)))
    """
    with server(app) as s:
        first, second, thread, last = s.get().text.split("|")
        assert first == f"SystemError: {ORIGINAL}"
        assert second == last
        assert int(second) > 2
        assert thread.startswith("RuntimeError: ")
        assert "call_soon_threadsafe" in thread
        ended, wrong = s.get("/late").text.split("|")
        assert ended == "RuntimeError: this request has ended"
        assert wrong.startswith("TypeError: ")
