/* uwsgi_request.c - the module `uwsgi`: functions bound to a request.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"

#include "py/core.h"

GlExchange *
gl_uwsgi_exchange(PyObject *module, PyObject *request_context)
{
    struct gl_state *st = gl_uwsgi_state(module);
    struct gl_core *core;
    struct gl_kit *kit;

    if (request_context != NULL && request_context != Py_None) {
        GlExchange *x = ((GlHandle *)request_context)->x;

        if (Py_TYPE(request_context) != st->request_context_type) {
            PyErr_Format(PyExc_TypeError,
                         "request_context must come from "
                         "uwsgi.request_context(), not be of type %.100s",
                         Py_TYPE(request_context)->tp_name);
            return NULL;
        }
        return gl_exchange_request(x) != NULL ? x : NULL;
    }
    core = gl_core_current(st);
    kit = core != NULL && core->busy ? core->exchange : NULL;
    if (kit == NULL || kit->x == NULL || kit->x->req == NULL) {
        PyErr_SetString(
            PyExc_SystemError,
            "you can call uwsgi api function only from the main callable");
        return NULL;
    }
    return kit->x;
}

GlExchange *
gl_uwsgi_exchange_alone(PyObject *module, PyObject *args,
                        PyObject *kwargs)
{
    char *names[] = {"request_context", NULL};
    PyObject *context = NULL;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O", names, &context)) {
        return NULL;
    }
    return gl_uwsgi_exchange(module, context);
}

PyDoc_STRVAR(request_context_doc,
"request_context($module, /)\n--\n\n"
"The running request, as an object for request_context= of other calls.\n\n"
"Hand it to other greenlets of the loop's thread, or to its tasks and\n"
"callbacks, which can then call what belongs to the request; what would have\n"
"to wait raises RuntimeError in a task.  Once the request has ended every\n"
"such call raises RuntimeError.  Raises SystemError outside of a request.");

static PyObject *
request_context(PyObject *module, PyObject *unused)
{
    struct gl_state *st = gl_uwsgi_state(module);
    GlExchange *x = gl_uwsgi_exchange(module, NULL);

    (void)unused;
    return x != NULL ? gl_handle_new(st->request_context_type, x) : NULL;
}

PyDoc_STRVAR(connection_fd_doc,
"connection_fd($module, /, *, request_context=None)\n--\n\n"
"The descriptor of the client's connection.\n\n"
"It stays the server's: do not close it.  Readers and writers that were\n"
"added to the event loop for it are removed when the request ends.");

static PyObject *
connection_fd(PyObject *module, PyObject *args, PyObject *kwargs)
{
    GlExchange *x = gl_uwsgi_exchange_alone(module, args, kwargs);

    if (x == NULL) {
        return NULL;
    }
    x->fileno_given = true;
    return PyLong_FromLong(gl_request_fd(x->req));
}

PyMethodDef gl_uwsgi_request_methods[] = {
    {"request_context", request_context, METH_NOARGS, request_context_doc},
    {"connection_fd", GL_UWSGI_KEYWORDS(connection_fd), connection_fd_doc},
    {NULL, NULL, 0, NULL},
};
