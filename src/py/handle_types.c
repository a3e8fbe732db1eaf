/* handle_types.c - the callables that an application gets for a request:
 * start_response, write, and environ["greenloop.client_disconnected"].
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/exchange.h"

#include "base/clock.h"
#include "py/park.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <structmember.h>

#define FAIR_NS 2000000 /* of moving bytes without a wait */
#define KIT_HANDLES 4   /* of a kit on its exchange */
#define CHAIN_MAX 32    /* of causes, which may be made a circle */

/* --- the exchange itself ---------------------------------------------- */

static void
exchange_dealloc(PyObject *self)
{
    GlExchange *x = (GlExchange *)self;
    PyTypeObject *type = Py_TYPE(self);

    Py_XDECREF(x->method);
    Py_XDECREF(x->uri);
    Py_XDECREF(x->referer);
    Py_XDECREF(x->agent);
    Py_XDECREF(x->client);
    Py_XDECREF(x->user);
    Py_XDECREF(x->protocol);
    free(x->head);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot exchange_slots[] = {
    {Py_tp_dealloc, (void *)exchange_dealloc},
    {0, NULL},
};

static PyType_Spec exchange_spec = {
    .name = "greenloop._core._Exchange",
    .basicsize = sizeof(GlExchange),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = exchange_slots,
};

struct gl_request *
gl_exchange_request(GlExchange *x)
{
    if (x->req == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this request has ended");
        return NULL;
    }
    if (x->core->pool->hub->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a request belongs to its loop's thread; use "
                        "loop.call_soon_threadsafe()");
        return NULL;
    }
    return x->req;
}

/* An attribute of the exception, for to hold it would hold its frames; and
 * another one may come to lie where it was. */
int
gl_exchange_mark(GlExchange *x, int status)
{
    struct gl_exc exc = gl_exc_take();
    PyObject *number = PyLong_FromLong(status);

    if (number != NULL &&
        PyObject_GenericSetAttr(exc.value, x->st->s_refused, number) == 0) {
        gl_exc_restore(&exc);
    }
    gl_exc_clear(&exc);
    Py_XDECREF(number);
    return -1;
}

/* The mark of an exception, or 0. */
static long
mark_of(GlExchange *x, PyObject *exc)
{
    PyObject *number = PyObject_GenericGetAttr(exc, x->st->s_refused);
    long status = number != NULL ? PyLong_AsLong(number) : 0;

    Py_XDECREF(number);
    PyErr_Clear();
    return status >= 400 && status <= 599 ? status : 0;
}

int
gl_exchange_marked_status(GlExchange *x)
{
    struct gl_exc exc;
    PyObject *one;
    long status = 0;

    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return 0;
    }
    exc = gl_exc_take();
    one = Py_XNewRef(exc.value);
    for (int i = 0; one != NULL && status == 0 && i < CHAIN_MAX; i++) {
        status = mark_of(x, one);
        Py_SETREF(one, PyException_GetCause(one));
    }
    Py_XDECREF(one);
    gl_exc_restore(&exc);
    return (int)status;
}

int
gl_exchange_fail(GlExchange *x, int error)
{
    switch (error) {
    case -EBADMSG:
        gl_raise_errno(error, "malformed chunked request body");
        return gl_exchange_mark(x, 400);
    case -EMSGSIZE:
        gl_raise_errno(error, "request body over the limit (--limit-post)");
        return gl_exchange_mark(x, 413);
    case -ETIMEDOUT:
        gl_raise_errno(error, "timeout: the client neither sends nor reads "
                              "(--socket-timeout)");
        return gl_exchange_mark(x, 408);
    case -ENOMEM:
        PyErr_NoMemory();
        break;
    default:
        if (x->core != NULL) {
            x->core->cancelled = true; /* it is told here, and only once */
        }
        PyErr_SetString(x->st->client_disconnected,
                        "the client closed the connection");
        break;
    }
    return -1;
}

static int
register_wait(GlExchange *x, struct gl_wait *w, bool for_write)
{
    int error = for_write ? gl_request_wait_write(x->req, &w->waiter)
                          : gl_request_wait_read(x->req, &w->waiter);

    if (error == -EBUSY) {
        PyErr_SetString(PyExc_RuntimeError,
                        for_write
                            ? "another greenlet is writing this response"
                            : "another greenlet is reading this request");
    } else if (error < 0) {
        return gl_exchange_fail(x, error);
    }
    return error < 0 ? -1 : 0;
}

/* The wait of a greenlet of the request.  Another's could outlive it. */
static struct gl_wait *
own_wait(GlExchange *x)
{
    struct gl_wait *w = gl_wait_new(x->st, "waiting for the client");

    if (w != NULL && w->core != x->core) {
        PyErr_SetString(PyExc_RuntimeError,
                        "only the greenlets of a request can wait for its "
                        "client");
        gl_wait_free(w);
        w = NULL;
    }
    return w;
}

int
gl_exchange_wait_for(GlExchange *x, bool for_write, uint64_t timeout_ns)
{
    struct gl_wait *w = own_wait(x);
    int error;

    if (w == NULL) {
        return -1;
    }
    error = timeout_ns > 0 ? gl_wait_start_timer(w, timeout_ns) : 0;
    if (error == 0) {
        error = register_wait(x, w, for_write);
    }
    if (error == 0) {
        error = gl_wait_park(w);
        if (x->req != NULL) { /* it was not woken, or not by the client */
            gl_request_forget(x->req, &w->waiter);
        }
    }
    if (error == 0 && w->result < 0) {
        error = gl_exchange_fail(x, w->result);
    }
    gl_wait_free(w);
    x->since_ns = 0;
    if (error == 0 && gl_exchange_request(x) == NULL) {
        error = -1;
    }
    return error;
}

int
gl_exchange_wait(GlExchange *x, bool for_write)
{
    return gl_exchange_wait_for(x, for_write, 0);
}

int
gl_exchange_be_fair(GlExchange *x)
{
    uint64_t now = gl_clock_ns();

    if (x->since_ns == 0) {
        x->since_ns = now;
    }
    if (now - x->since_ns < FAIR_NS) {
        return 0;
    }
    x->since_ns = 0;
    if (gl_core_current(x->st) != x->core) {
        return 0; /* a task that the request was handed to cannot park */
    }
    if (gl_park_yield(x->st) < 0) {
        return -1;
    }
    return gl_exchange_request(x) != NULL ? 0 : -1;
}

/* --- handles ---------------------------------------------------------- */

static int
handle_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)((GlHandle *)self)->x);
    return 0;
}

static void
handle_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_XDECREF((PyObject *)((GlHandle *)self)->x);
    type->tp_free(self);
    Py_DECREF(type);
}

static struct gl_kit *
kit_of(GlExchange *x)
{
    return x->core->exchange;
}

PyObject *
gl_exchange_start_response(GlExchange *x)
{
    return Py_NewRef(kit_of(x)->start_response);
}

static PyObject *
start_response_call(PyObject *self, PyObject *const *args, size_t nargsf,
                    PyObject *names)
{
    GlExchange *x = ((GlHandle *)self)->x;
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);

    if (names != NULL && PyTuple_GET_SIZE(names) == 1 && n == 2 &&
        PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0),
                                         "exc_info") == 0) {
        n = 3;
    } else if (names != NULL && PyTuple_GET_SIZE(names) > 0) {
        n = 0;
    }
    if (n < 2 || n > 3) {
        PyErr_SetString(PyExc_TypeError,
                        "start_response(status, headers[, exc_info]) takes "
                        "two or three positional arguments");
        return NULL;
    }
    if (gl_exchange_request(x) == NULL ||
        gl_response_start(x, args[0], args[1], n == 3 ? args[2] : NULL) < 0) {
        return NULL;
    }
    return Py_NewRef(kit_of(x)->write);
}

static PyObject *
write_call(PyObject *self, PyObject *const *args, size_t nargsf,
           PyObject *names)
{
    GlExchange *x = ((GlHandle *)self)->x;

    if (PyVectorcall_NARGS(nargsf) != 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "write() takes one argument");
        return NULL;
    }
    if (!PyBytes_Check(args[0])) {
        PyErr_Format(PyExc_TypeError, "write() takes bytes, not %.100s",
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    if (gl_exchange_request(x) == NULL) {
        return NULL;
    }
    if (PyBytes_GET_SIZE(args[0]) > 0 &&
        (gl_response_send(x, PyBytes_AS_STRING(args[0]),
                          (size_t)PyBytes_GET_SIZE(args[0]), false) < 0 ||
         gl_exchange_be_fair(x) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
departed_call(PyObject *self, PyObject *const *args, size_t nargsf,
              PyObject *names)
{
    GlExchange *x = ((GlHandle *)self)->x;

    (void)args;
    if (PyVectorcall_NARGS(nargsf) != 0 || names != NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "client_disconnected() takes no arguments");
        return NULL;
    }
    return PyBool_FromLong(x->req == NULL || gl_request_departed(x->req));
}

static PyMemberDef handle_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(GlHandle, vectorcall),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject *
make_handle_type(PyObject *module, const char *name, const char *doc)
{
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)(uintptr_t)doc},
        {Py_tp_call, (void *)PyVectorcall_Call},
        {Py_tp_dealloc, (void *)handle_dealloc},
        {Py_tp_traverse, (void *)handle_traverse},
        {Py_tp_members, handle_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(GlHandle),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                 Py_TPFLAGS_HAVE_VECTORCALL |
                 Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };

    return (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL);
}

int
gl_handle_types_init(PyObject *module, struct gl_state *st)
{
    st->exchange_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &exchange_spec, NULL);
    st->start_response_type = make_handle_type(
        module, "greenloop._core.StartResponse",
        "start_response(status, headers, exc_info=None) of PEP 3333.");
    st->write_type = make_handle_type(module, "greenloop._core.Write",
                                      "write(bytes) of PEP 3333: sends now.");
    st->departed_type = make_handle_type(
        module, "greenloop._core.ClientDisconnected",
        "Whether the client closed, or half-closed, its connection.");
    st->request_context_type =
        make_handle_type(module, "uwsgi.RequestContext",
                         "A request, as uwsgi.request_context() gives it.");
    return st->exchange_type != NULL && st->start_response_type != NULL &&
                   st->write_type != NULL && st->departed_type != NULL &&
                   st->request_context_type != NULL
               ? 0
               : -1;
}

/* --- kits ------------------------------------------------------------- */

static PyObject *
new_handle(PyTypeObject *type, GlExchange *x, vectorcallfunc call)
{
    GlHandle *handle = (GlHandle *)type->tp_alloc(type, 0);

    if (handle != NULL) {
        handle->x = (GlExchange *)Py_NewRef((PyObject *)x);
        handle->vectorcall = call;
    }
    return (PyObject *)handle;
}

PyObject *
gl_handle_new(PyTypeObject *type, GlExchange *x)
{
    return new_handle(type, x, NULL);
}

static PyObject *
new_input(struct gl_state *st, GlExchange *x)
{
    GlInput *input = (GlInput *)st->input_type->tp_alloc(st->input_type, 0);

    if (input != NULL) {
        input->x = (GlExchange *)Py_NewRef((PyObject *)x);
    }
    return (PyObject *)input;
}

int
gl_kit_init(struct gl_kit *kit, struct gl_state *st)
{
    GlExchange *x =
        (GlExchange *)st->exchange_type->tp_alloc(st->exchange_type, 0);

    if (x == NULL) {
        return -1;
    }
    x->st = st;
    kit->x = x;
    kit->start_response =
        new_handle(st->start_response_type, x, start_response_call);
    kit->write = new_handle(st->write_type, x, write_call);
    kit->departed = new_handle(st->departed_type, x, departed_call);
    kit->input = new_input(st, x);
    if (kit->start_response == NULL || kit->write == NULL ||
        kit->departed == NULL || kit->input == NULL) {
        gl_kit_clear(kit);
        return -1;
    }
    return 0;
}

void
gl_kit_clear(struct gl_kit *kit)
{
    Py_CLEAR(kit->start_response);
    Py_CLEAR(kit->write);
    Py_CLEAR(kit->departed);
    Py_CLEAR(kit->input);
    Py_CLEAR(kit->request);
    Py_CLEAR(kit->x);
}

bool
gl_kit_is_private(const struct gl_kit *kit)
{
    return Py_REFCNT((PyObject *)kit->x) == KIT_HANDLES + 1 &&
           Py_REFCNT(kit->start_response) == 1 &&
           Py_REFCNT(kit->write) == 1 && Py_REFCNT(kit->departed) == 1 &&
           Py_REFCNT(kit->input) == 1 &&
           (kit->request == NULL || Py_REFCNT(kit->request) == 1);
}
