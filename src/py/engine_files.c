/* engine_files.c - Engine.serve_files(): which files an engine serves.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/engine_type.h"

#include "base/gl.h"
#include "engine/static.h"
#include "proto/http_tables.h"

#include <errno.h>
#include <stdlib.h>

#define TYPE_MAX_BYTES 128 /* it stands in the head of every part */

const char gl_engine_serve_files_doc[] =
    "serve_files($self, lists, max_age, /)\n--\n\n"
    "Serve files, without cores.  Once, before listen().\n\n"
    "  lists    {name: [(bytes, bytes), ...]}, see docs/static-files.md:\n"
    "           files (path, file), checks (b'', folder), maps (prefix,\n"
    "           folder), indexes (name, b''), safe (folder, b''), skips (end\n"
    "           of a path, b''), types (extension, type), sendfile (folder,\n"
    "           b''); folders are absolute\n"
    "  max_age  of Cache-Control, in seconds, or -1 for none\n"
    "Raises ValueError for other names, for a NUL, for types that are none,\n"
    "and for a max_age of 2**31; RuntimeError the second time.";

static const char *const list_names[GL_STATIC_LISTS] = {
    [GL_STATIC_FILES] = "files", [GL_STATIC_CHECKS] = "checks",
    [GL_STATIC_MAPS] = "maps",   [GL_STATIC_INDEXES] = "indexes",
    [GL_STATIC_SAFE] = "safe",   [GL_STATIC_SKIPS] = "skips",
    [GL_STATIC_TYPES] = "types", [GL_STATIC_SENDFILE] = "sendfile",
};

/* The number of a list, or -1 with an exception. */
static int
list_named(PyObject *name)
{
    for (int i = 0; PyUnicode_Check(name) && i < GL_STATIC_LISTS; i++) {
        if (PyUnicode_CompareWithASCIIString(name, list_names[i]) == 0) {
            return i;
        }
    }
    PyErr_Format(PyExc_ValueError, "there is no list %R", name);
    return -1;
}

static bool
is_fit(enum gl_static_list list, struct gl_str key, struct gl_str value)
{
    if (memchr(key.p, '\0', key.n) != NULL ||
        memchr(value.p, '\0', value.n) != NULL) {
        return false;
    }
    return list != GL_STATIC_TYPES ||
           (value.n > 0 && value.n <= TYPE_MAX_BYTES &&
            gl_http_is_value(value));
}

static int
add_pair(struct gl_static_config *c, enum gl_static_list list, PyObject *pair)
{
    const char *key, *value;
    Py_ssize_t key_n, value_n;
    struct gl_str texts[2];

    if (!PyTuple_Check(pair)) {
        PyErr_SetString(PyExc_TypeError, "lists are of tuples");
        return -1;
    }
    if (!PyArg_ParseTuple(pair, "y#y#:serve_files", &key, &key_n, &value,
                          &value_n)) {
        return -1;
    }
    texts[0] = (struct gl_str){key, (size_t)key_n};
    texts[1] = (struct gl_str){value, (size_t)value_n};
    if (!is_fit(list, texts[0], texts[1])) {
        PyErr_Format(PyExc_ValueError, "not fit for %s: %R", list_names[list],
                     pair);
        return -1;
    }
    if (gl_static_config_add(c, list, texts[0], texts[1]) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int
read_lists(struct gl_static_config *c, PyObject *lists)
{
    PyObject *name, *pairs;
    Py_ssize_t at = 0;

    while (PyDict_Next(lists, &at, &name, &pairs)) {
        int list = list_named(name);

        if (list < 0) {
            return -1;
        }
        if (!PyList_Check(pairs)) {
            PyErr_SetString(PyExc_TypeError, "lists has lists");
            return -1;
        }
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs); i++) {
            if (add_pair(c, (enum gl_static_list)list,
                         PyList_GET_ITEM(pairs, i)) < 0) {
                return -1;
            }
        }
    }
    if (gl_static_config_finish(c) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void
free_static(struct gl_static *s)
{
    gl_static_config_fini(&s->config);
    free(s);
}

void
gl_engine_free_files(GlEngine *self)
{
    if (self->files != NULL) {
        free_static(self->files);
        self->files = NULL;
    }
}

PyObject *
gl_engine_serve_files(PyObject *object, PyObject *args)
{
    GlEngine *self = (GlEngine *)object;
    struct gl_static *s;
    PyObject *lists;
    long max_age;

    if (!PyArg_ParseTuple(args, "O!l:serve_files", &PyDict_Type, &lists,
                          &max_age)) {
        return NULL;
    }
    if (self->engine == NULL || self->files != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this engine is closed, or serves files already");
        return NULL;
    }
    if (max_age > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "max_age is below 2**31");
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return PyErr_NoMemory();
    }
    s->answers = &self->answers;
    s->config.has_max_age = max_age >= 0;
    s->config.max_age = max_age >= 0 ? (uint32_t)max_age : 0;
    if (read_lists(&s->config, lists) < 0) {
        free_static(s);
        return NULL;
    }
    self->files = s;
    Py_RETURN_NONE;
}
