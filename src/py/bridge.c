/* bridge.c - the only door to greenlet (version 3.1 or later).
 *
 * greenlet's header defines a static table of its API in each file that
 * includes it; gl_bridge_import() fills this file's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/bridge.h"

#include "base/gl.h"

#include <greenlet/greenlet.h>

/* As PyGreenlet_Import(), but for what went wrong: that says that there is no
 * greenlet also where a signal's KeyboardInterrupt came in between. */
int
gl_bridge_import(void)
{
    PyObject *module = PyImport_ImportModule("greenlet");
    PyObject *capsule = NULL;

    if (module != NULL) {
        capsule = PyObject_GetAttrString(module, "_C_API");
        Py_DECREF(module);
    }
    if (capsule == NULL) {
        return -1;
    }
    _PyGreenlet_API = PyCapsule_GetPointer(capsule, "greenlet._C_API");
    Py_DECREF(capsule);
    return _PyGreenlet_API != NULL ? 0 : -1;
}

PyTypeObject *
gl_bridge_base_type(void)
{
    return &PyGreenlet_Type;
}

PyObject *
gl_bridge_current(void)
{
    return (PyObject *)PyGreenlet_GetCurrent();
}

PyObject *
gl_bridge_parent(PyObject *g)
{
    return (PyObject *)PyGreenlet_GET_PARENT((PyGreenlet *)g);
}

int
gl_bridge_adopt(PyObject *g)
{
    PyGreenlet *current = PyGreenlet_GetCurrent();
    int error = -1;

    if (current != NULL) {
        error = PyGreenlet_SetParent((PyGreenlet *)g, current);
        Py_DECREF(current);
    }
    return error;
}

PyObject *
gl_bridge_switch(PyObject *g, PyObject *args, PyObject *kwargs)
{
    return PyGreenlet_Switch((PyGreenlet *)g, args, kwargs);
}

PyObject *
gl_bridge_throw(PyObject *g, PyObject *type, PyObject *value,
                PyObject *traceback)
{
    return PyGreenlet_Throw((PyGreenlet *)g, type, value, traceback);
}

/* The pointer at `offset` of an instance, or NULL where there is no slot. */
static PyObject *
slot_at(PyObject *object, Py_ssize_t offset)
{
    return offset > 0 ? *(PyObject **)(void *)((char *)object + offset)
                      : NULL;
}

bool
gl_bridge_is_private(PyObject *g, Py_ssize_t references)
{
    PyTypeObject *base = &PyGreenlet_Type;
    PyObject *dict = slot_at(g, base->tp_dictoffset);

    return Py_REFCNT(g) == references &&
           slot_at(g, base->tp_weaklistoffset) == NULL &&
           (dict == NULL || PyDict_GET_SIZE(dict) == 0);
}

bool
gl_bridge_is_started(PyObject *g)
{
    return PyGreenlet_STARTED((PyGreenlet *)g) != 0;
}

void
gl_bridge_prefetch(PyObject *g)
{
    /* greenlet's own struct: where its state is, not what is in it. */
    gl_prefetch(((PyGreenlet *)g)->pimpl, 5);
}
