/* park.c - parking a core for one stated reason, and resuming it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/park.h"

#include "base/clock.h"
#include "base/gl.h"
#include "py/bracket.h"
#include "py/bridge.h"
#include "py/stack_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- entering --------------------------------------------------------- */

static PyObject *
hand_over(PyObject *g, PyObject *args, PyObject *kwargs, struct gl_exc *exc)
{
    PyObject *result;

    if (exc == NULL) {
        return gl_bridge_switch(g, args, kwargs);
    }
    result = gl_bridge_throw(g, exc->type, exc->value, exc->traceback);
    gl_exc_clear(exc);
    return result;
}

void
gl_core_view(struct gl_core *core)
{
    struct gl_hub *hub = core->pool->hub;

    if (gl_bracket_view(hub, core->visible > 0 ? hub->loop : Py_None) < 0) {
        gl_unraisable(hub->loop); /* worse than this view: no resumption */
    }
}

/* One switch into the core's family and back, in the bracket. */
static PyObject *
enter_once(struct gl_core *core, PyObject *g, PyObject *args,
           PyObject *kwargs, struct gl_exc *exc)
{
    struct gl_hub *hub = core->pool->hub;
    struct gl_exc raised = {0};
    PyObject *result;

    gl_core_view(core);
    hub->current = core;
    core->switches++;
    Py_INCREF(g); /* a greenlet may drop its last other reference */
    result = hand_over(g, args, kwargs, exc);
    Py_DECREF(g);
    hub->current = NULL;
    core->stack = gl_stack_memory_last(hub->stacks, &core->stack_bytes);
    if (hub->in_turn) {
        return result; /* the turn's end shows the loop */
    }
    if (result == NULL) {
        raised = gl_exc_take();
    }
    if (gl_bracket_view(hub, hub->loop) < 0) {
        gl_unraisable(hub->loop); /* the loop would be lost: say so */
    }
    if (raised.value != NULL) {
        gl_exc_restore(&raised);
    }
    return result;
}

static void wait_release(struct gl_wait *w);

/* Does what one core asked for another, then resumes the first.  Returns
 * what came back to the hub at last. */
static PyObject *
serve_transfer(struct gl_hub *hub)
{
    struct gl_transfer t = hub->transfer;
    struct gl_core *core = gl_core_link(t.target)->core;
    struct gl_wait *w = t.wait;
    PyObject *answer, *result = NULL;

    hub->transfer = (struct gl_transfer){0};
    if (core == NULL || !core->busy ||
        (t.args != NULL && gl_core_is_closed(core, t.target))) {
        answer = Py_NewRef(Py_None); /* it ended, or parked, meanwhile */
        gl_exc_clear(&t.exc);
    } else {
        answer = gl_core_enter(core, t.target, t.args, t.kwargs,
                               t.args == NULL ? &t.exc : NULL);
    }
    if (answer == NULL) {
        w->exc = gl_exc_take();
    }
    if (gl_list_linked(&w->link)) { /* nobody threw into it meanwhile */
        w->value = answer;
        w->woken = true;
        result = enter_once(w->core, w->greenlet, hub->st->empty_tuple, NULL,
                            NULL);
    } else {
        Py_XDECREF(answer);
        result = Py_NewRef(Py_None);
    }
    wait_release(w);
    Py_DECREF(t.target);
    Py_XDECREF(t.args);
    Py_XDECREF(t.kwargs);
    return result;
}

PyObject *
gl_core_enter(struct gl_core *core, PyObject *g, PyObject *args,
              PyObject *kwargs, struct gl_exc *exc)
{
    struct gl_hub *hub = core->pool->hub;
    PyObject *result = enter_once(core, g, args, kwargs, exc);

    while (result != NULL && hub->transfer.wait != NULL) {
        Py_DECREF(result);
        result = serve_transfer(hub);
    }
    return result;
}

/* --- waits ------------------------------------------------------------ */

static void
timer_fired(struct gl_timer *timer)
{
    gl_wait_wake(GL_CONTAINER_OF(timer, struct gl_wait, timer), -ETIMEDOUT);
}

static void
turn_came(struct gl_deferred *turn)
{
    gl_wait_wake(GL_CONTAINER_OF(turn, struct gl_wait, turn), -ETIMEDOUT);
}

#define FRAME_LINES 4 /* of a Python frame: its head and a few locals */

/* Among a thousand parked requests the next one is in no cache; while others
 * run, its memory can come: first what the wait points to, then what that
 * points to. */
static void
timer_coming(struct gl_timer *timer, int others)
{
    struct gl_wait *w = GL_CONTAINER_OF(timer, struct gl_wait, timer);
    struct gl_core *core = w->core;

    if (others > 2) {
        gl_prefetch(core, 3);
        gl_prefetch(w->greenlet, 1);
    } else if (others > 1) {
        gl_bridge_prefetch(w->greenlet);
        gl_prefetch(core->exchange, 1);
        gl_prefetch(core->request, 3);
        gl_prefetch(w->frame, FRAME_LINES);
    } else {
        gl_prefetch(core->stack,
                    (int)(core->stack_bytes / GL_CACHE_LINE_BYTES));
        core->pool->prefetch(core);
    }
}

static void
waiter_woken(struct gl_waiter *waiter, int result)
{
    gl_wait_wake(GL_CONTAINER_OF(waiter, struct gl_wait, waiter), result);
}

static struct gl_core *
core_that_may_park(struct gl_state *st, const char *what)
{
    struct gl_core *core = gl_core_current(st);

    if (core == NULL || !core->busy) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s can only be called by code that serves a request; "
                     "in a coroutine use await, in a callback spawn()",
                     what);
        return NULL;
    }
    if (core->pool->no_parking) {
        PyErr_SetString(core->pool->st->greenlet_exit,
                        "the server has stopped: no request may wait");
        return NULL;
    }
    return core;
}

/* Waits that ended are kept, for the next ones to find warm memory. */
#define SPARE_WAITS 1024

/* A zeroed wait, or NULL without memory. */
static struct gl_wait *
take_wait(struct gl_pool *pool)
{
    struct gl_list *link = gl_list_pop(&pool->spare_waits);
    struct gl_wait *w;

    if (link == NULL) {
        return calloc(1, sizeof(*w));
    }
    pool->spare_wait_count--;
    w = GL_CONTAINER_OF(link, struct gl_wait, link);
    memset(w, 0, sizeof(*w));
    return w;
}

static void
give_wait(struct gl_pool *pool, struct gl_wait *w)
{
    if (pool->spare_wait_count >= SPARE_WAITS) {
        free(w);
        return;
    }
    pool->spare_wait_count++;
    gl_list_push_front(&pool->spare_waits, &w->link);
}

void
gl_pool_free_waits(struct gl_pool *pool)
{
    struct gl_list *link;

    while ((link = gl_list_pop(&pool->spare_waits)) != NULL) {
        free(GL_CONTAINER_OF(link, struct gl_wait, link));
    }
    pool->spare_wait_count = 0;
}

void
gl_wait_note_frame(struct gl_wait *w, PyObject *const *args)
{
    w->frame = (const char *)args - (FRAME_LINES - 1) * GL_CACHE_LINE_BYTES;
}

struct gl_wait *
gl_wait_new(struct gl_state *st, const char *what)
{
    struct gl_core *core = core_that_may_park(st, what);
    struct gl_wait *w;

    if (core == NULL) {
        return NULL;
    }
    w = take_wait(core->pool);
    if (w == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    w->greenlet = gl_bridge_current();
    w->core = core;
    w->waiter.wake = waiter_woken;
    w->timer.fire = timer_fired;
    w->timer.coming = timer_coming;
    w->turn.run = turn_came;
    w->refs = 1;
    return w;
}

static void
wait_release(struct gl_wait *w)
{
    if (--w->refs == 0) {
        assert(!gl_list_linked(&w->link));
        Py_XDECREF(w->greenlet);
        Py_XDECREF(w->value);
        gl_exc_clear(&w->exc);
        give_wait(w->core->pool, w);
    }
}

void
gl_wait_free(struct gl_wait *w)
{
    gl_engine_timer_stop(w->core->pool->engine, &w->timer);
    gl_list_remove(&w->turn.link);
    gl_list_remove(&w->link);
    Py_CLEAR(w->greenlet); /* who woke it holds w, but is to hold no more */
    wait_release(w);
}

int
gl_wait_park(struct gl_wait *w)
{
    struct gl_hub *hub = w->core->pool->hub;
    PyObject *back;

    gl_list_push(&w->core->waits, &w->link);
    do {
        /* A switch from somewhere else is not what we wait for. */
        back = gl_bridge_switch(hub->greenlet, hub->st->empty_tuple, NULL);
        Py_XDECREF(back);
    } while (back != NULL && !w->woken && !w->open);
    gl_list_remove(&w->link);
    if (back != NULL && w->exc.value != NULL) {
        gl_exc_restore(&w->exc);
        return -1;
    }
    return back != NULL ? 0 : -1;
}

void
gl_wait_wake(struct gl_wait *w, int result)
{
    struct gl_core *core = w->core;
    struct gl_pool *pool = core->pool;
    PyObject *back;

    if (!gl_list_linked(&w->link) || w->woken) {
        return;
    }
    w->result = result;
    w->woken = true;
    w->refs++; /* the greenlet frees its own */
    back =
        gl_core_enter(core, w->greenlet, pool->st->empty_tuple, NULL, NULL);
    wait_release(w);
    if (back == NULL) {
        pool->report(pool, "a request raised into the event loop");
    }
    Py_XDECREF(back);
    gl_engine_settle(pool->engine);
}

int
gl_wait_start_timer(struct gl_wait *w, uint64_t delay_ns)
{
    uint64_t due_ns = gl_clock_ns() + delay_ns;

    if (delay_ns == 0) {
        gl_engine_defer(w->core->pool->engine, &w->turn);
        return 0;
    }
    w->timer.due_ms = (due_ns + 999999) / 1000000; /* never early */
    if (gl_engine_timer_start(w->core->pool->engine, &w->timer) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

int
gl_park_yield(struct gl_state *st)
{
    struct gl_wait *w = gl_wait_new(st, "yielding");
    int error = -1;

    if (w != NULL) {
        error = gl_wait_start_timer(w, 0);
        if (error == 0) {
            error = gl_wait_park(w);
        }
        gl_wait_free(w);
    }
    return error;
}

struct gl_wait *
gl_core_wait_of(struct gl_core *core, PyObject *g)
{
    for (struct gl_list *l = core->waits.next; l != &core->waits;
         l = l->next) {
        struct gl_wait *w = GL_CONTAINER_OF(l, struct gl_wait, link);

        if (w->greenlet == g) {
            return w;
        }
    }
    return NULL;
}

bool
gl_core_is_closed(struct gl_core *core, PyObject *g)
{
    const struct gl_wait *w = gl_core_wait_of(core, g);

    return w != NULL && !w->open;
}

/* A greenlet that swallows its end again and again is left parked. */
#define END_ATTEMPTS 10

void
gl_core_end_waits(struct gl_core *core)
{
    PyObject *exit = core->pool->st->greenlet_exit;

    for (int i = 0; i < END_ATTEMPTS && !gl_list_empty(&core->waits); i++) {
        struct gl_wait *w =
            GL_CONTAINER_OF(core->waits.next, struct gl_wait, link);
        PyObject *g = Py_NewRef(w->greenlet);
        PyObject *back = NULL;

        /* Its end must come back here, not to the hub. */
        if (gl_bridge_adopt(g) == 0) {
            back = gl_bridge_throw(g, exit, NULL, NULL);
        }
        if (back == NULL) {
            core->pool->report(core->pool, "a greenlet of an ended request "
                                           "raised");
        }
        Py_XDECREF(back);
        Py_DECREF(g);
    }
}

/* --- from core to core ------------------------------------------------ */

PyObject *
gl_core_transfer(struct gl_state *st, PyObject *target, PyObject *args,
                 PyObject *kwargs, struct gl_exc *exc)
{
    struct gl_wait *w = gl_wait_new(st, "switching to another core");
    PyObject *value = NULL;
    struct gl_hub *hub;

    if (w == NULL) {
        if (exc != NULL) {
            gl_exc_clear(exc);
        }
        return NULL;
    }
    hub = w->core->pool->hub;
    hub->transfer = (struct gl_transfer){
        .wait = w,
        .target = Py_NewRef(target),
        .args = Py_XNewRef(args),
        .kwargs = Py_XNewRef(kwargs),
    };
    if (exc != NULL) {
        hub->transfer.exc = *exc; /* moved */
        *exc = (struct gl_exc){0};
    }
    w->refs++; /* the transfer's */
    if (gl_wait_park(w) == 0) {
        value = w->value; /* moved */
        w->value = NULL;
    }
    gl_wait_free(w);
    return value;
}
