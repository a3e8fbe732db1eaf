/* request_type.c - what an application asks of the request that runs:
 * current_request() and cancel_on_disconnect().
 *
 * A Request is made when it is first asked for, and kept in the request's
 * kit; who never asks pays nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/request_type.h"

#include "py/exchange.h"

typedef struct {
    PyObject_HEAD
    GlExchange *x; /* strong */
    unsigned long long id;
} GlRequest;

/* The kit of the request whose greenlets run now, or NULL (no exception). */
static struct gl_kit *
current_kit(struct gl_state *st)
{
    struct gl_core *core = gl_core_current(st);
    struct gl_kit *kit = NULL;

    if (core != NULL && core->busy) {
        kit = core->exchange;
    }
    return kit != NULL && kit->x != NULL && kit->x->req != NULL ? kit : NULL;
}

/* --- the object ------------------------------------------------------- */

static PyObject *
get_id(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((GlRequest *)self)->id);
}

/* A member of the exchange, while there is a request. */
static PyObject *
live(GlExchange *x, PyObject *const *member)
{
    if (gl_exchange_request(x) == NULL) {
        return NULL;
    }
    return Py_NewRef(*member != NULL ? *member : Py_None);
}

static PyObject *
get_environ(PyObject *self, void *unused)
{
    GlExchange *x = ((GlRequest *)self)->x;

    (void)unused;
    return live(x, &x->environ);
}

static PyObject *
get_method(PyObject *self, void *unused)
{
    GlExchange *x = ((GlRequest *)self)->x;

    (void)unused;
    return live(x, &x->method);
}

static PyObject *
get_uri(PyObject *self, void *unused)
{
    GlExchange *x = ((GlRequest *)self)->x;

    (void)unused;
    return live(x, &x->uri);
}

static PyObject *
get_core(PyObject *self, void *unused)
{
    GlExchange *x = ((GlRequest *)self)->x;

    (void)unused;
    return gl_exchange_request(x) == NULL ? NULL : Py_NewRef(x->core->number);
}

static PyObject *
get_departed(PyObject *self, void *unused)
{
    GlExchange *x = ((GlRequest *)self)->x;

    (void)unused;
    return PyBool_FromLong(x->req == NULL || gl_request_departed(x->req));
}

static PyGetSetDef request_getset[] = {
    {"id", get_id, NULL, "An int that no other request of this process has.",
     NULL},
    {"environ", get_environ, NULL, "The WSGI environ: the same dict.", NULL},
    {"method", get_method, NULL, "The method as it came, a str.", NULL},
    {"uri", get_uri, NULL, "The request target as it came, a str.", NULL},
    {"core", get_core, NULL, "The number of its core, an int.", NULL},
    {"client_disconnected", get_departed, NULL,
     "Whether the client closed, or half-closed, its connection; True also\n"
     "when the request has ended.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static void
request_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    Py_DECREF((PyObject *)((GlRequest *)self)->x);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(request_doc,
"A request that runs, as current_request() returns it.\n\n"
"When it has ended, only id and client_disconnected can still be read; the\n"
"others raise RuntimeError, and so they do in another thread.");

static PyType_Slot request_slots[] = {
    {Py_tp_doc, (void *)request_doc},
    {Py_tp_dealloc, (void *)request_dealloc},
    {Py_tp_getset, request_getset},
    {0, NULL},
};

static PyType_Spec request_spec = {
    .name = "greenloop.Request",
    .basicsize = sizeof(GlRequest),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = request_slots,
};

/* --- functions -------------------------------------------------------- */

PyDoc_STRVAR(current_request_doc,
"current_request($module, /)\n--\n\n"
"The request that the caller serves, as a Request; None outside of one, in\n"
"callbacks, in tasks, and in what spawn() runs.");

static PyObject *
current_request(PyObject *module, PyObject *unused)
{
    struct gl_state *st = gl_state_of_module(module);
    struct gl_kit *kit = current_kit(st);

    (void)unused;
    if (kit == NULL) {
        Py_RETURN_NONE;
    }
    if (kit->request == NULL) {
        GlRequest *request =
            (GlRequest *)st->request_type->tp_alloc(st->request_type, 0);

        if (request == NULL) {
            return NULL;
        }
        request->x = (GlExchange *)Py_NewRef((PyObject *)kit->x);
        request->id = ++st->request_ids;
        kit->request = (PyObject *)request;
    }
    return Py_NewRef(kit->request);
}

PyDoc_STRVAR(cancel_on_disconnect_doc,
"cancel_on_disconnect($module, enabled=True, /)\n--\n\n"
"Have this request ended when its client goes: ClientDisconnected is then\n"
"raised where the request is parked, once.\n\n"
"As --cancel-on-disconnect does it for all requests; with False no more.  A\n"
"client that half-closes its connection counts as gone.  If it has gone\n"
"already, ClientDisconnected is raised here.  Raises RuntimeError outside of\n"
"a request.");

static PyObject *
cancel_on_disconnect(PyObject *module, PyObject *args)
{
    struct gl_state *st = gl_state_of_module(module);
    struct gl_kit *kit = current_kit(st);
    struct gl_core *core;
    int enabled = 1;

    if (!PyArg_ParseTuple(args, "|p:cancel_on_disconnect", &enabled)) {
        return NULL;
    }
    if (kit == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cancel_on_disconnect() can only be called by code "
                        "that serves a request");
        return NULL;
    }
    core = kit->x->core;
    core->cancels = enabled != 0;
    if (core->cancels && !core->cancelled &&
        gl_request_departed(kit->x->req)) {
        core->cancelled = true;
        PyErr_SetString(st->client_disconnected,
                        "the client closed the connection");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef gl_request_methods[] = {
    {"current_request", current_request, METH_NOARGS, current_request_doc},
    {"cancel_on_disconnect", cancel_on_disconnect, METH_VARARGS,
     cancel_on_disconnect_doc},
    {NULL, NULL, 0, NULL},
};

int
gl_request_type_init(PyObject *module, struct gl_state *st)
{
    st->request_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &request_spec, NULL);
    return st->request_type == NULL
               ? -1
               : PyModule_AddObjectRef(module, "Request",
                                       (PyObject *)st->request_type);
}
