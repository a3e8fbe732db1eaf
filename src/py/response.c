/* response.c - the answer of an application: checked, framed, sent.
 *
 * PEP 3333 ("The start_response() Callable"), RFC 9110 section 5 for field
 * syntax, RFC 9112 sections 4, 6 and 7 for the framing.  The head is written
 * to memory when start_response is called, and completed with what depends
 * on the body when the first byte of the body is there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/response.h"
#include "py/websocket.h"

#include "base/clock.h"
#include "base/gl.h"
#include "engine/engine.h"
#include "proto/http1_write.h"
#include "proto/http_tables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_FIRST_BYTES 512
#define HEAD_MAX_BYTES (1 << 20)
#define JOINED_MAX_BYTES 2048
#define IOV_ITEMS 64 /* items of a list sent at once */

/* --- building the head ------------------------------------------------ */

/* Room for n more bytes of the head, or NULL with an exception set. */
static char *
head_room(GlExchange *x, size_t n)
{
    size_t cap = x->head_cap > 0 ? x->head_cap : HEAD_FIRST_BYTES;
    char *head;

    while (cap < x->head_n + n) {
        cap *= 2;
    }
    if (cap > HEAD_MAX_BYTES) {
        PyErr_Format(PyExc_ValueError,
                     "the response's headers are over %d bytes",
                     HEAD_MAX_BYTES);
        return NULL;
    }
    if (cap > x->head_cap) {
        head = realloc(x->head, cap);
        if (head == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        x->head = head;
        x->head_cap = cap;
    }
    return x->head + x->head_n;
}

int
gl_response_head_add(GlExchange *x, const char *bytes, size_t n)
{
    char *dst = head_room(x, n);

    if (dst == NULL) {
        return -1;
    }
    memcpy(dst, bytes, n);
    x->head_n += n;
    return 0;
}

static int
head_add_text(GlExchange *x, const char *text)
{
    return gl_response_head_add(x, text, strlen(text));
}

static int
head_add_field(GlExchange *x, struct gl_str name, struct gl_str value)
{
    char *dst = head_room(x, name.n + value.n + 4);

    if (dst == NULL) {
        return -1;
    }
    memcpy(dst, name.p, name.n);
    memcpy(dst + name.n, ": ", 2);
    memcpy(dst + name.n + 2, value.p, value.n);
    memcpy(dst + name.n + 2 + value.n, "\r\n", 2);
    x->head_n += name.n + value.n + 4;
    return 0;
}

static void
head_reset(GlExchange *x)
{
    x->head_n = 0;
    x->fields = 0;
    x->length = 0;
    x->has_length = x->has_date = x->has_server = false;
    x->wants_close = x->has_validators = false;
    free(x->sendfile);
    x->sendfile = NULL;
}

/* --- checks ----------------------------------------------------------- */

static int
view(PyObject *text, const char *what, struct gl_str *ret)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", what,
                     Py_TYPE(text)->tp_name);
        return -1;
    }
    if (!gl_latin1_view(text, ret)) {
        PyErr_Format(PyExc_ValueError,
                     "%s has characters outside of latin-1: %R", what, text);
        return -1;
    }
    if (!gl_http_is_value(*ret)) {
        PyErr_Format(PyExc_ValueError,
                     "%s has control characters, which could split the "
                     "response: %R",
                     what, text);
        return -1;
    }
    return 0;
}

static int
parse_status(GlExchange *x, PyObject *status, struct gl_str *ret_text)
{
    struct gl_str s;
    int code;

    if (view(status, "the status", &s) < 0) {
        return -1;
    }
    if (s.n < 3 || !(gl_http_class[(uint8_t)s.p[0]] & GL_CLASS_DIGIT) ||
        !(gl_http_class[(uint8_t)s.p[1]] & GL_CLASS_DIGIT) ||
        !(gl_http_class[(uint8_t)s.p[2]] & GL_CLASS_DIGIT) ||
        (s.n > 3 && s.p[3] != ' ')) {
        PyErr_Format(PyExc_ValueError,
                     "the status must be like '200 OK', not %R", status);
        return -1;
    }
    code = (s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0');
    if (code < 200 || code > 599) {
        PyErr_Format(PyExc_ValueError,
                     "the status must be between 200 and 599, not %R",
                     status);
        return -1;
    }
    x->status = code;
    *ret_text = s;
    return 0;
}

static int
parse_length(GlExchange *x, struct gl_str value)
{
    uint64_t length = 0;

    for (size_t i = 0; i < value.n; i++) {
        if (!(gl_http_class[(uint8_t)value.p[i]] & GL_CLASS_DIGIT) ||
            length > (UINT64_MAX - 9) / 10) {
            value.n = 0;
            break;
        }
        length = length * 10 + (uint64_t)(value.p[i] - '0');
    }
    if (value.n == 0 || x->has_length) {
        PyErr_SetString(PyExc_ValueError,
                        value.n == 0 ? "Content-Length is not a number"
                                     : "Content-Length was given twice");
        return -1;
    }
    x->has_length = true;
    x->length = length;
    return 0;
}

static int
hop_by_hop(struct gl_str name)
{
    PyErr_Format(PyExc_ValueError,
                 "%.100s is the server's to set, not the application's "
                 "(PEP 3333: hop-by-hop)",
                 gl_field_name(gl_field_lookup(name)).p);
    return -1;
}

/* Takes one field of the application's.  0 or -1. */
static int
add_field(GlExchange *x, struct gl_str name, struct gl_str value)
{
    int taken;

    x->fields++;
    switch (gl_field_lookup(name)) {
    case GL_FIELD_CONTENT_LENGTH:
        /* Written with the framing; a 204 has none (RFC 9110, 8.6). */
        return parse_length(x, value);
    case GL_FIELD_CONNECTION:
        /* A common wish of applications, though PEP 3333 forbids it. */
        if (gl_http_list_has(value, GL_STR("close"))) {
            x->wants_close = true;
            return 0;
        }
        return gl_http_equals(value, GL_STR("keep-alive")) ? 0
                                                           : hop_by_hop(name);
    case GL_FIELD_KEEP_ALIVE:
    case GL_FIELD_TE:
    case GL_FIELD_TRAILER:
    case GL_FIELD_TRANSFER_ENCODING:
    case GL_FIELD_UPGRADE:
        return hop_by_hop(name);
    case GL_FIELD_DATE:
        x->has_date = true;
        break;
    case GL_FIELD_SERVER:
        x->has_server = true;
        break;
    case GL_FIELD_UNKNOWN:
        taken = gl_sendfile_take_field(x, name, value);
        if (taken != 0) {
            return taken < 0 ? -1 : 0;
        }
        break;
    default:
        break;
    }
    return head_add_field(x, name, value);
}

static int
add_pair(GlExchange *x, PyObject *pair)
{
    struct gl_str name, value;

    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_SetString(PyExc_TypeError,
                        "headers must be a list of (name, value) tuples");
        return -1;
    }
    if (view(PyTuple_GET_ITEM(pair, 0), "a header name", &name) < 0 ||
        view(PyTuple_GET_ITEM(pair, 1), "a header value", &value) < 0) {
        return -1;
    }
    if (!gl_http_is_token(name)) {
        PyErr_Format(PyExc_ValueError, "not a header name: %R",
                     PyTuple_GET_ITEM(pair, 0));
        return -1;
    }
    return add_field(x, name, value);
}

static int
write_head(GlExchange *x, PyObject *status, PyObject *fields)
{
    struct gl_str text;

    head_reset(x);
    if (parse_status(x, status, &text) < 0 ||
        gl_response_head_add(x, "HTTP/1.1 ", 9) < 0 ||
        gl_response_head_add(x, text.p, text.n) < 0 ||
        head_add_text(x, text.n == 3 ? " \r\n" : "\r\n") < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(fields); i++) {
        if (add_pair(x, PyList_GET_ITEM(fields, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
raise_again(PyObject *exc_info)
{
    struct gl_exc exc = {0};

    if (!PyTuple_Check(exc_info) || PyTuple_GET_SIZE(exc_info) != 3) {
        PyErr_SetString(PyExc_TypeError,
                        "exc_info must be what sys.exc_info() returns");
        return -1;
    }
    exc.type = Py_NewRef(PyTuple_GET_ITEM(exc_info, 0));
    exc.value = Py_NewRef(PyTuple_GET_ITEM(exc_info, 1));
    exc.traceback = PyTuple_GET_ITEM(exc_info, 2) == Py_None
                        ? NULL
                        : Py_NewRef(PyTuple_GET_ITEM(exc_info, 2));
    if (!PyExceptionInstance_Check(exc.value)) {
        gl_exc_clear(&exc);
        PyErr_SetString(PyExc_TypeError,
                        "exc_info must be what sys.exc_info() returns");
        return -1;
    }
    gl_exc_restore(&exc);
    return -1;
}

int
gl_response_start(GlExchange *x, PyObject *status, PyObject *fields,
                  PyObject *exc_info)
{
    if (exc_info == Py_None) {
        exc_info = NULL;
    }
    if (gl_exchange_check_http(x) < 0) {
        return -1;
    }
    if (x->head_sent && exc_info != NULL) {
        return raise_again(exc_info);
    }
    if (x->head_sent || (x->started && exc_info == NULL)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "start_response was called again without exc_info");
        return -1;
    }
    if (!PyList_Check(fields)) {
        PyErr_Format(PyExc_TypeError,
                     "headers must be a list of tuples, not %.100s",
                     Py_TYPE(fields)->tp_name);
        return -1;
    }
    x->started = write_head(x, status, fields) == 0;
    return x->started ? 0 : -1;
}

int
gl_response_start_own(GlExchange *x, int status)
{
    char line[128];

    (void)snprintf(line, sizeof(line),
                   "HTTP/1.1 %d %s\r\n"
                   "Content-Type: text/plain; charset=utf-8\r\n",
                   status, gl_http_reason(status));
    head_reset(x);
    x->status = status;
    x->fields = 1;
    x->started = head_add_text(x, line) == 0;
    if (x->started && status == 426) { /* RFC 6455, 4.4; RFC 9110, 15.5.22 */
        x->started = head_add_text(x, "Upgrade: websocket\r\n"
                                      "Connection: Upgrade\r\n"
                                      "Sec-WebSocket-Version: 13\r\n") == 0;
    }
    return x->started ? 0 : -1;
}

int
gl_exchange_check_http(GlExchange *x)
{
    if (x->upgraded) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this request has become a WebSocket: it has no body "
                        "and no response any more");
    }
    return x->upgraded ? -1 : 0;
}

int
gl_response_check_open(GlExchange *x)
{
    if (x->rest != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a file is the rest of this response");
        return -1;
    }
    return gl_exchange_check_http(x);
}

int
gl_response_upgrade(GlExchange *x, const struct gl_response_field *fields,
                    size_t n)
{
    struct iovec iov;
    int error;

    head_reset(x);
    if (head_add_text(x, "HTTP/1.1 101 Switching Protocols\r\n") < 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (head_add_field(x, fields[i].name, fields[i].value) < 0) {
            return -1;
        }
    }
    if (head_add_text(x, "Server: greenloop\r\n\r\n") < 0) {
        return -1;
    }
    x->status = 101;
    x->fields = (uint32_t)n;
    x->started = x->head_sent = true;
    x->req->keep_alive = false;
    iov = (struct iovec){x->head, x->head_n};
    /* The first bytes on a socket: a full one takes them from a copy. */
    error = gl_request_send(x->req, &iov, 1, true) == (ssize_t)x->head_n
                ? gl_request_upgrade(x->req)
                : -ECONNRESET;
    x->upgraded = error == 0;
    return error == 0 ? 0 : gl_exchange_fail(x, error);
}

/* --- completing the head ---------------------------------------------- */

static int
add_length(GlExchange *x)
{
    char digits[20];
    size_t n = gl_http1_decimal(digits, x->length);

    return head_add_field(x, GL_STR("Content-Length"),
                          (struct gl_str){digits, n});
}

/* Chooses how the end of the body is told, and says so. */
static int
add_framing(GlExchange *x)
{
    struct gl_request *req = x->req;
    bool bodiless = x->status == 204 || x->status == 304;
    bool keep;

    x->no_body = req->head_only || bodiless;
    x->chunked = !x->has_length && !x->no_body && req->may_chunk;
    keep = gl_request_keeps(req) && !x->wants_close &&
           (x->has_length || x->chunked || x->no_body);
    req->keep_alive = keep;
    if (x->has_length && x->status != 204 && add_length(x) < 0) {
        return -1;
    }
    if (x->chunked &&
        head_add_text(x, "Transfer-Encoding: chunked\r\n") < 0) {
        return -1;
    }
    if (!keep) {
        return head_add_text(x, "Connection: close\r\n");
    }
    return req->minor == 0 ? head_add_text(x, "Connection: keep-alive\r\n")
                           : 0;
}

int
gl_response_complete_head(GlExchange *x)
{
    struct gl_engine *e = x->core->pool->engine;

    if (!x->started) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the application sent a body before it called "
                        "start_response");
        return -1;
    }
    if (add_framing(x) < 0 ||
        (!x->has_date &&
         head_add_field(x, GL_STR("Date"),
                        (struct gl_str){gl_engine_date(e), GL_DATE_BYTES}) <
             0) ||
        (!x->has_server && head_add_text(x, "Server: greenloop\r\n") < 0)) {
        return -1;
    }
    return gl_response_head_add(x, "\r\n", 2);
}

/* --- sending ---------------------------------------------------------- */

/* Drops the first n bytes of what *iov points at. */
static void
advance(struct iovec **iov, int *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (*count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

void
gl_response_end_output(GlExchange *x)
{
    x->started = x->head_sent = x->no_body = true;
    x->chunked = false;
    x->req->keep_alive = false;
}

int
gl_response_claim(GlExchange *x)
{
    if (gl_exchange_request(x) == NULL) {
        return -1;
    }
    if (x->writing) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another greenlet is writing this response");
        return -1;
    }
    x->writing = true;
    x->sent_before = x->req->sent_bytes;
    x->body_before = x->body_sent;
    return 0;
}

void
gl_response_give_up(GlExchange *x)
{
    if (x->req == NULL) {
        return;
    }
    /* Without a byte before it, the head was in it. */
    if (x->sent_before > 0 && x->req->sent_bytes == x->sent_before) {
        x->body_sent = x->body_before;
    } else {
        gl_response_end_output(x);
    }
}

int
gl_response_send_all(GlExchange *x, struct iovec *iov, int count, bool last)
{
    while (count > 0) {
        ssize_t n = gl_request_send(x->req, iov, count, last);

        if (n >= 0) {
            advance(&iov, &count, (size_t)n);
        } else if (n != -EAGAIN) {
            return gl_exchange_fail(x, (int)n);
        }
        if (count > 0 && gl_exchange_wait(x, true) < 0) {
            gl_response_give_up(x);
            return -1;
        }
    }
    return 0;
}

uint64_t
gl_response_allowed(GlExchange *x, uint64_t n)
{
    if (x->has_length && n > x->length - x->body_sent) {
        n = x->length - x->body_sent;
        x->req->keep_alive = false;
        gl_gateway_report(
            x, "the response is longer than its Content-Length: cut");
    }
    return n;
}

/* The same, and counts them. */
static size_t
count_body(GlExchange *x, size_t n)
{
    n = (size_t)gl_response_allowed(x, n);
    x->body_sent += n;
    return n;
}

void
gl_response_add_iov(struct iovec *iov, int *count, const char *bytes,
                    size_t n)
{
    if (n > 0) {
        iov[*count].iov_base = (void *)(uintptr_t)bytes;
        iov[*count].iov_len = n;
        (*count)++;
    }
}

int
gl_response_begin(GlExchange *x, struct iovec *iov, int *count)
{
    if (x->head_sent) {
        return 0;
    }
    if (x->sendfile != NULL) {
        return gl_sendfile_begin(x);
    }
    if (gl_response_complete_head(x) < 0) {
        return -1;
    }
    x->head_sent = true;
    gl_response_add_iov(iov, count, x->head, x->head_n);
    return 0;
}

/* Puts a small body behind the head that iov[0] is: one piece is cheaper to
 * send than two.  Returns whether it did. */
static bool
join_head(GlExchange *x, struct iovec *iov, const char *bytes, size_t n)
{
    char *dst;

    if (x->chunked || n > JOINED_MAX_BYTES ||
        x->head_n + n > HEAD_MAX_BYTES) {
        return false;
    }
    dst = head_room(x, n);
    if (dst == NULL) {
        PyErr_Clear(); /* two pieces, then */
        return false;
    }
    memcpy(dst, bytes, n);
    iov[0] = (struct iovec){x->head, x->head_n + n};
    return true;
}

/* The length of a 304 is that of a 200, and that of HEAD is that of GET: of
 * it an application that gives nothing says nothing (RFC 9110, 8.6). */
void
gl_response_note_whole(GlExchange *x, uint64_t n)
{
    bool unknown = x->status == 304 || (x->req->head_only && n == 0);

    if (x->started && !x->has_length && !unknown) {
        x->has_length = true;
        x->length = n;
    }
}

int
gl_response_send_claimed(GlExchange *x, const char *bytes, size_t n,
                         bool last)
{
    struct iovec iov[4];
    char chunk[GL_CHUNK_HEAD_BYTES];
    int count = 0;

    if (!x->head_sent && last) {
        gl_response_note_whole(x, n);
    }
    if (gl_response_begin(x, iov, &count) < 0) {
        return -1;
    }
    n = x->no_body ? 0 : count_body(x, n);
    if (n > 0 && count == 1 && join_head(x, iov, bytes, n)) {
        n = 0;
    }
    if (x->chunked && n > 0) {
        gl_response_add_iov(iov, &count, chunk,
                            gl_http1_chunk_head(chunk, n));
    }
    gl_response_add_iov(iov, &count, bytes, n);
    if (x->chunked) {
        if (last) {
            gl_response_add_iov(iov, &count,
                                n > 0 ? "\r\n0\r\n\r\n" : "0\r\n\r\n",
                                n > 0 ? 7 : 5);
        } else if (n > 0) {
            gl_response_add_iov(iov, &count, "\r\n", 2);
        }
    }
    return gl_response_send_all(x, iov, count, last);
}

int
gl_response_send(GlExchange *x, const char *bytes, size_t n, bool last)
{
    int error;

    if (x->upgraded) {
        return n > 0 ? gl_exchange_check_http(x) : 0;
    }
    if (gl_response_claim(x) < 0) {
        return -1;
    }
    error = gl_response_send_claimed(x, bytes, n, last);
    x->writing = false;
    return error;
}

/* The size of an item, or -1 with TypeError if it isn't bytes. */
static Py_ssize_t
size_of(PyObject *item)
{
    if (!PyBytes_Check(item)) {
        PyErr_Format(PyExc_TypeError,
                     "the response's items must be bytes, not %.100s",
                     Py_TYPE(item)->tp_name);
        return -1;
    }
    return PyBytes_GET_SIZE(item);
}

/* Sum of the sizes of a tuple's items, or -1 with TypeError. */
static Py_ssize_t
total_size(PyObject *items)
{
    Py_ssize_t total = 0;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        Py_ssize_t n = size_of(PyTuple_GET_ITEM(items, i));

        if (n < 0) {
            return -1;
        }
        total += n;
    }
    return total;
}

/* Sends items[from..to) of a tuple of bytes.  0 or -1. */
static int
send_items(GlExchange *x, PyObject *items, Py_ssize_t from, Py_ssize_t to)
{
    struct iovec iov[IOV_ITEMS + 1];
    int count = 0;

    if (gl_response_begin(x, iov, &count) < 0) {
        return -1;
    }
    for (Py_ssize_t i = from; i < to && !x->no_body; i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);

        gl_response_add_iov(iov, &count, PyBytes_AS_STRING(item),
                            count_body(x, (size_t)PyBytes_GET_SIZE(item)));
    }
    return gl_response_send_all(x, iov, count, to == PyTuple_GET_SIZE(items));
}

/* Sends an item as a piece, held while it parks.  0 or -1. */
static int
send_item(GlExchange *x, PyObject *item, bool last)
{
    Py_ssize_t n = size_of(item);
    int error;

    if (n < 0) {
        return -1;
    }
    Py_INCREF(item);
    error = gl_response_send(x, PyBytes_AS_STRING(item), (size_t)n, last);
    Py_DECREF(item);
    return error;
}

/* Sends the items of a tuple of bytes, each as a piece.  0 or -1. */
static int
send_singly(GlExchange *x, PyObject *items)
{
    Py_ssize_t n = PyTuple_GET_SIZE(items);
    int error = 0;

    for (Py_ssize_t i = 0; i < n && error == 0; i++) {
        error = send_item(x, PyTuple_GET_ITEM(items, i), i == n - 1);
    }
    return error;
}

/* Sends a tuple of bytes that is the whole body: one piece.  0 or -1. */
static int
send_whole(GlExchange *x, PyObject *items, size_t total)
{
    Py_ssize_t n = PyTuple_GET_SIZE(items);
    int error = 0;

    if (gl_response_claim(x) < 0) {
        return -1;
    }
    gl_response_note_whole(x, total);
    for (Py_ssize_t i = 0; i < n && error == 0; i += IOV_ITEMS) {
        error =
            send_items(x, items, i, i + IOV_ITEMS < n ? i + IOV_ITEMS : n);
    }
    x->writing = false;
    return error;
}

int
gl_response_send_sequence(GlExchange *x, PyObject *items)
{
    PyObject *fixed;
    Py_ssize_t total;
    int error = -1;

    if (PySequence_Fast_GET_SIZE(items) == 0) {
        return gl_response_send(x, "", 0, true);
    }
    if (PySequence_Fast_GET_SIZE(items) == 1) {
        return send_item(x, PySequence_Fast_GET_ITEM(items, 0), true);
    }
    fixed = PySequence_Tuple(items); /* a list may change while we park */
    total = fixed != NULL ? total_size(fixed) : -1;
    if (total >= 0 && x->head_sent) {
        error = send_singly(x, fixed);
    } else if (total >= 0) {
        error = send_whole(x, fixed, (size_t)total);
    }
    Py_XDECREF(fixed);
    return error;
}

/* --- without an answer ------------------------------------------------ */

int
gl_response_send_raw(GlExchange *x, const char *bytes, size_t n)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, n};
    int error;

    if (gl_response_check_open(x) < 0 || gl_response_claim(x) < 0) {
        return -1;
    }
    x->started = x->head_sent = true; /* what follows is sent as it is, too */
    x->req->keep_alive = false;
    x->body_sent += n;
    error = gl_response_send_all(x, &iov, 1, false);
    x->writing = false;
    return error;
}

/* Ends the client's stream, after the rest of the answer.  0 or -1. */
static int
end_stream(GlExchange *x)
{
    if (gl_response_finish_rest(x) < 0) {
        return -1;
    }
    while (gl_request_shutdown(x->req) == -EAGAIN) {
        if (gl_exchange_wait(x, true) < 0) {
            return -1;
        }
    }
    gl_response_end_output(x); /* also where the client has gone already */
    x->req->user = NULL; /* its own end is none of the request's concern */
    return 0;
}

int
gl_response_disconnect(GlExchange *x)
{
    int error;

    if (x->websocket != NULL) {
        gl_websocket_begin_close((GlWebSocket *)x->websocket, 1000);
        return 0;
    }
    if (x->started && gl_response_send(x, "", 0, true) < 0) {
        if (!PyErr_ExceptionMatches(x->st->client_disconnected)) {
            return -1;
        }
        PyErr_Clear(); /* it was faster */
    }
    if (gl_response_claim(x) < 0) {
        return -1;
    }
    error = end_stream(x);
    x->writing = false;
    return error;
}
