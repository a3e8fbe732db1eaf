/* pyutil.h - what all of src/py needs of CPython, and its version
 * differences.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_PYUTIL_H
#define GL_PY_PYUTIL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Sets OSError (of the errno's subclass) for a negative errno, with `what`
 * as its text; returns NULL. */
PyObject *gl_raise_errno(int error, const char *what);

/* A new str of latin-1 bytes (PEP 3333: "native strings"), or NULL. */
PyObject *gl_latin1(struct gl_str s);

/* The latin-1 bytes of a str, borrowed from it.  Returns false, with no
 * exception set, if it has code points above U+00FF. */
bool gl_latin1_view(PyObject *text, struct gl_str *ret_bytes);

/* An exception that was taken out of the thread state. */
struct gl_exc {
    PyObject *type, *value, *traceback; /* owned; NULL when there is none */
};

/* Takes the current exception, normalised, with its traceback attached. */
struct gl_exc gl_exc_take(void);
/* Sets it again; `exc` is emptied. */
void gl_exc_restore(struct gl_exc *exc);
void gl_exc_clear(struct gl_exc *exc);

/* Seconds (a float >= 0, not NaN) of a number to nanoseconds, saturating.
 * Returns 0, or -1 with TypeError or ValueError set. */
int gl_seconds_to_ns(PyObject *number, const char *what, uint64_t *ret_ns);

/* Calls object.name(); a new reference or NULL. */
PyObject *gl_call_method(PyObject *object, PyObject *name);
/* Calls object.name(arg). */
PyObject *gl_call_method_one(PyObject *object, PyObject *name, PyObject *arg);

/* Sets dict[key] to a new value, whose reference it takes; NULL, with an
 * exception set, is one that could not be made.  Returns 0 or -1. */
int gl_dict_put_new(PyObject *dict, PyObject *key, PyObject *value);

/* Reports an exception that nobody can receive, and clears it. */
void gl_unraisable(PyObject *where);

#endif
