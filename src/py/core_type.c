/* core_type.c - the class of a core's greenlet: switch() and throw() that go
 * through the hub's bracket.
 *
 * What the original left undefined is defined here: a core that ended or is
 * idle ignores both; one that waits in the server's own functions ignores
 * switch() and receives throw(); one core may switch to another, and gets
 * control back when that one parks or ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/bracket.h"
#include "py/bridge.h"
#include "py/core.h"
#include "py/park.h"

struct gl_core_link *
gl_core_link(PyObject *greenlet)
{
    return (
        struct gl_core_link *)(void *)((char *)greenlet +
                                       gl_bridge_base_type()->tp_basicsize);
}

/* The busy core behind `self` of this thread.  NULL: no core to switch to, as
 * in a child of the process; with an exception set if the caller is in another
 * thread. */
static struct gl_core *
live_core(PyObject *self)
{
    struct gl_core *core = gl_core_link(self)->core;

    if (core == NULL || !core->busy ||
        !gl_engine_is_ours(core->pool->engine)) {
        return NULL;
    }
    if (core->pool->hub->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a core belongs to its loop's thread; from another "
                        "one use loop.call_soon_threadsafe(core.switch)");
        return NULL;
    }
    return core;
}

/* The core may have ended and left its slot to a queued request, which starts
 * here: not in the task that is being stepped.  Keeps the exception. */
static void
settle(struct gl_engine *engine)
{
    struct gl_exc exc = gl_exc_take();

    gl_engine_settle(engine);
    if (exc.value != NULL) {
        gl_exc_restore(&exc);
    }
}

/* From the hub: leave the task that is being stepped, enter the core. */
static PyObject *
enter_from_hub(struct gl_core *core, PyObject *self, PyObject *args,
               PyObject *kwargs, struct gl_exc *exc)
{
    struct gl_pool *pool = core->pool;
    struct gl_hub *hub = pool->hub;
    PyObject *task = NULL, *result;

    if (gl_bracket_leave_task(pool->st, hub->loop, &task) < 0) {
        if (exc != NULL) {
            gl_exc_clear(exc);
        }
        return NULL;
    }
    result = gl_core_enter(core, self, args, kwargs, exc);
    settle(pool->engine);
    gl_bracket_enter_task(pool->st, hub->loop, task);
    return result;
}

/* (first, *rest): a new tuple or NULL. */
static PyObject *
prepend(PyObject *first, PyObject *rest)
{
    PyObject *one = PyTuple_Pack(1, first);
    PyObject *all = one != NULL ? PySequence_Concat(one, rest) : NULL;

    Py_XDECREF(one);
    return all;
}

/* The hub runs, but not in its own greenlet: only a callback of the loop can
 * enter a core without losing the caller.  kwargs may be NULL. */
static PyObject *
schedule(struct gl_hub *hub, PyObject *method, PyObject *args,
         PyObject *kwargs)
{
    PyObject *functools = PyImport_ImportModule("functools");
    PyObject *partial = NULL, *all = NULL, *call = NULL, *handle = NULL;

    if (functools != NULL) {
        partial = PyObject_GetAttrString(functools, "partial");
        all = prepend(method, args);
    }
    if (partial != NULL && all != NULL) {
        call = PyObject_Call(partial, all, kwargs);
    }
    if (call != NULL) {
        handle = gl_call_method_one(hub->loop, hub->st->s_call_soon, call);
    }
    Py_XDECREF(functools);
    Py_XDECREF(partial);
    Py_XDECREF(all);
    Py_XDECREF(call);
    if (handle == NULL) {
        return NULL;
    }
    Py_DECREF(handle);
    Py_RETURN_NONE;
}

/* The same for the method called `name` of self. */
static PyObject *
schedule_method(struct gl_hub *hub, PyObject *self, PyObject *name,
                PyObject *args, PyObject *kwargs)
{
    PyObject *method = PyObject_GetAttr(self, name);
    PyObject *result = NULL;

    if (method != NULL) {
        result = schedule(hub, method, args, kwargs);
        Py_DECREF(method);
    }
    return result;
}

static bool
runs_in_hub(struct gl_hub *hub)
{
    PyObject *g = gl_bridge_current();

    Py_XDECREF(g);
    return g == hub->greenlet;
}

PyDoc_STRVAR(core_switch_doc,
"switch($self, /, *args, **kwargs)\n--\n\n"
"Resume the request that parked itself with getcurrent().parent.switch().\n\n"
"The arguments are what that call returns.  Returns what the request passes\n"
"when it parks again, or () when it ended.  Does nothing and returns None if\n"
"the request has ended, or waits in a function of the server.\n"
"Raises RuntimeError in another thread than the loop's.");

static PyObject *
core_switch(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct gl_core *core = live_core(self);
    struct gl_hub *hub;

    if (core == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    if (gl_core_is_closed(core, self)) {
        Py_RETURN_NONE; /* its park is owned by somebody else */
    }
    hub = core->pool->hub;
    if (hub->current == core) { /* within one request: greenlet's affair */
        return gl_bridge_switch(self, args, kwargs);
    }
    if (hub->current != NULL) {
        return gl_core_transfer(hub->st, self, args, kwargs, NULL);
    }
    if (!runs_in_hub(hub)) {
        return schedule_method(hub, self, hub->st->s_switch_name, args,
                               kwargs);
    }
    return enter_from_hub(core, self, args, kwargs, NULL);
}

PyDoc_STRVAR(core_throw_doc,
"throw($self, type=GreenletExit, value=None, traceback=None, /)\n--\n\n"
"Raise an exception where the request is parked, whatever it waits for.\n\n"
"Returns what switch() returns.  Does nothing and returns None if the\n"
"request has ended.  Raises RuntimeError in another thread than the loop's.");

static PyObject *
core_throw(PyObject *self, PyObject *args)
{
    struct gl_core *core = live_core(self);
    struct gl_exc exc = {0};
    struct gl_hub *hub;

    if (core == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    hub = core->pool->hub;
    exc.type = hub->st->greenlet_exit;
    if (!PyArg_UnpackTuple(args, "throw", 0, 3, &exc.type, &exc.value,
                           &exc.traceback)) {
        return NULL;
    }
    if (exc.value == Py_None) {
        exc.value = NULL;
    }
    if (exc.traceback == Py_None) {
        exc.traceback = NULL;
    }
    if (hub->current == core) {
        return gl_bridge_throw(self, exc.type, exc.value, exc.traceback);
    }
    if (hub->current == NULL && !runs_in_hub(hub)) {
        return schedule_method(hub, self, hub->st->s_throw, args, NULL);
    }
    Py_INCREF(exc.type);
    Py_XINCREF(exc.value);
    Py_XINCREF(exc.traceback);
    if (hub->current != NULL) {
        return gl_core_transfer(hub->st, self, NULL, NULL, &exc);
    }
    return enter_from_hub(core, self, NULL, NULL, &exc);
}

static PyMethodDef core_methods[] = {
    {"switch", (PyCFunction)(void (*)(void))core_switch,
     METH_VARARGS | METH_KEYWORDS, core_switch_doc},
    {"throw", core_throw, METH_VARARGS, core_throw_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(core_doc,
"The greenlet that serves a request: greenlet.getcurrent() in an application."
"\n\nIts parent is the hub, in which the event loop runs.");

static PyType_Slot core_slots[] = {
    {Py_tp_doc, (void *)core_doc},
    {Py_tp_methods, core_methods},
    {0, NULL},
};

int
gl_core_type_init(PyObject *module, struct gl_state *st)
{
    PyTypeObject *base = gl_bridge_base_type();
    PyObject *bases = PyTuple_Pack(1, base);
    PyType_Spec spec = {
        .name = "greenloop.Core",
        /* greenlet's size is known at run time only */
        .basicsize = (int)(base->tp_basicsize +
                           (Py_ssize_t)sizeof(struct gl_core_link)),
        .flags = Py_TPFLAGS_DEFAULT,
        .slots = core_slots,
    };

    if (bases == NULL) {
        return -1;
    }
    st->gr_context = PyObject_GetAttrString((PyObject *)base, "gr_context");
    if (st->gr_context == NULL ||
        Py_TYPE(st->gr_context)->tp_descr_set == NULL) {
        Py_DECREF(bases);
        PyErr_SetString(PyExc_ImportError,
                        "this greenlet has no gr_context; install "
                        "greenlet>=3.1");
        return -1;
    }
    st->core_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, bases);
    Py_DECREF(bases);
    return st->core_type != NULL ? 0 : -1;
}
