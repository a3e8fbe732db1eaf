/* websocket.c - a WebSocket of an application: its life, its messages, and
 * who waits for it.
 *
 * RFC 6455 itself is engine/websocket.c; here it gets Python's types.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/websocket.h"

#include "base/clock.h"
#include "base/gl.h"
#include "proto/utf8.h"

#include <errno.h>

#define FAIR_NS 2000000 /* of messages without a wait, then others come */

/* --- its life --------------------------------------------------------- */

GlWebSocket *
gl_websocket_alloc(struct gl_state *st, PyTypeObject *type)
{
    GlWebSocket *self = (GlWebSocket *)type->tp_alloc(type, 0);

    if (self != NULL) {
        self->st = st;
        self->subprotocol = Py_NewRef(Py_None);
        gl_list_init(&self->waits);
    }
    return self;
}

static void
join_engine(GlWebSocket *self, GlEngine *engine)
{
    self->engine = engine;
    gl_list_push(&engine->websockets, &self->link);
    engine->websocket_count++;
}

static void
leave_engine(GlWebSocket *self)
{
    self->engine->websocket_count--;
    gl_list_remove(&self->link);
    self->engine = NULL;
}

GlWebSocket *
gl_websocket_new(GlExchange *x, const struct gl_ws_options *options,
                 struct gl_deflate *deflate)
{
    GlWebSocket *self = gl_websocket_alloc(x->st, x->st->websocket_type);
    struct gl_ws_codec codec;
    int error;

    if (self == NULL) {
        gl_deflate_free(deflate);
        return NULL;
    }
    self->deflate = deflate;
    if (deflate != NULL) {
        codec = gl_deflate_codec(deflate);
    }
    error = gl_ws_new(x->req, options, deflate != NULL ? &codec : NULL,
                      &self->ws);
    if (error < 0) {
        Py_DECREF((PyObject *)self);
        gl_raise_errno(error, "the WebSocket could not be made");
        return NULL;
    }
    self->x = (GlExchange *)Py_NewRef((PyObject *)x);
    self->uri = Py_XNewRef(x->uri);
    join_engine(self, gl_engine_of_pool(x->core->pool));
    return self;
}

/* Parts with the exchange: the request's end is no business of it any
 * more. */
static void
leave_exchange(GlWebSocket *self)
{
    GlExchange *x = self->x;

    if (x == NULL) {
        return;
    }
    self->x = NULL;
    x->req = NULL;
    if (x->core != NULL) {
        x->core->request = NULL;
    }
    Py_DECREF((PyObject *)x);
}

void
gl_websocket_move(GlWebSocket *from, GlWebSocket *to)
{
    GlExchange *x = from->x;

    to->ws = from->ws;
    to->deflate = from->deflate;
    to->fileno_given = x->fileno_given;
    to->uri = from->uri;
    Py_SETREF(to->subprotocol, Py_NewRef(from->subprotocol));
    join_engine(to, from->engine);
    /* The loop knows the handler's task weakly: only the engine keeps both
     * from the garbage collector while they wait for the peer. */
    to->kept = (PyObject *)to;
    Py_INCREF(to->kept);
    gl_ws_request(to->ws)->user = NULL; /* no core serves it any more */
    from->ws = NULL;
    from->deflate = NULL;
    from->uri = NULL;
    from->handed_over = true;
    leave_engine(from);
    Py_XSETREF(x->websocket, Py_NewRef((PyObject *)to));
    leave_exchange(from);
}

/* Notes how it ended, while the engine still knows. */
static void
remember_end(GlWebSocket *self)
{
    struct gl_str reason = {NULL, 0};
    int code;

    if (!gl_ws_closed(self->ws, &code, &reason)) {
        if (self->code != 0) {
            return; /* ours stands: the peer did not answer it */
        }
        code = 1006;
    }
    self->code = code;
    Py_XSETREF(self->reason,
               PyUnicode_DecodeUTF8(reason.n > 0 ? reason.p : "",
                                    (Py_ssize_t)reason.n, "replace"));
    PyErr_Clear(); /* without memory there is no reason to show */
}

static void
wake_all(GlWebSocket *self)
{
    struct gl_list *link;

    while ((link = gl_list_pop(&self->waits)) != NULL) {
        struct gl_waiter *waiter =
            &GL_CONTAINER_OF(link, struct gl_websocket_wait, link)->waiter;

        waiter->wake(waiter, -ESHUTDOWN);
    }
}

void
gl_websocket_end(GlWebSocket *self)
{
    struct gl_exc exc = gl_exc_take();
    struct gl_ws *ws;

    Py_INCREF((PyObject *)self);
    if (self->ws != NULL && self->fileno_given) {
        self->fileno_given = false;
        gl_gateway_forget_fd(self->engine,
                             gl_request_fd(gl_ws_request(self->ws)));
    }
    if (self->ws != NULL) {
        remember_end(self);
        ws = self->ws;
        self->ws = NULL;
        for (struct gl_list *l = self->waits.next; l != &self->waits;
             l = l->next) {
            gl_ws_forget(
                ws,
                &GL_CONTAINER_OF(l, struct gl_websocket_wait, link)->waiter);
        }
        leave_engine(self);
        leave_exchange(self);
        gl_ws_free(ws);
        gl_deflate_free(self->deflate);
        self->deflate = NULL;
        wake_all(self);
        Py_CLEAR(self->kept);
    }
    Py_DECREF((PyObject *)self);
    if (exc.value != NULL) {
        gl_exc_restore(&exc);
    }
}

void
gl_websocket_begin_close(GlWebSocket *self, int code)
{
    if (self->ws != NULL && self->code == 0) {
        self->code = code;
        (void)gl_ws_close(self->ws, code, (struct gl_str){"", 0});
        /* Failing, the peer sees the connection end without a code. */
    }
}

void
gl_websocket_finish(GlExchange *x)
{
    GlWebSocket *self = (GlWebSocket *)x->websocket;

    x->websocket = NULL;
    if (self->x == x) {
        gl_websocket_begin_close(self, 1000);
        gl_websocket_end(self);
    } else if (self->ws != NULL) {
        gl_request_release_slot(gl_ws_request(self->ws));
    }
    Py_DECREF((PyObject *)self);
}

void
gl_websocket_end_all(GlEngine *engine)
{
    while (!gl_list_empty(&engine->websockets)) {
        gl_websocket_end(
            GL_CONTAINER_OF(engine->websockets.next, GlWebSocket, link));
    }
}

/* --- may it be used? -------------------------------------------------- */

int
gl_websocket_close_code(GlWebSocket *self)
{
    struct gl_str reason;
    int code;

    if (self->ws == NULL) {
        return self->code != 0 ? self->code : 1006;
    }
    return gl_ws_closed(self->ws, &code, &reason) ? code : 0;
}

bool
gl_websocket_ended_well(GlWebSocket *self)
{
    int code = gl_websocket_close_code(self);

    return code == 1000 || code == 1001 || code == 1005;
}

int
gl_websocket_raise_closed(GlWebSocket *self)
{
    struct gl_str reason;
    PyObject *error;
    int code = self->code != 0 ? self->code : 1006;

    if (self->ws != NULL && gl_ws_closed(self->ws, &code, &reason)) {
        error = PyObject_CallFunction(self->st->websocket_closed, "is#", code,
                                      reason.n > 0 ? reason.p : "",
                                      (Py_ssize_t)reason.n);
    } else {
        error = PyObject_CallFunction(
            self->st->websocket_closed, "iO", code,
            self->reason != NULL ? self->reason : self->st->s_empty);
    }
    if (error != NULL) {
        PyErr_SetObject(self->st->websocket_closed, error);
        Py_DECREF(error);
    }
    return -1;
}

int
gl_websocket_check(GlWebSocket *self)
{
    if (self->handed_over) {
        PyErr_SetString(self->st->websocket_error,
                        "this WebSocket was handed over: use the object that "
                        "the handler got");
        return -1;
    }
    if (self->ws == NULL) {
        return gl_websocket_raise_closed(self);
    }
    if (self->engine->pool.hub->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a WebSocket belongs to its loop's thread; use "
                        "loop.call_soon_threadsafe()");
        return -1;
    }
    return 0;
}

/* --- waiting ---------------------------------------------------------- */

int
gl_websocket_wait(GlWebSocket *self, struct gl_websocket_wait *wait,
                  enum gl_websocket_event event)
{
    int error;

    if (gl_websocket_check(self) < 0) {
        return -1;
    }
    error = event == GL_WEBSOCKET_MESSAGE
                ? gl_ws_wait_receive(self->ws, &wait->waiter)
                : gl_ws_wait_send(self->ws, &wait->waiter);
    if (error == 0) {
        gl_list_push(&self->waits, &wait->link);
        return 0;
    }
    if (error == -ESHUTDOWN) {
        return 1;
    }
    if (error == -EBUSY) {
        PyErr_SetString(PyExc_RuntimeError,
                        "somebody else is receiving from this WebSocket");
    } else {
        gl_raise_errno(error, "the WebSocket cannot be waited for");
    }
    return -1;
}

void
gl_websocket_forget(GlWebSocket *self, struct gl_websocket_wait *wait)
{
    gl_list_remove(&wait->link);
    if (self->ws != NULL) {
        gl_ws_forget(self->ws, &wait->waiter);
    }
}

bool
gl_websocket_is_greedy(GlWebSocket *self)
{
    uint64_t now = gl_clock_ns();

    if (self->since_ns == 0) {
        self->since_ns = now;
    }
    if (now - self->since_ns < FAIR_NS) {
        return false;
    }
    self->since_ns = 0;
    return true;
}

/* --- messages --------------------------------------------------------- */

int
gl_websocket_take(GlWebSocket *self, bool as_bytes, PyObject **ret)
{
    struct gl_ws_message message;
    int error;

    if (gl_websocket_check(self) < 0) {
        return -1;
    }
    error = gl_ws_receive(self->ws, &message);
    if (error == -EAGAIN) {
        return 0;
    }
    if (error == -ESHUTDOWN) {
        return gl_websocket_raise_closed(self);
    }
    if (error < 0) {
        gl_raise_errno(error, "receiving from the WebSocket failed");
        return -1;
    }
    *ret = message.opcode == GL_WS_TEXT && !as_bytes
               ? PyUnicode_DecodeUTF8(message.bytes.p,
                                      (Py_ssize_t)message.bytes.n, NULL)
               : PyBytes_FromStringAndSize(message.bytes.p,
                                           (Py_ssize_t)message.bytes.n);
    return *ret != NULL ? 1 : -1;
}

bool
gl_websocket_is_text(PyObject *message)
{
    struct gl_utf8 state = {0};

    return !PyBytes_Check(message) ||
           (gl_utf8_feed(&state, PyBytes_AS_STRING(message),
                         (size_t)PyBytes_GET_SIZE(message)) &&
            gl_utf8_complete(&state));
}

enum gl_ws_opcode
gl_websocket_opcode(PyObject *message)
{
    return PyUnicode_Check(message) ? GL_WS_TEXT : GL_WS_BINARY;
}

static int
put_bytes(GlWebSocket *self, enum gl_ws_opcode opcode, struct gl_str bytes)
{
    int error = gl_ws_send(self->ws, opcode, bytes);

    switch (error) {
    case 0:
        if (self->x != NULL) {
            self->x->body_sent += bytes.n; /* for the access log */
        }
        return 1;
    case -EAGAIN:
        return 0;
    case -ESHUTDOWN:
        return gl_websocket_raise_closed(self);
    case -EINVAL:
        PyErr_SetString(PyExc_ValueError, "a ping carries at most 125 bytes");
        return -1;
    default:
        gl_raise_errno(error, "sending to the WebSocket failed");
        return -1;
    }
}

int
gl_websocket_put(GlWebSocket *self, enum gl_ws_opcode opcode,
                 PyObject *message)
{
    Py_buffer view;
    int taken;

    if (gl_websocket_check(self) < 0) {
        return -1;
    }
    if (PyUnicode_Check(message)) {
        Py_ssize_t n;
        const char *text = PyUnicode_AsUTF8AndSize(message, &n);

        return text == NULL ? -1
                            : put_bytes(self, opcode,
                                        (struct gl_str){text, (size_t)n});
    }
    if (!PyObject_CheckBuffer(message)) {
        PyErr_Format(PyExc_TypeError,
                     "a WebSocket's message is str or bytes, not %.100s",
                     Py_TYPE(message)->tp_name);
        return -1;
    }
    if (PyObject_GetBuffer(message, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    taken = gl_websocket_check(self); /* a buffer may be anybody's code */
    if (taken == 0) {
        taken = put_bytes(self, opcode,
                          (struct gl_str){view.buf, (size_t)view.len});
    }
    PyBuffer_Release(&view);
    return taken;
}

#define REASON_MAX_BYTES 123 /* RFC 6455, 5.5: of 125, two are the code */

int
gl_websocket_close(GlWebSocket *self, int code, PyObject *reason)
{
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(reason, &n);
    int error;

    if (text == NULL) {
        return -1;
    }
    if (!gl_ws_close_code_may_be_sent(code)) {
        PyErr_Format(PyExc_ValueError,
                     "%d is no code that may be sent (RFC 6455, 7.4)", code);
        return -1;
    }
    if (n > REASON_MAX_BYTES) {
        PyErr_SetString(PyExc_ValueError,
                        "the reason is over 123 bytes of UTF-8");
        return -1;
    }
    if (self->code != 0) {
        return 0; /* it is closing already */
    }
    self->code = code;
    Py_XSETREF(self->reason, Py_NewRef(reason));
    error = gl_ws_close(self->ws, code, (struct gl_str){text, (size_t)n});
    if (error < 0 && error != -ESHUTDOWN) {
        gl_raise_errno(error, "the WebSocket could not be closed");
        return -1;
    }
    return 0;
}

/* --- what both classes have ------------------------------------------- */

PyObject *
gl_websocket_get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(gl_websocket_close_code((GlWebSocket *)self) != 0);
}

PyObject *
gl_websocket_get_subprotocol(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((GlWebSocket *)self)->subprotocol);
}

const char gl_websocket_ping_doc[] = PyDoc_STR(
    "ping($self, payload=b'', /)\n--\n\n"
    "Send a ping of at most 125 bytes; the pong is not reported.\n\n"
    "The server sends pings by itself when the client is silent.  Left out\n"
    "if the client is slow: it has enough to answer then.  Raises\n"
    "WebSocketClosed and ValueError.");

PyObject *
gl_websocket_ping(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    GlWebSocket *self = (GlWebSocket *)object;

    if (nargs > 1) {
        PyErr_SetString(PyExc_TypeError, "ping() takes at most one argument");
        return NULL;
    }
    if (gl_websocket_put(self, GL_WS_PING,
                         nargs == 1 ? args[0] : self->st->empty_bytes) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char gl_websocket_fileno_doc[] = PyDoc_STR(
    "fileno($self, /)\n--\n\n"
    "The descriptor of the connection, which stays the server's: do not\n"
    "read, write or close it.");

PyObject *
gl_websocket_fileno(PyObject *object, PyObject *unused)
{
    GlWebSocket *self = (GlWebSocket *)object;

    (void)unused;
    if (gl_websocket_check(self) < 0) {
        return NULL;
    }
    if (self->x != NULL) {
        self->x->fileno_given = true;
    } else {
        self->fileno_given = true;
    }
    return PyLong_FromLong(gl_request_fd(gl_ws_request(self->ws)));
}

int
gl_websocket_traverse(PyObject *object, visitproc visit, void *arg)
{
    GlWebSocket *self = (GlWebSocket *)object;

    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->task);
    return 0;
}

int
gl_websocket_clear(PyObject *object)
{
    Py_CLEAR(((GlWebSocket *)object)->task);
    return 0;
}

void
gl_websocket_finalize(PyObject *object)
{
    /* Alive until now only if its task was dropped unfinished. */
    gl_websocket_end((GlWebSocket *)object);
}

void
gl_websocket_dealloc(PyObject *object)
{
    GlWebSocket *self = (GlWebSocket *)object;
    PyTypeObject *type = Py_TYPE(object);

    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    gl_deflate_free(self->deflate);
    Py_XDECREF(self->subprotocol);
    Py_XDECREF(self->uri);
    Py_XDECREF(self->reason);
    Py_XDECREF(self->task);
    type->tp_free(object);
    Py_DECREF(type);
}
