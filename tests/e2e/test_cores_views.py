# SPDX-License-Identifier: MIT
"""What a request sees of the loop, its tasks and its context; and what the
loop must not see of a request."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, parallel, server

APP = """
    import asyncio, contextvars, json, sys
    import greenlet, greenloop

    variable = contextvars.ContextVar("variable")
    variable.set("by the module")
    loop_at_import = asyncio.get_event_loop()

    async def echo(value):
        await asyncio.sleep(0.002)
        return value

    def running(environ):
        try:
            return asyncio.get_running_loop() is loop_at_import
        except RuntimeError:
            return "none"

    def current(environ):
        return asyncio.get_event_loop() is loop_at_import

    def seed_style(environ):
        '''Task and Future without a word about the loop.'''
        me = greenlet.getcurrent()
        future = asyncio.Future()
        async def fill():
            future.set_result(await echo("filled"))
            me.switch()
        task = asyncio.Task(fill())
        me.parent.switch()
        return [future.result(), task.get_loop() is loop_at_import,
                running(environ)]

    def patched(environ):
        '''The command line's worker patches asyncio before it loads us.'''
        task = asyncio.create_task(echo(1))
        values = [asyncio.run(echo(2))]
        loop = asyncio.get_event_loop()
        values.append(loop.run_until_complete(echo(3)))
        if sys.version_info >= (3, 11):
            with asyncio.Runner() as runner:
                values.append(runner.run(echo(4)))
        values += [greenloop.await_(task), current(environ)]
        return values + [running(environ)]

    def visible(environ):
        with greenloop.loop_visible():
            before = running(environ)
            greenloop.sleep(0.001)
            return [before, running(environ)]

    def task_state():
        '''The loop's own view, from a callback.'''
        return asyncio.current_task(loop_at_import)

    def inside_a_step(environ):
        '''A coroutine's step resumes us; we park again; it goes on.'''
        me = greenlet.getcurrent()
        seen = {}
        async def steps():
            task = asyncio.current_task()
            me.switch()
            seen["after switch"] = asyncio.current_task() is task
            seen["running"] = running(environ) is True
            await asyncio.sleep(0.005)
            seen["after await"] = asyncio.current_task() is task
            try:
                me.throw(KeyError)
            finally:
                seen["after throw"] = asyncio.current_task() is task
            return "done"
        task = asyncio.get_event_loop().create_task(steps())
        me.parent.switch()
        with greenloop.loop_visible():
            seen["in request"] = asyncio.current_task() is None
            asyncio.get_event_loop().call_soon(
                lambda: seen.update(between=task_state() is None))
            try:
                me.parent.switch()  # parked again: not as that task
            except KeyError:
                seen["thrown"] = asyncio.current_task() is None
        seen["result"] = greenloop.await_(task)
        return seen

    def ends_inside_a_step(environ):
        '''The request ends there; the task then ends by itself.'''
        me = greenlet.getcurrent()
        async def steps():
            me.switch()
            await asyncio.sleep(0)
            ended.append(asyncio.current_task() is not None)
        ended.clear()
        asyncio.get_event_loop().create_task(steps())
        me.parent.switch()
        return "answered"

    ended = []

    def how_it_ended(environ):
        while not ended:
            greenloop.sleep(0.001)
        return ended

    def context(environ):
        before = variable.get("unset")
        mine = environ["QUERY_STRING"]
        variable.set(mine)
        seen = []
        for _ in range(3):
            greenloop.sleep(0.002)
            seen.append(variable.get())
        async def read():
            await asyncio.sleep(0)
            return variable.get()
        seen.append(greenloop.await_(read()))
        me = greenlet.getcurrent()
        asyncio.get_event_loop().call_later(0.002, me.switch)
        me.parent.switch()
        seen.append(variable.get())
        return [before, set(seen) == {mine}]

    def own_context_is_free(environ):
        '''While we are parked, a task may enter the very same context.'''
        if sys.version_info < (3, 11):
            return "entered"
        context = greenlet.getcurrent().gr_context
        async def enter():
            await asyncio.sleep(0)
            variable.set("entered")
        loop = asyncio.get_event_loop()
        greenloop.await_(loop.create_task(enter(), context=context))
        return variable.get()

    def application(environ, start_response):
        result = globals()[environ["PATH_INFO"][1:]](environ)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(result).encode()]
"""


@pytest.fixture(params=["asyncio", "uvloop"], scope="module")
def s(request: pytest.FixtureRequest) -> Iterator[Server]:
    with server(APP, "--loop", request.param, "-L") as running:
        yield running


def ask(s: Server, path: str) -> Any:
    answer = s.get(f"/{path}", timeout=10)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


# --- the running loop


def test_the_loop_is_current_but_not_running(s: Server) -> None:
    """Synchronous code that sees a running loop is refused by Django."""
    assert ask(s, "running") == "none"
    assert ask(s, "current") is True


def test_tasks_and_futures_find_the_loop(s: Server) -> None:
    assert ask(s, "seed_style") == ["filled", True, "none"]


def test_the_worker_patches_asyncio(s: Server) -> None:
    """asyncio.run() would run a second loop inside the first one."""
    four = [4] if sys.version_info >= (3, 11) else []
    assert ask(s, "patched") == [2, 3, *four, 1, True, "none"]
    assert ask(s, "current") is True


def test_loop_visible(s: Server) -> None:
    assert ask(s, "visible") == [True, True]
    assert ask(s, "running") == "none"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_running_loop_visible(loop: str) -> None:
    """The original's view, as an option, and for the whole request."""
    with server(APP, "--loop", loop, "--running-loop", "visible") as s:
        assert ask(s, "running") is True
        assert ask(s, "seed_style") == ["filled", True, True]
        assert ask(s, "visible") == [True, True]
        assert ask(s, "running") is True
        seen = ask(s, "inside_a_step")
        assert seen.pop("result") == "done" and set(seen.values()) == {True}


DJANGO = """
    import json
    import django
    from django.conf import settings
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY="test", ROOT_URLCONF=__name__,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3",
                               "NAME": ":memory:"}})
    django.setup()
    import greenloop
    from django.core.wsgi import get_wsgi_application
    from django.db import connection
    from django.http import HttpResponse
    from django.urls import path

    def view(request):
        greenloop.sleep(0.001)
        with connection.cursor() as cursor:
            cursor.execute("select 41 + 1")
            return HttpResponse(str(cursor.fetchone()[0]))

    urlpatterns = [path("", view)]
    application = get_wsgi_application()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_djangos_guard_is_not_tripped(loop: str) -> None:
    """Its ORM raises SynchronousOnlyOperation where a loop runs."""
    pytest.importorskip("django")
    with server(DJANGO, "--loop", loop) as s:
        for _ in range(2):
            answer = s.get()
            assert (answer.status, answer.body) == (200, b"42")


# --- the current task


def test_resumed_inside_of_a_coroutines_step(s: Server) -> None:
    """The request must not appear to be that task; and when it parks again
    the loop must not go on believing that the task still runs."""
    seen = ask(s, "inside_a_step")
    assert seen.pop("result") == "done"
    assert len(seen) == 7
    assert set(seen.values()) == {True}, seen


def test_ended_inside_of_a_coroutines_step(s: Server) -> None:
    assert ask(s, "ends_inside_a_step") == "answered"
    assert ask(s, "how_it_ended") == [True]


# --- context variables


def test_each_request_has_a_context_of_its_own(s: Server) -> None:
    """A copy of the one after loading, whatever others set meanwhile."""
    answers = parallel(10, lambda n: ask(s, f"context?{n}"))
    assert answers == [["by the module", True]] * 10
    assert ask(s, "context?again") == ["by the module", True]


def test_the_context_is_not_entered_while_parked(s: Server) -> None:
    """A task could not run in it: "cannot enter context"."""
    assert ask(s, "own_context_is_free") == "entered"
