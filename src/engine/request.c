/* request.c - body in, answer out: what an owner does with a request.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/request.h"

#include "base/gl.h"
#include "engine/conn.h"
#include "engine/engine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room for framing beside the body bytes that the caller has room for. */
#define CHUNK_FRAMING_BYTES 512

/* --- output ----------------------------------------------------------- */

int
gl_conn_want_write(struct gl_conn *conn)
{
    uint32_t events = conn->watch.events | EPOLLOUT;

    /* The change itself announces a socket that became writable since. */
    return gl_poller_change(&conn->engine->poller, &conn->watch, events);
}

int
gl_conn_flush(struct gl_conn *conn)
{
    while (gl_buf_len(&conn->out) > 0) {
        struct iovec iov = {(void *)(uintptr_t)gl_buf_data(&conn->out),
                            gl_buf_len(&conn->out)};
        ssize_t n = conn->transport->writev(conn, &iov, 1);

        if (n == -EAGAIN) {
            /* Asked for once: from then on a full socket announces its room
             * by itself, while each change of the watch would announce
             * unread input anew, and spin. */
            n = conn->watch.events & EPOLLOUT ? 0 : gl_conn_want_write(conn);
            conn->reset |= n < 0;
            return n < 0 ? -ECONNRESET : -EAGAIN;
        }
        if (n < 0) {
            conn->reset = true;
            return -ECONNRESET;
        }
        gl_buf_consume(&conn->out, (size_t)n);
    }
    return 0;
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

/* Copies what follows the first `skip` bytes of iov to conn->out, which is
 * empty, to be sent when the socket takes bytes.  Returns 0, -ENOBUFS without
 * memory for the copy, or what gl_conn_want_write does. */
static int
copy_rest(struct gl_conn *conn, const struct iovec *iov, int count,
          size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t n = iov[i].iov_len;
        size_t from = skip < n ? skip : n;

        skip -= from;
        if (gl_buf_append(&conn->out, (const char *)iov[i].iov_base + from,
                          n - from, SIZE_MAX) < 0) {
            gl_buf_fini(&conn->out);
            return -ENOBUFS;
        }
    }
    return gl_conn_want_write(conn);
}

/* Appends what follows the first `skip` bytes of iov to conn->out. */
static int
keep_rest(struct gl_conn *conn, const struct iovec *iov, int count,
          size_t total, size_t skip)
{
    char *dst = gl_buf_reserve(&conn->out, total - skip);

    if (dst == NULL) {
        return -ENOMEM;
    }
    for (int i = 0; i < count; i++) {
        size_t from = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        size_t n = iov[i].iov_len - from;

        skip -= from;
        if (n > 0) {
            memcpy(dst, (const char *)iov[i].iov_base + from, n);
            dst += n;
            gl_buf_commit(&conn->out, n);
        }
    }
    return 0;
}

int
gl_conn_post(struct gl_conn *conn, const struct iovec *iov, int count)
{
    size_t total = total_bytes(iov, count);
    ssize_t n = 0;
    int error;

    if (conn->reset) {
        return -ECONNRESET;
    }
    if (gl_buf_len(&conn->out) == 0) {
        n = conn->transport->writev(conn, iov, count);
        if (n == (ssize_t)total) {
            return 0;
        }
        if (n < 0 && n != -EAGAIN) {
            conn->reset = true;
            return -ECONNRESET;
        }
        n = n > 0 ? n : 0;
    }
    if (keep_rest(conn, iov, count, total, (size_t)n) < 0) {
        conn->reset |= n > 0; /* a part alone is worse than nothing */
        return n > 0 ? -ECONNRESET : -ENOMEM;
    }
    /* While flushing the socket announces its room by itself. */
    error = conn->flushing ? -EAGAIN : gl_conn_flush_in_time(conn);
    return error == -ECONNRESET ? error : 0;
}

/* Common to send and sendfile: may bytes go out now?  0 or -errno. */
static int
may_send(struct gl_conn *conn)
{
    if (conn->reset) {
        return -ECONNRESET;
    }
    if (gl_buf_len(&conn->out) == 0) {
        return 0;
    }
    return conn->request->upgraded ? gl_conn_flush_in_time(conn)
                                   : gl_conn_flush(conn);
}

#define HELD_BYTES 4096 /* of an answer; larger ones have their own costs */

/* Keeps the whole answer in conn->out until the engine stops holding; false:
 * it is to be sent now. */
static bool
hold(struct gl_request *req, const struct iovec *iov, int count, size_t total)
{
    struct gl_conn *conn = req->conn;
    struct gl_engine *e = conn->engine;

    if (e->hold_until_ns == 0 || !req->quiet_end || req->upgraded ||
        total == 0 || total > HELD_BYTES || gl_buf_len(&conn->out) > 0 ||
        gl_list_linked(&conn->pending) ||
        keep_rest(conn, iov, count, total, 0) < 0) {
        return false;
    }
    gl_list_push(&e->held, &conn->pending);
    return true;
}

ssize_t
gl_request_send(struct gl_request *req, const struct iovec *iov, int count,
                bool last)
{
    struct gl_conn *conn = req->conn;
    size_t total = total_bytes(iov, count), taken;
    int error = may_send(conn);
    ssize_t n;

    if (error < 0) {
        return error;
    }
    if (last && hold(req, iov, count, total)) {
        req->sent_bytes += total;
        return (ssize_t)total;
    }
    n = conn->transport->writev(conn, iov, count);
    if (n < 0 && n != -EAGAIN) {
        conn->reset = true;
        return -ECONNRESET;
    }
    taken = n > 0 ? (size_t)n : 0;
    if (taken < total && last && total - taken <= GL_OUTPUT_REST_BYTES) {
        error = copy_rest(conn, iov, count, taken);
        if (error != 0 && error != -ENOBUFS) {
            conn->reset = true; /* nobody would send the copy */
            return -ECONNRESET;
        }
        taken = error == 0 ? total : taken;
        if (error == 0 && req->upgraded) {
            (void)gl_conn_flush_in_time(
                conn); /* nobody waits: its deadline */
        }
    }
    req->sent_bytes += taken;
    return taken > 0 || total == 0 ? (ssize_t)taken : -EAGAIN;
}

ssize_t
gl_request_sendfile(struct gl_request *req, int file_fd, off_t *offset,
                    size_t n)
{
    struct gl_conn *conn = req->conn;
    int error = may_send(conn);
    ssize_t sent;

    if (error < 0) {
        return error;
    }
    if (conn->transport->sendfile == NULL) {
        return -ENOSYS;
    }
    sent = conn->transport->sendfile(conn, file_fd, offset, n);
    if (sent == -EPIPE || sent == -ECONNRESET) {
        conn->reset = true;
        return -ECONNRESET;
    }
    req->sent_bytes += sent > 0 ? (uint64_t)sent : 0;
    return sent;
}

/* Has `waiter` woken, at the deadline that was just set at the latest.
 * Returns 0, or -ECONNRESET where nothing would wake it. */
static int
wait_at(struct gl_conn *conn, struct gl_waiter **slot,
        struct gl_waiter *waiter)
{
    if (conn->reset) {
        return -ECONNRESET;
    }
    *slot = waiter;
    return 0;
}

int
gl_request_wait_write(struct gl_request *req, struct gl_waiter *waiter)
{
    struct gl_conn *conn = req->conn;
    int error;

    if (req->writer != NULL) {
        return -EBUSY;
    }
    error = gl_conn_want_write(conn);
    if (error < 0) {
        return error;
    }
    gl_conn_set_write_deadline(conn);
    return wait_at(conn, &req->writer, waiter);
}

/* --- input ------------------------------------------------------------ */

/* Decodes what is in *in to dst.  Returns the bytes moved, or -errno. */
static ssize_t
decode(struct gl_request *req, struct gl_str *in, char *dst, size_t room)
{
    size_t moved = 0;

    while (moved < room && !req->body_done) {
        size_t n = in->n < room - moved ? in->n : room - moved;
        struct gl_str piece = {in->p, n}, data;
        enum gl_chunk_event ev =
            req->conn->protocol->body(req, &piece, &data);

        (void)gl_str_take(in, n - piece.n);
        if (ev == GL_CHUNK_BAD) {
            return -EBADMSG;
        }
        if (ev == GL_CHUNK_DATA) {
            memcpy(dst + moved, data.p, data.n);
            moved += data.n;
        }
        /* A known length says by itself that nothing follows. */
        req->body_done =
            ev == GL_CHUNK_END || (!req->body_chunked && req->body_left == 0);
        if (ev == GL_CHUNK_MORE && in->n == 0) {
            break;
        }
    }
    return (ssize_t)moved;
}

static ssize_t
read_buffered(struct gl_request *req, char *dst, size_t room)
{
    struct gl_buf *buf = &req->conn->in;
    struct gl_str in = gl_buf_str(buf);
    size_t before = in.n;
    ssize_t moved = decode(req, &in, dst, room);

    gl_buf_consume(buf, before - in.n);
    return moved;
}

ssize_t
gl_conn_receive(struct gl_conn *conn, void *dst, size_t n)
{
    bool drained = false;
    ssize_t got = conn->transport->recv(conn, dst, n, &drained);

    conn->readable = got > 0 && !drained;
    if (got == -EAGAIN || got > 0) {
        return got;
    }
    conn->half_closed = true;
    conn->reset |= got < 0;
    return got == 0 ? 0 : -ECONNRESET;
}

/* The same for a body, within which the stream must not end. */
static ssize_t
receive_body(struct gl_conn *conn, void *dst, size_t n)
{
    ssize_t got = gl_conn_receive(conn, dst, n);

    return got == 0 ? -ECONNRESET : got;
}

/* A body of known length goes straight to where it is wanted. */
static ssize_t
receive_plain(struct gl_request *req, char *dst, size_t room)
{
    struct gl_conn *conn = req->conn;
    size_t want = req->body_left < room ? (size_t)req->body_left : room;
    ssize_t n = receive_body(conn, dst, want);

    if (n > 0) {
        req->body_left -= (uint64_t)n;
        req->body_done = req->body_left == 0;
    }
    return n;
}

static ssize_t
receive_framed(struct gl_request *req, char *dst, size_t room)
{
    struct gl_conn *conn = req->conn;
    struct gl_engine *e = conn->engine;
    size_t want = room < GL_SCRATCH_BYTES - CHUNK_FRAMING_BYTES
                      ? room + CHUNK_FRAMING_BYTES
                      : GL_SCRATCH_BYTES;
    ssize_t n = receive_body(conn, e->scratch, want);
    ssize_t moved;
    struct gl_str in;

    if (n < 0) {
        return n;
    }
    in = (struct gl_str){e->scratch, (size_t)n};
    moved = decode(req, &in, dst, room);
    if (gl_buf_append(&conn->in, in.p, in.n, SIZE_MAX) < 0) {
        conn->reset = true; /* the next request is lost with them */
        return -ENOMEM;
    }
    return moved;
}

static void
invite(struct gl_request *req)
{
    struct gl_conn *conn = req->conn;
    struct gl_str text = conn->protocol->invitation;

    req->invite = false;
    /* Failing, the peer sends its body after a pause of its own. */
    (void)gl_buf_append(&conn->out, text.p, text.n, SIZE_MAX);
    (void)gl_conn_flush(conn);
}

/* The peer's bytes as they are: those that came with the head first. */
static ssize_t
read_stream(struct gl_conn *conn, void *dst, size_t room)
{
    size_t n = gl_buf_len(&conn->in);

    if (n > 0) {
        n = n < room ? n : room;
        memcpy(dst, gl_buf_data(&conn->in), n);
        gl_buf_consume(&conn->in, n);
        return (ssize_t)n;
    }
    if (conn->reset) {
        return -ECONNRESET;
    }
    if (!conn->readable) {
        return conn->half_closed ? 0 : -EAGAIN;
    }
    return gl_conn_receive(conn, dst, room);
}

ssize_t
gl_request_read(struct gl_request *req, void *dst, size_t n)
{
    struct gl_conn *conn = req->conn;
    uint64_t max = conn->engine->options.body_max_bytes;
    ssize_t moved = 0;

    assert(n > 0);
    if (req->upgraded) {
        return read_stream(conn, dst, n);
    }
    while (moved == 0 && !req->body_done) {
        if (gl_buf_len(&conn->in) > 0) {
            moved = read_buffered(req, dst, n);
        } else if (conn->reset) {
            return -ECONNRESET;
        } else if (!conn->readable) {
            if (req->invite && req->sent_bytes == 0) {
                invite(req); /* not amid an answer that has begun */
            }
            return conn->half_closed ? -ECONNRESET : -EAGAIN;
        } else {
            moved = req->body_chunked ? receive_framed(req, dst, n)
                                      : receive_plain(req, dst, n);
            if (moved == -EAGAIN) {
                moved = 0; /* no longer readable: see above */
            }
        }
    }
    if (moved > 0 || req->body_done) {
        req->invite = false; /* the peer did not wait for it */
    }
    if (moved > 0) {
        req->body_bytes += (uint64_t)moved;
        if (max > 0 && req->body_bytes > max) {
            return -EMSGSIZE;
        }
    }
    return moved;
}

void
gl_request_look_again(struct gl_request *req)
{
    req->conn->readable = true;
}

int
gl_request_wait_read(struct gl_request *req, struct gl_waiter *waiter)
{
    struct gl_conn *conn = req->conn;

    if (req->reader != NULL) {
        return -EBUSY;
    }
    if (!req->upgraded) {
        gl_conn_set_deadline(conn, conn->engine->options.body_timeout_ms);
    } else if (gl_buf_len(&conn->in) > 0 || conn->readable ||
               conn->half_closed) {
        gl_engine_continue_soon(conn->engine, conn);
    }
    return wait_at(conn, &req->reader, waiter);
}

/* --- state and end ---------------------------------------------------- */

void
gl_request_drop_head(struct gl_request *req)
{
    free(req->kept);
    req->kept = NULL;
    req->bytes = NULL;
    req->head = NULL;
}

int
gl_request_upgrade(struct gl_request *req)
{
    if (!req->body_done) {
        return -EBUSY;
    }
    req->upgraded = true;
    req->keep_alive = false;
    req->peer_keeps = true; /* it may be sending when we close */
    gl_conn_clear_deadline(req->conn);
    if (gl_buf_len(&req->conn->out) > 0) {      /* of the 101 */
        (void)gl_conn_flush_in_time(req->conn); /* notes a failure itself */
    }
    return 0;
}

static void
give_slot_back(struct gl_request *req)
{
    if (!req->slotless) {
        req->slotless = true;
        req->conn->engine->stats.running--;
    }
}

void
gl_request_release_slot(struct gl_request *req)
{
    assert(!req->slotless);
    give_slot_back(req);
    gl_engine_wake(req->conn->engine); /* for who waits for it */
}

void
gl_request_forget(struct gl_request *req, struct gl_waiter *waiter)
{
    if (req->reader == waiter) {
        req->reader = NULL;
    }
    if (req->writer == waiter) {
        req->writer = NULL;
    }
}

bool
gl_request_departed(const struct gl_request *req)
{
    return req->conn->half_closed || req->conn->reset;
}

const struct gl_peer *
gl_request_peer(const struct gl_request *req)
{
    return &req->conn->peer;
}

bool
gl_request_peer_is_trusted(const struct gl_request *req)
{
    return req->conn->trusted;
}

const struct gl_protocol *
gl_request_protocol(const struct gl_request *req)
{
    return req->conn->protocol;
}

void *
gl_request_listener_user(const struct gl_request *req)
{
    const struct gl_listener *listener = req->conn->listener;

    return listener != NULL ? listener->user : NULL;
}

bool
gl_request_has_sendfile(const struct gl_request *req)
{
    return req->conn->transport->sendfile != NULL;
}

int
gl_request_fd(const struct gl_request *req)
{
    return req->conn->watch.fd;
}

int
gl_request_shutdown(struct gl_request *req)
{
    struct gl_conn *conn = req->conn;
    int error = may_send(conn);

    req->keep_alive = false;
    if (error == 0 && conn->transport->shutdown_write(conn) < 0) {
        conn->reset = true;
        error = -ECONNRESET;
    }
    return error;
}

bool
gl_request_keeps(struct gl_request *req)
{
    /* A peer that still waits for its 100 may or may not send the body after
     * a final answer: only closing is unambiguous (RFC 9110, 10.1.1).  Where
     * others wait for a connection, each carries one request. */
    if (req->invite || req->conn->engine->draining ||
        req->conn->engine->paused_listeners > 0) {
        req->keep_alive = false;
    }
    return req->keep_alive;
}

void
gl_request_finish(struct gl_request *req, bool keep)
{
    struct gl_conn *conn = req->conn;
    struct gl_engine *e = conn->engine;

    assert(conn->state == GL_CONN_BUSY && conn->request == req);
    assert(req->reader == NULL && req->writer == NULL);
    give_slot_back(req);
    gl_conn_clear_deadline(conn);
    conn->flushing = false; /* what ends the connection has its own time */
    conn->cut = req->cut;
    keep = keep && req->keep_alive && !conn->reset;
    if (keep && !req->body_done) {
        conn->state = GL_CONN_DISCARD; /* which needs the request */
        conn->discarded = 0;
        conn->readable |= conn->half_closed; /* nobody announces that again */
        gl_conn_set_deadline(conn, e->options.body_timeout_ms);
        gl_engine_continue_later(e, conn);
        return;
    }
    /* Requests of a peer that cannot know of the close yet may be on their
     * way; while draining, waiting for them would only delay the end. */
    conn->linger = !req->body_done || (req->peer_keeps && !e->draining);
    conn->request = NULL;
    gl_engine_give_request(e, req);
    if (keep) {
        gl_conn_next(conn);
    } else {
        gl_conn_end(conn);
    }
}
