/* api.c - what synchronous code calls to wait: await_, sleep, loop_visible.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/api.h"

#include "base/gl.h"
#include "py/bracket.h"
#include "py/park.h"

#include <errno.h>
#include <stddef.h>
#include <structmember.h>

/* Control came to the core through the bracket.  It did not if the hub
 * switched to a greenlet of the application's own: then the hub's view of
 * the loop is in place, and must stay. */
static bool
is_bracketed(const struct gl_core *core)
{
    return core->pool->hub->current == core;
}

/* Before Python 3.12 no task starts eagerly. */
int
gl_api_refuse_in_task(struct gl_state *st, struct gl_core *core,
                      const char *what)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *task;
    bool inside;

    if (!is_bracketed(core)) {
        return 0; /* to park here is to return to the task's step */
    }
    task = PyObject_CallOneArg(st->current_task, core->pool->hub->loop);
    inside = task != NULL && task != Py_None;
    Py_XDECREF(task);
    if (inside) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s was called inside of a coroutine: use await there",
                     what);
    }
    return task != NULL && !inside ? 0 : -1;
#else
    (void)st;
    (void)core;
    (void)what;
    return 0; /* no task starts eagerly there */
#endif
}

/* --- sleep ------------------------------------------------------------ */

PyDoc_STRVAR(sleep_doc,
"sleep($module, seconds, /)\n--\n\n"
"Park the request for `seconds` (a float >= 0); others go on meanwhile.\n\n"
"0 lets what is ready run first.  Raises RuntimeError outside of a request,\n"
"ValueError for a negative time, and whatever is thrown into the request.");

static PyObject *
api_sleep(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct gl_state *st = gl_state_of_module(module);
    struct gl_wait *w;
    uint64_t ns;
    int error;

    if (nargs != 1) {
        PyErr_Format(PyExc_TypeError,
                     "sleep() takes exactly one argument (%zd given)", nargs);
        return NULL;
    }
    if (gl_seconds_to_ns(args[0], "sleep()", &ns) < 0) {
        return NULL;
    }
    w = gl_wait_new(st, "greenloop.sleep()");
    if (w == NULL) {
        return NULL;
    }
    gl_wait_note_frame(w, args);
    error = gl_api_refuse_in_task(st, w->core, "greenloop.sleep()");
    if (error == 0) {
        error = gl_wait_start_timer(w, ns);
    }
    if (error == 0) {
        error = gl_wait_park(w);
    }
    gl_wait_free(w);
    return error == 0 ? Py_NewRef(Py_None) : NULL;
}

/* --- await_ ----------------------------------------------------------- */

/* The done callback: an object, so that a late call finds out that nobody
 * waits any more. */
typedef struct {
    PyObject_HEAD
    struct gl_wait *wait; /* borrowed; NULL when nobody waits */
    vectorcallfunc vectorcall;
} GlWaker;

static PyObject *
waker_call(PyObject *self, PyObject *const *args, size_t nargsf,
           PyObject *names)
{
    struct gl_wait *w = ((GlWaker *)self)->wait;
    struct gl_state *st = gl_state_of_type(Py_TYPE(self));
    PyObject *loop, *task = NULL;

    (void)args;
    (void)nargsf;
    (void)names;
    if (w == NULL) {
        Py_RETURN_NONE;
    }
    ((GlWaker *)self)->wait = NULL;
    loop = Py_NewRef(w->core->pool->hub->loop);
    if (gl_bracket_leave_task(st, loop, &task) == 0) {
        gl_wait_wake(w, 0);
        gl_bracket_enter_task(st, loop, task);
    }
    Py_DECREF(loop);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *
waker_new(struct gl_state *st, struct gl_wait *w)
{
    GlWaker *waker = (GlWaker *)st->waker_type->tp_alloc(st->waker_type, 0);

    if (waker != NULL) {
        waker->wait = w;
        waker->vectorcall = waker_call;
    }
    return (PyObject *)waker;
}

static void
waker_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef waker_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(GlWaker, vectorcall),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot waker_slots[] = {
    {Py_tp_call, (void *)PyVectorcall_Call},
    {Py_tp_dealloc, (void *)waker_dealloc},
    {Py_tp_members, waker_members},
    {0, NULL},
};

static PyType_Spec waker_spec = {
    .name = "greenloop._core._Waker",
    .basicsize = sizeof(GlWaker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = waker_slots,
};

PyObject *
gl_task_new(struct gl_state *st, struct gl_core *core, PyObject *coroutine)
{
    PyObject *loop = core->pool->hub->loop;
    PyObject *args[] = {loop, coroutine, core->context};
    PyObject *names = NULL, *task;
    bool hidden = core->visible == 0 && is_bracketed(core);

#if PY_VERSION_HEX >= 0x030B0000
    names = PyTuple_Pack(1, st->s_context);
    if (names == NULL) {
        return NULL;
    }
#endif
    if (hidden && gl_bracket_view(core->pool->hub, loop) < 0) {
        Py_XDECREF(names);
        return NULL; /* an eager task begins here: it needs its loop */
    }
    task = PyObject_VectorcallMethod(st->s_create_task, args, 2, names);
    Py_XDECREF(names);
    if (hidden && gl_bracket_view(core->pool->hub, Py_None) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/* Whether `object` is a future, as asyncio.isfuture() has it.  1, 0, -1. */
static int
is_future(struct gl_state *st, PyObject *object)
{
    PyObject *mark = PyObject_GetAttr((PyObject *)Py_TYPE(object),
                                      st->s_asyncio_future_blocking);

    if (mark == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(mark);
    return 1;
}

static int
check_loop(struct gl_state *st, struct gl_core *core, PyObject *future)
{
    PyObject *loop = gl_call_method(future, st->s_get_loop);
    bool ours = loop == core->pool->hub->loop;

    if (loop == NULL) {
        return -1;
    }
    Py_DECREF(loop);
    if (!ours) {
        PyErr_SetString(PyExc_RuntimeError,
                        "await_(): this future belongs to another event "
                        "loop, which does not run here");
        return -1;
    }
    return 0;
}

/* The future behind any awaitable.  Sets *ret_own if it was made here.  A
 * new reference. */
static PyObject *
future_of(struct gl_state *st, struct gl_core *core, PyObject *awaitable,
          bool *ret_own)
{
    int found = is_future(st, awaitable);
    PyObject *coroutine, *task;

    if (found != 0) {
        *ret_own = false;
        return found > 0 && check_loop(st, core, awaitable) == 0
                   ? Py_NewRef(awaitable)
                   : NULL;
    }
    /* as_coroutine() wraps other awaitables; TypeError for the rest. */
    coroutine = PyCoro_CheckExact(awaitable)
                    ? Py_NewRef(awaitable)
                    : PyObject_CallOneArg(st->as_coroutine, awaitable);
    if (coroutine == NULL) {
        return NULL;
    }
    *ret_own = true;
    task = gl_task_new(st, core, coroutine);
    Py_DECREF(coroutine);
    return task;
}

/* future.done(): 1, 0 or -1. */
static int
is_done(struct gl_state *st, PyObject *future)
{
    PyObject *done = gl_call_method(future, st->s_done);
    int truth = done != NULL ? PyObject_IsTrue(done) : -1;

    Py_XDECREF(done);
    return truth;
}

/* Calls a method for its effect, keeping the exception that is set. */
static void
call_aside(PyObject *object, PyObject *name, PyObject *arg)
{
    struct gl_exc exc = gl_exc_take();
    PyObject *done = arg != NULL ? gl_call_method_one(object, name, arg)
                                 : gl_call_method(object, name);

    if (done == NULL) {
        gl_unraisable(object);
    }
    Py_XDECREF(done);
    if (exc.value != NULL) {
        gl_exc_restore(&exc);
    }
}

/* Parks once, until the future is done or w's timer fires.  0 or -1. */
static int
park_for(struct gl_state *st, struct gl_wait *w, PyObject *future)
{
    PyObject *waker = waker_new(st, w), *done = NULL;
    int error = -1;

    if (waker != NULL) {
        done = gl_call_method_one(future, st->s_add_done_callback, waker);
    }
    if (done != NULL) {
        w->woken = false;
        error = gl_wait_park(w);
        if (((GlWaker *)waker)->wait != NULL) { /* it was not called */
            ((GlWaker *)waker)->wait = NULL;
            call_aside(future, st->s_remove_done_callback, waker);
        }
    }
    Py_XDECREF(done);
    Py_XDECREF(waker);
    return error;
}

/* Parks until the future is done.  On a timeout it is cancelled, and the
 * park goes on until the cancellation is through, as asyncio.wait_for()
 * does.  Returns 0, 1 after a timeout, or -1. */
static int
wait_for_future(struct gl_state *st, PyObject *future, PyObject *timeout,
                uint64_t timeout_ns)
{
    struct gl_wait *w = gl_wait_new(st, "greenloop.await_()");
    bool timed_out = false;
    int done = 0, error = -1;

    if (w == NULL) {
        return -1;
    }
    if (timeout == Py_None || gl_wait_start_timer(w, timeout_ns) == 0) {
        error = 0;
    }
    while (error == 0 && (done = is_done(st, future)) == 0) {
        error = park_for(st, w, future);
        if (error == 0 && w->result == -ETIMEDOUT && !timed_out) {
            timed_out = true;
            w->result = 0;
            call_aside(future, st->s_cancel, NULL);
        }
    }
    gl_wait_free(w);
    return error < 0 || done < 0 ? -1 : timed_out;
}

static PyObject *
await_result(struct gl_state *st, PyObject *future, bool timed_out)
{
    PyObject *result = gl_call_method(future, st->s_result);

    if (result == NULL && timed_out &&
        PyErr_ExceptionMatches(st->cancelled_error)) {
        PyErr_Clear();
        PyErr_SetString(st->timeout_error,
                        "await_() timed out; what it waited for was "
                        "cancelled");
    }
    return result;
}

PyDoc_STRVAR(await_doc,
"await_($module, awaitable, timeout=None)\n--\n\n"
"Park the request until a coroutine, task, future or other awaitable is\n"
"done, and return its result or raise its exception.\n\n"
"  awaitable  a coroutine is run as a task of the server's loop, in the\n"
"             request's own context (a copy of it on Python 3.10).\n"
"  timeout    seconds (a float >= 0); then the awaitable is cancelled and\n"
"             asyncio.TimeoutError is raised.  None waits for ever.\n\n"
"If something is thrown into the request meanwhile, the awaitable is\n"
"cancelled; if the awaitable is cancelled, asyncio.CancelledError is raised\n"
"here.  Raises RuntimeError outside of a request, or for a future of another\n"
"loop; TypeError for what cannot be awaited.");

static PyObject *
await_one(struct gl_state *st, struct gl_core *core, PyObject *awaitable,
          PyObject *timeout, uint64_t timeout_ns)
{
    PyObject *future, *result = NULL;
    bool own = false;
    int outcome;

    if (gl_api_refuse_in_task(st, core, "greenloop.await_()") < 0) {
        return NULL;
    }
    future = future_of(st, core, awaitable, &own);
    if (future == NULL) {
        return NULL;
    }
    outcome = is_done(st, future);
    if (outcome == 0) {
        outcome = wait_for_future(st, future, timeout, timeout_ns);
    } else if (outcome > 0) {
        outcome = 0;
    }
    if (outcome >= 0) {
        result = await_result(st, future, outcome > 0);
    } else {
        call_aside(future, st->s_cancel, NULL); /* done: no effect */
    }
    Py_DECREF(future);
    return result;
}

static PyObject *
await_here(struct gl_state *st, PyObject *awaitable, PyObject *timeout,
           uint64_t timeout_ns)
{
    struct gl_core *core = gl_core_current(st);

    if (core == NULL || !core->busy) {
        PyErr_SetString(PyExc_RuntimeError,
                        "greenloop.await_() can only be called by code that "
                        "serves a request; in a coroutine use await");
        return NULL;
    }
    return await_one(st, core, awaitable, timeout, timeout_ns);
}

PyObject *
gl_api_await(struct gl_state *st, PyObject *awaitable)
{
    return await_here(st, awaitable, Py_None, 0);
}

static PyObject *
api_await(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"awaitable", "timeout", NULL};
    struct gl_state *st = gl_state_of_module(module);
    PyObject *awaitable, *timeout = Py_None;
    uint64_t ns = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:await_", names,
                                     &awaitable, &timeout)) {
        return NULL;
    }
    if (timeout != Py_None &&
        gl_seconds_to_ns(timeout, "the timeout of await_()", &ns) < 0) {
        return NULL;
    }
    return await_here(st, awaitable, timeout, ns);
}

/* --- the view of the loop --------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *greenlet; /* strong, while entered: a GlCore, which serves no
                         * other request as long as it is held here; or NULL */
} GlVisible;

static PyObject *
visible_enter(PyObject *self, PyObject *unused)
{
    struct gl_state *st = gl_state_of_type(Py_TYPE(self));
    struct gl_core *core = gl_core_current(st);
    GlVisible *visible = (GlVisible *)self;

    (void)unused;
    if (visible->greenlet != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this loop_visible() is in use already");
        return NULL;
    }
    if (core != NULL && core->visible == 0 &&
        gl_bracket_view(core->pool->hub, core->pool->hub->loop) < 0) {
        return NULL;
    }
    if (core != NULL) {
        core->visible++;
        visible->greenlet = Py_NewRef(core->greenlet);
    } /* else: in the hub the loop is visible anyway */
    Py_RETURN_NONE;
}

static PyObject *
visible_exit(PyObject *self, PyObject *unused)
{
    GlVisible *visible = (GlVisible *)self;
    PyObject *greenlet = visible->greenlet;
    struct gl_core *core =
        greenlet != NULL ? gl_core_link(greenlet)->core : NULL;
    int error = 0;

    (void)unused;
    visible->greenlet = NULL;
    if (core != NULL && core->busy && core->visible > 0 &&
        --core->visible == 0 && is_bracketed(core)) {
        error = gl_bracket_view(core->pool->hub, Py_None);
    }
    Py_XDECREF(greenlet);
    return error == 0 ? Py_NewRef(Py_None) : NULL;
}

static int
visible_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((GlVisible *)self)->greenlet);
    return 0;
}

static int
visible_clear(PyObject *self)
{
    Py_CLEAR(((GlVisible *)self)->greenlet);
    return 0;
}

static void
visible_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)visible_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
visible_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    char *names[] = {NULL};

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":loop_visible", names)) {
        return NULL;
    }
    return type->tp_alloc(type, 0);
}

static PyMethodDef visible_methods[] = {
    {"__enter__", visible_enter, METH_NOARGS, NULL},
    {"__exit__", visible_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(visible_doc,
"loop_visible()\n--\n\n"
"Context manager: within it, asyncio.get_running_loop() in a request returns\n"
"the server's loop, for constructors that insist on one.\n\n"
"Elsewhere in a request there is no running loop, because the code of a WSGI\n"
"application is synchronous.  Outside of a request it changes nothing.");

static PyType_Slot visible_slots[] = {
    {Py_tp_doc, (void *)visible_doc},
    {Py_tp_new, (void *)visible_new},
    {Py_tp_traverse, (void *)visible_traverse},
    {Py_tp_clear, (void *)visible_clear},
    {Py_tp_dealloc, (void *)visible_dealloc},
    {Py_tp_methods, visible_methods},
    {0, NULL},
};

static PyType_Spec visible_spec = {
    .name = "greenloop.loop_visible",
    .basicsize = sizeof(GlVisible),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = visible_slots,
};

/* --- the loop --------------------------------------------------------- */

PyDoc_STRVAR(loop_doc,
"loop($module, /)\n--\n\n"
"The event loop that serves this thread's requests.\n\n"
"For requests, for what spawn() runs, and for callbacks and coroutines of\n"
"that loop.  Raises RuntimeError elsewhere.");

static PyObject *
api_loop(PyObject *module, PyObject *unused)
{
    struct gl_state *st = gl_state_of_module(module);
    struct gl_core *core = gl_core_current(st);
    struct gl_hub *hub;

    (void)unused;
    hub = core != NULL && core->busy ? core->pool->hub : gl_hub_running(st);
    return hub != NULL ? Py_NewRef(hub->loop) : NULL;
}

/* --- for the package's own use ---------------------------------------- */

PyDoc_STRVAR(request_loop_doc,
"request_loop($module, /)\n--\n\n"
"The loop that serves the calling request, or None outside of one.");

static PyObject *
api_request_loop(PyObject *module, PyObject *unused)
{
    struct gl_core *core = gl_core_current(gl_state_of_module(module));

    (void)unused;
    /* One that is not busy runs finalizers of a request: none may run a loop
     * of its own there either. */
    return Py_NewRef(core != NULL ? core->pool->hub->loop : Py_None);
}

PyMethodDef gl_api_methods[] = {
    {"await_", (PyCFunction)(void (*)(void))api_await,
     METH_VARARGS | METH_KEYWORDS, await_doc},
    {"sleep", (PyCFunction)(void (*)(void))api_sleep, METH_FASTCALL,
     sleep_doc},
    {"loop", api_loop, METH_NOARGS, loop_doc},
    {"request_loop", api_request_loop, METH_NOARGS, request_loop_doc},
    {NULL, NULL, 0, NULL},
};

int
gl_api_init(PyObject *module, struct gl_state *st)
{
    st->waker_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &waker_spec, NULL);
    st->visible_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &visible_spec, NULL);
    if (st->waker_type == NULL || st->visible_type == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "loop_visible",
                                 (PyObject *)st->visible_type);
}
