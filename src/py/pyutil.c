/* pyutil.c - what all of src/py needs of CPython, and its version
 * differences.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/pyutil.h"

#include <errno.h>
#include <math.h>

PyObject *
gl_raise_errno(int error, const char *what)
{
    /* Made here: of one that is made when it is caught, `except TimeoutError`
     * of CPython 3.10 still sees OSError. */
    PyObject *exc = PyObject_CallFunction(PyExc_OSError, "is", -error, what);

    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return NULL;
}

PyObject *
gl_latin1(struct gl_str s)
{
    return PyUnicode_DecodeLatin1(s.n > 0 ? s.p : "", (Py_ssize_t)s.n, NULL);
}

bool
gl_latin1_view(PyObject *text, struct gl_str *ret_bytes)
{
#if PY_VERSION_HEX < 0x030C0000 /* since then every str is ready */
    if (PyUnicode_READY(text) < 0) {
        PyErr_Clear();
        return false;
    }
#endif
    if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) {
        return false;
    }
    *ret_bytes = (struct gl_str){(const char *)PyUnicode_1BYTE_DATA(text),
                                 (size_t)PyUnicode_GET_LENGTH(text)};
    return true;
}

struct gl_exc
gl_exc_take(void)
{
    struct gl_exc exc = {0};

#if PY_VERSION_HEX >= 0x030C0000
    exc.value = PyErr_GetRaisedException();
    if (exc.value != NULL) {
        exc.type = Py_NewRef(Py_TYPE(exc.value));
        exc.traceback = PyException_GetTraceback(exc.value);
    }
#else
    PyErr_Fetch(&exc.type, &exc.value, &exc.traceback);
    if (exc.type != NULL) {
        PyErr_NormalizeException(&exc.type, &exc.value, &exc.traceback);
        if (exc.traceback != NULL) {
            (void)PyException_SetTraceback(exc.value, exc.traceback);
        }
    }
#endif
    return exc;
}

void
gl_exc_restore(struct gl_exc *exc)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exc->value);
    exc->value = NULL;
    gl_exc_clear(exc);
#else
    PyErr_Restore(exc->type, exc->value, exc->traceback);
    *exc = (struct gl_exc){0};
#endif
}

void
gl_exc_clear(struct gl_exc *exc)
{
    Py_CLEAR(exc->type);
    Py_CLEAR(exc->value);
    Py_CLEAR(exc->traceback);
}

int
gl_seconds_to_ns(PyObject *number, const char *what, uint64_t *ret_ns)
{
    double seconds = PyFloat_AsDouble(number);

    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds) || seconds < 0) {
        PyErr_Format(PyExc_ValueError, "%s must be 0 seconds or more", what);
        return -1;
    }
    *ret_ns = seconds < 1e9 ? (uint64_t)(seconds * 1e9) : UINT64_MAX / 2;
    return 0;
}

PyObject *
gl_call_method(PyObject *object, PyObject *name)
{
    return PyObject_CallMethodNoArgs(object, name);
}

PyObject *
gl_call_method_one(PyObject *object, PyObject *name, PyObject *arg)
{
    return PyObject_CallMethodOneArg(object, name, arg);
}

int
gl_dict_put_new(PyObject *dict, PyObject *key, PyObject *value)
{
    int error = value != NULL ? PyDict_SetItem(dict, key, value) : -1;

    Py_XDECREF(value);
    return error;
}

void
gl_unraisable(PyObject *where)
{
    PyErr_WriteUnraisable(where);
}
