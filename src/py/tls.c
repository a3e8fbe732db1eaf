/* tls.c - TLS for connections, through the interpreter's ssl module.
 *
 * A record that the socket took only in part is kept sealed.  Its last plain
 * byte counts as not yet taken: the caller offers it again when the socket
 * is ready, and hears then that it went.  So nothing above needs to know
 * that a transport holds bytes, and no byte is held twice.
 *
 * What the SSL object says on its own account (a changed key, say) leaves
 * with the next bytes of ours.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/tls.h"

#include "base/clock.h"
#include "base/gl.h"
#include "base/sock.h"
#include "proto/http1_write.h"
#include "py/engine_type.h"
#include "py/tls_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES 16384 /* of plain bytes: RFC 8446, section 5.1 */
#define SEALED_BYTES 17408 /* received at once: a record and its head */
/* Sealed and sent by one system call.  MemoryBIO never gives memory back, so
 * it gets one record at a time. */
#define BATCH_RECORDS 4
/* Taken by one writev(), so that a fast reader of a big answer leaves turns
 * to the others. */
#define TAKEN_MAX_BYTES (16 * RECORD_BYTES)
/* Receptions for one recv(): a peer that sends small pieces, or records
 * without bytes for us, must not keep the others waiting. */
#define RECEIVES_MAX 64
/* Received after the handshake without a plain byte for it: new keys, and
 * records without content, each of which costs more than it weighs. */
#define BARREN_MAX_BYTES (2 * SEALED_BYTES)
#define FRUIT_MIN_BYTES 1024
/* Read after a handshake that failed, so that no reset destroys the alert. */
#define LAST_RECEIVES 4

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
    tls->no_limit = PyLong_FromLong(0);
    Py_DECREF(ssl);
    return tls->memory_bio != NULL && tls->error != NULL &&
                   tls->want_read != NULL && tls->zero_return != NULL &&
                   tls->no_limit != NULL
               ? 0
               : -1;
}

int
gl_tls_init(struct gl_tls *tls, PyObject *wrap, PyObject *describe)
{
    gl_list_init(&tls->waiting);
    tls->wrap = Py_NewRef(wrap);
    tls->describe = Py_NewRef(describe);
    return import_names(tls);
}

void
gl_tls_fini(struct gl_tls *tls)
{
    Py_CLEAR(tls->wrap);
    Py_CLEAR(tls->describe);
    Py_CLEAR(tls->memory_bio);
    Py_CLEAR(tls->error);
    Py_CLEAR(tls->want_read);
    Py_CLEAR(tls->zero_return);
    Py_CLEAR(tls->no_limit);
}

/* --- a connection's ---------------------------------------------------- */

static void
session_free(struct gl_tls_session *s)
{
    Py_XDECREF(s->object);
    Py_XDECREF(s->incoming);
    Py_XDECREF(s->outgoing);
    Py_XDECREF(s->facts);
    gl_buf_fini(&s->sealed);
    free(s);
}

/* The connection's session; NULL without memory. */
static struct gl_tls_session *
session_of(struct gl_conn *conn)
{
    const struct gl_listener *listener = conn->listener;
    struct gl_tls_session *s = conn->transport_state;
    struct gl_entrance *entrance;

    if (s != NULL) {
        return s;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    entrance = listener->user;
    s->tls = &entrance->tls;
    s->st = entrance->st;
    s->conn = conn;
    s->hungry = true;
    conn->transport_state = s;
    return s;
}

/* Leaves Python code that may have closed the connection.  Returns whether
 * it did; the session is freed then. */
static bool
is_gone(struct gl_tls_session *s)
{
    s->inside = false;
    if (s->gone) {
        session_free(s);
        return true;
    }
    return false;
}

/* Makes the SSL object.  0 or -1 with an exception. */
static int
make_object(struct gl_tls_session *s)
{
    s->incoming = PyObject_CallNoArgs(s->tls->memory_bio);
    if (s->incoming != NULL) {
        s->outgoing = PyObject_CallNoArgs(s->tls->memory_bio);
    }
    if (s->outgoing != NULL) {
        PyObject *args[] = {s->incoming, s->outgoing};

        s->object = PyObject_Vectorcall(s->tls->wrap, args, 2, NULL);
    }
    return s->object != NULL ? 0 : -1;
}

/* --- sealed bytes out -------------------------------------------------- */

/* Sends s->sealed on.  0 when it is empty, or -errno. */
static int
send_sealed(struct gl_conn *conn, struct gl_tls_session *s)
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

/* Bytes objects that wait to be sent by one system call. */
struct batch {
    PyObject *bytes[BATCH_RECORDS]; /* strong */
    int count;
    size_t plain; /* bytes that are sealed in them */
};

/* Adds what the SSL object has produced.  0 or -ENOMEM. */
static int
batch_add(struct batch *batch, struct gl_tls_session *s)
{
    PyObject *bytes = gl_call_method(s->outgoing, s->st->s_read);

    if (bytes == NULL) {
        PyErr_Clear();
        return -ENOMEM;
    }
    assert(PyBytes_Check(bytes) && batch->count < BATCH_RECORDS);
    batch->bytes[batch->count++] = bytes;
    return 0;
}

static void
batch_free(struct batch *batch)
{
    for (int i = 0; i < batch->count; i++) {
        Py_DECREF(batch->bytes[i]);
    }
    *batch = (struct batch){0};
}

/* Keeps what follows the first `sent` bytes.  0 or -ENOMEM. */
static int
batch_keep(const struct batch *batch, struct gl_tls_session *s, size_t sent)
{
    for (int i = 0; i < batch->count; i++) {
        size_t n = (size_t)PyBytes_GET_SIZE(batch->bytes[i]);
        size_t from = sent < n ? sent : n;

        sent -= from;
        if (gl_buf_append(&s->sealed,
                          PyBytes_AS_STRING(batch->bytes[i]) + from, n - from,
                          SIZE_MAX) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Sends a batch and frees it; what the socket does not take is kept.  0,
 * -EAGAIN with something kept, or another -errno. */
static int
batch_send(struct batch *batch, struct gl_tls_session *s)
{
    struct iovec iov[BATCH_RECORDS];
    size_t total = 0;
    ssize_t n = -EAGAIN;
    int error;

    for (int i = 0; i < batch->count; i++) {
        iov[i].iov_base = PyBytes_AS_STRING(batch->bytes[i]);
        iov[i].iov_len = (size_t)PyBytes_GET_SIZE(batch->bytes[i]);
        total += iov[i].iov_len;
    }
    if (total == 0) {
        n = 0;
    } else if (gl_buf_len(&s->sealed) == 0) {
        n = gl_sock_writev(s->conn->watch.fd, iov, batch->count);
    }
    if (n < 0 && n != -EAGAIN) {
        error = (int)n;
    } else {
        error = batch_keep(batch, s, n > 0 ? (size_t)n : 0);
    }
    batch_free(batch);
    return error == 0 && gl_buf_len(&s->sealed) > 0 ? -EAGAIN : error;
}

/* Sends what the SSL object has produced, without bytes of ours.  Nobody
 * offers them again, so the engine is asked to tell of room for the rest. */
static int
send_own(struct gl_conn *conn, struct gl_tls_session *s)
{
    struct batch batch = {0};
    int error = batch_add(&batch, s);

    if (error == 0) {
        error = batch_send(&batch, s);
    }
    if (gl_buf_len(&s->sealed) > SEALED_BYTES) {
        return -ECONNRESET; /* who asks for more takes nothing */
    }
    if (error == -EAGAIN) {
        error = conn->watch.events & EPOLLOUT ? 0 : gl_conn_want_write(conn);
    }
    return error;
}

static int
tls_flush(struct gl_conn *conn)
{
    struct gl_tls_session *s = conn->transport_state;

    return s != NULL ? send_sealed(conn, s) : 0;
}

/* --- plain bytes out --------------------------------------------------- */

/* Up to RECORD_BYTES of iov, after the first `skip` bytes: in place where
 * they lie together, else copied to `room`. */
static struct iovec
gather(const struct iovec *iov, int count, size_t skip, char *room)
{
    size_t n = 0;

    for (int i = 0; i < count && n < RECORD_BYTES; i++) {
        size_t from = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        size_t left = iov[i].iov_len - from;
        char *at = (char *)iov[i].iov_base + from;

        skip -= from;
        if (n == 0 &&
            (left >= RECORD_BYTES || (left > 0 && i == count - 1))) {
            return (struct iovec){at,
                                  left < RECORD_BYTES ? left : RECORD_BYTES};
        }
        left = left < RECORD_BYTES - n ? left : RECORD_BYTES - n;
        if (left > 0) {
            memcpy(room + n, at, left);
        }
        n += left;
    }
    return (struct iovec){room, n};
}

/* Seals bytes: one record.  0 or -ECONNRESET. */
static int
seal(struct gl_tls_session *s, const struct iovec *plain)
{
    PyObject *view = PyMemoryView_FromMemory(
        plain->iov_base, (Py_ssize_t)plain->iov_len, PyBUF_READ);
    PyObject *done = view != NULL
                         ? gl_call_method_one(s->object, s->st->s_write, view)
                         : NULL;

    Py_XDECREF(view);
    if (done == NULL) {
        PyErr_Clear(); /* the session is broken: the connection ends */
        return -ECONNRESET;
    }
    Py_DECREF(done);
    return 0;
}

/* Seals the next records of iov.  0 or -errno. */
static int
seal_batch(struct batch *batch, struct gl_tls_session *s,
           const struct iovec *iov, int count, size_t taken)
{
    char room[RECORD_BYTES];
    int error = 0;

    while (error == 0 && batch->count < BATCH_RECORDS) {
        struct iovec plain = gather(iov, count, taken + batch->plain, room);

        if (plain.iov_len == 0) {
            break;
        }
        error = seal(s, &plain);
        if (error == 0) {
            error = batch_add(batch, s);
        }
        batch->plain += plain.iov_len;
    }
    if (error < 0) {
        batch_free(batch);
    }
    return error;
}

static size_t
total_bytes(const struct iovec *iov, int count)
{
    size_t total = 0;

    for (int i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

static ssize_t
tls_writev(struct gl_conn *conn, const struct iovec *iov, int count)
{
    struct gl_tls_session *s = conn->transport_state;
    size_t total = total_bytes(iov, count), taken;
    int error;

    if (s == NULL || s->facts == NULL) {
        return -ENOTCONN; /* nothing can be sealed before a handshake */
    }
    error = send_sealed(conn, s);
    if (error < 0 || total == 0) {
        return error;
    }
    taken = s->owes ? 1 : 0;
    s->owes = false;
    while (taken < total && taken < TAKEN_MAX_BYTES) {
        struct batch batch = {0};
        size_t plain;

        error = seal_batch(&batch, s, iov, count, taken);
        if (error < 0) {
            return error;
        }
        plain = batch.plain;
        error = batch_send(&batch, s);
        if (error < 0 && error != -EAGAIN) {
            return error;
        }
        taken += plain;
        if (error == -EAGAIN) {
            s->owes = true;
            taken--;
            return taken > 0 ? (ssize_t)taken : -EAGAIN;
        }
    }
    return (ssize_t)taken;
}

/* --- sealed bytes in --------------------------------------------------- */

/* nginx's courtesy: whoever speaks plain HTTP to this port is told so.  What
 * TLS sends first is no letter. */
static bool
is_plain_http(const struct gl_tls_session *s, const char *bytes)
{
    return s->object == NULL && bytes[0] >= 'A' && bytes[0] <= 'Z';
}

static void
answer_plain(struct gl_conn *conn)
{
    char answer[GL_REFUSAL_BYTES];
    struct iovec iov = {answer, 0};

    iov.iov_len = conn->protocol->refusal(
        answer, 400, gl_engine_date(conn->engine), false);
    (void)gl_sock_writev(conn->watch.fd, &iov, 1);
}

/* Ends our side of a connection that is given up, and takes what has come:
 * closing with unread bytes sends a reset, before which the peer may not
 * have read what we said. */
static void
hang_up(struct gl_conn *conn)
{
    char bytes[SEALED_BYTES];
    int left = LAST_RECEIVES;

    (void)gl_sock_shutdown_write(conn->watch.fd); /* it may have gone */
    while (left-- > 0 &&
           gl_sock_recv(conn->watch.fd, bytes, sizeof(bytes)) > 0) {
    }
}

/* Hands bytes to the SSL object.  0 or -ENOMEM. */
static int
feed(struct gl_tls_session *s, char *bytes, ssize_t n)
{
    PyObject *view, *done;

    if (s->object == NULL && make_object(s) < 0) {
        gl_unraisable(s->tls->wrap);
        return -ENOMEM;
    }
    view = PyMemoryView_FromMemory(bytes, n, PyBUF_READ);
    done = view != NULL
               ? gl_call_method_one(s->incoming, s->st->s_write, view)
               : NULL;
    Py_XDECREF(view);
    if (done == NULL) {
        PyErr_Clear();
        return -ENOMEM;
    }
    Py_DECREF(done);
    return 0;
}

/* Receives once.  Returns what gl_sock_recv does, or another -errno.  The
 * SSL object does not hear of the end: without a closing alert before it, it
 * would say an alert of its own in the middle of our answer. */
static ssize_t
receive_sealed(struct gl_conn *conn, struct gl_tls_session *s)
{
    char bytes[SEALED_BYTES];
    ssize_t n = gl_sock_recv(conn->watch.fd, bytes, sizeof(bytes));
    int error;

    s->drained = n < (ssize_t)sizeof(bytes);
    if (n <= 0) {
        return n;
    }
    if (is_plain_http(s, bytes)) {
        answer_plain(conn);
        hang_up(conn);
        return -ECONNRESET;
    }
    s->hungry = false;
    error = feed(s, bytes, n);
    return error < 0 ? error : n;
}

/* --- plain bytes in ---------------------------------------------------- */

/* What a call of the SSL object that failed means: -EAGAIN (it wants more
 * bytes), 0 (the peer ended the stream), or -ECONNRESET.  Clears the
 * exception. */
static int
failure(struct gl_tls_session *s)
{
    int error = -ECONNRESET;

    if (PyErr_ExceptionMatches(s->tls->want_read)) {
        s->hungry = true;
        error = -EAGAIN;
    } else if (PyErr_ExceptionMatches(s->tls->zero_return)) {
        error = 0;
    } else if (!PyErr_ExceptionMatches(s->tls->error)) {
        gl_unraisable(s->object); /* a callback of the user's failed */
    } else if (s->facts == NULL) {
        gl_tls_note_failure(s);
    }
    PyErr_Clear();
    return error;
}

/* The step of a handshake.  1 when it is over, else as failure(), or -EPIPE
 * when the session was freed meanwhile. */
static int
shake_once(struct gl_tls_session *s)
{
    PyObject *done;
    int error = 1;

    s->inside = true;
    done = gl_call_method(s->object, s->st->s_do_handshake);
    if (done == NULL) {
        error = failure(s);
        error = error == 0 ? -ECONNRESET : error;
    } else {
        Py_DECREF(done);
        s->facts = PyObject_CallOneArg(s->tls->describe, s->object);
        if (s->facts == NULL) {
            gl_unraisable(s->tls->describe);
            error = -ECONNRESET;
        }
    }
    return is_gone(s) ? -EPIPE : error;
}

/* Goes on with the handshake.  As shake_once(). */
static int
shake_hands(struct gl_conn *conn, struct gl_tls_session *s)
{
    struct gl_tls *tls = s->tls;
    uint64_t began_ns = gl_clock_ns();
    int error = shake_once(s);

    gl_tls_spent(tls, began_ns);
    if (error == -EPIPE) {
        return error;
    }
    if (send_own(conn, s) < 0) { /* also the alert that says why not */
        return -ECONNRESET;
    }
    if (error == -ECONNRESET) {
        hang_up(conn);
    }
    return error;
}

/* Whether nothing is left in the incoming MemoryBIO. */
static bool
is_eaten(struct gl_tls_session *s)
{
    PyObject *pending = PyObject_GetAttr(s->incoming, s->st->s_pending);
    bool eaten = pending != NULL && PyLong_AsLong(pending) == 0;

    Py_XDECREF(pending);
    PyErr_Clear();
    return eaten;
}

/* Opens up to n bytes.  Returns them, or as failure(). */
static ssize_t
open_bytes(struct gl_conn *conn, struct gl_tls_session *s, void *dst,
           size_t n)
{
    PyObject *view = PyMemoryView_FromMemory(dst, (Py_ssize_t)n, PyBUF_WRITE);
    PyObject *got = NULL;
    Py_ssize_t count;

    if (view != NULL) {
        PyObject *args[] = {s->object, s->tls->no_limit, view};

        got = PyObject_VectorcallMethod(s->st->s_read, args, 3, NULL);
        Py_DECREF(view);
    }
    if (got == NULL) {
        count = failure(s);
        /* An alert, or a changed key that the peer asked for. */
        return send_own(conn, s) < 0 ? -ECONNRESET : count;
    }
    count = PyLong_AsSsize_t(got);
    Py_DECREF(got);
    /* An end is told as often as somebody asks. */
    s->hungry = count > 0 && count < (Py_ssize_t)n && is_eaten(s);
    return count;
}

/* One step of the session.  Bytes that were opened, or as shake_once(). */
static ssize_t
advance(struct gl_conn *conn, struct gl_tls_session *s, void *dst, size_t n)
{
    if (s->facts == NULL) {
        int done = shake_hands(conn, s);

        if (done != 1) {
            return done;
        }
    }
    return open_bytes(conn, s, dst, n);
}

/* Plain bytes make up for twice as many, and a bit: records have heads, and
 * small ones may come in pieces. */
static void
note_fruit(struct gl_tls_session *s, ssize_t plain)
{
    uint64_t n = 2 * (uint64_t)plain + FRUIT_MIN_BYTES;

    s->barren = s->barren > n ? s->barren - (uint32_t)n : 0;
}

/* Whether too much has come after the handshake that gave no plain byte. */
static bool
is_barren(struct gl_tls_session *s, ssize_t sealed)
{
    s->barren += s->facts != NULL ? (uint32_t)sealed : 0;
    return s->barren > BARREN_MAX_BYTES;
}

/* Receives and opens until there are plain bytes, or nothing more comes. */
static ssize_t
recv_opened(struct gl_conn *conn, struct gl_tls_session *s, void *dst,
            size_t n)
{
    for (int i = 0; i < RECEIVES_MAX; i++) {
        ssize_t got = -EAGAIN;

        if (!s->hungry) {
            got = advance(conn, s, dst, n);
        }
        if (got == -EPIPE) {
            return -ECONNRESET; /* and the session is no more */
        }
        if (got != -EAGAIN) {
            if (got > 0) {
                note_fruit(s, got);
            }
            return got;
        }
        got = receive_sealed(conn, s);
        if (got <= 0) {
            return got; /* 0: cut off without the closing alert */
        }
        if (is_barren(s, got)) {
            hang_up(conn);
            return -ECONNRESET;
        }
    }
    gl_tls_wait_turn(s);
    return -EAGAIN;
}

static ssize_t
tls_recv(struct gl_conn *conn, void *dst, size_t n, bool *ret_drained)
{
    struct gl_tls_session *s = session_of(conn);
    ssize_t got;

    *ret_drained = false;
    if (s == NULL) {
        return -ENOMEM;
    }
    if (conn->state == GL_CONN_LINGER) { /* thrown away: no need to open it */
        got = gl_sock_recv(conn->watch.fd, dst, n);
        *ret_drained = got < (ssize_t)n;
        return got;
    }
    if (s->inside || (s->facts == NULL && !gl_tls_admit(s))) {
        return -EAGAIN;
    }
    s->drained = false; /* more may have been announced since */
    got = recv_opened(conn, s, dst, n);
    /* Without bytes for the caller it does not matter, and the session may
     * have gone. */
    *ret_drained = got > 0 && s->hungry && s->drained;
    return got;
}

/* --- the end ----------------------------------------------------------- */

/* The closing alert, as far as the socket takes it: only after a whole
 * answer. */
static void
say_goodbye(struct gl_conn *conn, struct gl_tls_session *s)
{
    PyObject *done;

    if (s == NULL || s->facts == NULL || s->said_goodbye || conn->cut ||
        conn->reset) {
        return;
    }
    s->said_goodbye = true;
    done = gl_call_method(s->object, s->st->s_unwrap);
    PyErr_Clear(); /* it wants the peer's alert, for which nobody waits */
    Py_XDECREF(done);
    if (!s->owes) {
        struct batch batch = {0};

        if (batch_add(&batch, s) == 0) {
            (void)batch_send(&batch, s); /* the peer may be gone */
        }
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
    struct gl_tls_session *s = conn->transport_state;

    if (s == NULL) {
        return;
    }
    gl_tls_forget(s);
    conn->transport_state = NULL;
    if (s->inside) {
        s->gone = true; /* freed where it is in use */
        return;
    }
    say_goodbye(conn, s);
    session_free(s);
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
    const struct gl_tls_session *s = req->conn->transport_state;

    if (req->conn->transport != &gl_transport_tls || s == NULL) {
        return 0;
    }
    return PyDict_Update(env, s->facts);
}
