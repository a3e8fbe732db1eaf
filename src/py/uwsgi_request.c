/* uwsgi_request.c - the module `uwsgi`: functions bound to a request.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"

#include "base/gl.h"
#include "py/core.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES 65536

GlExchange *
gl_uwsgi_exchange(PyObject *module, PyObject *request_context)
{
    struct gl_state *st = gl_uwsgi_state(module);
    struct gl_core *core;
    struct gl_kit *kit;

    if (request_context != NULL && request_context != Py_None) {
        GlExchange *x;

        if (Py_TYPE(request_context) != st->request_context_type) {
            PyErr_Format(PyExc_TypeError,
                         "request_context must come from "
                         "uwsgi.request_context(), not be of type %.100s",
                         Py_TYPE(request_context)->tp_name);
            return NULL;
        }
        x = ((GlHandle *)request_context)->x;
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
gl_uwsgi_exchange_alone(PyObject *module, PyObject *args, PyObject *kwargs)
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

PyDoc_STRVAR(request_id_doc,
"request_id($module, /, *, request_context=None)\n--\n\n"
"How many requests the request's core has served, this one included.");

static PyObject *
request_id(PyObject *module, PyObject *args, PyObject *kwargs)
{
    GlExchange *x = gl_uwsgi_exchange_alone(module, args, kwargs);

    return x != NULL ? PyLong_FromUnsignedLongLong(x->core->served) : NULL;
}

PyDoc_STRVAR(cl_doc,
"cl($module, /, *, request_context=None)\n--\n\n"
"The bytes of the request's body as Content-Length gives them; 0 without.");

static PyObject *
cl(PyObject *module, PyObject *args, PyObject *kwargs)
{
    GlExchange *x = gl_uwsgi_exchange_alone(module, args, kwargs);
    const struct gl_request *req;

    if (x == NULL) {
        return NULL;
    }
    req = x->req;
    return PyLong_FromUnsignedLongLong(
        req->body_chunked ? 0 : req->body_left + req->body_bytes);
}

PyDoc_STRVAR(log_this_request_doc,
"log_this_request($module, /, *, request_context=None)\n--\n\n"
"Has no effect: either all requests are in the access log or none.");

static PyObject *
log_this_request(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return gl_uwsgi_exchange_alone(module, args, kwargs) != NULL
               ? Py_NewRef(Py_None)
               : NULL;
}

PyDoc_STRVAR(disconnect_doc,
"disconnect($module, /, *, request_context=None)\n--\n\n"
"End the answer and the client's connection; the request goes on.\n\n"
"What was sent reaches the client first; what is sent later is dropped.");

static PyObject *
disconnect(PyObject *module, PyObject *args, PyObject *kwargs)
{
    GlExchange *x = gl_uwsgi_exchange_alone(module, args, kwargs);

    return x != NULL && gl_response_disconnect(x) == 0 ? Py_NewRef(Py_None)
                                                       : NULL;
}

/* --- variables -------------------------------------------------------- */

int
gl_uwsgi_text(PyObject *object, struct gl_str *ret_text)
{
    Py_ssize_t n = 0;
    const char *text;

    if (PyBytes_Check(object)) {
        *ret_text = (struct gl_str){PyBytes_AS_STRING(object),
                                    (size_t)PyBytes_GET_SIZE(object)};
        return 0;
    }
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "bytes or str is needed, not %.100s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    text = PyUnicode_AsUTF8AndSize(object, &n);
    if (text == NULL) {
        return -1;
    }
    *ret_text = (struct gl_str){text, (size_t)n};
    return 0;
}

/* The text as bytes; a new reference. */
static PyObject *
as_bytes(PyObject *object)
{
    struct gl_str text;

    return gl_uwsgi_text(object, &text) == 0
               ? PyBytes_FromStringAndSize(text.p, (Py_ssize_t)text.n)
               : NULL;
}

/* The text as PEP 3333 has strings: bytes as latin-1; a new reference. */
static PyObject *
as_native(PyObject *object)
{
    struct gl_str text;

    if (PyUnicode_Check(object)) {
        return Py_NewRef(object);
    }
    return gl_uwsgi_text(object, &text) == 0 ? gl_latin1(text) : NULL;
}

PyDoc_STRVAR(add_var_doc,
"add_var($module, name, value, /, *, request_context=None)\n--\n\n"
"Set a variable of the request: environ[name] = value, as str.  True.");

static PyObject *
add_var(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"", "", "request_context", NULL};
    PyObject *name, *value, *context = NULL;
    int error = -1;
    GlExchange *x;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$O:add_var", names,
                                     &name, &value, &context)) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    if (x == NULL) {
        return NULL;
    }
    name = as_native(name);
    value = name != NULL ? as_native(value) : NULL;
    if (value != NULL) {
        error =
            x->environ != NULL ? PyDict_SetItem(x->environ, name, value) : 0;
    }
    Py_XDECREF(name);
    Py_XDECREF(value);
    return error == 0 ? Py_NewRef(Py_True) : NULL;
}

PyDoc_STRVAR(set_logvar_doc,
"set_logvar($module, name, value, /, *, request_context=None)\n--\n\n"
"Keep a variable with the request, for get_logvar().");

static PyObject *
set_logvar(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"", "", "request_context", NULL};
    PyObject *name, *value, *context = NULL, *all = NULL;
    int error = -1;
    GlExchange *x;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$O:set_logvar", names,
                                     &name, &value, &context)) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    if (x == NULL) {
        return NULL;
    }
    name = as_bytes(name);
    value = name != NULL ? as_bytes(value) : NULL;
    all = value != NULL ? gl_uwsgi_logvars(x) : NULL;
    if (all != NULL) {
        error = PyDict_SetItem(all, name, value);
    }
    Py_XDECREF(name);
    Py_XDECREF(value);
    return error == 0 ? Py_NewRef(Py_None) : NULL;
}

PyDoc_STRVAR(get_logvar_doc,
"get_logvar($module, name, /, *, request_context=None)\n--\n\n"
"What set_logvar() kept, as bytes, or None.");

static PyObject *
get_logvar(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"", "request_context", NULL};
    PyObject *name, *context = NULL, *all, *value = NULL;
    GlExchange *x;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:get_logvar", names,
                                     &name, &context)) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    if (x == NULL) {
        return NULL;
    }
    name = as_bytes(name);
    all = name != NULL ? gl_uwsgi_logvars(x) : NULL;
    if (all != NULL) {
        value = PyDict_GetItemWithError(all, name);
    }
    Py_XDECREF(name);
    if (value == NULL && PyErr_Occurred()) {
        return NULL;
    }
    return Py_NewRef(value != NULL ? value : Py_None);
}

/* --- the body in ------------------------------------------------------ */

PyDoc_STRVAR(chunked_read_doc,
"chunked_read($module, timeout=0, /, *, request_context=None)\n--\n\n"
"The next piece of the request's body, at most 64 KiB; b'' at its end.\n\n"
"  timeout  seconds (a number >= 0) to wait for it; 0: --socket-timeout\n"
"Parks the request while none has arrived.  Raises TimeoutError, an OSError,\n"
"after the timeout; greenloop.ClientDisconnected if the client left; OSError\n"
"for a malformed or too large body.");

static PyObject *
chunked_read(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"", "request_context", NULL};
    PyObject *seconds = NULL, *context = NULL;
    uint64_t ns = 0;
    GlExchange *x;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:chunked_read", names,
                                     &seconds, &context) ||
        (seconds != NULL && gl_seconds_to_ns(seconds,
                                             "the timeout of "
                                             "chunked_read()",
                                             &ns) < 0)) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    return x != NULL ? gl_input_arrived(x, CHUNK_BYTES, true, ns) : NULL;
}

PyDoc_STRVAR(chunked_read_nb_doc,
"chunked_read_nb($module, /, *, request_context=None)\n--\n\n"
"The same without waiting: None if nothing has arrived.");

static PyObject *
chunked_read_nb(PyObject *module, PyObject *args, PyObject *kwargs)
{
    GlExchange *x = gl_uwsgi_exchange_alone(module, args, kwargs);

    if (x == NULL) {
        return NULL;
    }
    gl_request_look_again(x->req);
    return gl_input_arrived(x, CHUNK_BYTES, false, 0);
}

/* --- files out -------------------------------------------------------- */

/* A descriptor of our own for a file, given by name or as an object with a
 * fileno(): the application may close its own while we park.  -1 with an
 * exception. */
static int
open_file(PyObject *file)
{
    PyObject *path = NULL;
    int fd, error;

    if (PyObject_HasAttrString(file, "fileno")) {
        fd = PyObject_AsFileDescriptor(file);
        if (fd < 0) {
            return -1;
        }
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    } else {
        if (!PyUnicode_FSConverter(file, &path)) {
            return -1;
        }
        /* A FIFO must not block the loop. */
        fd = open(PyBytes_AS_STRING(path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    error = errno;
    if (fd < 0 && path != NULL) {
        errno = error;
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, file);
    } else if (fd < 0) {
        gl_raise_errno(-error, "cannot use this file");
    }
    Py_XDECREF(path);
    return fd;
}

/* Narrows [pos, pos + size) to what the file has; size 0 means the rest. */
static int
check_range(int fd, long long pos, long long size, uint64_t *ret_size)
{
    struct stat info;
    long long rest;

    if (pos < 0 || size < 0) {
        PyErr_SetString(PyExc_ValueError,
                        "sendfile(): position and size are not negative");
        return -1;
    }
    if (fstat(fd, &info) < 0) {
        gl_raise_errno(-errno, "cannot use this file");
        return -1;
    }
    if (!S_ISREG(info.st_mode)) {
        gl_raise_errno(-EINVAL, "only regular files can be sent");
        return -1;
    }
    rest = info.st_size > pos ? info.st_size - pos : 0;
    *ret_size = (uint64_t)(size > 0 && size < rest ? size : rest);
    return 0;
}

PyDoc_STRVAR(sendfile_doc,
"sendfile($module, file, chunk=0, pos=0, size=0, /, *,\n"
"         request_context=None)\n--\n\n"
"Send a regular file, or a part of it, as a piece of the body.\n\n"
"  file   a name, or an object with fileno(), whose position is ignored\n"
"  chunk  is ignored\n"
"  pos    where to begin, in bytes\n"
"  size   how many bytes at most; 0: all that follow\n"
"The headers go first, so start_response must have been called: else\n"
"RuntimeError.  Parks while the client is slow.  Returns True.  Raises\n"
"OSError for what cannot be sent, greenloop.ClientDisconnected if the client\n"
"left.");

static PyObject *
uwsgi_sendfile(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"", "", "", "", "request_context", NULL};
    PyObject *file, *context = NULL;
    long long chunk, pos = 0, size = 0;
    uint64_t bytes;
    int error = -1, fd;
    GlExchange *x;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|LLL$O:sendfile", names,
                                     &file, &chunk, &pos, &size, &context)) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    if (x == NULL) {
        return NULL;
    }
    fd = open_file(file);
    if (fd < 0) {
        return NULL;
    }
    if (check_range(fd, pos, size, &bytes) == 0) {
        error = gl_response_send_range(x, fd, (off_t)pos, bytes);
    }
    (void)close(fd); /* nothing was written to it */
    return error == 0 ? Py_NewRef(Py_True) : NULL;
}

PyMethodDef gl_uwsgi_request_methods[] = {
    {"request_context", request_context, METH_NOARGS, request_context_doc},
    {"request_id", GL_UWSGI_KEYWORDS(request_id), request_id_doc},
    {"connection_fd", GL_UWSGI_KEYWORDS(connection_fd), connection_fd_doc},
    {"log_this_request", GL_UWSGI_KEYWORDS(log_this_request),
     log_this_request_doc},
    {"disconnect", GL_UWSGI_KEYWORDS(disconnect), disconnect_doc},
    {"cl", GL_UWSGI_KEYWORDS(cl), cl_doc},
    {"add_var", GL_UWSGI_KEYWORDS(add_var), add_var_doc},
    {"set_logvar", GL_UWSGI_KEYWORDS(set_logvar), set_logvar_doc},
    {"get_logvar", GL_UWSGI_KEYWORDS(get_logvar), get_logvar_doc},
    {"chunked_read", GL_UWSGI_KEYWORDS(chunked_read), chunked_read_doc},
    {"chunked_read_nb", GL_UWSGI_KEYWORDS(chunked_read_nb),
     chunked_read_nb_doc},
    {"sendfile", GL_UWSGI_KEYWORDS(uwsgi_sendfile), sendfile_doc},
    {NULL, NULL, 0, NULL},
};
