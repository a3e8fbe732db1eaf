/* uwsgi_fd.c - the module `uwsgi`: connections of the application's own, and
 * raw bytes to the client.
 *
 * What would block parks the request.  Descriptors that are made here are
 * non-blocking and close-on-exec; they are the application's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"

#include "py/api.h"
#include "py/fd_park.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECV_BYTES 4096
#define RECV_MAX_BYTES 65536

/* --- addresses -------------------------------------------------------- */

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } of;
    socklen_t size;
};

static int
bad_address(PyObject *text)
{
    PyErr_Format(PyExc_ValueError,
                 "an address is host:port, [v6]:port, /path or @name, "
                 "not %R",
                 text);
    return -1;
}

/* /path, or @name of an abstract socket. */
static int
unix_address(PyObject *shown, struct gl_str text, struct address *ret)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (text.n >= sizeof(un.sun_path)) {
        return bad_address(shown);
    }
    memcpy(un.sun_path, text.p, text.n);
    ret->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + text.n);
    if (text.p[0] == '@') {
        un.sun_path[0] = '\0';
    } else {
        ret->size++; /* the NUL */
    }
    ret->of.un = un;
    return 0;
}

/* 1 if host is a number of either family, else 0. */
static int
numeric_address(const char *host, uint16_t port, struct address *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                               .sin6_port = htons(port)};

    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        ret->of.in = in;
        ret->size = sizeof(in);
        return 1;
    }
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
        ret->of.in6 = in6;
        ret->size = sizeof(in6);
        return 1;
    }
    return 0;
}

/* The coroutine loop.getaddrinfo(host, None, type=SOCK_STREAM), or NULL. */
static PyObject *
name_query(PyObject *loop, const char *host)
{
    PyObject *method = PyObject_GetAttrString(loop, "getaddrinfo");
    PyObject *args = Py_BuildValue("(sO)", host, Py_None);
    PyObject *kwargs = Py_BuildValue("{s:i}", "type", SOCK_STREAM);
    PyObject *query = NULL;

    if (method != NULL && args != NULL && kwargs != NULL) {
        query = PyObject_Call(method, args, kwargs);
    }
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return query;
}

/* Looks a name up in the loop's threads; parks meanwhile.  Its first number,
 * a new str, or NULL. */
static PyObject *
look_up(PyObject *module, const char *host)
{
    struct gl_state *st = gl_uwsgi_state(module);
    struct gl_core *core = gl_core_current(st);
    PyObject *query, *found = NULL, *number = NULL;

    if (core == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "outside of a request an address must be a number: "
                        "looking up its name would block the loop");
        return NULL;
    }
    query = name_query(core->pool->hub->loop, host);
    if (query != NULL) {
        found = gl_api_await(st, query);
        Py_DECREF(query);
    }
    if (found != NULL) { /* [(family, type, proto, name, (number, ...))] */
        PyObject *path[] = {found, NULL, NULL};

        path[1] = PySequence_GetItem(path[0], 0);
        path[2] = path[1] != NULL ? PySequence_GetItem(path[1], 4) : NULL;
        number = path[2] != NULL ? PySequence_GetItem(path[2], 0) : NULL;
        Py_XDECREF(path[1]);
        Py_XDECREF(path[2]);
        Py_DECREF(found);
    }
    return number;
}

static int
named_address(PyObject *module, const char *host, uint16_t port,
              struct address *ret)
{
    PyObject *number = look_up(module, host);
    const char *text = number != NULL ? PyUnicode_AsUTF8(number) : NULL;
    int error = -1;

    if (text != NULL && numeric_address(text, port, ret)) {
        error = 0;
    } else if (text != NULL) {
        error = bad_address(number);
    }
    Py_XDECREF(number);
    return error;
}

/* A port's digits: 1 to 65535, or 0 for others. */
static uint16_t
port_of(struct gl_str digits)
{
    uint32_t port = 0;

    if (digits.n == 0 || digits.n > 5) {
        return 0;
    }
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') {
            return 0;
        }
        port = port * 10 + (uint32_t)(digits.p[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* What `shown` (str or bytes) says.  Parks to look up a name.  0 or -1. */
static int
parse_address(PyObject *module, PyObject *shown, struct address *ret)
{
    char host[256];
    struct gl_str text, name;
    const char *colon;
    uint16_t port;

    if (gl_uwsgi_text(shown, &text) < 0) {
        return -1;
    }
    if (text.n > 1 && (text.p[0] == '/' || text.p[0] == '@')) {
        return unix_address(shown, text, ret);
    }
    colon = memrchr(text.p, ':', text.n);
    if (colon == NULL) {
        return bad_address(shown);
    }
    name = (struct gl_str){text.p, (size_t)(colon - text.p)};
    port = port_of((struct gl_str){colon + 1, text.n - name.n - 1});
    if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']') {
        name = (struct gl_str){name.p + 1, name.n - 2};
    }
    if (name.n == 0 || name.n >= sizeof(host) || port == 0 ||
        memchr(name.p, '\0', name.n) != NULL) {
        return bad_address(shown);
    }
    memcpy(host, name.p, name.n);
    host[name.n] = '\0';
    return numeric_address(host, port, ret)
               ? 0
               : named_address(module, host, port, ret);
}

/* --- connecting ------------------------------------------------------- */

/* Begins to connect.  Returns the descriptor; -1 with *ret_done false for a
 * failure of the system's. */
static int
begin_connect(const struct address *address, bool *ret_done)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(address->of.any.sa_family, type, 0), result;

    *ret_done = false;
    if (fd < 0) {
        return -1;
    }
    do {
        result = connect(fd, &address->of.any, address->size);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && errno != EINPROGRESS) {
        (void)close(fd); /* nothing was written to it */
        return -1;
    }
    *ret_done = result == 0;
    return fd;
}

static bool
is_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof(peer), size = sizeof(int);
    int error = 0;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
           error == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0;
}

PyDoc_STRVAR(async_connect_doc,
"async_connect($module, address, /)\n--\n\n"
"Begin to connect, and return the descriptor: an int that is yours to\n"
"close, or -1 if that failed at once.\n\n"
"  address  'host:port', '[v6]:port', '/path' of a Unix socket, or '@name'\n"
"           of an abstract one\n"
"wait_fd_write() waits until it is connected or has failed, is_connected()\n"
"tells which.  A name is looked up first, which parks the request.  Raises\n"
"ValueError for what is no address, OSError for a name that is not found.");

static PyObject *
uwsgi_async_connect(PyObject *module, PyObject *shown)
{
    struct address address;
    bool done;

    if (parse_address(module, shown, &address) < 0) {
        return NULL;
    }
    return PyLong_FromLong(begin_connect(&address, &done));
}

PyDoc_STRVAR(connect_doc,
"connect($module, address, timeout=0, /)\n--\n\n"
"Connect, and return the descriptor: an int that is yours to close, or -1 if\n"
"that failed.\n\n"
"  address  as for async_connect()\n"
"  timeout  seconds (a number >= 0); 0: --socket-timeout\n"
"Parks the request; raises RuntimeError outside of one, ValueError for what\n"
"is no address, OSError for a name that is not found.");

static PyObject *
uwsgi_connect(PyObject *module, PyObject *args)
{
    struct gl_state *st = gl_uwsgi_state(module);
    struct gl_core *core = gl_core_current(st);
    PyObject *shown, *seconds = NULL;
    struct address address;
    uint64_t ns = 0;
    int fd, ready = 1;
    bool done;

    if (!PyArg_ParseTuple(args, "O|O:connect", &shown, &seconds) ||
        (seconds != NULL &&
         gl_seconds_to_ns(seconds, "the timeout of connect()", &ns) < 0) ||
        parse_address(module, shown, &address) < 0) {
        return NULL;
    }
    if (ns == 0 && core != NULL) {
        ns = gl_engine_options(core->pool->engine)->write_timeout_ms *
             UINT64_C(1000000);
    }
    fd = begin_connect(&address, &done);
    if (fd >= 0 && !done) {
        ready = gl_park_fd(st, fd, true, ns, "uwsgi.connect()");
    }
    if (fd >= 0 && (ready <= 0 || !is_connected(fd))) {
        (void)close(fd); /* nothing was written to it */
        fd = -1;
    }
    return ready < 0 ? NULL : PyLong_FromLong(fd);
}

PyDoc_STRVAR(is_connected_doc,
"is_connected($module, fd, /)\n--\n\n"
"Whether a socket is connected, and has met no error.");

static PyObject *
uwsgi_is_connected(PyObject *module, PyObject *number)
{
    int fd = PyObject_AsFileDescriptor(number);

    (void)module;
    return fd < 0 ? NULL : PyBool_FromLong(is_connected(fd));
}

/* --- bytes ------------------------------------------------------------ */

/* The running request if fd is that of its client, else NULL. */
static GlExchange *
client_of(PyObject *module, int fd)
{
    GlExchange *x = gl_uwsgi_exchange(module, NULL);

    if (x == NULL) {
        PyErr_Clear();
        return NULL;
    }
    return gl_request_fd(x->req) == fd ? x : NULL;
}

/* Returns the bytes moved, -EAGAIN, or another negative errno.  Never blocks,
 * even where the descriptor would. */
static ssize_t
write_some(int fd, const char *bytes, size_t n)
{
    ssize_t sent = send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent < 0 && errno == ENOTSOCK) {
        if (!gl_fd_is_ready(fd, true)) {
            return -EAGAIN;
        }
        /* So much a pipe that is ready takes at once (POSIX, poll). */
        sent = write(fd, bytes, n < PIPE_BUF ? n : PIPE_BUF);
    }
    return sent < 0 ? -errno : sent;
}

static ssize_t
read_some(int fd, char *bytes, size_t n)
{
    ssize_t got = recv(fd, bytes, n, MSG_DONTWAIT);

    if (got < 0 && errno == ENOTSOCK) {
        if (!gl_fd_is_ready(fd, false)) {
            return -EAGAIN;
        }
        got = read(fd, bytes, n);
    }
    return got < 0 ? -errno : got;
}

static bool
is_gone(ssize_t error)
{
    return error == -EPIPE || error == -ECONNRESET;
}

/* All of it to a descriptor of the application's. */
static PyObject *
send_to(PyObject *module, int fd, struct gl_str bytes)
{
    struct gl_state *st = gl_uwsgi_state(module);

    while (bytes.n > 0) {
        ssize_t n = write_some(fd, bytes.p, bytes.n);

        if (n >= 0) {
            (void)gl_str_take(&bytes, (size_t)n);
        } else if (is_gone(n)) {
            Py_RETURN_NONE;
        } else if (n != -EAGAIN && n != -EINTR) {
            return gl_raise_errno((int)n, "cannot send");
        } else if (n == -EAGAIN &&
                   gl_park_fd(st, fd, true, 0, "uwsgi.send()") < 0) {
            return NULL;
        }
    }
    Py_RETURN_TRUE;
}

/* To the client: as a piece of the body once start_response was called, and
 * as it is, status line and all, before. */
static PyObject *
send_to_client(GlExchange *x, struct gl_str bytes)
{
    if (x->req->upgraded) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this connection carries a WebSocket: use "
                        "uwsgi.websocket_send()");
        return NULL;
    }
    if (bytes.n == 0) {
        Py_RETURN_TRUE;
    }
    if ((x->started ? gl_response_send(x, bytes.p, bytes.n, false)
                    : gl_response_send_raw(x, bytes.p, bytes.n)) < 0 ||
        gl_exchange_be_fair(x) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(send_doc,
"send($module, fd_or_data, data=None, /, *, request_context=None)\n--\n\n"
"send(data) sends to the client: raw, with status line and headers, or, once\n"
"start_response was called, a piece of the body.  send(fd, data) sends to a\n"
"descriptor.\n\n"
"  data  bytes, or str as UTF-8; all of it is sent, parking where the other\n"
"        side is slow\n"
"Returns True, or None if the other side of fd is gone.  Raises\n"
"greenloop.ClientDisconnected if the client is, SystemError for send(data)\n"
"outside of a request, RuntimeError where it would have to wait in a task,\n"
"OSError for what is no descriptor.");

static PyObject *
uwsgi_send(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"", "", "request_context", NULL};
    PyObject *first, *second = NULL, *context = NULL;
    struct gl_str bytes;
    GlExchange *x;
    int fd;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$O:send", names,
                                     &first, &second, &context) ||
        gl_uwsgi_text(second != NULL ? second : first, &bytes) < 0) {
        return NULL;
    }
    if (second == NULL) {
        x = gl_uwsgi_exchange(module, context);
        return x != NULL ? send_to_client(x, bytes) : NULL;
    }
    fd = PyObject_AsFileDescriptor(first);
    if (fd < 0) {
        return NULL;
    }
    x = client_of(module, fd);
    return x != NULL ? send_to_client(x, bytes) : send_to(module, fd, bytes);
}

PyDoc_STRVAR(recv_doc,
"recv($module, fd, max=4096, /)\n--\n\n"
"Receive up to `max` bytes (1 to 65536) from a descriptor, parking until\n"
"there are any.\n\n"
"Returns bytes, or None at the end.  Of the request's own connection_fd() it\n"
"receives the body.  Raises RuntimeError where it would have to wait in a\n"
"task, ValueError for a bad max, OSError for what is no descriptor.");

static PyObject *
uwsgi_recv(PyObject *module, PyObject *args)
{
    struct gl_state *st = gl_uwsgi_state(module);
    PyObject *number, *bytes;
    int fd, max = RECV_BYTES;
    GlExchange *x;
    ssize_t n;

    if (!PyArg_ParseTuple(args, "O|i:recv", &number, &max)) {
        return NULL;
    }
    fd = PyObject_AsFileDescriptor(number);
    if (fd < 0) {
        return NULL;
    }
    if (max < 1 || max > RECV_MAX_BYTES) {
        PyErr_Format(PyExc_ValueError, "recv(): max is from 1 to %d",
                     RECV_MAX_BYTES);
        return NULL;
    }
    x = client_of(module, fd);
    if (x != NULL) {
        bytes = gl_input_arrived(x, (size_t)max, true, 0);
        return bytes != NULL && PyBytes_GET_SIZE(bytes) == 0
                   ? (Py_DECREF(bytes), Py_NewRef(Py_None))
                   : bytes;
    }
    bytes = PyBytes_FromStringAndSize(NULL, max);
    if (bytes == NULL) {
        return NULL;
    }
    while ((n = read_some(fd, PyBytes_AS_STRING(bytes), (size_t)max)) ==
               -EAGAIN ||
           n == -EINTR) {
        if (n == -EAGAIN &&
            gl_park_fd(st, fd, false, 0, "uwsgi.recv()") < 0) {
            Py_DECREF(bytes);
            return NULL;
        }
    }
    if (n <= 0) {
        Py_DECREF(bytes);
        return n == 0 || is_gone(n)
                   ? Py_NewRef(Py_None)
                   : gl_raise_errno((int)n, "cannot receive");
    }
    (void)_PyBytes_Resize(&bytes, n); /* NULL with MemoryError if not */
    return bytes;
}

PyDoc_STRVAR(close_doc,
"close($module, fd, /)\n--\n\n"
"Close a descriptor.  The request's own connection_fd() is not closed but\n"
"disconnected, as by disconnect().  Raises OSError for what is none.");

static PyObject *
uwsgi_close(PyObject *module, PyObject *number)
{
    int fd = PyObject_AsFileDescriptor(number);
    GlExchange *x;

    if (fd < 0) {
        return NULL;
    }
    x = client_of(module, fd);
    if (x != NULL) {
        return gl_response_disconnect(x) == 0 ? Py_NewRef(Py_None) : NULL;
    }
    if (close(fd) < 0 && errno != EINTR) {
        return gl_raise_errno(-errno, "cannot close");
    }
    Py_RETURN_NONE;
}

PyMethodDef gl_uwsgi_fd_methods[] = {
    {"async_connect", uwsgi_async_connect, METH_O, async_connect_doc},
    {"connect", uwsgi_connect, METH_VARARGS, connect_doc},
    {"is_connected", uwsgi_is_connected, METH_O, is_connected_doc},
    {"send", GL_UWSGI_KEYWORDS(uwsgi_send), send_doc},
    {"recv", uwsgi_recv, METH_VARARGS, recv_doc},
    {"close", uwsgi_close, METH_O, close_doc},
    {NULL, NULL, 0, NULL},
};
