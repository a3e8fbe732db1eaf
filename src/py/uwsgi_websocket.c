/* uwsgi_websocket.c - the module `uwsgi`: its WebSocket functions.
 *
 * Text and binary messages are told apart when they are sent only, as in the
 * original.  Its errors are OSError with its texts.  These WebSockets read
 * from the socket no more than the message that is asked for: an application
 * that watches uwsgi.connection_fd() is told of each message by its loop,
 * also when many came at once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"
#include "py/websocket.h"

#include "base/gl.h"
#include "proto/http_tables.h"

static const char handshake_failed[] =
    "unable to complete websocket handshake";
static const char receive_failed[] = "unable to receive websocket message";
static const char send_failed[] = "unable to send websocket message";

/* Sets OSError in place of an exception of WebSockets; others stay.  Is no
 * bug if the application lets it through: clients leave.  Returns NULL. */
static PyObject *
fail(GlExchange *x, const char *text, int status)
{
    if (PyErr_ExceptionMatches(x->st->websocket_error)) {
        PyErr_Clear();
        PyErr_SetString(PyExc_OSError, text);
        (void)gl_exchange_mark(x, status);
    }
    return NULL;
}

/* The WebSocket of the request, or NULL with OSError (or what
 * gl_uwsgi_exchange raises).  *ret_x is set where the result is not NULL. */
static GlWebSocket *
websocket_of(PyObject *module, PyObject *context, const char *text,
             GlExchange **ret_x)
{
    GlExchange *x = gl_uwsgi_exchange(module, context);

    if (x == NULL) {
        return NULL;
    }
    if (x->websocket == NULL) {
        PyErr_SetString(PyExc_OSError, text);
        return NULL;
    }
    *ret_x = x;
    return (GlWebSocket *)x->websocket;
}

/* --- handshake -------------------------------------------------------- */

PyDoc_STRVAR(handshake_doc,
"websocket_handshake($module, key=None, origin=None, proto=None, *,\n"
"                    request_context=None)\n--\n\n"
"Make a WebSocket of the request (RFC 6455).\n\n"
"  key     Sec-WebSocket-Key; None or '' takes the request's\n"
"  origin  ignored: only older protocols than RFC 6455 need it\n"
"  proto   the subprotocols that are spoken here, with commas; None or ''\n"
"          agrees to the first that the client offers\n"
"Each may be str or bytes.  Unlike the original this refuses a request that\n"
"is none of a WebSocket: OSError, and the answer is 400 or 426.");

/* A str for a str or bytes argument; NULL without an exception for one that
 * is missing or empty. */
static PyObject *
text_argument(PyObject *argument)
{
    if (argument == NULL || argument == Py_None ||
        PyObject_IsTrue(argument) == 0) {
        return NULL;
    }
    if (PyBytes_Check(argument)) {
        return gl_latin1((struct gl_str){PyBytes_AS_STRING(argument),
                                         (size_t)PyBytes_GET_SIZE(argument)});
    }
    if (!PyUnicode_Check(argument)) {
        PyErr_Format(PyExc_TypeError, "str or bytes is needed, not %.100s",
                     Py_TYPE(argument)->tp_name);
        return NULL;
    }
    return Py_NewRef(argument);
}

/* "a, b" as a list of its items. */
static PyObject *
split_list(PyObject *text)
{
    PyObject *items = PyList_New(0), *one;
    struct gl_str rest, item;

    if (items == NULL || !gl_latin1_view(text, &rest)) {
        return items;
    }
    while (gl_http_list_next(&rest, &item)) {
        one = gl_latin1(item);
        if (one == NULL || PyList_Append(items, one) < 0) {
            Py_XDECREF(one);
            Py_DECREF(items);
            return NULL;
        }
        Py_DECREF(one);
    }
    return items;
}

static PyObject *
open_exact(GlExchange *x, PyObject *key, PyObject *protocols)
{
    struct gl_websocket_wish wish = {
        .environ = x->environ,
        .subprotocols = protocols,
        .any_subprotocol = protocols == NULL,
        .compression = true,
        .options = gl_websocket_defaults(x),
    };

    wish.options.exact = true;
    if (wish.environ == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this request has ended");
        return NULL;
    }
    if (key != NULL && !gl_latin1_view(key, &wish.key)) {
        wish.key = GL_STR("no key");
    }
    return gl_websocket_open(x, &wish);
}

static PyObject *
websocket_handshake(PyObject *module, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"key", "origin", "proto", "request_context", NULL};
    PyObject *key = NULL, *origin = NULL, *proto = NULL, *context = NULL;
    PyObject *protocols = NULL, *websocket = NULL;
    GlExchange *x;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs,
                                     "|OOO$O:websocket_handshake", names,
                                     &key, &origin, &proto, &context)) {
        return NULL;
    }
    x = gl_uwsgi_exchange(module, context);
    if (x == NULL) {
        return NULL;
    }
    key = text_argument(key);
    proto = text_argument(proto);
    if (proto != NULL) {
        protocols = split_list(proto);
    }
    if (!PyErr_Occurred()) {
        websocket = open_exact(x, key, protocols);
    }
    if (websocket == NULL) {
        (void)fail(x, handshake_failed, gl_websocket_refused_status());
    }
    Py_XDECREF(key);
    Py_XDECREF(proto);
    Py_XDECREF(protocols);
    if (websocket == NULL) {
        return NULL;
    }
    Py_DECREF(websocket); /* the exchange keeps it */
    Py_RETURN_NONE;
}

/* --- messages --------------------------------------------------------- */

/* The one argument request_context= of a call.  0 or -1. */
static int
parse_context(PyObject *args, PyObject *kwargs, PyObject **ret_context)
{
    char *names[] = {"request_context", NULL};

    return PyArg_ParseTupleAndKeywords(args, kwargs, "|$O", names,
                                       ret_context)
               ? 0
               : -1;
}

PyDoc_STRVAR(recv_doc,
"websocket_recv($module, *, request_context=None)\n--\n\n"
"Return the next message as bytes, whole; parks the request until it came.\n\n"
"Raises OSError once the WebSocket has ended.");

static PyObject *
websocket_recv(PyObject *module, PyObject *args, PyObject *kwargs)
{
    PyObject *context = NULL, *message;
    GlWebSocket *self;
    GlExchange *x;

    if (parse_context(args, kwargs, &context) < 0) {
        return NULL;
    }
    self = websocket_of(module, context, receive_failed, &x);
    if (self == NULL) {
        return NULL;
    }
    Py_INCREF((PyObject *)self);
    Py_INCREF((PyObject *)x);
    message = gl_websocket_receive(self, true, 0);
    if (message == NULL) {
        (void)fail(x, receive_failed, 400);
    }
    Py_DECREF((PyObject *)x);
    Py_DECREF((PyObject *)self);
    return message;
}

PyDoc_STRVAR(recv_nb_doc,
"websocket_recv_nb($module, *, request_context=None)\n--\n\n"
"Return the next message as bytes, or b'' if none is there; never waits.\n\n"
"Raises OSError once the WebSocket has ended.");

static PyObject *
websocket_recv_nb(PyObject *module, PyObject *args, PyObject *kwargs)
{
    PyObject *context = NULL, *message = NULL;
    GlWebSocket *self;
    GlExchange *x;
    int taken;

    if (parse_context(args, kwargs, &context) < 0) {
        return NULL;
    }
    self = websocket_of(module, context, receive_failed, &x);
    if (self == NULL) {
        return NULL;
    }
    gl_request_look_again(x->req);
    taken = gl_websocket_take(self, true, &message);
    if (taken < 0) {
        return fail(x, receive_failed, 400);
    }
    return taken > 0 ? message : Py_NewRef(x->st->empty_bytes);
}

static PyObject *
send_as(enum gl_ws_opcode opcode, PyObject *module, PyObject *args,
        PyObject *kwargs)
{
    char *names[] = {"", "request_context", NULL};
    PyObject *message, *context = NULL;
    GlWebSocket *self;
    GlExchange *x;
    int error;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O", names, &message,
                                     &context)) {
        return NULL;
    }
    if (!PyUnicode_Check(message) && !PyBytes_Check(message)) {
        PyErr_Format(PyExc_TypeError, "a message is str or bytes, not %.100s",
                     Py_TYPE(message)->tp_name);
        return NULL;
    }
    self = websocket_of(module, context, send_failed, &x);
    if (self == NULL) {
        return NULL;
    }
    if (opcode == GL_WS_TEXT && !gl_websocket_is_text(message)) {
        PyErr_SetString(PyExc_ValueError,
                        "websocket_send() takes UTF-8; "
                        "websocket_send_binary() takes any bytes");
        return NULL;
    }
    Py_INCREF((PyObject *)self);
    Py_INCREF((PyObject *)x);
    error = gl_websocket_send(self, opcode, message);
    if (error < 0) {
        (void)fail(x, send_failed, 400);
    }
    Py_DECREF((PyObject *)x);
    Py_DECREF((PyObject *)self);
    return error < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(send_doc,
"websocket_send($module, message, /, *, request_context=None)\n--\n\n"
"Send a text message: a str, or bytes of UTF-8 (ValueError for others).\n\n"
"Parks the request while the client is slow.  Raises OSError once the\n"
"WebSocket has ended.");

static PyObject *
websocket_send(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return send_as(GL_WS_TEXT, module, args, kwargs);
}

PyDoc_STRVAR(send_binary_doc,
"websocket_send_binary($module, message, /, *, request_context=None)\n--\n\n"
"Send a binary message: bytes, or a str as UTF-8.\n\n"
"Parks the request while the client is slow.  Raises OSError once the\n"
"WebSocket has ended.");

static PyObject *
websocket_send_binary(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return send_as(GL_WS_BINARY, module, args, kwargs);
}

#define ROW(name) \
    {"websocket_" #name, GL_UWSGI_KEYWORDS(websocket_##name), name##_doc}

PyMethodDef gl_uwsgi_websocket_methods[] = {
    ROW(handshake), ROW(recv),        ROW(recv_nb),
    ROW(send),      ROW(send_binary), {NULL, NULL, 0, NULL},
};
