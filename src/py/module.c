/* module.c - greenloop._core: the module, its state, its options table.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/gl.h"
#include "base/options.h"
#include "py/api.h"
#include "py/bridge.h"
#include "py/engine_type.h"
#include "py/exchange.h"
#include "py/fd_park.h"
#include "py/request_type.h"
#include "py/spawn.h"
#include "py/stack_memory.h"
#include "py/state.h"
#include "py/trust.h"
#include "py/uwsgi_api.h"
#include "py/websocket.h"

PyMODINIT_FUNC PyInit__core(void);

static struct PyModuleDef core_module;

struct gl_state *
gl_state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

struct gl_state *
gl_state_of_type(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

/* --- filling the state ------------------------------------------------ */

/* module.name into *slot.  0 or -1. */
static int
import_from(const char *module_name, const char *name, PyObject **slot)
{
    PyObject *module = PyImport_ImportModule(module_name);

    if (module == NULL) {
        return -1;
    }
    *slot = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return *slot != NULL ? 0 : -1;
}

static int
import_hooks(struct gl_state *st)
{
    static const struct {
        const char *module, *name;
        size_t offset;
    } rows[] = {
#define ROW(module, name, member) \
    {module, name, offsetof(struct gl_state, member)}
        ROW("asyncio", "_set_running_loop", set_running_loop),
        ROW("asyncio.tasks", "_enter_task", enter_task),
        ROW("asyncio.tasks", "_leave_task", leave_task),
        ROW("asyncio", "current_task", current_task),
        ROW("asyncio", "get_running_loop", get_running_loop),
        ROW("asyncio", "TimeoutError", timeout_error),
        ROW("asyncio", "CancelledError", cancelled_error),
        ROW("greenlet", "GreenletExit", greenlet_exit),
        ROW("io", "FileIO", file_io),
        ROW("io", "BufferedReader", buffered_reader),
        ROW("io", "BufferedRandom", buffered_random),
        ROW("greenloop.compat.awaitables", "as_coroutine", as_coroutine),
        ROW("greenloop.spawned", "SpawnedFuture", spawned_future),
        ROW("greenloop.exceptions", "WebSocketClosed", websocket_closed),
        ROW("greenloop.exceptions", "WebSocketError", websocket_error),
#undef ROW
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        PyObject **slot = (PyObject **)(void *)((char *)st + rows[i].offset);

        if (import_from(rows[i].module, rows[i].name, slot) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Without zlib, which a Python may lack, nothing is compressed. */
static int
import_zlib(struct gl_state *st)
{
    if (import_from("zlib", "compressobj", &st->compressobj) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ImportError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    return import_from("zlib", "decompressobj", &st->decompressobj) < 0 ||
                   import_from("zlib", "error", &st->zlib_error) < 0 ||
                   import_from("zlib", "Z_SYNC_FLUSH", &st->zlib_sync_flush) <
                       0
               ? -1
               : 0;
}

static int
intern_names(struct gl_state *st)
{
    static const struct {
        const char *text;
        size_t offset;
    } rows[] = {
#define ROW(member, text) {text, offsetof(struct gl_state, s_##member)},
        GL_NAMES(ROW)
#undef ROW
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        PyObject *name = PyUnicode_InternFromString(rows[i].text);

        if (name == NULL) {
            return -1;
        }
        *(PyObject **)(void *)((char *)st + rows[i].offset) = name;
    }
    st->empty_tuple = PyTuple_New(0);
    st->empty_bytes = PyBytes_FromStringAndSize(NULL, 0);
    return st->empty_tuple != NULL && st->empty_bytes != NULL ? 0 : -1;
}

/* The environ key of a known field, or NULL with an exception. */
static PyObject *
key_of_field(struct gl_state *st, enum gl_field_id id)
{
    char text[64] = "HTTP_";
    struct gl_str name = gl_field_name(id);
    PyObject *key;

    if (id == GL_FIELD_CONTENT_LENGTH) {
        return Py_NewRef(st->s_content_length);
    }
    if (id == GL_FIELD_CONTENT_TYPE) {
        return Py_NewRef(st->s_content_type);
    }
    for (size_t i = 0; i < name.n; i++) {
        text[5 + i] = name.p[i] == '-' ? '_' : (char)Py_TOUPPER(name.p[i]);
    }
    key = PyUnicode_FromStringAndSize(text, (Py_ssize_t)name.n + 5);
    if (key != NULL) {
        PyUnicode_InternInPlace(&key);
    }
    return key;
}

static int
make_field_keys(struct gl_state *st)
{
    for (int id = 1; id < GL_FIELD_COUNT; id++) {
        if (id == GL_FIELD_PROXY) {
            continue; /* HTTP_PROXY is an instruction to CGI programs */
        }
        st->field_keys[id] = key_of_field(st, (enum gl_field_id)id);
        if (st->field_keys[id] == NULL) {
            return -1;
        }
    }
    return 0;
}

PyDoc_STRVAR(disconnected_doc,
"The client closed its connection before the request was through.");

static int
make_exceptions(PyObject *module, struct gl_state *st)
{
    st->client_disconnected = PyErr_NewExceptionWithDoc(
        "greenloop.ClientDisconnected", disconnected_doc,
        PyExc_ConnectionError, NULL);
    return st->client_disconnected == NULL
               ? -1
               : PyModule_AddObjectRef(module, "ClientDisconnected",
                                       st->client_disconnected);
}

static int
core_exec(PyObject *module)
{
    struct gl_state *st = gl_state_of_module(module);

    gl_list_init(&st->hubs);
    if (gl_bridge_import() < 0 || intern_names(st) < 0 ||
        import_hooks(st) < 0 || make_field_keys(st) < 0 ||
        make_exceptions(module, st) < 0 ||
        gl_core_type_init(module, st) < 0 ||
        gl_file_wrapper_type_init(module, st) < 0 ||
        gl_handle_types_init(module, st) < 0 ||
        gl_input_type_init(module, st) < 0 || gl_api_init(module, st) < 0 ||
        gl_request_type_init(module, st) < 0 ||
        gl_spawn_init(module, st) < 0 ||
        gl_engine_type_init(module, st) < 0 ||
        gl_uwsgi_module_new(module, st) < 0) {
        return -1;
    }
    if (PyModule_AddObjectRef(module, "_uwsgi", st->uwsgi_module) < 0) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "__version__", GL_VERSION);
}

/* --- keeping it ------------------------------------------------------- */

/* Every member from the first to `hubs` is a PyObject pointer. */
#define STATE_POINTERS (offsetof(struct gl_state, hubs) / sizeof(PyObject *))

static int
core_traverse(PyObject *module, visitproc visit, void *arg)
{
    PyObject **all = (PyObject **)gl_state_of_module(module);

    for (size_t i = 0; all != NULL && i < STATE_POINTERS; i++) {
        Py_VISIT(all[i]);
    }
    return 0;
}

static int
core_clear(PyObject *module)
{
    PyObject **all = (PyObject **)gl_state_of_module(module);

    for (size_t i = 0; all != NULL && i < STATE_POINTERS; i++) {
        Py_CLEAR(all[i]);
    }
    return 0;
}

static void
core_free(void *module)
{
    (void)core_clear(module);
}

/* --- functions -------------------------------------------------------- */

PyDoc_STRVAR(options_doc,
"options($module, /)\n--\n\n"
"The engine's options: a list of dicts with name, min, max, initial, unit\n"
"and help.");

static PyObject *
core_options(PyObject *module, PyObject *unused)
{
    PyObject *rows = PyList_New(0);

    (void)module;
    (void)unused;
    for (size_t i = 0; rows != NULL && i < gl_option_count; i++) {
        const struct gl_option_spec *spec = &gl_option_specs[i];
        PyObject *row =
            Py_BuildValue("{ss sK sK sK ss ss}", "name", spec->name, "min",
                          (unsigned long long)spec->min, "max",
                          (unsigned long long)spec->max, "initial",
                          (unsigned long long)spec->initial, "unit",
                          spec->unit, "help", spec->help);

        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

static PyMethodDef core_functions[] = {
    {"options", core_options, METH_NOARGS, options_doc},
    {NULL, NULL, 0, NULL},
};

static int
add_api(PyObject *module)
{
    PyMethodDef *const tables[] = {
        gl_api_methods,   gl_fd_park_methods,      gl_request_methods,
        gl_spawn_methods, gl_stack_memory_methods, gl_trust_functions};

    for (size_t i = 0; i < GL_ARRAY_LEN(tables); i++) {
        if (PyModule_AddFunctions(module, tables[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
add_websockets(PyObject *module)
{
    struct gl_state *st = gl_state_of_module(module);

    return import_zlib(st) < 0 || gl_websocket_type_init(module, st) < 0 ||
                   gl_websocket_async_type_init(module, st) < 0
               ? -1
               : PyModule_AddFunctions(module, gl_websocket_functions);
}

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, (void *)core_exec},
    {Py_mod_exec, (void *)add_api},
    {Py_mod_exec, (void *)add_websockets},
    {0, NULL},
};

static struct PyModuleDef core_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "greenloop._core",
    .m_doc = "The C part of Greenloop; use the names of greenloop itself.",
    .m_size = sizeof(struct gl_state),
    .m_methods = core_functions,
    .m_slots = core_slots,
    .m_traverse = core_traverse,
    .m_clear = core_clear,
    .m_free = core_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
