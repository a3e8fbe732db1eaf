/* loop_turns.c - an asyncio loop runs an engine: turn() and select().
 *
 * Both by public API: loop.add_reader(engine.fileno(), engine.turn) on any
 * loop, and engine.select in place of the select() of the server's own stock
 * loop's selector.  The third way is loop_uv.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/loop_turns.h"

#include "base/clock.h"
#include "base/gl.h"
#include "py/bracket.h"

#include <errno.h>
#include <math.h>

int
gl_loop_turn_once(GlEngine *self, int timeout_ms)
{
    struct gl_hub *hub = self->pool.hub;
    bool nested = hub->in_turn;
    int n;

    if (!nested) {
        gl_hub_mark_stack(hub);
    }
    hub->in_turn = true;
    n = gl_engine_turn(self->engine, timeout_ms, &gl_budget_default);
    hub->in_turn = nested;
    if (n < 0 && n != -EINTR) {
        gl_raise_errno(n, "the event engine failed");
        return -1;
    }
    return n > 0 ? n : 0;
}

int
gl_loop_show(GlEngine *self, int error)
{
    struct gl_hub *hub = self->pool.hub;
    struct gl_exc raised = {0};

    if (error < 0) {
        raised = gl_exc_take();
    }
    if (!hub->in_turn && gl_bracket_view(hub, hub->loop) < 0) {
        gl_exc_clear(&raised);
        return -1;
    }
    if (error < 0) {
        gl_exc_restore(&raised);
        return -1;
    }
    return 0;
}

/* Ends what turns began, and runs Python's handlers of the signal that may
 * have ended the wait.  `error`: what the turns gave.  0 or -1. */
static int
end_turns(GlEngine *self, int error)
{
    return gl_loop_show(self, error) < 0 ? -1 : PyErr_CheckSignals();
}

const char gl_loop_turn_doc[] =
    "turn($self, /)\n--\n\n"
    "Run what is ready, without waiting: the callback of loop.add_reader().";

PyObject *
gl_loop_turn(PyObject *object, PyObject *unused)
{
    GlEngine *self = (GlEngine *)object;
    int error;

    (void)unused;
    if (gl_engine_check_open(self) < 0) {
        return NULL;
    }
    Py_INCREF(object); /* the application may drop the server */
    error = end_turns(self, gl_loop_turn_once(self, 0));
    Py_DECREF(object);
    return error < 0 ? NULL : Py_NewRef(Py_None);
}

const char gl_loop_mount_select_doc[] =
    "mount_select($self, fd, select, /)\n--\n\n"
    "Make self.select serve for the selector with descriptor fd, whose own\n"
    "select(timeout) is asked only when that descriptor is ready.";

PyObject *
gl_loop_mount_select(PyObject *object, PyObject *args)
{
    GlEngine *self = (GlEngine *)object;
    PyObject *select;
    int fd, error;

    if (!PyArg_ParseTuple(args, "iO:mount_select", &fd, &select) ||
        gl_engine_check_open(self) < 0) {
        return NULL;
    }
    error = gl_engine_set_member(self->engine, fd);
    if (error < 0) {
        return gl_raise_errno(error, "cannot watch the loop's selector");
    }
    Py_XSETREF(self->loop_select, Py_NewRef(select));
    Py_RETURN_NONE;
}

/* Seconds to whole milliseconds, rounded up; None and huge: for ever. */
static int
timeout_ms_of(PyObject *timeout, int *ret_ms)
{
    double seconds;

    if (timeout == Py_None) {
        *ret_ms = -1;
        return 0;
    }
    seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    *ret_ms = seconds <= 0      ? 0
              : seconds > 86400 ? 86400000
                                : (int)ceil(seconds * 1000);
    return 0;
}

/* Items in an attribute of the loop, or -1 (no exception). */
static Py_ssize_t
loop_holds(PyObject *loop, PyObject *name)
{
    PyObject *items = PyObject_GetAttr(loop, name);
    Py_ssize_t n = items != NULL ? PyObject_Size(items) : -1;

    Py_XDECREF(items);
    if (n < 0) {
        PyErr_Clear();
    }
    return n;
}

/* Whether the turn left the loop nothing to do but to call select() again
 * with the same timeout: no callback is ready, no timer was added, nobody
 * stops it.  What comes from other threads makes the loop's selector ready.
 * These attributes are asyncio's own: a loop without them is asked after
 * each turn. */
static bool
loop_rests(GlEngine *self, Py_ssize_t timers)
{
    PyObject *loop = self->pool.hub->loop, *stopping;
    bool goes_on;

    if (timers < 0 || loop_holds(loop, self->st->s_loop_ready) != 0 ||
        loop_holds(loop, self->st->s_loop_timers) != timers) {
        return false;
    }
    stopping = PyObject_GetAttr(loop, self->st->s_loop_stopping);
    goes_on = stopping == Py_False;
    if (stopping == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(stopping);
    return goes_on;
}

/* Turns until the time is over or the loop has something to do: passing
 * through the loop's own Python costs a lone request 2 us, and the running
 * loop has to be shown and hidden for each pass.  0 or -1. */
static int
turn_while_loop_rests(GlEngine *self, int timeout_ms)
{
    PyObject *loop = self->pool.hub->loop;
    Py_ssize_t timers = loop_holds(loop, self->st->s_loop_timers);
    uint64_t end_ms =
        timeout_ms > 0 ? gl_clock_ms() + (uint64_t)timeout_ms : 0;
    int n;

    for (;;) {
        n = gl_loop_turn_once(self, timeout_ms);
        if (n <= 0 || timeout_ms == 0 || self->engine == NULL ||
            gl_engine_member_ready(self->engine) ||
            !loop_rests(self, timers) || PyErr_CheckSignals() < 0) {
            return n < 0 || PyErr_Occurred() != NULL ? -1 : 0;
        }
        if (timeout_ms > 0) {
            uint64_t now_ms = gl_clock_ms();

            timeout_ms = now_ms < end_ms ? (int)(end_ms - now_ms) : 0;
        }
    }
}

const char gl_loop_select_doc[] =
    "select($self, timeout=None, /)\n--\n\n"
    "Run turns for up to `timeout` seconds, until the loop has something to\n"
    "do; then return what its own selector has ready: a list of (key,\n"
    "events).";

PyObject *
gl_loop_select(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    GlEngine *self = (GlEngine *)object;
    PyObject *zero, *ready = NULL;
    int timeout_ms;

    if (timeout_ms_of(nargs > 0 ? args[0] : Py_None, &timeout_ms) < 0 ||
        gl_engine_check_open(self) < 0) {
        return NULL;
    }
    Py_INCREF(object); /* the application may drop the server */
    if (end_turns(self, turn_while_loop_rests(self, timeout_ms)) == 0) {
        if (self->engine != NULL && !gl_engine_member_ready(self->engine)) {
            ready = PyList_New(0);
        } else {
            zero = PyLong_FromLong(0);
            ready = zero != NULL
                        ? PyObject_CallOneArg(self->loop_select, zero)
                        : NULL;
            Py_XDECREF(zero);
        }
    }
    Py_DECREF(object);
    return ready;
}
