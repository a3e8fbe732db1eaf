/* bridge.h - the only door to greenlet (version 3.1 or later).
 *
 * bridge.c alone includes greenlet's header.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_BRIDGE_H
#define GL_PY_BRIDGE_H

#include "py/pyutil.h"

/* Loads greenlet's C API.  Returns 0, or -1 with an exception set. */
int gl_bridge_import(void);
/* The class greenlet.greenlet (borrowed). */
PyTypeObject *gl_bridge_base_type(void);
/* The greenlet that runs now; a new reference. */
PyObject *gl_bridge_current(void);
/* The parent of `g`; a new reference, or NULL without an exception for a
 * main greenlet. */
PyObject *gl_bridge_parent(PyObject *g);
/* Makes the running greenlet the parent of `g`: where control goes when g
 * ends.  0 or -1. */
int gl_bridge_adopt(PyObject *g);
/* Gives control to `g`, which receives args (a tuple) and kwargs (a dict or
 * NULL) as greenlet's switch() passes them.  Returns what comes back: a new
 * reference, or NULL with the exception that came back. */
PyObject *gl_bridge_switch(PyObject *g, PyObject *args, PyObject *kwargs);
/* Raises the exception in `g`; returns like gl_bridge_switch. */
PyObject *gl_bridge_throw(PyObject *g, PyObject *type, PyObject *value,
                          PyObject *traceback);
/* Nobody but those who have `references` to `g` can reach it: there is no
 * other strong reference, no weak one, no instance attribute. */
bool gl_bridge_is_private(PyObject *g, Py_ssize_t references);
/* Whether `g` has ever been switched to. */
bool gl_bridge_is_started(PyObject *g);
/* Has the memory of `g` fetched, for a switch soon. */
void gl_bridge_prefetch(PyObject *g);

#endif
