/* conn.c - the connection's state machine.
 *
 * One function a state; the states and their edges are drawn in
 * docs/internals/conn.md.  The descriptor is watched edge-triggered, so
 * `readable` remembers what nobody will announce again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/conn.h"

#include "base/gl.h"
#include "engine/engine_private.h"
#include "proto/http1_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WATCHED (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define LINGER_MS 3000
#define LINGER_MAX_BYTES \
    (64 << 20)                        /* then the peer gets its reset; a
                                       * proxy sends all of a body first */
#define DISCARD_MAX_BYTES (256 << 10) /* of a body that nobody read */
#define READS_PER_EVENT 16            /* then others have their turn */

/* --- deadlines -------------------------------------------------------- */

void
gl_conn_set_deadline(struct gl_conn *conn, uint32_t delay_ms)
{
    conn->deadline_ms = gl_clock_ms() + delay_ms;
    if (!gl_timer_running(&conn->timer) ||
        conn->timer.due_ms > conn->deadline_ms) {
        conn->timer.due_ms = conn->deadline_ms;
        if (gl_engine_timer_start(conn->engine, &conn->timer) < 0) {
            /* A connection without a deadline could stay for ever. */
            conn->reset = true;
            gl_engine_continue_later(conn->engine, conn);
        }
    }
}

void
gl_conn_set_write_deadline(struct gl_conn *conn)
{
    conn->unsent = gl_sock_unsent(conn->watch.fd);
    gl_conn_set_deadline(conn, conn->engine->options.write_timeout_ms);
}

/* The deadline of a write has come.  A slow peer may have taken bytes since:
 * the kernel calls a socket writable only when a third of its buffer is
 * free.  Returns whether it did, and has another write_timeout_ms then. */
static bool
peer_took_bytes(struct gl_conn *conn)
{
    bool writing =
        conn->state == GL_CONN_FLUSH || conn->flushing ||
        (conn->state == GL_CONN_BUSY && conn->request->writer != NULL);
    int before = conn->unsent;

    if (!writing || gl_sock_unsent(conn->watch.fd) >= before) {
        return false;
    }
    gl_conn_set_write_deadline(conn);
    return true;
}

void
gl_conn_clear_deadline(struct gl_conn *conn)
{
    conn->deadline_ms = GL_TIMERS_NEVER;
}

/* --- ending ----------------------------------------------------------- */

static void
drop_request(struct gl_conn *conn)
{
    struct gl_request *req = conn->request;

    if (req == NULL) {
        return;
    }
    if (gl_list_linked(&req->link)) {
        gl_list_remove(&req->link);
        conn->engine->stats.waiting--;
    }
    conn->request = NULL;
    gl_engine_give_request(conn->engine, req);
}

void
gl_conn_close(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;

    if (conn->state == GL_CONN_CLOSED) {
        return;
    }
    assert(conn->state != GL_CONN_BUSY);
    conn->state = GL_CONN_CLOSED;
    drop_request(conn);
    gl_timers_stop(e->timers, &conn->timer);
    gl_list_remove(&conn->pending);
    gl_list_remove(&conn->link);
    gl_list_push(&e->graveyard, &conn->link);
    e->stats.connections--;
    e->excess -= conn->excess;
    conn->transport->close(conn);
    /* Closing takes the descriptor out of the epoll set, unless somebody
     * duplicated it: then only the removal does. */
    gl_poller_remove(&e->poller, &conn->watch);
    close(conn->watch.fd);
}

void
gl_conn_free(struct gl_conn *conn)
{
    gl_list_remove(&conn->link);
    gl_buf_fini(&conn->in);
    gl_buf_fini(&conn->out);
    free(conn->partial);
    free(conn);
}

static void
linger(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;

    if (conn->transport->shutdown_write(conn) < 0) {
        gl_conn_close(conn);
        return;
    }
    conn->state = GL_CONN_LINGER;
    conn->discarded = 0;
    gl_buf_fini(&conn->in);
    gl_conn_set_deadline(conn, LINGER_MS);
    conn->readable = true;
    gl_engine_continue_later(e, conn);
}

int
gl_conn_flush_in_time(struct gl_conn *conn)
{
    size_t before = gl_buf_len(&conn->out);
    int error = gl_conn_flush(conn);

    if (error == -EAGAIN &&
        (!conn->flushing || gl_buf_len(&conn->out) < before)) {
        gl_conn_set_write_deadline(conn);
    }
    conn->flushing = error == -EAGAIN;
    return error;
}

void
gl_conn_end(struct gl_conn *conn)
{
    int error;

    /* Closing with unread bytes sends a reset, which may overtake and
     * destroy the answer (RFC 9112, section 9.6). */
    conn->linger =
        conn->linger || gl_buf_len(&conn->in) > 0 || conn->readable;
    conn->state = GL_CONN_FLUSH;
    error = conn->reset ? -ECONNRESET : gl_conn_flush_in_time(conn);
    if (error == -EAGAIN) {
        return; /* continued when the socket takes bytes */
    }
    if (error < 0 || !conn->linger) {
        gl_conn_close(conn);
    } else {
        linger(conn);
    }
}

static void
log_refusal(struct gl_conn *conn, struct gl_str came, int status, size_t n)
{
    struct gl_engine *e = conn->engine;

    if (gl_access_log_wants(e->access_log)) {
        came.n = conn->protocol->has_line ? came.n : 0;
        gl_access_log_refusal(e->access_log, conn->peer.text, came, status,
                              n);
        gl_engine_note_access(e);
    }
}

/* Answers a request that the engine itself refuses, and ends.  `came`: what
 * there is of its head. */
static void
refuse(struct gl_conn *conn, struct gl_str came, int status, bool head_only)
{
    struct gl_engine *e = conn->engine;
    char answer[GL_REFUSAL_BYTES];
    size_t n =
        conn->protocol->refusal(answer, status, gl_engine_date(e), head_only);

    e->stats.refused++;
    log_refusal(conn, came, status, n);
    drop_request(conn); /* which may have what came */
    free(conn->partial);
    conn->partial = NULL;
    conn->linger = true;
    /* Without memory for it the peer sees a close without an answer. */
    (void)gl_buf_append(&conn->out, answer, n, SIZE_MAX);
    gl_conn_end(conn);
    gl_engine_log_explanation(e);
}

/* Ends a connection whose bytes are no request. */
static void
end_without_request(struct gl_conn *conn)
{
    free(conn->partial);
    conn->partial = NULL;
    conn->linger = true;
    gl_conn_end(conn);
    gl_engine_log_explanation(conn->engine);
}

void
gl_conn_reject(struct gl_conn *conn)
{
    conn->excess = true;
    conn->engine->excess++;
    refuse(conn, GL_STR(""), 503, false);
}

bool
gl_conn_is_idle(const struct gl_conn *conn)
{
    return conn->state == GL_CONN_IDLE && conn->served && !conn->readable &&
           gl_buf_len(&conn->in) == 0 && gl_buf_len(&conn->out) == 0 &&
           gl_sock_unread(conn->watch.fd) == 0;
}

/* Answers 503 to a request that can have no slot. */
static void
refuse_overload(struct gl_conn *conn, struct gl_str came, bool late,
                bool head_only)
{
    struct gl_engine *e = conn->engine;

    refuse(conn, came, 503, head_only);
    gl_engine_note_overload(e, late); /* last: a log may run anything */
}

/* --- a head becomes a request ----------------------------------------- */

/* The answer to HEAD has no body, a refusal neither (RFC 9110, 9.3.2). */
static bool
is_head_only(struct gl_str bytes, const struct gl_head *head)
{
    return gl_str_eq(gl_span_str(bytes.p, head->method), GL_STR("HEAD"));
}

static struct gl_request *
request_of_head(struct gl_conn *conn, struct gl_str bytes,
                const struct gl_head *head)
{
    struct gl_engine *e = conn->engine;
    struct gl_request *req = gl_engine_take_request(e);

    if (req == NULL) {
        return NULL;
    }
    req->conn = conn;
    req->bytes = bytes.p;
    req->head = head;
    req->minor = head->minor;
    req->body_chunked = head->chunked;
    req->body_left = head->content_length;
    req->body_done = !head->chunked && head->content_length == 0;
    req->invite = head->expect_continue && !req->body_done;
    req->head_only = is_head_only(bytes, head);
    req->may_chunk = head->minor > 0 && conn->protocol->chunks;
    req->peer_keeps = head->keep_alive;
    req->keep_alive = head->keep_alive && conn->protocol->keeps_alive &&
                      e->options.keepalive_timeout_ms > 0 && !e->draining;
    if (e->access_log != NULL) {
        req->started_ns = gl_clock_ns();
    }
    return req;
}

static void
take_slot(struct gl_conn *conn)
{
    conn->state = GL_CONN_BUSY;
    gl_conn_clear_deadline(conn);
    conn->engine->stats.running++;
    conn->engine->stats.requests++;
}

void
gl_conn_start(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;
    struct gl_request *req = conn->request;

    take_slot(conn);
    e->ops->start(e->owner, req); /* may end the request */
    if (conn->request == req && (conn->half_closed || conn->reset)) {
        e->ops->departed(e->owner, req); /* it came with the request */
    }
}

/* Has the request start with others of its batch, in the slot that it takes
 * now. */
static void
gather(struct gl_conn *conn)
{
    take_slot(conn);
    gl_list_push(&conn->engine->gathered, &conn->request->link);
}

static size_t
head_bytes_in_use(const struct gl_head *head)
{
    return offsetof(struct gl_head, fields) +
           head->count * sizeof(head->fields[0]);
}

/* Makes the request independent of the engine's scratch memory: one block
 * has the fields that are in use, and then the bytes.  0 or -ENOMEM. */
static int
keep_head(struct gl_request *req)
{
    size_t n = head_bytes_in_use(req->head);
    struct gl_head *kept = malloc(n + req->head->size);

    if (kept == NULL) {
        return -ENOMEM;
    }
    memcpy(kept, req->head, n);
    memcpy((char *)kept + n, req->bytes, req->head->size);
    req->kept = kept;
    req->head = kept;
    req->bytes = (char *)kept + n;
    return 0;
}

/* Whether the owner takes the request without a slot. */
static bool
is_answered(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;
    struct gl_request *req = conn->request;

    if (e->ops->answer == NULL) {
        return false;
    }
    conn->state = GL_CONN_BUSY;
    gl_conn_clear_deadline(conn);
    req->slotless = true;
    if (!e->ops->answer(e->owner, req)) {
        req->slotless = false;
        return false;
    }
    e->stats.requests++;
    if (conn->request == req && (conn->half_closed || conn->reset)) {
        e->ops->departed(e->owner, req); /* it came with the request */
    }
    return true;
}

static bool
must_queue(const struct gl_engine *e)
{
    return e->stats.running >= e->options.cores || !gl_list_empty(&e->queue);
}

static void
enqueue(struct gl_conn *conn, struct gl_request *req)
{
    struct gl_engine *e = conn->engine;

    conn->state = GL_CONN_QUEUED;
    gl_conn_clear_deadline(conn);
    gl_list_push(&e->queue, &req->link);
    e->stats.queued++;
    e->stats.waiting++;
    if (e->options.queue_timeout_ms > 0) {
        gl_conn_set_deadline(conn, e->options.queue_timeout_ms);
    }
}

/* `in_scratch`: bytes and head are the engine's, and what follows the head
 * is to be kept; else they are in conn->in, from its first byte. */
static void
begin_request(struct gl_conn *conn, struct gl_str bytes,
              const struct gl_head *head, bool in_scratch)
{
    struct gl_engine *e = conn->engine;
    bool queue = must_queue(e), head_only = is_head_only(bytes, head);
    /* A departed one starts at once: its owner is to be told. */
    bool wait = queue || (e->gathering && !conn->half_closed && !conn->reset);
    size_t head_size = head->size;
    struct gl_request *req;
    int error;

    if (queue && gl_engine_queue_full(e)) {
        refuse_overload(conn, bytes, false, head_only);
        return;
    }
    req = request_of_head(conn, bytes, head);
    error = req == NULL ? -ENOMEM : 0;
    conn->request = req;
    if (error == 0 && (wait || !in_scratch)) {
        error = keep_head(req);
    }
    if (error == 0 && in_scratch) {
        error = gl_buf_append(&conn->in, bytes.p + head_size,
                              bytes.n - head_size, SIZE_MAX);
    } else if (error == 0) {
        gl_buf_consume(&conn->in, head_size);
    }
    free(conn->partial);
    conn->partial = NULL;
    if (error < 0) {
        refuse(conn, GL_STR(""), 503, head_only); /* the bytes may be gone */
        return;
    }
    if (is_answered(conn)) {
        return;
    }
    if (queue) {
        enqueue(conn, req);
    } else if (wait) {
        gather(conn);
    } else {
        gl_conn_start(conn);
    }
}

/* --- receiving -------------------------------------------------------- */

/* Receives into the engine's scratch.  Returns the bytes (> 0), 0 when there
 * are none now, or a negative errno when the peer will send no more. */
static ssize_t
receive(struct gl_conn *conn)
{
    bool drained = false;
    ssize_t n;

    if (!conn->readable) {
        return 0;
    }
    n = conn->transport->recv(conn, conn->engine->scratch, GL_SCRATCH_BYTES,
                              &drained);
    /* The end of the stream, once announced, is still to be read. */
    conn->readable = n > 0 && (!drained || conn->half_closed);
    if (n == -EAGAIN) {
        return 0;
    }
    if (n == 0) {
        conn->half_closed = true;
    } else if (n < 0) {
        conn->reset = true;
    }
    return n > 0 ? n : -ECONNRESET;
}

/* Remembers how far an unfinished head was parsed. */
static int
save_partial(struct gl_conn *conn, const struct gl_head *head)
{
    if (conn->partial != NULL) {
        return 0; /* parsed in place */
    }
    conn->partial = malloc(sizeof(*conn->partial));
    if (conn->partial == NULL) {
        return -ENOMEM;
    }
    memcpy(conn->partial, head, head_bytes_in_use(head));
    return 0;
}

static void
await_rest_of_head(struct gl_conn *conn, const struct gl_head *head)
{
    if (save_partial(conn, head) < 0) {
        refuse(conn, gl_buf_str(&conn->in), 503, false);
    } else if (conn->state != GL_CONN_HEAD) {
        conn->state = GL_CONN_HEAD;
        gl_conn_set_deadline(conn, conn->engine->options.head_timeout_ms);
    }
}

/* Parses what is in `bytes`, all of a head so far.  Returns whether more
 * bytes should be looked for. */
static bool
parse(struct gl_conn *conn, struct gl_str bytes, bool in_scratch)
{
    struct gl_engine *e = conn->engine;
    struct gl_head *head = conn->partial;
    int status = 400;

    if (head == NULL) {
        head = &e->head;
        conn->protocol->begin(head);
    }
    switch (conn->protocol->intake(conn, head, bytes, &status)) {
    case GL_INTAKE_REFUSE:
        refuse(conn, bytes, status, false);
        return false;
    case GL_INTAKE_CLOSE:
        end_without_request(conn);
        return false;
    case GL_INTAKE_REQUEST:
        if (e->options.body_max_bytes > 0 &&
            head->content_length > e->options.body_max_bytes) {
            gl_engine_explain(e,
                              "a request from %s was refused with 413: its "
                              "body has over %llu bytes (--limit-post)",
                              gl_conn_peer_name(conn),
                              (unsigned long long)e->options.body_max_bytes);
            refuse(conn, bytes, 413, is_head_only(bytes, head));
        } else {
            begin_request(conn, bytes, head, in_scratch);
        }
        return false;
    case GL_INTAKE_MORE:
        break;
    }
    if (in_scratch &&
        gl_buf_append(&conn->in, bytes.p, bytes.n, SIZE_MAX) < 0) {
        refuse(conn, bytes, 503, false);
        return false;
    }
    await_rest_of_head(conn, head);
    return conn->state == GL_CONN_HEAD;
}

/* Receives once and parses.  Returns whether to go on. */
static bool
receive_and_parse(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;
    ssize_t n = receive(conn);

    if (n < 0) {
        gl_conn_close(conn);
        return false;
    }
    if (n == 0) {
        return false;
    }
    if (gl_buf_len(&conn->in) == 0) {
        return parse(conn, (struct gl_str){e->scratch, (size_t)n}, true);
    }
    if (gl_buf_append(&conn->in, e->scratch, (size_t)n, SIZE_MAX) < 0) {
        refuse(conn, gl_buf_str(&conn->in), 503, false);
        return false;
    }
    return parse(conn, gl_buf_str(&conn->in), false);
}

/* IDLE and HEAD: looks for the next request. */
static void
look_for_request(struct gl_conn *conn)
{
    bool more = true;

    if (gl_buf_len(&conn->out) > 0) {
        int error = gl_conn_flush_in_time(conn);

        if (error == -EAGAIN) {
            return; /* a peer that takes no answers asks nothing more */
        }
        if (error < 0) {
            gl_conn_close(conn);
            return;
        }
        gl_conn_set_deadline(conn,
                             conn->engine->options.keepalive_timeout_ms);
    }
    if (conn->state == GL_CONN_IDLE && gl_buf_len(&conn->in) > 0) {
        more = parse(conn, gl_buf_str(&conn->in), false);
    }
    for (int i = 0; more && i < READS_PER_EVENT; i++) {
        more = receive_and_parse(conn);
    }
    if (more && conn->readable) {
        gl_engine_continue_later(conn->engine, conn);
    }
    if (conn->state == GL_CONN_IDLE && conn->engine->draining &&
        gl_buf_len(&conn->out) == 0) {
        gl_conn_close(conn);
    }
}

/* --- after an answer -------------------------------------------------- */

void
gl_conn_next(struct gl_conn *conn)
{
    struct gl_engine *e = conn->engine;

    conn->state = GL_CONN_IDLE;
    conn->served = true;
    if (e->options.max_connections > 0) { /* see close_an_idle_one() */
        gl_list_remove(&conn->link);
        gl_list_push(&e->connections, &conn->link);
        gl_listeners_resume(e); /* it may have to go for another one */
    }
    if (gl_buf_len(&conn->in) > 0 || gl_buf_len(&conn->out) > 0 ||
        conn->readable || conn->half_closed || e->draining) {
        conn->readable |= conn->half_closed;
        gl_engine_continue_later(e, conn);
    }
    gl_conn_set_deadline(conn, e->options.keepalive_timeout_ms);
}

/* Throws away what is in conn->in.  Returns END, MORE or BAD. */
static enum gl_chunk_event
discard_buffered(struct gl_conn *conn)
{
    struct gl_str in = gl_buf_str(&conn->in);
    struct gl_str data;
    enum gl_chunk_event ev;
    size_t before = in.n;

    do {
        ev = conn->protocol->body(conn->request, &in, &data);
    } while (ev == GL_CHUNK_DATA);
    conn->discarded += before - in.n;
    gl_buf_consume(&conn->in, before - in.n);
    return conn->discarded > DISCARD_MAX_BYTES ? GL_CHUNK_BAD : ev;
}

/* Gives up on the rest of a body: the answer's rest leaves, then the
 * connection ends. */
static void
stop_discarding(struct gl_conn *conn)
{
    drop_request(conn);
    conn->linger = true;
    gl_conn_end(conn);
}

/* DISCARD: reads the rest of a body that the application left unread, and
 * sends the rest of the answer, for which the peer may be waiting. */
static void
discard_body(struct gl_conn *conn)
{
    if (gl_conn_flush(conn) == -ECONNRESET) {
        gl_conn_close(conn);
        return;
    }
    for (int i = 0; i < READS_PER_EVENT; i++) {
        enum gl_chunk_event ev = discard_buffered(conn);
        ssize_t n;

        if (ev == GL_CHUNK_END) {
            drop_request(conn);
            gl_conn_next(conn);
            return;
        }
        n = ev == GL_CHUNK_BAD ? -EBADMSG : receive(conn);
        if (n > 0) {
            n = gl_buf_append(&conn->in, conn->engine->scratch, (size_t)n,
                              SIZE_MAX);
        } else if (n == 0) {
            return;
        }
        if (n < 0) {
            stop_discarding(conn);
            return;
        }
    }
    gl_engine_continue_later(conn->engine, conn);
}

/* LINGER: reads until the peer has ended too. */
static void
drop_input(struct gl_conn *conn)
{
    for (int i = 0; i < READS_PER_EVENT; i++) {
        ssize_t n = receive(conn);

        if (n < 0 || conn->discarded > LINGER_MAX_BYTES) {
            gl_conn_close(conn);
            return;
        }
        if (n == 0) {
            return;
        }
        conn->discarded += (uint64_t)n;
    }
    gl_engine_continue_later(conn->engine, conn);
}

static void
wake(struct gl_waiter **slot, int result)
{
    struct gl_waiter *waiter = *slot;

    if (waiter != NULL) {
        *slot = NULL;
        waiter->wake(waiter, result); /* may end the request */
    }
}

/* BUSY with another protocol: the bytes for which its reader waits were
 * announced before it waited. */
static void
wake_upgraded(struct gl_conn *conn)
{
    if (conn->request->upgraded) {
        wake(&conn->request->reader, conn->reset ? -ECONNRESET : 0);
    }
}

void
gl_conn_continue(struct gl_conn *conn)
{
    if (conn->reset && conn->state != GL_CONN_BUSY) {
        gl_conn_close(conn);
        return;
    }
    switch ((enum gl_conn_state)conn->state) {
    case GL_CONN_PROXY:
        gl_proxy_intake(conn);
        break;
    case GL_CONN_IDLE:
    case GL_CONN_HEAD:
        look_for_request(conn);
        break;
    case GL_CONN_DISCARD:
        discard_body(conn);
        break;
    case GL_CONN_FLUSH:
        gl_conn_end(conn);
        break;
    case GL_CONN_LINGER:
        drop_input(conn);
        break;
    case GL_CONN_BUSY: /* the owner reads */
        wake_upgraded(conn);
        break;
    case GL_CONN_QUEUED: /* not read: its bytes wait in the kernel */
    case GL_CONN_CLOSED:
        break;
    }
}

/* --- events ----------------------------------------------------------- */

/* Tells the owner of a running request what happened to its connection. */
static void
busy_event(struct gl_conn *conn, uint32_t events, bool departed)
{
    struct gl_request *req = conn->request;
    int result = conn->reset ? -ECONNRESET : 0;

    if (conn->reset || (events & (EPOLLIN | EPOLLRDHUP))) {
        wake(&req->reader, result);
    }
    if (conn->request == req && (conn->reset || (events & EPOLLOUT))) {
        wake(&req->writer, result);
    }
    if (conn->request == req && departed) {
        conn->engine->ops->departed(conn->engine->owner, req);
    }
}

static void
conn_ready(struct gl_watch *watch, uint32_t events)
{
    struct gl_conn *conn = GL_CONTAINER_OF(watch, struct gl_conn, watch);
    bool was_half_closed = conn->half_closed, was_reset = conn->reset;

    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) {
        conn->readable = true;
    }
    if (events & (EPOLLRDHUP | EPOLLHUP)) {
        conn->half_closed = true;
    }
    /* HUP alone: both sides have ended, in order. */
    if (events & EPOLLERR) {
        conn->reset = true;
    }
    if ((events & EPOLLOUT) && conn->transport->flush != NULL) {
        int error = conn->transport->flush(conn);

        conn->reset |= error < 0 && error != -EAGAIN;
    }
    if (conn->state == GL_CONN_BUSY) {
        if ((events & EPOLLOUT) && gl_buf_len(&conn->out) > 0) {
            /* A failure is noted as a reset. */
            (void)(conn->request->upgraded ? gl_conn_flush_in_time(conn)
                                           : gl_conn_flush(conn));
        }
        busy_event(conn, events,
                   (conn->reset && !was_reset) ||
                       (conn->half_closed && !was_half_closed));
    } else {
        gl_conn_continue(conn);
    }
}

static void
busy_deadline(struct gl_conn *conn)
{
    struct gl_request *req = conn->request;

    gl_conn_clear_deadline(conn);
    if (req->writer != NULL || conn->flushing) {
        conn->reset = true; /* the answer can't be completed any more */
        wake(&req->writer, -ETIMEDOUT);
        if (conn->request == req && req->upgraded) {
            wake(&req->reader, -ECONNRESET);
        }
    } else if (!req->upgraded) { /* else that of a write that is over */
        /* The rest of the body is not waited for a second time. */
        req->keep_alive &= req->reader == NULL;
        wake(&req->reader, -ETIMEDOUT);
    }
}

/* A deadline has come.  Where an application kept the loop busy until now,
 * the bytes that were waited for may be here, unread: they count.  Returns
 * whether they moved the deadline; those of a head that is still not whole
 * do not. */
static bool
peer_was_in_time(struct gl_conn *conn)
{
    bool reading = conn->state == GL_CONN_BUSY && !conn->request->upgraded &&
                   conn->request->reader != NULL &&
                   conn->request->writer == NULL;

    if ((!reading && conn->state != GL_CONN_IDLE &&
         conn->state != GL_CONN_HEAD) ||
        gl_buf_len(&conn->out) > 0 || !gl_sock_has_input(conn->watch.fd)) {
        return false;
    }
    conn->readable = true;
    if (reading) {
        gl_conn_clear_deadline(conn); /* who waits again has a new one */
        wake(&conn->request->reader, 0);
        return true;
    }
    gl_conn_continue(conn);
    return conn->deadline_ms > gl_clock_ms();
}

static void
conn_deadline(struct gl_timer *timer)
{
    struct gl_conn *conn = GL_CONTAINER_OF(timer, struct gl_conn, timer);

    if (conn->deadline_ms == GL_TIMERS_NEVER) {
        return;
    }
    if (conn->deadline_ms > gl_clock_ms()) {
        timer->due_ms = conn->deadline_ms;
        /* The slot that this timer just left is free: no allocation. */
        (void)gl_engine_timer_start(conn->engine, timer);
        return;
    }
    if (peer_took_bytes(conn) || peer_was_in_time(conn)) {
        return;
    }
    switch ((enum gl_conn_state)conn->state) {
    case GL_CONN_PROXY:
        gl_proxy_expire(conn);
        break;
    case GL_CONN_HEAD:
        refuse(conn, gl_buf_str(&conn->in), 408, false);
        break;
    case GL_CONN_BUSY:
        busy_deadline(conn);
        break;
    case GL_CONN_DISCARD:
        stop_discarding(conn);
        break;
    case GL_CONN_QUEUED:
        refuse_overload(
            conn,
            (struct gl_str){conn->request->bytes, conn->request->head->size},
            true, conn->request->head_only);
        break;
    case GL_CONN_IDLE:
    case GL_CONN_FLUSH:
    case GL_CONN_LINGER:
        gl_conn_close(conn);
        break;
    case GL_CONN_CLOSED:
        break;
    }
}

const char *
gl_conn_peer_name(const struct gl_conn *conn)
{
    return conn->peer.text[0] != '\0' ? conn->peer.text : "a Unix socket";
}

int
gl_conn_new(struct gl_engine *e, int fd, const struct gl_peer *peer,
            const struct gl_transport *transport,
            const struct gl_protocol *protocol,
            const struct gl_listener *listener)
{
    struct gl_conn *conn = calloc(1, sizeof(*conn));
    int error = conn == NULL ? -ENOMEM : 0;

    if (error == 0) {
        conn->watch.fd = fd;
        conn->watch.ready = conn_ready;
        conn->timer.fire = conn_deadline;
        conn->engine = e;
        conn->transport = transport;
        conn->protocol = protocol;
        conn->listener = listener;
        conn->peer = *peer;
        error = gl_proxy_admit(conn);
    }
    if (error == 0) {
        error = gl_poller_add(&e->poller, &conn->watch, WATCHED);
    }
    if (error < 0) {
        close(fd);
        free(conn);
        return error;
    }
    gl_list_push(&e->connections, &conn->link);
    e->stats.connections++;
    gl_conn_set_deadline(conn, e->options.head_timeout_ms);
    return 0;
}
