/* uwsgi_api.h - the module `uwsgi` that applications import: its parts.
 *
 * Its functions get the module as `self`.  Those that are bound to a request
 * find it with gl_uwsgi_exchange(); each of them takes request_context= as a
 * keyword.  docs/uwsgi-module.md lists every name.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_UWSGI_API_H
#define GL_PY_UWSGI_API_H

#include "py/exchange.h"

/* Makes the module (st->uwsgi_module), for the exec of `core_module`, which
 * it keeps.  Nothing imports it yet: see compat/uwsgi_module.py.  0 or -1. */
int gl_uwsgi_module_new(PyObject *core_module, struct gl_state *st);

/* The state behind the module `uwsgi`. */
struct gl_state *gl_uwsgi_state(PyObject *module);

/* The exchange of the request whose greenlets run now or, with a context of
 * uwsgi.request_context() that is not None, of that one's request.  Borrowed,
 * with a live request; NULL with SystemError outside of a request, TypeError
 * for another object, RuntimeError for a request that ended or is another
 * thread's. */
GlExchange *gl_uwsgi_exchange(PyObject *module, PyObject *request_context);

/* The same for a call f(*, request_context=None) with these arguments. */
GlExchange *gl_uwsgi_exchange_alone(PyObject *module, PyObject *args,
                                    PyObject *kwargs);

/* The bytes of a bytes object, or of a str as UTF-8; borrowed from it.  0, or
 * -1 with TypeError. */
int gl_uwsgi_text(PyObject *object, struct gl_str *ret_text);

/* --- uwsgi_wait.c --- */

/* What the response's iterator yielded has been sent: waits for the
 * descriptors that were noted, if any were.  0 or -1. */
int gl_uwsgi_after_item(GlExchange *x);
/* The request's log variables, {bytes: bytes}: borrowed, or NULL. */
PyObject *gl_uwsgi_logvars(GlExchange *x);
/* Frees x->uwsgi, which is not NULL. */
void gl_uwsgi_request_free(GlExchange *x);

/* The module's functions, by file. */
extern PyMethodDef gl_uwsgi_fd_methods[];
extern PyMethodDef gl_uwsgi_request_methods[];
extern PyMethodDef gl_uwsgi_server_methods[];
extern PyMethodDef gl_uwsgi_wait_methods[];
extern PyMethodDef gl_uwsgi_websocket_methods[];

/* Adds the names that only say why they do nothing.  0 or -1. */
int gl_uwsgi_add_absent(PyObject *module);

/* Two fields of a PyMethodDef. */
#define GL_UWSGI_KEYWORDS(function) \
    (PyCFunction)(void (*)(void)) function, METH_VARARGS | METH_KEYWORDS

#endif
