/* input_type.c - wsgi.input: the body of a request as a binary file.
 *
 * PEP 3333, "Input and Error Streams".  Chunked bodies are read like any
 * other; a body that has not arrived parks the request; nothing is held that
 * the application did not ask for, but the bytes after a line.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/exchange.h"

#include <errno.h>
#include <stdint.h>

#define FIRST_READ_BYTES 65536 /* then the result doubles as it fills */
#define FIRST_READ_MAX_BYTES (1 << 20)
#define LINE_READ_BYTES 8192
#define AHEAD_MAX_BYTES SIZE_MAX

/* Reads at least one byte of the body, parking while there is none.  Returns
 * the bytes, 0 at the end, or -1 with an exception set. */
static ssize_t
read_some(GlExchange *x, char *dst, size_t room)
{
    for (;;) {
        struct gl_request *req = gl_exchange_request(x);
        ssize_t n;

        if (req == NULL || gl_exchange_check_http(x) < 0) {
            return -1;
        }
        n = gl_request_read(req, dst, room);
        if (n >= 0) {
            return n == 0 || gl_exchange_be_fair(x) == 0 ? n : -1;
        }
        if (n != -EAGAIN) {
            return gl_exchange_fail(x, (int)n);
        }
        if (gl_exchange_wait(x, false) < 0) {
            return -1;
        }
    }
}

/* The same, with what was read ahead first. */
static ssize_t
take_some(GlInput *self, char *dst, size_t room)
{
    size_t n = gl_buf_len(&self->ahead);

    if (n == 0) {
        return read_some(self->x, dst, room);
    }
    n = n < room ? n : room;
    memcpy(dst, gl_buf_data(&self->ahead), n);
    gl_buf_consume(&self->ahead, n);
    return (ssize_t)n;
}

/* Takes what there is, without waiting: bytes, 0, -EAGAIN or -errno. */
static ssize_t
take_arrived(GlInput *self, char *dst, size_t room)
{
    return gl_buf_len(&self->ahead) > 0
               ? take_some(self, dst, room)
               : gl_request_read(self->x->req, dst, room);
}

PyObject *
gl_input_arrived(GlExchange *x, size_t max, bool wait, uint64_t timeout_ns)
{
    GlInput *self = (GlInput *)((struct gl_kit *)x->core->exchange)->input;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)max);
    ssize_t n = 0;
    int error;

    if (bytes == NULL) {
        return NULL;
    }
    Py_INCREF((PyObject *)self); /* the request may end while it waits */
    error = gl_exchange_check_http(x);
    while (error == 0 &&
           (n = take_arrived(self, PyBytes_AS_STRING(bytes), max)) ==
               -EAGAIN &&
           wait) {
        error = gl_exchange_wait_for(x, false, timeout_ns);
        if (error == 0) {
            error = gl_exchange_check_http(x); /* others had their turn */
        }
    }
    Py_DECREF((PyObject *)self);
    if (error == 0 && n == -EAGAIN) {
        Py_DECREF(bytes);
        Py_RETURN_NONE;
    }
    if (error < 0 || n < 0) {
        Py_DECREF(bytes);
        if (error == 0) {
            (void)gl_exchange_fail(x, (int)n);
        }
        return NULL;
    }
    (void)_PyBytes_Resize(&bytes, n); /* NULL with MemoryError if not */
    return bytes;
}

/* How much to make room for at first: what is known to come, within reason. */
static size_t
first_size(GlInput *self, size_t wanted)
{
    struct gl_request *req = self->x->req;
    size_t size = FIRST_READ_BYTES;

    if (req != NULL && !req->body_chunked) {
        uint64_t left = req->body_left + gl_buf_len(&self->ahead);

        size =
            left < FIRST_READ_MAX_BYTES ? (size_t)left : FIRST_READ_MAX_BYTES;
    }
    return size < wanted ? size : wanted;
}

/* Reads up to `wanted` bytes, fewer only at the end of the body. */
static PyObject *
read_bytes(GlInput *self, size_t wanted)
{
    size_t size = first_size(self, wanted), have = 0;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    ssize_t n = 1;

    while (bytes != NULL && have < wanted && n > 0) {
        if (have == size) {
            size = size < FIRST_READ_BYTES ? FIRST_READ_BYTES : 2 * size;
            size = size < wanted ? size : wanted;
            if (_PyBytes_Resize(&bytes, (Py_ssize_t)size) < 0) {
                return NULL;
            }
        }
        n = take_some(self, PyBytes_AS_STRING(bytes) + have, size - have);
        have += n > 0 ? (size_t)n : 0;
        if (n > 0 && have == size && self->x->req != NULL &&
            self->x->req->body_done && gl_buf_len(&self->ahead) == 0) {
            n = 0; /* the usual end: no larger result is needed */
        }
    }
    if (n < 0) {
        Py_CLEAR(bytes);
    }
    if (bytes != NULL && have < size &&
        _PyBytes_Resize(&bytes, (Py_ssize_t)have) < 0) {
        return NULL;
    }
    return bytes;
}

/* An optional size: None and negative mean all.  0 or -1. */
static int
parse_size(const char *what, PyObject *const *args, Py_ssize_t nargs,
           size_t *ret_size)
{
    Py_ssize_t size = -1;

    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most one argument",
                     what);
        return -1;
    }
    if (nargs == 1 && args[0] != Py_None) {
        size = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
        if (size == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    *ret_size = size < 0 ? (size_t)PY_SSIZE_T_MAX : (size_t)size;
    return 0;
}

PyDoc_STRVAR(read_doc,
"read($self, size=-1, /)\n--\n\n"
"Read up to size bytes of the body, or all of it.\n\n"
"Parks the request while they have not arrived; fewer bytes than asked for\n"
"mean the end of the body.  Raises greenloop.ClientDisconnected if the\n"
"client left, TimeoutError if it sent nothing for --socket-timeout seconds,\n"
"OSError for a malformed or too large body.");

static PyObject *
input_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    size_t size;

    if (parse_size("read", args, nargs, &size) < 0) {
        return NULL;
    }
    return read_bytes((GlInput *)self, size);
}

/* --- lines ------------------------------------------------------------ */

/* Bytes of the line at the start of what was read ahead, its end included;
 * 0 if the end is not there and fewer than limit bytes are. */
static size_t
line_ahead(const struct gl_buf *ahead, size_t searched, size_t limit)
{
    size_t n = gl_buf_len(ahead);
    const char *data = gl_buf_data(ahead), *end;

    n = n < limit ? n : limit;
    end = n > searched ? memchr(data + searched, '\n', n - searched) : NULL;
    if (end != NULL) {
        return (size_t)(end - data) + 1;
    }
    return n == limit ? limit : 0;
}

static PyObject *
read_line(GlInput *self, size_t limit)
{
    char bytes[LINE_READ_BYTES];
    size_t searched = 0, n;
    PyObject *line;

    while ((n = line_ahead(&self->ahead, searched, limit)) == 0 &&
           limit > 0) {
        ssize_t got = read_some(self->x, bytes, sizeof(bytes));

        searched = gl_buf_len(&self->ahead);
        if (got < 0) {
            return NULL;
        }
        if (got == 0) {
            n = searched; /* the last line has no end */
            break;
        }
        if (gl_buf_append(&self->ahead, bytes, (size_t)got, AHEAD_MAX_BYTES) <
            0) {
            return PyErr_NoMemory();
        }
    }
    line =
        PyBytes_FromStringAndSize(gl_buf_data(&self->ahead), (Py_ssize_t)n);
    if (line != NULL) {
        gl_buf_consume(&self->ahead, n);
    }
    return line;
}

PyDoc_STRVAR(readline_doc,
"readline($self, size=-1, /)\n--\n\n"
"Read one line with its end, at most size bytes; b'' at the end.");

static PyObject *
input_readline(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    size_t size;

    if (parse_size("readline", args, nargs, &size) < 0) {
        return NULL;
    }
    return read_line((GlInput *)self, size);
}

static PyObject *
input_next(PyObject *self)
{
    PyObject *line = read_line((GlInput *)self, (size_t)PY_SSIZE_T_MAX);

    if (line != NULL && PyBytes_GET_SIZE(line) == 0) {
        Py_CLEAR(line);
    }
    return line;
}

PyDoc_STRVAR(readlines_doc,
"readlines($self, hint=-1, /)\n--\n\n"
"Read the lines of the body, until they have hint bytes if it is > 0.");

static PyObject *
input_readlines(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *lines, *line;
    size_t hint, total = 0;

    if (parse_size("readlines", args, nargs, &hint) < 0) {
        return NULL;
    }
    hint = hint == 0 ? (size_t)PY_SSIZE_T_MAX : hint;
    lines = PyList_New(0);
    while (lines != NULL && total < hint) {
        line = input_next(self);
        if (line == NULL) {
            if (PyErr_Occurred()) {
                Py_CLEAR(lines);
            }
            break;
        }
        total += (size_t)PyBytes_GET_SIZE(line);
        if (PyList_Append(lines, line) < 0) {
            Py_CLEAR(lines);
        }
        Py_DECREF(line);
    }
    return lines;
}

/* --- what file-like wrappers ask for ---------------------------------- */

PyDoc_STRVAR(fileno_doc,
"fileno($self, /)\n--\n\n"
"The descriptor of the client's connection.\n\n"
"It stays the server's: do not read, write or close it.  Readers and writers\n"
"that were added to the event loop for it are removed when the request\n"
"ends.");

static PyObject *
input_fileno(PyObject *self, PyObject *unused)
{
    GlExchange *x = ((GlInput *)self)->x;
    struct gl_request *req = gl_exchange_request(x);

    (void)unused;
    if (req == NULL) {
        return NULL;
    }
    x->fileno_given = true;
    return PyLong_FromLong(gl_request_fd(req));
}

static PyObject *
input_readable(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    Py_RETURN_TRUE;
}

static PyObject *
input_close(PyObject *self, PyObject *unused)
{
    (void)self; /* PEP 3333: applications must not close it */
    (void)unused;
    Py_RETURN_NONE;
}

static PyObject *
input_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((GlInput *)self)->x->req == NULL);
}

/* --- type ------------------------------------------------------------- */

static int
input_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)((GlInput *)self)->x);
    return 0;
}

static void
input_dealloc(PyObject *self)
{
    GlInput *input = (GlInput *)self;
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    gl_buf_fini(&input->ahead);
    Py_XDECREF((PyObject *)input->x);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef input_methods[] = {
    {"read", (PyCFunction)(void (*)(void))input_read, METH_FASTCALL,
     read_doc},
    {"readline", (PyCFunction)(void (*)(void))input_readline, METH_FASTCALL,
     readline_doc},
    {"readlines", (PyCFunction)(void (*)(void))input_readlines, METH_FASTCALL,
     readlines_doc},
    {"fileno", input_fileno, METH_NOARGS, fileno_doc},
    {"readable", input_readable, METH_NOARGS,
     "readable($self, /)\n--\n\nTrue."},
    {"close", input_close, METH_NOARGS,
     "close($self, /)\n--\n\nDoes nothing (PEP 3333)."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef input_getset[] = {
    {"closed", input_closed, NULL, "Whether the request has ended.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot input_slots[] = {
    {Py_tp_doc, "The body of a request: environ['wsgi.input']."},
    {Py_tp_dealloc, (void *)input_dealloc},
    {Py_tp_traverse, (void *)input_traverse},
    {Py_tp_iter, (void *)PyObject_SelfIter},
    {Py_tp_iternext, (void *)input_next},
    {Py_tp_methods, input_methods},
    {Py_tp_getset, input_getset},
    {0, NULL},
};

static PyType_Spec input_spec = {
    .name = "greenloop._core.Input",
    .basicsize = sizeof(GlInput),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = input_slots,
};

int
gl_input_type_init(PyObject *module, struct gl_state *st)
{
    st->input_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &input_spec, NULL);
    return st->input_type != NULL ? 0 : -1;
}
