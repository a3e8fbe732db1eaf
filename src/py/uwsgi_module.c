/* uwsgi_module.c - the module `uwsgi`: how it is made, and what it says of
 * the server.
 *
 * One for each greenloop._core, made with it.  What comes from the command
 * line is set by compat/uwsgi_module.py.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"

#include "base/gl.h"

#include <unistd.h>

/* What stands behind the module's functions. */
struct uwsgi_state {
    PyObject *core; /* strong: greenloop._core, which owns st */
    struct gl_state *st;
};

struct gl_state *
gl_uwsgi_state(PyObject *module)
{
    return ((struct uwsgi_state *)PyModule_GetState(module))->st;
}

/* --- the module ------------------------------------------------------- */

static int
uwsgi_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct uwsgi_state *state = PyModule_GetState(module);

    if (state != NULL) {
        Py_VISIT(state->core);
    }
    return 0;
}

static int
uwsgi_clear(PyObject *module)
{
    struct uwsgi_state *state = PyModule_GetState(module);

    if (state != NULL) {
        Py_CLEAR(state->core);
    }
    return 0;
}

static void
uwsgi_free(void *module)
{
    (void)uwsgi_clear(module);
}

PyDoc_STRVAR(uwsgi_doc,
"What uWSGI offers to the applications it serves, on Greenloop.\n\n"
"Byte strings are the rule, as there.  docs/uwsgi-module.md lists every\n"
"name, and what is different.");

static struct PyModuleDef uwsgi_def = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "uwsgi",
    .m_doc = uwsgi_doc,
    .m_size = sizeof(struct uwsgi_state),
    .m_traverse = uwsgi_traverse,
    .m_clear = uwsgi_clear,
    .m_free = uwsgi_free,
};

/* An importlib spec, for who looks the module up; a new reference. */
static PyObject *
new_spec(void)
{
    PyObject *machinery = PyImport_ImportModule("importlib.machinery");
    PyObject *spec = NULL;

    if (machinery != NULL) {
        spec = PyObject_CallMethod(machinery, "ModuleSpec", "sO", "uwsgi",
                                   Py_None);
        Py_DECREF(machinery);
    }
    return spec;
}

/* Steals value, which may be NULL with an exception set. */
static int
add_new(PyObject *module, const char *name, PyObject *value)
{
    int error = value != NULL ? PyModule_AddObjectRef(module, name, value)
                              : -1;

    Py_XDECREF(value);
    return error;
}

static int
add_data(PyObject *module)
{
    char host[256] = "";

    (void)gethostname(host, sizeof(host) - 1); /* "" when there is none */
    return add_new(module, "hostname", PyBytes_FromString(host));
}

static int
fill_module(PyObject *module)
{
    PyMethodDef *const tables[] = {
        gl_uwsgi_fd_methods,
        gl_uwsgi_request_methods,
        gl_uwsgi_wait_methods,
        gl_uwsgi_websocket_methods,
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(tables); i++) {
        if (PyModule_AddFunctions(module, tables[i]) < 0) {
            return -1;
        }
    }
    return add_data(module);
}

int
gl_uwsgi_module_new(PyObject *core_module, struct gl_state *st)
{
    PyObject *spec = new_spec(), *module = NULL;
    int error = -1;

    if (spec != NULL) {
        module = PyModule_FromDefAndSpec(&uwsgi_def, spec);
    }
    if (module != NULL && PyModule_ExecDef(module, &uwsgi_def) == 0 &&
        PyModule_AddObjectRef(module, "__spec__", spec) == 0) {
        struct uwsgi_state *state = PyModule_GetState(module);

        state->core = Py_NewRef(core_module);
        state->st = st;
        error = fill_module(module);
    }
    Py_XDECREF(spec);
    if (error < 0) {
        Py_XDECREF(module);
        return -1;
    }
    st->uwsgi_module = module;
    return 0;
}
