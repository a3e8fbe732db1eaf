/* websocket.c - a WebSocket's life: making, sending, pings, closing.
 *
 * RFC 6455, sections 5.5 and 7.  Its output is the connection's own queue,
 * conn->out, which the connection sends on by itself and watches over with
 * the write deadline.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/websocket.h"

#include "base/gl.h"
#include "engine/engine_private.h"
#include "engine/websocket_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t
unsent(const struct gl_ws *ws)
{
    return gl_buf_len(&ws->req->conn->out);
}

bool
gl_ws_should_wait(const struct gl_ws *ws)
{
    return ws->state == GL_WS_IS_OPEN &&
           unsent(ws) > ws->options.output_max_bytes / 4;
}

/* Has the connection's next event, or the engine's settling, look at it. */
static void
look_soon(struct gl_ws *ws)
{
    gl_engine_continue_soon(ws->engine, ws->req->conn);
}

/* --- waking ------------------------------------------------------------ */

/* Wakes one.  Returns false if ws is not to be used any more. */
static bool
wake(struct gl_ws *ws, struct gl_waiter *waiter)
{
    ws->waking++;
    waiter->wake(waiter, 0); /* may do anything, also free ws */
    ws->waking--;
    if (ws->dead) {
        if (ws->waking == 0) {
            free(ws);
        }
        return false;
    }
    return true;
}

static bool
wake_receiver(struct gl_ws *ws)
{
    struct gl_waiter *waiter = ws->receiver;

    ws->receiver = NULL;
    return waiter == NULL || wake(ws, waiter);
}

/* Tells who waits what has changed.  ws may be gone afterwards. */
static void
notify(struct gl_ws *ws)
{
    if ((ws->ready_opcode != 0 || ws->state == GL_WS_IS_CLOSED) &&
        !wake_receiver(ws)) {
        return;
    }
    while (ws->senders != NULL && !gl_ws_should_wait(ws)) {
        struct gl_waiter *waiter = ws->senders;

        ws->senders = waiter->next;
        if (!wake(ws, waiter)) {
            return;
        }
    }
}

/* --- output ------------------------------------------------------------ */

/* Our side of the stream ends when the last byte has left. */
static void
shut_when_sent(struct gl_ws *ws)
{
    struct gl_conn *conn = ws->req->conn;

    if (ws->state == GL_WS_IS_CLOSED && !ws->shut && unsent(ws) == 0) {
        ws->shut = true;
        if (!conn->reset) {
            /* Fails if the peer has gone: what we want. */
            (void)conn->transport->shutdown_write(conn);
        }
    }
}

/* After anything that may have left bytes in conn->out: sends the pongs, and
 * waits for room for the rest. */
static void
settle_output(struct gl_ws *ws)
{
    struct gl_conn *conn = ws->req->conn;

    if (ws->unflushed) {
        ws->unflushed = false;
        if (!conn->flushing) {
            (void)gl_conn_flush_in_time(conn); /* a failure is a reset */
        }
    }
    if (conn->reset) {
        gl_ws_lose(ws, "connection reset");
        return;
    }
    ws->req->writer = unsent(ws) > 0 ? &ws->writer : NULL;
    shut_when_sent(ws);
}

/* Sends one frame.  0, -ENOMEM (nothing was taken) or -ECONNRESET. */
static int
send_frame(struct gl_ws *ws, enum gl_ws_opcode opcode, bool rsv1,
           struct gl_str payload)
{
    char head[GL_WS_HEAD_BYTES];
    struct iovec iov[2] = {
        {head, gl_ws_frame_write(head, opcode, rsv1, payload.n)},
        {(void *)(uintptr_t)payload.p, payload.n},
    };

    ws->unflushed = false; /* pongs that wait leave before it */
    return gl_conn_post(ws->req->conn, iov, payload.n > 0 ? 2 : 1);
}

static int
send_deflated(struct gl_ws *ws, enum gl_ws_opcode opcode,
              struct gl_str message)
{
    struct gl_buf small = {0};
    int error = ws->codec.deflate(ws->codec.arg, message, &small);

    if (error == 0) {
        error = send_frame(ws, opcode, true, gl_buf_str(&small));
    }
    gl_buf_fini(&small);
    /* What the peer did not get would be missing in its window. */
    return error == -ENOMEM ? -ECONNRESET : error;
}

int
gl_ws_send(struct gl_ws *ws, enum gl_ws_opcode opcode, struct gl_str bytes)
{
    bool control = opcode == GL_WS_PING || opcode == GL_WS_PONG;
    int error;

    if ((control && bytes.n > GL_WS_CONTROL_MAX_BYTES) ||
        (!control && opcode != GL_WS_TEXT && opcode != GL_WS_BINARY)) {
        return -EINVAL;
    }
    if (ws->state != GL_WS_IS_OPEN) {
        return -ESHUTDOWN;
    }
    if (unsent(ws) > ws->options.output_max_bytes) {
        return -EAGAIN;
    }
    error = !control && ws->codec.deflate != NULL
                ? send_deflated(ws, opcode, bytes)
                : send_frame(ws, opcode, false, bytes);
    if (error == -ECONNRESET) {
        gl_ws_lose(ws, "connection reset");
        return -ESHUTDOWN;
    }
    settle_output(ws);
    return error;
}

/* Puts a pong into conn->out; several leave together.  Fails for want of
 * memory: then the next ping gets one. */
static void
queue_pong(struct gl_ws *ws, struct gl_str payload)
{
    struct gl_buf *out = &ws->req->conn->out;
    char frame[2 + GL_WS_CONTROL_MAX_BYTES];
    size_t head = gl_ws_frame_write(frame, GL_WS_PONG, false, payload.n);

    if (payload.n > 0) {
        memcpy(frame + head, payload.p, payload.n);
    }
    if (gl_buf_append(out, frame, head + payload.n, SIZE_MAX) == 0) {
        ws->unflushed = true;
    }
}

void
gl_ws_pong(struct gl_ws *ws, struct gl_str payload)
{
    char *kept;

    if (gl_ws_should_wait(ws) && ws->unflushed) {
        settle_output(ws); /* many pings came together */
    }
    if (ws->state != GL_WS_IS_OPEN) {
        return; /* after a close nothing else is sent */
    }
    /* The newest answers all (section 5.5.3), so that a peer that asks and
     * does not read costs no more than one. */
    if (!gl_ws_should_wait(ws)) {
        free(ws->pong);
        ws->pong = NULL;
        queue_pong(ws, payload);
        return;
    }
    kept = malloc(1 + payload.n);
    if (kept != NULL) {
        kept[0] = (char)payload.n;
        memcpy(kept + 1, payload.n > 0 ? payload.p : "", payload.n);
        free(ws->pong);
        ws->pong = kept;
    }
}

/* Some of the output has left. */
static void
send_kept_pong(struct gl_ws *ws)
{
    if (ws->pong != NULL && !gl_ws_should_wait(ws)) {
        queue_pong(ws,
                   (struct gl_str){ws->pong + 1, (unsigned char)ws->pong[0]});
        free(ws->pong);
        ws->pong = NULL;
    }
}

static void
writer_woken(struct gl_waiter *waiter, int result)
{
    struct gl_ws *ws = GL_CONTAINER_OF(waiter, struct gl_ws, writer);

    if (result < 0) {
        gl_ws_lose(ws, result == -ETIMEDOUT ? "the peer took nothing in time"
                                            : "connection reset");
    } else {
        send_kept_pong(ws);
        settle_output(ws);
    }
    notify(ws);
}

/* --- closing ----------------------------------------------------------- */

/* What came of a message is of no use to anybody.  One that was whole before
 * we closed may still wait in the same buffer. */
static void
drop_unfinished(struct gl_ws *ws)
{
    if (ws->opcode != 0 && ws->ready_opcode == 0) {
        gl_buf_fini(&ws->message);
    }
    free(ws->pong);
    ws->pong = NULL;
}

/* CLOSED, whatever was before. */
static void
end(struct gl_ws *ws, int code, struct gl_str reason)
{
    assert(ws->state != GL_WS_IS_CLOSED);
    ws->state = GL_WS_IS_CLOSED;
    ws->close_code = (uint16_t)code;
    ws->reason = malloc(reason.n > 0 ? reason.n : 1);
    if (ws->reason != NULL && reason.n > 0) { /* else: closed without one */
        memcpy(ws->reason, reason.p, reason.n);
        ws->reason_bytes = (uint8_t)reason.n;
    }
    drop_unfinished(ws);
    gl_engine_timer_stop(ws->engine, &ws->timer);
    ws->req->writer =
        unsent(ws) > 0 && !ws->req->conn->reset ? &ws->writer : NULL;
    shut_when_sent(ws);
    look_soon(ws);
}

void
gl_ws_lose(struct gl_ws *ws, const char *why)
{
    if (ws->state != GL_WS_IS_CLOSED) {
        end(ws, GL_WS_CODE_ABNORMAL, (struct gl_str){why, strlen(why)});
    }
}

/* How much of a reason fits, without cutting a character. */
static size_t
reason_size(struct gl_str reason)
{
    size_t n = GL_WS_REASON_MAX_BYTES;

    if (reason.n <= n) {
        return reason.n;
    }
    while (n > 0 && ((unsigned char)reason.p[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

/* Sends a close frame, after which nothing else is sent.  0 or -errno. */
static int
send_close(struct gl_ws *ws, int code, struct gl_str reason)
{
    char payload[GL_WS_CONTROL_MAX_BYTES];
    size_t n = reason_size(reason);

    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xff);
    if (n > 0) {
        memcpy(payload + 2, reason.p, n);
    }
    return send_frame(
        ws, GL_WS_CLOSE, false,
        (struct gl_str){payload, code == GL_WS_CODE_NONE ? 0 : n + 2});
}

void
gl_ws_fail(struct gl_ws *ws, int code, const char *reason)
{
    struct gl_str text = {reason, strlen(reason)};

    if (ws->state == GL_WS_IS_OPEN) {
        /* Failing, the peer sees only the end of the stream. */
        (void)send_close(ws, code, text);
    }
    end(ws, code, text);
}

void
gl_ws_peer_closes(struct gl_ws *ws, int code, struct gl_str reason)
{
    int error = 0;

    if (ws->state == GL_WS_IS_OPEN) {
        error = send_close(ws, code, (struct gl_str){"", 0});
    }
    /* It sends no more: no rest of it could destroy what we sent. */
    ws->req->peer_keeps = error < 0;
    end(ws, code, reason);
}

int
gl_ws_close(struct gl_ws *ws, int code, struct gl_str reason)
{
    if (code != GL_WS_CODE_NONE && !gl_ws_close_code_may_be_sent(code)) {
        return -EINVAL;
    }
    if (ws->state != GL_WS_IS_OPEN) {
        return 0;
    }
    if (send_close(ws, code, reason) < 0) {
        gl_ws_lose(ws, "the close could not be sent");
        return 0;
    }
    ws->state = GL_WS_IS_CLOSING;
    drop_unfinished(ws);
    settle_output(ws);
    if (ws->state == GL_WS_IS_CLOSED) {
        return 0;
    }
    ws->timer.due_ms = gl_clock_ms() + ws->options.close_timeout_ms;
    if (gl_engine_timer_start(ws->engine, &ws->timer) < 0) {
        gl_ws_lose(ws, "no memory");
        return 0;
    }
    look_soon(ws); /* the peer's close may be there; who sends is told */
    return 0;
}

bool
gl_ws_closed(const struct gl_ws *ws, int *ret_code, struct gl_str *ret_reason)
{
    if (ws->state != GL_WS_IS_CLOSED) {
        return false;
    }
    if (ret_code != NULL) {
        *ret_code = ws->close_code;
    }
    if (ret_reason != NULL) {
        *ret_reason = (struct gl_str){ws->reason, ws->reason_bytes};
    }
    return true;
}

/* --- input ------------------------------------------------------------- */

/* Whether input may be there that nobody will announce again. */
static bool
has_input(const struct gl_ws *ws)
{
    const struct gl_conn *conn = ws->req->conn;

    return ws->more || conn->readable || conn->half_closed;
}

/* Whether the engine is to read, though nobody asks for a message. */
static bool
wants_input(const struct gl_ws *ws)
{
    return ws->state == GL_WS_IS_CLOSING ||
           (ws->state == GL_WS_IS_OPEN && !ws->options.exact &&
            ws->ready_opcode == 0);
}

/* An event of the request: bytes, the end, or what look_soon() asked for. */
static void
reader_woken(struct gl_waiter *waiter, int result)
{
    struct gl_ws *ws = GL_CONTAINER_OF(waiter, struct gl_ws, reader);

    ws->req->reader = waiter; /* always there */
    if (result < 0) {
        gl_ws_lose(ws, "connection reset");
    }
    if (ws->state == GL_WS_IS_OPEN && has_input(ws) && ws->receiver != NULL &&
        ws->ready_opcode == 0 &&
        (ws->options.exact || gl_ws_between_messages(ws))) {
        /* Who waits reads by himself: a message that came whole needs no
         * copy then. */
        if (!wake_receiver(ws)) {
            return;
        }
    } else if (wants_input(ws)) {
        gl_ws_pump(ws);
        if (ws->place == GL_WS_IN_SCRATCH) {
            gl_ws_save_ready(ws);
        }
        settle_output(ws);
    }
    if (wants_input(ws) && has_input(ws)) {
        look_soon(ws); /* the bound was reached, or nobody read */
    }
    notify(ws);
}

int
gl_ws_receive(struct gl_ws *ws, struct gl_ws_message *ret_message)
{
    int result = -EAGAIN;

    if (ws->req == NULL) {
        return -ESHUTDOWN;
    }
    if (ws->ready_opcode == 0) {
        gl_ws_drop_handed(ws);
        if (ws->state != GL_WS_IS_CLOSED) {
            gl_ws_pump(ws);
            settle_output(ws);
        }
    }
    if (ws->ready_opcode != 0) {
        ret_message->opcode = ws->ready_opcode;
        ret_message->bytes = ws->ready;
        ws->ready_opcode = 0; /* handed out: see gl_ws_drop_handed */
        result = 0;
    }
    if (wants_input(ws) && has_input(ws)) {
        look_soon(ws);
    }
    return result == 0 || ws->state != GL_WS_IS_CLOSED ? result : -ESHUTDOWN;
}

/* --- deadlines --------------------------------------------------------- */

static void
restart_timer(struct gl_ws *ws, uint64_t due_ms)
{
    ws->timer.due_ms = due_ms;
    /* The slot that this timer just left is free: no allocation. */
    (void)gl_engine_timer_start(ws->engine, &ws->timer);
}

/* Whether bytes of the peer wait for somebody to take them: then it cannot
 * be called silent. */
static bool
leaves_peer_waiting(const struct gl_ws *ws)
{
    return ws->ready_opcode != 0 || has_input(ws);
}

/* The peer was silent for ping_interval_ms, or was pinged and stayed so. */
static void
judge_silence(struct gl_ws *ws)
{
    uint64_t now = gl_clock_ms();
    uint32_t interval = ws->options.ping_interval_ms;
    uint32_t patience = ws->options.pong_timeout_ms;

    if (leaves_peer_waiting(ws)) {
        ws->pinged = false;
        ws->heard_ms = now;
    }
    if (ws->heard_ms + interval > now) {
        restart_timer(ws, ws->heard_ms + interval);
    } else if (ws->pinged && patience > 0) {
        gl_ws_lose(ws, "no answer to a ping");
    } else {
        /* One that takes nothing has the write deadline. */
        ws->pinged =
            !gl_ws_should_wait(ws) &&
            send_frame(ws, GL_WS_PING, false, (struct gl_str){"", 0}) == 0;
        restart_timer(
            ws, now + (ws->pinged && patience > 0 ? patience : interval));
        settle_output(ws);
    }
}

static void
timer_fired(struct gl_timer *timer)
{
    struct gl_ws *ws = GL_CONTAINER_OF(timer, struct gl_ws, timer);

    if (ws->state == GL_WS_IS_CLOSING) {
        gl_ws_lose(ws, "no answer to our close in time");
    } else {
        judge_silence(ws);
    }
    notify(ws);
}

/* --- waiting ----------------------------------------------------------- */

int
gl_ws_wait_receive(struct gl_ws *ws, struct gl_waiter *waiter)
{
    if (ws->receiver != NULL) {
        return -EBUSY;
    }
    if (ws->req == NULL) {
        return -ESHUTDOWN;
    }
    ws->receiver = waiter;
    if (ws->ready_opcode != 0 || ws->state == GL_WS_IS_CLOSED ||
        has_input(ws)) {
        look_soon(ws);
    }
    return 0;
}

int
gl_ws_wait_send(struct gl_ws *ws, struct gl_waiter *waiter)
{
    struct gl_waiter **end_of_line = &ws->senders;

    if (ws->req == NULL) {
        return -ESHUTDOWN;
    }
    while (*end_of_line != NULL) {
        end_of_line = &(*end_of_line)->next;
    }
    waiter->next = NULL;
    *end_of_line = waiter;
    if (!gl_ws_should_wait(ws)) {
        look_soon(ws);
    }
    return 0;
}

void
gl_ws_forget(struct gl_ws *ws, struct gl_waiter *waiter)
{
    if (ws->receiver == waiter) {
        ws->receiver = NULL;
    }
    for (struct gl_waiter **at = &ws->senders; *at != NULL;
         at = &(*at)->next) {
        if (*at == waiter) {
            *at = waiter->next;
            return;
        }
    }
}

/* --- making and ending ------------------------------------------------- */

struct gl_request *
gl_ws_request(struct gl_ws *ws)
{
    return ws->req;
}

int
gl_ws_new(struct gl_request *req, const struct gl_ws_options *options,
          const struct gl_ws_codec *codec, struct gl_ws **ret_ws)
{
    struct gl_engine *e = req->conn->engine;
    struct gl_ws *ws = calloc(1, sizeof(*ws));

    assert(req->upgraded && req->reader == NULL && req->writer == NULL);
    if (ws == NULL) {
        return -ENOMEM;
    }
    ws->timer.fire = timer_fired;
    ws->heard_ms = gl_clock_ms();
    if (options->ping_interval_ms > 0) {
        ws->timer.due_ms = ws->heard_ms + options->ping_interval_ms;
        if (gl_engine_timer_start(e, &ws->timer) < 0) {
            free(ws);
            return -ENOMEM;
        }
    }
    ws->req = req;
    ws->engine = e;
    ws->reader.wake = reader_woken;
    ws->writer.wake = writer_woken;
    ws->options = *options;
    if (codec != NULL) {
        ws->codec = *codec;
    }
    gl_list_push(&e->websockets, &ws->link);
    e->stats.websockets++;
    req->reader = &ws->reader;
    ws->more = gl_buf_len(&req->conn->in) > 0;
    settle_output(ws); /* a rest of the 101 may be there */
    if (has_input(ws)) {
        look_soon(ws);
    }
    if (e->draining) {
        (void)gl_ws_close(ws, GL_WS_CODE_GOING_AWAY, (struct gl_str){"", 0});
    }
    *ret_ws = ws;
    return 0;
}

/* Gives the request and all that belongs to the engine back. */
static void
leave_engine(struct gl_ws *ws)
{
    struct gl_engine *e = ws->engine;

    if (ws->state == GL_WS_IS_OPEN) {
        /* Failing, the peer sees only the end of the stream. */
        (void)send_close(ws, GL_WS_CODE_GOING_AWAY, (struct gl_str){"", 0});
    }
    gl_engine_timer_stop(e, &ws->timer);
    gl_list_remove(&ws->link);
    e->stats.websockets--;
    ws->req->reader = ws->req->writer = NULL;
    gl_request_finish(ws->req, false);
    ws->req = NULL;
    ws->engine = NULL;
    gl_engine_wake(e); /* the connection's end is its work */
}

void
gl_ws_free(struct gl_ws *ws)
{
    if (ws == NULL) {
        return;
    }
    assert(ws->receiver == NULL && ws->senders == NULL);
    if (ws->req != NULL) {
        leave_engine(ws);
    }
    gl_buf_fini(&ws->message);
    free(ws->pong);
    free(ws->reason);
    if (ws->waking > 0) {
        ws->dead = true; /* freed where it was woken */
    } else {
        free(ws);
    }
}

void
gl_ws_close_all(struct gl_engine *e)
{
    struct gl_list *link = e->websockets.next;

    while (link != &e->websockets) { /* closing wakes and frees nobody */
        struct gl_ws *ws = GL_CONTAINER_OF(link, struct gl_ws, link);

        link = link->next;
        (void)gl_ws_close(ws, GL_WS_CODE_GOING_AWAY, (struct gl_str){"", 0});
    }
}

void
gl_ws_abandon_all(struct gl_engine *e)
{
    while (!gl_list_empty(&e->websockets)) {
        struct gl_ws *ws =
            GL_CONTAINER_OF(e->websockets.next, struct gl_ws, link);

        gl_ws_lose(ws, "the server ended");
        ws->ready_opcode = 0; /* its bytes may be the connection's */
        leave_engine(ws);
        notify(ws);
    }
}
