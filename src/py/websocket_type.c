/* websocket_type.c - greenloop.websocket() and its synchronous object: each
 * call parks the greenlet that makes it until it is done.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/websocket.h"

#include "base/clock.h"
#include "base/gl.h"
#include "py/api.h"
#include "py/park.h"

#include <errno.h>
#include <stdlib.h>

/* --- parking ---------------------------------------------------------- */

/* On the heap, as every wait: see py/park.h. */
struct park {
    struct gl_websocket_wait wait;
    struct gl_wait *w; /* owned */
    bool woken;
};

static void
park_woken(struct gl_waiter *waiter, int result)
{
    struct gl_websocket_wait *wait =
        GL_CONTAINER_OF(waiter, struct gl_websocket_wait, waiter);
    struct park *p = GL_CONTAINER_OF(wait, struct park, wait);
    struct gl_hub *hub = p->w->core->pool->hub;

    if (p->woken) {
        return;
    }
    p->woken = true;
    /* Only the engine's turn may enter a core.  Another request may have
     * sent, closed, or ended what this one waits for. */
    if (result != -ESHUTDOWN && hub->in_turn && hub->current == NULL) {
        gl_wait_wake(p->w, 0);
    } else {
        gl_engine_defer(p->w->core->pool->engine, &p->w->turn);
    }
}

static struct park *
park_new(GlWebSocket *self)
{
    static const char what[] = "waiting for a WebSocket";
    struct park *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    p->wait.waiter.wake = park_woken;
    p->w = gl_wait_new(self->st, what);
    if (p->w != NULL &&
        gl_api_refuse_in_task(self->st, p->w->core, what) < 0) {
        gl_wait_free(p->w);
        p->w = NULL;
    }
    if (p->w == NULL) {
        free(p);
        return NULL;
    }
    return p;
}

/* The timer of the wait, for a time that may have come.  0, 1 or -1. */
static int
limit(struct gl_wait *w, uint64_t due_ns)
{
    uint64_t now_ns = gl_clock_ns();

    if (due_ns == 0) {
        return 0;
    }
    return due_ns <= now_ns ? 1 : gl_wait_start_timer(w, due_ns - now_ns);
}

int
gl_websocket_park(GlWebSocket *self, enum gl_websocket_event event,
                  uint64_t due_ns)
{
    struct park *p = park_new(self);
    int outcome;

    if (p == NULL) {
        return -1;
    }
    Py_INCREF((PyObject *)self);
    outcome = limit(p->w, due_ns);
    if (outcome == 0) {
        outcome = gl_websocket_wait(self, &p->wait, event);
        if (outcome > 0) {
            outcome = 0; /* there is no need to wait */
        } else if (outcome == 0) {
            outcome = gl_wait_park(p->w);
            gl_websocket_forget(self, &p->wait);
            outcome = outcome == 0 && !p->woken ? 1 : outcome;
        }
    }
    gl_wait_free(p->w);
    free(p);
    self->since_ns = 0;
    Py_DECREF((PyObject *)self);
    return outcome;
}

/* Takes what came in time, though the engine has not heard of it yet, or
 * raises asyncio.TimeoutError.  A new reference or NULL. */
static PyObject *
take_at_last(GlWebSocket *self, bool as_bytes)
{
    PyObject *message = NULL;
    struct gl_request *req;

    if (gl_websocket_check(self) < 0) {
        return NULL;
    }
    req = gl_ws_request(self->ws);
    if (req != NULL) {
        gl_request_look_again(req);
    }
    if (gl_websocket_take(self, as_bytes, &message) == 0) {
        PyErr_SetString(self->st->timeout_error,
                        "no message came through the WebSocket in time");
    }
    return message;
}

/* Gives others their turn, before a message is taken: what is thrown in must
 * not cost it.  0 or -1. */
static int
be_fair(GlWebSocket *self)
{
    return gl_websocket_is_greedy(self) && gl_core_current(self->st) != NULL
               ? gl_park_yield(self->st)
               : 0;
}

PyObject *
gl_websocket_receive(GlWebSocket *self, bool as_bytes, uint64_t due_ns)
{
    PyObject *message = NULL;
    int outcome = be_fair(self);

    while (outcome == 0 && gl_websocket_take(self, as_bytes, &message) == 0) {
        outcome = gl_websocket_park(self, GL_WEBSOCKET_MESSAGE, due_ns);
    }
    return outcome > 0 ? take_at_last(self, as_bytes) : message;
}

int
gl_websocket_send(GlWebSocket *self, enum gl_ws_opcode opcode,
                  PyObject *message)
{
    int taken;

    while ((taken = gl_websocket_put(self, opcode, message)) == 0) {
        if (gl_websocket_park(self, GL_WEBSOCKET_ROOM, 0) < 0) {
            return -1;
        }
    }
    if (taken < 0) {
        return -1;
    }
    /* Taken; but who goes on at once would only fill the memory. */
    while (self->ws != NULL && gl_ws_should_wait(self->ws)) {
        if (gl_websocket_park(self, GL_WEBSOCKET_ROOM, 0) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- methods ---------------------------------------------------------- */

PyDoc_STRVAR(receive_doc,
"receive($self, /, timeout=None)\n--\n\n"
"Return the next message: a str or bytes, as its sender meant it.\n\n"
"  timeout  seconds (a float >= 0) to park at most; None waits for ever\n"
"Raises WebSocketClosed once the WebSocket has ended and all that came\n"
"before was received, asyncio.TimeoutError, RuntimeError if another greenlet\n"
"is receiving, and whatever is thrown into the request.");

static PyObject *
ws_receive(PyObject *self, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    uint64_t due_ns = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:receive", names,
                                     &timeout)) {
        return NULL;
    }
    if (timeout != Py_None) {
        if (gl_seconds_to_ns(timeout, "the timeout of receive()", &due_ns) <
            0) {
            return NULL;
        }
        due_ns += gl_clock_ns();
    }
    return gl_websocket_receive((GlWebSocket *)self, false, due_ns);
}

static PyObject *
ws_next(PyObject *object)
{
    GlWebSocket *self = (GlWebSocket *)object;
    PyObject *message = gl_websocket_receive(self, false, 0);

    if (message == NULL &&
        PyErr_ExceptionMatches(self->st->websocket_closed) &&
        gl_websocket_ended_well(self)) {
        PyErr_Clear();
    }
    return message;
}

PyDoc_STRVAR(send_doc,
"send($self, message, /)\n--\n\n"
"Send a str as a text message, bytes (or what has the buffer interface) as a\n"
"binary one.\n\n"
"Parks while the peer is slow to take what was sent before.  Raises\n"
"WebSocketClosed, TypeError, and whatever is thrown into the request.");

static PyObject *
ws_send(PyObject *self, PyObject *message)
{
    if (gl_websocket_send((GlWebSocket *)self, gl_websocket_opcode(message),
                          message) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Until the peer has answered our close; what still comes is dropped. */
static int
await_close(GlWebSocket *self)
{
    PyObject *message = NULL;
    int outcome = 0;

    while (outcome == 0 && gl_websocket_close_code(self) == 0) {
        outcome = gl_websocket_take(self, true, &message);
        if (outcome > 0) {
            Py_CLEAR(message);
            outcome = 0;
        } else if (outcome == 0) {
            outcome = gl_websocket_park(self, GL_WEBSOCKET_MESSAGE, 0);
        }
    }
    if (outcome < 0 && PyErr_ExceptionMatches(self->st->websocket_closed)) {
        PyErr_Clear(); /* it is what was asked for */
        outcome = 0;
    }
    return outcome;
}

PyDoc_STRVAR(close_doc,
"close($self, /, code=1000, reason='')\n--\n\n"
"Close, and park until the peer has answered or ten seconds have passed.\n\n"
"  code    1000 to 1003, 1007 to 1014 or 3000 to 4999\n"
"  reason  a str of at most 123 bytes of UTF-8\n"
"What the peer sent and nobody received is dropped.  Does nothing if the\n"
"WebSocket has ended.  Raises ValueError, RuntimeError if another greenlet\n"
"is receiving, and whatever is thrown into the request.");

static PyObject *
ws_close(PyObject *object, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"code", "reason", NULL};
    GlWebSocket *self = (GlWebSocket *)object;
    PyObject *reason = self->st->s_empty;
    int code = 1000;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iU:close", names, &code,
                                     &reason)) {
        return NULL;
    }
    if (self->ws == NULL && !self->handed_over) {
        Py_RETURN_NONE;
    }
    if (gl_websocket_check(self) < 0 ||
        gl_websocket_close(self, code, reason) < 0 || await_close(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(hand_over_doc,
"hand_over($self, handler, /)\n--\n\n"
"Go on in a coroutine: return ws.hand_over(handler) ends the request, and\n"
"handler(ws) is run as a task of the loop, in the request's context, with an\n"
"AsyncWebSocket.\n\n"
"An idle WebSocket then keeps no greenlet and no core.  When the handler\n"
"returns, the WebSocket is closed with code 1000; if it raises, that is\n"
"logged and the code is 1011.  When the server stops, the code is 1001, and\n"
"the task is cancelled after the graceful time.\n"
"Returns what the application is to return.  Raises WebSocketClosed,\n"
"TypeError if the handler is no coroutine function, WebSocketError if it was\n"
"handed over before or a greenlet waits for it.");

static PyObject *
ws_hand_over(PyObject *self, PyObject *handler)
{
    if (gl_websocket_hand_over((GlWebSocket *)self, handler) < 0) {
        return NULL;
    }
    return PyTuple_New(0);
}

/* --- opening ---------------------------------------------------------- */

/* The exchange whose environ this is: what the server put into it says so,
 * or else who is running. */
static GlExchange *
exchange_of(struct gl_state *st, PyObject *environ)
{
    PyObject *handle =
        PyDict_GetItemWithError(environ, st->s_wsgi_disconnected);
    struct gl_core *core;

    if (handle != NULL && Py_TYPE(handle) == st->departed_type) {
        return ((GlHandle *)handle)->x;
    }
    PyErr_Clear();
    core = gl_core_current(st);
    if (core == NULL || !core->busy || core->exchange == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "greenloop.websocket() needs the environ of a "
                        "request that is running");
        return NULL;
    }
    return ((struct gl_kit *)core->exchange)->x;
}

/* Seconds to the milliseconds of an option; None keeps it. */
static int
read_ms(PyObject *seconds, const char *what, uint32_t *ms)
{
    uint64_t ns;

    if (seconds == Py_None) {
        return 0;
    }
    if (gl_seconds_to_ns(seconds, what, &ns) < 0) {
        return -1;
    }
    ns = (ns + 999999) / 1000000;
    *ms = ns < UINT32_MAX / 2 ? (uint32_t)ns : UINT32_MAX / 2;
    return 0;
}

static int
read_size(PyObject *bytes, uint64_t *size)
{
    unsigned long long n;

    if (bytes == Py_None) {
        return 0;
    }
    n = PyLong_AsUnsignedLongLong(bytes);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (n == 0 || n > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError,
                        "max_size is from 1 to 2147483647 bytes");
        return -1;
    }
    *size = n;
    return 0;
}

/* A sequence of names; a str would be one of letters.  NULL for None. */
static int
read_names(PyObject *names, const char *what, PyObject **ret)
{
    if (PyUnicode_Check(names)) {
        PyErr_Format(PyExc_TypeError, "%s is a list, not a str", what);
        return -1;
    }
    *ret = names != Py_None ? names : NULL;
    return 0;
}

PyDoc_STRVAR(websocket_doc,
"websocket($module, environ, /, *, subprotocols=(), max_size=None,\n"
"          ping_interval=None, pong_timeout=None, compression=True,\n"
"          origins=None)\n--\n\n"
"Make a WebSocket of the request with this environ (RFC 6455), and return\n"
"it.  To be called in place of start_response().\n\n"
"  subprotocols   those that are spoken here, the best first; the first\n"
"                 that the client offers is agreed\n"
"  max_size       bytes of a message; a larger one ends it with code 1009\n"
"  ping_interval  seconds of silence after which the client is asked for a\n"
"                 sign of life; 0: never\n"
"  pong_timeout   seconds that it has for that\n"
"  compression    permessage-deflate (RFC 7692) if the client offers it\n"
"  origins        the Origin values that may connect; None: any. A browser\n"
"                 sends cookies from every page: name yours if they matter.\n"
"None in the middle ones takes the server's option (--websockets-...).\n\n"
"Raises WebSocketError for a request that is none of a WebSocket; if the\n"
"application lets it through, it is answered with 400, 403 or 426.");

static PyObject *
open_websocket(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"",
                     "subprotocols",
                     "max_size",
                     "ping_interval",
                     "pong_timeout",
                     "compression",
                     "origins",
                     NULL};
    struct gl_state *st = gl_state_of_module(module);
    PyObject *subprotocols = st->empty_tuple, *max_size = Py_None;
    PyObject *interval = Py_None, *timeout = Py_None, *origins = Py_None;
    struct gl_websocket_wish wish = {0};
    int compression = 1;
    GlExchange *x;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|$OOOOpO:websocket",
                                     names, &PyDict_Type, &wish.environ,
                                     &subprotocols, &max_size, &interval,
                                     &timeout, &compression, &origins)) {
        return NULL;
    }
    x = exchange_of(st, wish.environ);
    if (x == NULL || gl_exchange_request(x) == NULL) {
        return NULL;
    }
    wish.compression = compression != 0;
    wish.options = gl_websocket_defaults(x);
    if (read_names(subprotocols, "subprotocols", &wish.subprotocols) < 0 ||
        read_names(origins, "origins", &wish.origins) < 0 ||
        read_size(max_size, &wish.options.message_max_bytes) < 0 ||
        read_ms(interval, "ping_interval", &wish.options.ping_interval_ms) <
            0 ||
        read_ms(timeout, "pong_timeout", &wish.options.pong_timeout_ms) < 0) {
        return NULL;
    }
    return gl_websocket_open(x, &wish);
}

PyMethodDef gl_websocket_functions[] = {
    {"websocket", (PyCFunction)(void (*)(void))open_websocket,
     METH_VARARGS | METH_KEYWORDS, websocket_doc},
    {NULL, NULL, 0, NULL},
};

/* --- type ------------------------------------------------------------- */

static PyMethodDef ws_methods[] = {
    {"receive", (PyCFunction)(void (*)(void))ws_receive,
     METH_VARARGS | METH_KEYWORDS, receive_doc},
    {"send", ws_send, METH_O, send_doc},
    {"ping", (PyCFunction)(void (*)(void))gl_websocket_ping, METH_FASTCALL,
     gl_websocket_ping_doc},
    {"close", (PyCFunction)(void (*)(void))ws_close,
     METH_VARARGS | METH_KEYWORDS, close_doc},
    {"hand_over", ws_hand_over, METH_O, hand_over_doc},
    {"fileno", gl_websocket_fileno, METH_NOARGS, gl_websocket_fileno_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ws_getset[] = {
    {"closed", gl_websocket_get_closed, NULL,
     "Whether it has ended (a bool).", NULL},
    {"subprotocol", gl_websocket_get_subprotocol, NULL,
     "The agreed subprotocol (a str), or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(ws_doc,
"A WebSocket of a request, made by greenloop.websocket().\n\n"
"Iteration receives messages until the peer closes with 1000, 1001 or no\n"
"code, and raises WebSocketClosed for other ends.  When the application\n"
"returns, an open WebSocket is closed with code 1000; 1011 if it raised.");

static PyType_Slot ws_slots[] = {
    {Py_tp_doc, (void *)ws_doc},
    {Py_tp_dealloc, (void *)gl_websocket_dealloc},
    {Py_tp_finalize, (void *)gl_websocket_finalize},
    {Py_tp_traverse, (void *)gl_websocket_traverse},
    {Py_tp_clear, (void *)gl_websocket_clear},
    {Py_tp_iter, (void *)PyObject_SelfIter},
    {Py_tp_iternext, (void *)ws_next},
    {Py_tp_methods, ws_methods},
    {Py_tp_getset, ws_getset},
    {0, NULL},
};

static PyType_Spec ws_spec = {
    .name = "greenloop.WebSocket",
    .basicsize = sizeof(GlWebSocket),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ws_slots,
};

int
gl_websocket_type_init(PyObject *module, struct gl_state *st)
{
    st->websocket_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &ws_spec, NULL);
    return st->websocket_type == NULL
               ? -1
               : PyModule_AddObjectRef(module, "WebSocket",
                                       (PyObject *)st->websocket_type);
}
