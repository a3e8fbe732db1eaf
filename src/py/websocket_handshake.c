/* websocket_handshake.c - from a request to a WebSocket.
 *
 * RFC 6455, section 4.2: what the client asks for is checked whole before a
 * byte is answered; RFC 7692, section 5, for permessage-deflate.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/websocket.h"

#include "base/gl.h"
#include "engine/engine.h"
#include "proto/http_tables.h"
#include "proto/ws_deflate.h"
#include "proto/ws_handshake.h"

#include <errno.h>

#define CLOSE_TIMEOUT_MS 10000 /* of a peer that does not answer a close */

/* What the client asked for, and what it gets.  Nothing here is the environ's,
 * which the application's code may change while it is checked. */
struct upgrade {
    GlExchange *x; /* borrowed */
    const struct gl_websocket_wish *wish;
    struct gl_str extension; /* of the answer; empty: none */
    struct gl_ws_deflate agreed;
    PyObject *subprotocol; /* strong: str, or NULL */
    char accept[GL_WS_ACCEPT_BYTES];
    char extension_bytes[GL_WS_DEFLATE_ANSWER_BYTES];
};

struct gl_ws_options
gl_websocket_defaults(GlExchange *x)
{
    const struct gl_options *o = gl_engine_options(x->core->pool->engine);

    return (struct gl_ws_options){
        .message_max_bytes = o->websocket_message_max_bytes,
        .output_max_bytes = o->websocket_output_max_bytes,
        .ping_interval_ms = o->websocket_ping_interval_ms,
        .pong_timeout_ms = o->websocket_pong_timeout_ms,
        .close_timeout_ms = CLOSE_TIMEOUT_MS,
    };
}

/* --- checks ----------------------------------------------------------- */

static int
refuse(GlExchange *x, int status, const char *text)
{
    PyObject *error =
        PyObject_CallFunction(x->st->websocket_error, "si", text, status);

    if (error != NULL) {
        PyErr_SetObject(x->st->websocket_error, error);
        Py_DECREF(error);
    }
    return -1;
}

int
gl_websocket_refused_status(void)
{
    struct gl_exc exc = gl_exc_take();
    PyObject *status = PyObject_GetAttrString(exc.value, "status");
    long number = status != NULL ? PyLong_AsLong(status) : -1;

    PyErr_Clear(); /* an application may have put anything there */
    Py_XDECREF(status);
    gl_exc_restore(&exc);
    return number >= 400 && number <= 599 ? (int)number : 500;
}

/* The value of an environ key: empty where it is missing. */
static struct gl_str
value_of(PyObject *environ, PyObject *key)
{
    PyObject *value = PyDict_GetItemWithError(environ, key);
    struct gl_str view;

    if (value == NULL || !PyUnicode_Check(value) ||
        !gl_latin1_view(value, &view)) {
        PyErr_Clear(); /* keys are str: there is none */
        return (struct gl_str){"", 0};
    }
    return view;
}

/* Section 4.2.1, points 1 to 6. */
static int
check_request(struct upgrade *u)
{
    struct gl_state *st = u->x->st;
    PyObject *env = u->wish->environ;
    struct gl_request *req = u->x->req;
    struct gl_str key;

    if (!gl_str_eq(value_of(env, st->s_request_method), GL_STR("GET")) ||
        req->minor == 0) {
        return refuse(u->x, 400, "a WebSocket begins with GET and HTTP/1.1");
    }
    if (!gl_http_list_has(value_of(env, st->s_http_upgrade),
                          GL_STR("websocket")) ||
        !gl_http_list_has(value_of(env, st->s_http_connection),
                          GL_STR("upgrade"))) {
        return refuse(u->x, 400, "the request does not ask for a WebSocket");
    }
    if (!gl_str_eq(value_of(env, st->s_websocket_version), GL_STR("13"))) {
        return refuse(u->x, 426,
                      "the client wants another version of the "
                      "WebSocket protocol than 13");
    }
    key = u->wish->key.p != NULL ? u->wish->key
                                 : value_of(env, st->s_websocket_key);
    if (!gl_ws_key_is_valid(key)) {
        return refuse(u->x, 400, "Sec-WebSocket-Key is missing or wrong");
    }
    if (!gl_ws_extensions_are_valid(
            value_of(env, st->s_websocket_extensions))) {
        return refuse(u->x, 400, "Sec-WebSocket-Extensions is malformed");
    }
    if (!req->body_done) {
        return refuse(u->x, 400, "a WebSocket's request has no body");
    }
    gl_ws_accept(key, u->accept);
    return 0;
}

/* 1: the str `text` is one of the items; 0; -1 with an exception. */
static int
is_among(PyObject *items, PyObject *text)
{
    return text != NULL ? PySequence_Contains(items, text) : 0;
}

static int
check_origin(struct upgrade *u)
{
    PyObject *origins = u->wish->origins, *origin;
    int allowed;

    if (origins == NULL) {
        return 0;
    }
    origin =
        PyDict_GetItemWithError(u->wish->environ, u->x->st->s_http_origin);
    if (origin == NULL && PyErr_Occurred()) {
        return -1;
    }
    Py_XINCREF(origin); /* comparing may run anybody's code */
    allowed = is_among(origins, origin);
    Py_XDECREF(origin);
    if (allowed == 0) {
        return refuse(u->x, 403,
                      "a WebSocket from this origin is not "
                      "allowed");
    }
    return allowed < 0 ? -1 : 0;
}

/* --- what is agreed --------------------------------------------------- */

/* Whether the client offers the subprotocol; names are case-sensitive. */
static bool
offers(struct gl_str list, struct gl_str name)
{
    struct gl_str item;

    while (gl_http_list_next(&list, &item)) {
        if (item.n > 0 && gl_str_eq(item, name)) {
            return true;
        }
    }
    return false;
}

static int
choose_first_offered(struct upgrade *u, struct gl_str list)
{
    struct gl_str item;

    while (gl_http_list_next(&list, &item)) {
        if (gl_http_is_token(item)) {
            u->subprotocol = gl_latin1(item);
            return u->subprotocol != NULL ? 0 : -1;
        }
    }
    return 0;
}

/* The first of ours that the client offers. */
static int
choose_subprotocol(struct upgrade *u)
{
    PyObject *env = u->wish->environ, *ours = NULL, *item;
    struct gl_str list, name;

    if (u->wish->subprotocols != NULL) {
        /* Before the environ is looked at: this may run anybody's code. */
        ours = PySequence_Tuple(u->wish->subprotocols);
        if (ours == NULL) {
            return -1;
        }
    }
    list = value_of(env, u->x->st->s_websocket_protocol);
    if (ours == NULL) {
        return u->wish->any_subprotocol ? choose_first_offered(u, list) : 0;
    }
    for (Py_ssize_t i = 0; ours != NULL && i < PyTuple_GET_SIZE(ours); i++) {
        item = PyTuple_GET_ITEM(ours, i);
        if (!PyUnicode_Check(item) || !gl_latin1_view(item, &name) ||
            !gl_http_is_token(name)) {
            PyErr_Format(PyExc_ValueError, "not a subprotocol: %R", item);
            Py_CLEAR(ours);
        } else if (u->subprotocol == NULL && offers(list, name)) {
            u->subprotocol = Py_NewRef(item);
        }
    }
    if (ours == NULL) {
        Py_CLEAR(u->subprotocol);
        return -1;
    }
    Py_DECREF(ours);
    return 0;
}

static void
choose_extension(struct upgrade *u)
{
    const struct gl_options *o = gl_engine_options(u->x->core->pool->engine);
    const struct gl_ws_deflate policy = {
        .on = u->wish->compression && o->websocket_deflate != 0,
        .server_bits = (uint8_t)o->websocket_window_bits,
        .client_bits = (uint8_t)o->websocket_window_bits,
    };

    if (policy.on && gl_deflate_is_available(u->x->st)) {
        u->extension = (struct gl_str){
            u->extension_bytes,
            gl_ws_deflate_negotiate(
                value_of(u->wish->environ, u->x->st->s_websocket_extensions),
                &policy, &u->agreed, u->extension_bytes)};
    }
}

/* --- the answer ------------------------------------------------------- */

static int
answer(struct upgrade *u)
{
    struct gl_response_field fields[5] = {
        {GL_STR("Upgrade"), GL_STR("websocket")},
        {GL_STR("Connection"), GL_STR("Upgrade")},
        {GL_STR("Sec-WebSocket-Accept"), {u->accept, GL_WS_ACCEPT_BYTES}},
    };
    size_t n = 3;

    if (u->subprotocol != NULL &&
        gl_latin1_view(u->subprotocol, &fields[n].value)) {
        fields[n++].name = GL_STR("Sec-WebSocket-Protocol");
    }
    if (u->extension.n > 0) {
        fields[n].value = u->extension;
        fields[n++].name = GL_STR("Sec-WebSocket-Extensions");
    }
    return gl_response_upgrade(u->x, fields, n);
}

static GlWebSocket *
take_over(struct upgrade *u)
{
    struct gl_deflate *deflate = NULL;
    GlWebSocket *self;

    if (u->extension.n > 0) {
        deflate = gl_deflate_new(u->x->st, &u->agreed);
        if (deflate == NULL) {
            return NULL;
        }
    }
    self = gl_websocket_new(u->x, &u->wish->options, deflate);
    if (self != NULL && u->subprotocol != NULL) {
        Py_SETREF(self->subprotocol, Py_NewRef(u->subprotocol));
    }
    return self;
}

static int
check_exchange(GlExchange *x)
{
    if (gl_exchange_request(x) == NULL) {
        return -1;
    }
    if (x->started || x->head_sent) {
        return refuse(x, 500,
                      "a WebSocket must be opened before start_response() "
                      "is called, and once in a request");
    }
    if (gl_engine_draining(x->core->pool->engine)) {
        return refuse(x, 503, "the server is stopping");
    }
    return 0;
}

PyObject *
gl_websocket_open(GlExchange *x, const struct gl_websocket_wish *wish)
{
    struct upgrade u = {.x = x, .wish = wish};
    GlWebSocket *self = NULL;

    if (check_exchange(x) < 0 || check_request(&u) < 0 ||
        check_origin(&u) < 0 || choose_subprotocol(&u) < 0) {
        return NULL;
    }
    choose_extension(&u);
    /* Comparing origins and names may have run anybody's code. */
    if (check_exchange(x) == 0 && answer(&u) == 0) {
        self = take_over(&u);
    }
    Py_XDECREF(u.subprotocol);
    if (self != NULL) {
        x->websocket = Py_NewRef((PyObject *)self);
    }
    return (PyObject *)self;
}
