/* tls.c - TLS for connections, through the interpreter's ssl module.
 *
 * A record that the socket took only in part is kept sealed, and its plain
 * bytes count as not yet taken: the caller offers the same bytes again when
 * the socket is ready, as for OpenSSL itself, and hears then that they went.
 * So nothing above needs to know that a transport holds bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/tls.h"

#include "base/buf.h"
#include "base/gl.h"
#include "base/sock.h"
#include "engine/conn.h"
#include "engine/engine.h"
#include "proto/http1_write.h"
#include "py/engine_type.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES 16384 /* of plain bytes: RFC 8446, section 5.1 */
#define SEALED_BYTES 17408 /* received at once: a record and its head */
/* Receptions for one recv(): a peer that sends records without bytes for us
 * must not keep the others waiting. */
#define RECEIVES_MAX 64

/* A connection's; made at its first recv(). */
struct session {
    const struct gl_tls *tls; /* borrowed from the entrance */
    struct gl_state *st;      /* borrowed */
    PyObject *object;         /* strong: ssl.SSLObject */
    PyObject *incoming;       /* strong: ssl.MemoryBIO */
    PyObject *outgoing;       /* strong: ssl.MemoryBIO */
    PyObject *facts;          /* strong dict; NULL before the handshake */
    struct gl_buf sealed;     /* what the socket has not taken */
    size_t owed; /* plain bytes in `sealed` that are not reported yet */
    bool said_goodbye;
};

/* --- a listener's ------------------------------------------------------ */

static int
import_names(struct gl_tls *tls)
{
    PyObject *ssl = PyImport_ImportModule("ssl");

    if (ssl == NULL) {
        return -1;
    }
    tls->memory_bio = PyObject_GetAttrString(ssl, "MemoryBIO");
    tls->error = PyObject_GetAttrString(ssl, "SSLError");
    tls->want_read = PyObject_GetAttrString(ssl, "SSLWantReadError");
    tls->zero_return = PyObject_GetAttrString(ssl, "SSLZeroReturnError");
    Py_DECREF(ssl);
    return tls->memory_bio != NULL && tls->error != NULL &&
                   tls->want_read != NULL && tls->zero_return != NULL
               ? 0
               : -1;
}

int
gl_tls_init(struct gl_tls *tls, PyObject *context, PyObject *describe)
{
    tls->context = Py_NewRef(context);
    tls->describe = Py_NewRef(describe);
    return import_names(tls);
}

void
gl_tls_fini(struct gl_tls *tls)
{
    Py_CLEAR(tls->context);
    Py_CLEAR(tls->describe);
    Py_CLEAR(tls->memory_bio);
    Py_CLEAR(tls->error);
    Py_CLEAR(tls->want_read);
    Py_CLEAR(tls->zero_return);
}

/* --- a connection's ---------------------------------------------------- */

static void
session_free(struct session *s)
{
    Py_XDECREF(s->object);
    Py_XDECREF(s->incoming);
    Py_XDECREF(s->outgoing);
    Py_XDECREF(s->facts);
    gl_buf_fini(&s->sealed);
    free(s);
}

/* context.wrap_bio(incoming, outgoing, server_side=True) */
static PyObject *
wrap(const struct session *s)
{
    PyObject *wrap_bio =
        PyObject_GetAttrString(s->tls->context, "wrap_bio");
    PyObject *object = NULL;

    if (wrap_bio != NULL) {
        PyObject *args[] = {s->incoming, s->outgoing, Py_True};

        object = PyObject_Vectorcall(wrap_bio, args, 3, NULL);
        Py_DECREF(wrap_bio);
    }
    return object;
}

static struct session *
session_new(struct gl_conn *conn)
{
    const struct gl_entrance *entrance = conn->listener->user;
    struct session *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }
    s->tls = &entrance->tls;
    s->st = entrance->st;
    s->incoming = PyObject_CallNoArgs(s->tls->memory_bio);
    s->outgoing = PyObject_CallNoArgs(s->tls->memory_bio);
    if (s->incoming != NULL && s->outgoing != NULL) {
        s->object = wrap(s);
    }
    if (s->object == NULL) {
        gl_unraisable(s->tls->context);
        session_free(s);
        return NULL;
    }
    conn->transport_state = s;
    return s;
}

/* --- sealed bytes out -------------------------------------------------- */

/* Sends s->sealed on.  0 when it is empty, or -errno. */
static int
send_sealed(struct gl_conn *conn, struct session *s)
{
    while (gl_buf_len(&s->sealed) > 0) {
        struct iovec iov = {(void *)(uintptr_t)gl_buf_data(&s->sealed),
                            gl_buf_len(&s->sealed)};
        ssize_t n = gl_sock_writev(conn->watch.fd, &iov, 1);

        if (n < 0) {
            return (int)n;
        }
        gl_buf_consume(&s->sealed, (size_t)n);
    }
    return 0;
}

/* Sends what the SSL object has produced; what the socket does not take is
 * kept.  0, -EAGAIN with something kept, or another -errno. */
static int
send_produced(struct gl_conn *conn, struct session *s)
{
    PyObject *bytes = gl_call_method(s->outgoing, s->st->s_read);
    struct iovec iov;
    ssize_t n = 0;
    int error;

    if (bytes == NULL) {
        gl_unraisable(s->outgoing);
        return -ENOMEM;
    }
    iov = (struct iovec){PyBytes_AS_STRING(bytes),
                         (size_t)PyBytes_GET_SIZE(bytes)};
    if (iov.iov_len > 0 && gl_buf_len(&s->sealed) == 0) {
        n = gl_sock_writev(conn->watch.fd, &iov, 1);
        n = n == -EAGAIN ? 0 : n;
    }
    error = n < 0 ? (int)n
                  : gl_buf_append(&s->sealed, (char *)iov.iov_base + n,
                                  iov.iov_len - (size_t)n, SIZE_MAX);
    Py_DECREF(bytes);
    if (error == 0 && gl_buf_len(&s->sealed) > 0) {
        return -EAGAIN;
    }
    return error;
}

/* Bytes of the handshake or of an alert: nobody offers them again, so the
 * engine is asked to tell of room for them. */
static int
send_own(struct gl_conn *conn, struct session *s)
{
    int error = send_produced(conn, s);

    if (error == -EAGAIN) {
        error = gl_conn_want_write(conn);
    }
    return error;
}

static int
tls_flush(struct gl_conn *conn)
{
    struct session *s = conn->transport_state;

    return s != NULL ? send_sealed(conn, s) : 0;
}

/* Copies up to RECORD_BYTES of iov, after the first `skip` bytes, to dst. */
static size_t
gather(const struct iovec *iov, int count, size_t skip, char *dst)
{
    size_t n = 0;

    for (int i = 0; i < count && n < RECORD_BYTES; i++) {
        size_t from = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        size_t take = iov[i].iov_len - from;

        skip -= from;
        take = take < RECORD_BYTES - n ? take : RECORD_BYTES - n;
        memcpy(dst + n, (const char *)iov[i].iov_base + from, take);
        n += take;
    }
    return n;
}

/* Seals n bytes: one record.  0 or -errno. */
static int
seal(struct session *s, char *plain, size_t n)
{
    PyObject *view =
        PyMemoryView_FromMemory(plain, (Py_ssize_t)n, PyBUF_READ);
    PyObject *done =
        view != NULL ? gl_call_method_one(s->object, s->st->s_write, view)
                     : NULL;

    Py_XDECREF(view);
    if (done == NULL) {
        PyErr_Clear(); /* the session is broken: the connection ends */
        return -ECONNRESET;
    }
    Py_DECREF(done);
    return 0;
}

static ssize_t
tls_writev(struct gl_conn *conn, const struct iovec *iov, int count)
{
    struct session *s = conn->transport_state;
    char plain[RECORD_BYTES];
    size_t taken = 0, n;
    int error;

    if (s == NULL) {
        return -ENOTCONN; /* nothing can be sealed before a handshake */
    }
    error = send_sealed(conn, s);
    if (error == 0) {
        taken = s->owed;
        s->owed = 0;
    }
    while (error == 0 && (n = gather(iov, count, taken, plain)) > 0) {
        error = seal(s, plain, n);
        if (error == 0) {
            error = send_produced(conn, s);
        }
        if (error == 0) {
            taken += n;
        } else if (error == -EAGAIN) {
            s->owed = n;
        }
    }
    return taken > 0 || error == 0 ? (ssize_t)taken : error;
}

/* --- sealed bytes in --------------------------------------------------- */

/* Receives once and hands the bytes to the SSL object.  Returns what
 * gl_sock_recv does. */
static ssize_t
receive_sealed(struct gl_conn *conn, struct session *s)
{
    char bytes[SEALED_BYTES];
    ssize_t n = gl_sock_recv(conn->watch.fd, bytes, sizeof(bytes));
    PyObject *view, *done;

    if (n < 0) {
        return n;
    }
    if (n == 0) {
        done = gl_call_method(s->incoming, s->st->s_write_eof);
    } else {
        view = PyMemoryView_FromMemory(bytes, n, PyBUF_READ);
        done = view != NULL ? gl_call_method_one(s->incoming,
                                                 s->st->s_write, view)
                            : NULL;
        Py_XDECREF(view);
    }
    if (done == NULL) {
        PyErr_Clear();
        return -ENOMEM;
    }
    Py_DECREF(done);
    return n;
}

/* nginx's courtesy: whoever speaks plain HTTP to this port is told so. */
static void
answer_plain(struct gl_conn *conn)
{
    char answer[GL_REFUSAL_BYTES];
    struct iovec iov = {answer, 0};

    iov.iov_len = conn->protocol->refusal(
        answer, 400, gl_engine_date(conn->engine), false);
    (void)gl_sock_writev(conn->watch.fd, &iov, 1);
}

/* Whether the exception that is set says that the peer speaks HTTP. */
static bool
is_plain_http(void)
{
    struct gl_exc exc = gl_exc_take();
    PyObject *reason = PyObject_GetAttrString(exc.value, "reason");
    bool is = reason != NULL && PyUnicode_Check(reason) &&
              PyUnicode_CompareWithASCIIString(reason, "HTTP_REQUEST") == 0;

    Py_XDECREF(reason);
    PyErr_Clear();
    gl_exc_restore(&exc);
    return is;
}

/* What a call of the SSL object that failed means: -EAGAIN (it wants more
 * bytes), 0 (the peer ended the stream), or -ECONNRESET.  Clears the
 * exception. */
static int
failure(struct gl_conn *conn, struct session *s)
{
    int error = -ECONNRESET;

    if (PyErr_ExceptionMatches(s->tls->want_read)) {
        error = -EAGAIN;
    } else if (PyErr_ExceptionMatches(s->tls->zero_return)) {
        error = 0;
    } else if (!PyErr_ExceptionMatches(s->tls->error)) {
        gl_unraisable(s->object); /* a callback of the user's failed */
    } else if (s->facts == NULL && is_plain_http()) {
        answer_plain(conn);
    }
    PyErr_Clear();
    return error;
}

/* Goes on with the handshake.  1 when it is over, else as failure(). */
static int
shake_hands(struct gl_conn *conn, struct session *s)
{
    PyObject *done = gl_call_method(s->object, s->st->s_do_handshake);
    int error = 1;

    if (done == NULL) {
        error = failure(conn, s);
        error = error == 0 ? -ECONNRESET : error;
    } else {
        Py_DECREF(done);
        s->facts = PyObject_CallOneArg(s->tls->describe, s->object);
        if (s->facts == NULL) {
            gl_unraisable(s->tls->describe);
            error = -ECONNRESET;
        }
    }
    if (send_own(conn, s) < 0) { /* also the alert that says why not */
        return -ECONNRESET;
    }
    return error;
}

/* Opens up to n bytes.  Returns them, or as failure(). */
static ssize_t
open_bytes(struct gl_conn *conn, struct session *s, void *dst, size_t n)
{
    PyObject *view, *size, *got = NULL;
    Py_ssize_t count;

    view = PyMemoryView_FromMemory(dst, (Py_ssize_t)n, PyBUF_WRITE);
    size = PyLong_FromSize_t(n);
    if (view != NULL && size != NULL) {
        got = PyObject_CallMethodObjArgs(s->object, s->st->s_read, size, view,
                                         NULL);
    }
    Py_XDECREF(view);
    Py_XDECREF(size);
    if (got == NULL) {
        count = failure(conn, s);
    } else {
        count = PyLong_AsSsize_t(got);
        Py_DECREF(got);
    }
    /* A key update or a renewed ticket may be due. */
    return send_own(conn, s) < 0 ? -ECONNRESET : count;
}

/* One step of the session.  Bytes that were opened, or as failure(). */
static ssize_t
advance(struct gl_conn *conn, struct session *s, void *dst, size_t n)
{
    if (s->facts == NULL) {
        int done = shake_hands(conn, s);

        if (done != 1) {
            return done;
        }
    }
    return open_bytes(conn, s, dst, n);
}

static ssize_t
tls_recv(struct gl_conn *conn, void *dst, size_t n, bool *ret_drained)
{
    struct session *s = conn->transport_state;
    bool ended = false;

    *ret_drained = false;
    if (s == NULL) {
        s = session_new(conn);
    }
    for (int i = 0; s != NULL && i < RECEIVES_MAX; i++) {
        ssize_t got = advance(conn, s, dst, n);

        if (ended && got < 0) {
            return 0; /* cut off without the closing alert */
        }
        if (got != -EAGAIN) {
            return got;
        }
        got = receive_sealed(conn, s);
        if (got < 0) {
            *ret_drained = got == -EAGAIN;
            return got;
        }
        ended = got == 0;
    }
    return -ECONNRESET;
}

/* --- the end ----------------------------------------------------------- */

/* The closing alert, as far as the socket takes it. */
static void
say_goodbye(struct gl_conn *conn, struct session *s)
{
    PyObject *done;

    if (s == NULL || s->facts == NULL || s->said_goodbye) {
        return;
    }
    s->said_goodbye = true;
    done = gl_call_method(s->object, s->st->s_unwrap);
    PyErr_Clear(); /* it wants the peer's alert, for which nobody waits */
    Py_XDECREF(done);
    if (gl_buf_len(&s->sealed) == 0) {
        (void)send_produced(conn, s);
    }
}

static int
tls_shutdown_write(struct gl_conn *conn)
{
    say_goodbye(conn, conn->transport_state);
    return gl_sock_shutdown_write(conn->watch.fd);
}

static void
tls_close(struct gl_conn *conn)
{
    struct session *s = conn->transport_state;

    if (s != NULL) {
        if (!conn->reset) {
            say_goodbye(conn, s);
        }
        conn->transport_state = NULL;
        session_free(s);
    }
}

const struct gl_transport gl_transport_tls = {
    .name = "tls",
    .scheme = "https",
    .recv = tls_recv,
    .writev = tls_writev,
    .flush = tls_flush,
    .shutdown_write = tls_shutdown_write,
    .close = tls_close,
};

int
gl_tls_put(const struct gl_request *req, PyObject *env)
{
    const struct session *s = req->conn->transport_state;

    if (req->conn->transport != &gl_transport_tls || s == NULL) {
        return 0;
    }
    return PyDict_Update(env, s->facts);
}
