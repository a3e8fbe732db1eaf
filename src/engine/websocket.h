/* websocket.h - one WebSocket over an upgraded request (RFC 6455).
 *
 * The request is upgraded by its owner, who sent the 101; from gl_ws_new to
 * gl_ws_free the peer's stream belongs to the WebSocket, and the request stays
 * valid.  Nothing here blocks or knows Python.
 *
 *  - The engine reads ahead by itself until one whole message waits; pings
 *    and closes are answered at once, also while the application is busy with
 *    something else.  More than the one message stays in the kernel, so that
 *    a peer feels when nobody takes what it sends.  With `exact` nothing is
 *    read in the background, and never more than the message that is asked
 *    for: who watches the descriptor is told of the next one.
 *  - Waiters are woken from a turn of the engine or its settling, never from
 *    within one of these calls, and always with 0: what happened is told by
 *    the call that they waited for.
 *  - What breaks the protocol fails the connection: a close frame with 1002,
 *    1007 (not UTF-8) or 1009 (too big) leaves, and the stream ends.
 *  - When the closing is over our side of the stream ends at once; the
 *    descriptor lives until gl_ws_free.
 *
 * The rules are explained in docs/internals/websocket.md.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_WEBSOCKET_H
#define GL_ENGINE_WEBSOCKET_H

#include "base/buf.h"
#include "base/str.h"
#include "engine/request.h"
#include "proto/ws_frame.h"

#include <stdbool.h>
#include <stdint.h>

struct gl_ws; /* opaque */

struct gl_ws_options {
    uint64_t message_max_bytes; /* of a message, inflated; beyond: 1009 */
    uint64_t output_max_bytes;  /* unsent, before a send says -EAGAIN */
    uint32_t ping_interval_ms;  /* of silence before a ping; 0: no pings */
    uint32_t pong_timeout_ms;   /* of silence after it: the peer is gone
                                 * (1006); 0: it never is */
    uint32_t close_timeout_ms;  /* for the peer's answer to our close */
    bool exact;                 /* read what is asked for, no more */
};

/* permessage-deflate (RFC 7692), whose parameters were agreed before. */
struct gl_ws_codec {
    /* Inflates a piece of a message and appends to out, which then holds not
     * more than max bytes in all.  `last`: the message ends with this piece.
     * 0, -EMSGSIZE (more than max), -EPROTO (bad data), -ENOMEM. */
    int (*inflate)(void *arg, struct gl_str in, bool last, struct gl_buf *out,
                   uint64_t max);
    /* Deflates a whole message and appends to out, without the 00 00 ff ff
     * at its end.  0 or -ENOMEM. */
    int (*deflate)(void *arg, struct gl_str in, struct gl_buf *out);
    void *arg; /* borrowed for the WebSocket's life */
};

struct gl_ws_message {
    uint8_t opcode;      /* GL_WS_TEXT (UTF-8, checked) or GL_WS_BINARY */
    struct gl_str bytes; /* borrowed: see gl_ws_receive */
};

/* Takes an upgraded request over.  Options and codec (NULL: none agreed) are
 * copied.  Returns 0, or -ENOMEM: then the request is still the caller's. */
int gl_ws_new(struct gl_request *req, const struct gl_ws_options *options,
              const struct gl_ws_codec *codec, struct gl_ws **ret_ws);
/* The next message.  Returns 0; -EAGAIN: none yet; -ESHUTDOWN: none will
 * come, see gl_ws_closed.  The bytes are valid until the engine's next turn
 * or the next gl_ws_receive or gl_ws_free of any WebSocket of this engine:
 * copy them at once.  They may be handed to gl_ws_send. */
int gl_ws_receive(struct gl_ws *ws, struct gl_ws_message *ret_message);
/* Wakes `waiter` when gl_ws_receive is worth calling.  0; -EBUSY: another one
 * waits; -ESHUTDOWN: the engine was freed. */
int gl_ws_wait_receive(struct gl_ws *ws, struct gl_waiter *waiter);
/* Sends a text (which the caller knows to be UTF-8), binary, ping or pong
 * message.  Returns 0: all is sent, or copied and sent by the engine;
 * -EAGAIN: nothing was taken, more than output_max_bytes are unsent;
 * -ESHUTDOWN: closed or closing; -EINVAL: more than 125 bytes in a ping, or
 * another opcode; -ENOMEM: nothing was taken. */
int gl_ws_send(struct gl_ws *ws, enum gl_ws_opcode opcode,
               struct gl_str bytes);
/* Whether a sender should wait: more than a quarter of output_max_bytes is
 * unsent, and the WebSocket is neither closing nor closed. */
bool gl_ws_should_wait(const struct gl_ws *ws);
/* Wakes `waiter` when gl_ws_should_wait is false; any number may wait, and
 * are woken in order.  0, or -ESHUTDOWN: the engine was freed. */
int gl_ws_wait_send(struct gl_ws *ws, struct gl_waiter *waiter);
/* Forgets a waiter that was not woken; harmless otherwise. */
void gl_ws_forget(struct gl_ws *ws, struct gl_waiter *waiter);
/* Begins the closing handshake; does nothing if it began.  `code` is one that
 * may be sent, or 1005 for a close without one; of the reason at most 123
 * bytes are sent, cut between characters.  A message that was whole before
 * is still received, later ones are dropped.  0, or -EINVAL for a code that
 * may not be sent. */
int gl_ws_close(struct gl_ws *ws, int code, struct gl_str reason);
/* Whether the closing is over, or the peer gone.  *ret_code is the peer's, or
 * 1005 if it gave none; 1006 if it left without a close; 1002, 1007 or 1009
 * where it broke the protocol.  *ret_reason is borrowed from ws.  Untouched
 * if not; both may be NULL. */
bool gl_ws_closed(const struct gl_ws *ws, int *ret_code,
                  struct gl_str *ret_reason);
/* The request; NULL when the engine was freed meanwhile. */
struct gl_request *gl_ws_request(struct gl_ws *ws);
/* Closes what is open (1001 going away), finishes the request and frees ws.
 * No waiter may be left.  NULL is fine. */
void gl_ws_free(struct gl_ws *ws);

#endif
