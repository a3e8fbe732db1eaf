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

#include <stdio.h>
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
    int error =
        value != NULL ? PyModule_AddObjectRef(module, name, value) : -1;

    Py_XDECREF(value);
    return error;
}

/* (major, minor, revision, 0, b"greenloop") of our own version. */
static PyObject *
version_info(void)
{
    unsigned number[3] = {0};

    (void)sscanf(GL_VERSION, "%u.%u.%u", &number[0], &number[1], &number[2]);
    return Py_BuildValue("IIIiy", number[0], number[1], number[2], 0,
                         "greenloop");
}

static int
add_data(PyObject *module)
{
    char host[256] = "";

    (void)gethostname(host, sizeof(host) - 1); /* "" when there is none */
    return add_new(module, "hostname", PyBytes_FromString(host)) == 0 &&
                   add_new(module, "version",
                           PyBytes_FromString(GL_UWSGI_VERSION)) == 0 &&
                   add_new(module, "version_info", version_info()) == 0 &&
                   add_new(module, "loop", PyBytes_FromString("asyncio")) ==
                       0 &&
                   add_new(module, "magic_table", PyDict_New()) == 0 &&
                   PyModule_AddIntConstant(module, "numproc", 1) == 0 &&
                   PyModule_AddIntConstant(module, "has_threads", 1) == 0 &&
                   PyModule_AddIntConstant(module, "queue_size", 0) == 0 &&
                   PyModule_AddIntConstant(module, "SPOOL_OK", -2) == 0 &&
                   PyModule_AddIntConstant(module, "SPOOL_RETRY", -1) == 0 &&
                   PyModule_AddIntConstant(module, "SPOOL_IGNORE", 0) == 0 &&
                   PyModule_AddObjectRef(module, "is_a_reload", Py_False) ==
                       0 &&
                   PyModule_AddObjectRef(module, "unbit", Py_False) == 0 &&
                   PyModule_AddObjectRef(module, "applications", Py_None) == 0
               ? 0
               : -1;
}

/* --- what changes with the request ------------------------------------ */

/* PEP 562: env and start_response are those of the running request. */
static PyObject *
uwsgi_getattr(PyObject *module, PyObject *name)
{
    bool is_env = PyUnicode_Check(name) &&
                  PyUnicode_CompareWithASCIIString(name, "env") == 0;
    GlExchange *x;

    if (!is_env &&
        !(PyUnicode_Check(name) &&
          PyUnicode_CompareWithASCIIString(name, "start_response") == 0)) {
        PyErr_Format(PyExc_AttributeError,
                     "module 'uwsgi' has no attribute %R", name);
        return NULL;
    }
    x = gl_uwsgi_exchange(module, NULL);
    if (x == NULL) {
        PyErr_Clear();
        return is_env ? PyDict_New() : Py_NewRef(Py_None);
    }
    if (is_env) {
        return x->environ != NULL ? Py_NewRef(x->environ) : PyDict_New();
    }
    return gl_exchange_start_response(x);
}

static PyMethodDef attribute_methods[] = {
    {"__getattr__", uwsgi_getattr, METH_O,
     "__getattr__($module, name, /)\n--\n\n"
     "env and start_response, of the running request."},
    {NULL, NULL, 0, NULL},
};

static int
fill_module(PyObject *module)
{
    PyMethodDef *const tables[] = {
        attribute_methods,        gl_uwsgi_fd_methods,
        gl_uwsgi_request_methods, gl_uwsgi_server_methods,
        gl_uwsgi_wait_methods,    gl_uwsgi_websocket_methods,
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(tables); i++) {
        if (PyModule_AddFunctions(module, tables[i]) < 0) {
            return -1;
        }
    }
    return gl_uwsgi_add_absent(module) < 0 ? -1 : add_data(module);
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
