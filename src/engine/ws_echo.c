/* ws_echo.c - an owner of an engine that sends every WebSocket message back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/ws_echo.h"

#include "base/gl.h"
#include "proto/ws_handshake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_BYTES 256
#define MESSAGES_PER_WAKE 64 /* then others have their turn */

struct socket {
    struct gl_waiter waiter; /* to receive, or to send */
    struct gl_list link;
    struct gl_ws_echo *echo; /* borrowed */
    struct gl_ws *ws;        /* owned */
};

static void
end_socket(struct socket *s)
{
    s->echo->ended++;
    (void)gl_ws_closed(s->ws, &s->echo->last_code, NULL);
    gl_list_remove(&s->link);
    gl_ws_free(s->ws);
    free(s);
}

/* Sends back what came.  Returns -EAGAIN, or why it ended. */
static int
advance(struct socket *s)
{
    struct gl_ws_message message;
    int error = 0;

    for (int i = 0; i < MESSAGES_PER_WAKE && error == 0; i++) {
        if (gl_ws_should_wait(s->ws)) {
            return gl_ws_wait_send(s->ws, &s->waiter);
        }
        error = gl_ws_receive(s->ws, &message);
        if (error == 0) {
            s->echo->messages++;
            error = gl_ws_send(s->ws, message.opcode, message.bytes);
        }
    }
    return error == 0 || error == -EAGAIN
               ? gl_ws_wait_receive(s->ws, &s->waiter)
               : error;
}

static void
woken(struct gl_waiter *waiter, int result)
{
    struct socket *s = GL_CONTAINER_OF(waiter, struct socket, waiter);

    (void)result; /* always 0 */
    if (advance(s) < 0) {
        end_socket(s);
    }
}

/* --- the handshake ------------------------------------------------------ */

static struct gl_str
field(const struct gl_request *req, struct gl_str name)
{
    for (uint16_t i = 0; i < req->head->count; i++) {
        struct gl_str other =
            gl_span_str(req->bytes, req->head->fields[i].name);

        if (other.n == name.n && strncasecmp(other.p, name.p, name.n) == 0) {
            return gl_span_str(req->bytes, req->head->fields[i].value);
        }
    }
    return (struct gl_str){"", 0};
}

static size_t
write_answer(struct gl_request *req, struct gl_str key, char *dst)
{
    char accept[GL_WS_ACCEPT_BYTES];
    int n;

    if (!gl_ws_key_is_valid(key)) {
        n = snprintf(dst, ANSWER_BYTES,
                     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n%s\r\n%s",
                     gl_request_keeps(req) ? "" : "Connection: close\r\n",
                     req->head_only ? "" : "ready");
        return (size_t)n;
    }
    gl_ws_accept(key, accept);
    n = snprintf(dst, ANSWER_BYTES,
                 "HTTP/1.1 101 Switching Protocols\r\n"
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %.*s\r\n\r\n",
                 GL_WS_ACCEPT_BYTES, accept);
    return (size_t)n;
}

/* Makes the socket of an upgraded request.  0 or -errno. */
static int
open_socket(struct gl_ws_echo *echo, struct gl_request *req)
{
    struct socket *s = calloc(1, sizeof(*s));
    int error = s == NULL ? -ENOMEM : 0;

    if (error == 0) {
        s->waiter.wake = woken;
        s->echo = echo;
        error = gl_ws_new(req, &echo->options, echo->codec, &s->ws);
    }
    if (error < 0) {
        free(s);
        return error;
    }
    echo->opened++;
    gl_list_push(&echo->sockets, &s->link);
    if (gl_ws_wait_receive(s->ws, &s->waiter) < 0) {
        end_socket(s);
    }
    return 0;
}

static void
start(void *owner, struct gl_request *req)
{
    char bytes[ANSWER_BYTES];
    struct gl_str key = field(req, GL_STR("Sec-WebSocket-Key"));
    bool upgrades = gl_ws_key_is_valid(key) && req->body_done;
    struct iovec iov = {
        bytes,
        write_answer(req, upgrades ? key : (struct gl_str){"", 0}, bytes)};
    bool sent = gl_request_send(req, &iov, 1, true) == (ssize_t)iov.iov_len;

    if (sent && upgrades && gl_request_upgrade(req) == 0) {
        gl_request_release_slot(req);
        sent = false;
        if (open_socket(owner, req) == 0) {
            return;
        }
    }
    gl_request_finish(req, sent);
}

static void
departed(void *owner, struct gl_request *req)
{
    (void)owner; /* its WebSocket sees it */
    (void)req;
}

static const struct gl_engine_ops ops = {
    .start = start,
    .departed = departed,
};

int
gl_ws_echo_engine(struct gl_ws_echo *echo, const struct gl_options *options,
                  const struct gl_log *log, struct gl_engine **ret_engine)
{
    int error;

    *echo = (struct gl_ws_echo){
        .options = {.message_max_bytes = 1 << 20,
                    .output_max_bytes = 1 << 20,
                    .ping_interval_ms = 20000,
                    .pong_timeout_ms = 20000,
                    .close_timeout_ms = 5000},
    };
    gl_list_init(&echo->sockets);
    error = gl_engine_new(&ops, echo, options, log, NULL, ret_engine);
    if (error == 0) {
        echo->engine = *ret_engine;
    }
    return error;
}

void
gl_ws_echo_fini(struct gl_ws_echo *echo)
{
    while (!gl_list_empty(&echo->sockets)) {
        struct socket *s =
            GL_CONTAINER_OF(echo->sockets.next, struct socket, link);

        gl_ws_forget(s->ws, &s->waiter);
        end_socket(s);
    }
}
