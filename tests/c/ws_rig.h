/* ws_rig.h - a WebSocket whose owner is a test, and a peer that says frames.
 *
 * Included once by a program, after check.h and rig.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_TESTS_WS_RIG_H
#define GL_TESTS_WS_RIG_H

#include "engine/websocket.h"
#include "engine/ws_echo.h"
#include "proto/ws_frame.h"

#define WS_MASK "\x12\x34\x56\x78"
#define WS_GET                                            \
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" \
    "Connection: Upgrade\r\n\r\n"
#define WS_101 "HTTP/1.1 101 X\r\n\r\n"

/* One WebSocket.  With `echo` its owner sends every message back; else the
 * test receives and sends. */
struct ws_rig {
    struct rig rig; /* its engine and options */
    struct rig_peer peer;
    struct gl_ws_options options;
    const struct gl_ws_codec *codec;
    struct gl_ws *ws; /* owned; NULL before the handshake and once freed */
    struct gl_waiter receiver, sender;
    unsigned received, sent; /* times that those were woken */
    bool echo;
    bool frees;  /* the receiver's wake frees the WebSocket */
    size_t seen; /* bytes of the peer's that were looked at */
};

/* Sends back what comes, in the manner of ws_echo.c. */
static inline void
ws_echo_on(struct ws_rig *w)
{
    struct gl_ws_message m;
    int error;

    while ((error = gl_ws_receive(w->ws, &m)) == 0) {
        CHECK(gl_ws_send(w->ws, m.opcode, m.bytes) == 0 ||
              gl_ws_closed(w->ws, NULL, NULL));
    }
    if (error == -EAGAIN) {
        CHECK(gl_ws_wait_receive(w->ws, &w->receiver) == 0);
    }
}

static inline void
ws_receiver_woken(struct gl_waiter *waiter, int result)
{
    struct ws_rig *w = GL_CONTAINER_OF(waiter, struct ws_rig, receiver);

    CHECK(result == 0);
    w->received++;
    if (w->frees) {
        gl_ws_free(w->ws);
        w->ws = NULL;
    } else if (w->echo) {
        ws_echo_on(w);
    }
}

static inline void
ws_sender_woken(struct gl_waiter *waiter, int result)
{
    CHECK(result == 0);
    GL_CONTAINER_OF(waiter, struct ws_rig, sender)->sent++;
}

static inline void
ws_start(void *owner, struct gl_request *req)
{
    struct ws_rig *w = owner;
    struct iovec iov = {WS_101, sizeof(WS_101) - 1};

    if (gl_request_send(req, &iov, 1, true) != (ssize_t)iov.iov_len ||
        gl_request_upgrade(req) < 0 ||
        gl_ws_new(req, &w->options, w->codec, &w->ws) < 0) {
        gl_request_finish(req, false);
        return;
    }
    gl_request_release_slot(req);
    if (w->echo) {
        CHECK(gl_ws_wait_receive(w->ws, &w->receiver) == 0);
    }
}

static inline void
ws_departed(void *owner, struct gl_request *req)
{
    ((struct ws_rig *)owner)->rig.departed++;
    (void)req;
}

static const struct gl_engine_ops ws_ops = {.start = ws_start,
                                            .departed = ws_departed};

/* Makes the fields ready; change what is to be otherwise. */
static inline void
ws_init(struct ws_rig *w)
{
    *w = (struct ws_rig){.peer = {.fd = -1},
                         .echo = true,
                         .options = {.message_max_bytes = 1 << 20,
                                     .output_max_bytes = 1 << 20,
                                     .close_timeout_ms = WAIT_MS}};
    w->receiver.wake = ws_receiver_woken;
    w->sender.wake = ws_sender_woken;
    rig_init(&w->rig);
}

/* Makes the engine, and connects; `tcp`: not by a socket pair. */
static inline bool
ws_connect(struct ws_rig *w, bool tcp)
{
    return gl_engine_new(&ws_ops, w, &w->rig.options, &w->rig.log, NULL,
                         &w->rig.engine) == 0 &&
           (tcp ? rig_connect_tcp(&w->rig, &w->peer)
                : rig_connect(&w->rig, &w->peer));
}

/* Does the handshake, with `more` right behind it. */
static inline void
ws_shake(struct ws_rig *w, const char *more, size_t n)
{
    char bytes[512] = WS_GET;

    memcpy(bytes + sizeof(WS_GET) - 1, more, n);
    (void)!send(w->peer.fd, bytes, sizeof(WS_GET) - 1 + n, MSG_NOSIGNAL);
    RIG_WHILE(&w->rig, (void)peer_read(&w->peer),
              w->peer.n >= sizeof(WS_101) - 1);
    w->seen = sizeof(WS_101) - 1;
}

static inline void
ws_begin(struct ws_rig *w)
{
    CHECK(ws_connect(w, false));
    ws_shake(w, "", 0);
    CHECK(w->ws != NULL);
}

/* A rig with everything as usual. */
static inline void
ws_open(struct ws_rig *w, bool exact)
{
    ws_init(w);
    w->options.exact = exact;
    ws_begin(w);
}

/* Frees what is left. */
static inline void
ws_close_rig(struct ws_rig *w)
{
    if (w->ws != NULL) {
        gl_ws_forget(w->ws, &w->receiver);
        gl_ws_forget(w->ws, &w->sender);
        gl_ws_free(w->ws);
        w->ws = NULL;
    }
    peer_close(&w->peer);
    if (w->rig.engine != NULL) {
        RIG_UNTIL(&w->rig, rig_is_empty(&w->rig));
        CHECK(gl_engine_stats(w->rig.engine).websockets == 0);
        rig_close(&w->rig);
    }
}

/* --- the peer ----------------------------------------------------------- */

/* Sends bytes however long the server takes for them, which runs meanwhile. */
static inline void
ws_say(struct ws_rig *w, const char *bytes, size_t n)
{
    uint64_t until_ms = gl_clock_ms() + WAIT_MS;

    while (n > 0 && !w->peer.reset && gl_clock_ms() < until_ms) {
        ssize_t sent = send(w->peer.fd, bytes, n, MSG_NOSIGNAL);

        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        } else if (errno != EAGAIN) {
            return;
        }
        (void)peer_read(&w->peer);
        rig_run(&w->rig);
    }
    rig_run(&w->rig);
}

/* Writes one masked frame to dst; returns its size.  `bits`: FIN, RSV and
 * opcode as on the wire. */
static inline size_t
ws_frame(char *dst, unsigned bits, const char *payload, size_t n)
{
    size_t head = gl_ws_frame_write(dst, GL_WS_BINARY, false, n);

    dst[0] = (char)bits;
    dst[1] |= (char)0x80;
    memcpy(dst + head, WS_MASK, 4);
    head += 4;
    for (size_t i = 0; i < n; i++) {
        dst[head + i] = (char)(payload[i] ^ WS_MASK[i % 4]);
    }
    return head + n;
}

static inline void
ws_say_frame(struct ws_rig *w, unsigned bits, const char *payload, size_t n)
{
    char *frame = __real_malloc(n + GL_WS_FRAME_HEAD_MAX_BYTES);

    ws_say(w, frame, ws_frame(frame, bits, payload, n));
    free(frame);
}

static inline void
ws_send(struct ws_rig *w, enum gl_ws_opcode opcode, const char *payload,
        size_t n)
{
    ws_say_frame(w, 0x80u | opcode, payload, n);
}

/* Takes the next frame that the peer got; waits for it.  The payload is
 * borrowed until more is read. */
static inline bool
ws_take(struct ws_rig *w, struct gl_ws_frame *frame, struct gl_str *payload)
{
    uint64_t until_ms = gl_clock_ms() + WAIT_MS;

    do {
        struct gl_str in;
        int size;

        (void)peer_read(&w->peer);
        in = (struct gl_str){w->peer.got + w->seen, w->peer.n - w->seen};
        size = gl_ws_frame_parse(in, frame);
        CHECK(size >= 0);
        if (size > 0 && frame->length <= in.n - (size_t)size) {
            CHECK(!frame->masked && frame->fin);
            *payload = (struct gl_str){in.p + size, (size_t)frame->length};
            w->seen += (size_t)size + payload->n;
            return true;
        }
    } while (!w->peer.ended && !w->peer.reset && rig_wait(&w->rig, until_ms));
    return false;
}

/* Whether the next frame is this one. */
static inline bool
ws_got(struct ws_rig *w, enum gl_ws_opcode opcode, const char *bytes,
       size_t n)
{
    struct gl_ws_frame frame;
    struct gl_str payload;

    return ws_take(w, &frame, &payload) && frame.opcode == opcode &&
           gl_str_eq(payload, (struct gl_str){bytes, n});
}

/* Whether the next frame is a close with this code (1005: without one), and
 * then the stream ends. */
static inline bool
ws_got_close(struct ws_rig *w, int code)
{
    struct gl_ws_frame frame;
    struct gl_str payload, reason;
    int got;

    if (!ws_take(w, &frame, &payload) || frame.opcode != GL_WS_CLOSE ||
        gl_ws_close_parse(payload, &got, &reason) < 0 || got != code) {
        return false;
    }
    return true;
}

/* Whether nothing comes any more but the end of the stream. */
static inline bool
ws_got_end(struct ws_rig *w)
{
    RIG_WHILE(&w->rig, (void)peer_read(&w->peer),
              w->peer.ended || w->peer.reset);
    return w->peer.ended && w->seen == w->peer.n;
}

/* Whether the WebSocket is closed with this code. */
static inline bool
ws_closed_with(struct ws_rig *w, int code)
{
    int got = 0;
    bool closed = gl_ws_closed(w->ws, &got, NULL);

    if (!closed || got != code) {
        fprintf(stderr, "  closed: %d, code %d\n", closed, got);
    }
    return closed && got == code;
}

#endif
