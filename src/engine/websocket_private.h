/* websocket_private.h - a WebSocket's own state: websocket.c has the life and
 * the output, websocket_input.c the input.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_WEBSOCKET_PRIVATE_H
#define GL_ENGINE_WEBSOCKET_PRIVATE_H

#include "base/list.h"
#include "base/timers.h"
#include "engine/conn.h"
#include "engine/websocket.h"
#include "proto/utf8.h"

#include <assert.h>

enum gl_ws_state {
    GL_WS_IS_OPEN,
    GL_WS_IS_CLOSING, /* our close is sent; all that is read is dropped until
                       * the peer's comes */
    GL_WS_IS_CLOSED   /* nothing is read or sent any more */
};

/* Where the bytes of a message are that is ready or was handed out. */
enum gl_ws_place {
    GL_WS_NOWHERE,
    GL_WS_IN_SCRATCH, /* the engine's: gone with the next read of anybody */
    GL_WS_IN_INPUT,   /* conn->in, of which `taken` bytes are to be dropped */
    GL_WS_IN_BUFFER   /* ws->message */
};

struct gl_ws {
    struct gl_request *req;     /* owned; NULL: the engine was freed */
    struct gl_engine *engine;   /* borrowed; NULL with it */
    struct gl_list link;        /* in the engine's list */
    struct gl_waiter reader;    /* of the request, always there */
    struct gl_waiter writer;    /* of the request, while output is unsent */
    struct gl_waiter *receiver; /* borrowed; who waits for a message */
    struct gl_waiter *senders;  /* borrowed; who waits to send, in line */
    struct gl_timer timer;      /* of pings, then of the closing */
    uint64_t heard_ms;          /* when bytes of the peer came last */
    struct gl_ws_options options;
    struct gl_ws_codec codec; /* inflate NULL: none */
    struct gl_buf message;    /* what came of a message, inflated */
    struct gl_str ready;      /* the bytes of a whole message */
    size_t taken;             /* see GL_WS_IN_INPUT */
    uint64_t left;            /* of the data frame's payload, to come */
    uint64_t at;              /* how much of it has come */
    char *pong;               /* owned: its length, its payload; waits for
                                 * room, and for newer ones to replace it */
    char *reason;             /* owned: why it closed */
    struct gl_utf8 utf8;
    uint8_t mask[4]; /* of the data frame */
    uint16_t close_code;
    uint8_t reason_bytes;
    uint8_t waking;       /* depth of calls out of notify() */
    uint8_t state;        /* enum gl_ws_state */
    uint8_t opcode;       /* of the message that comes; 0: none */
    uint8_t ready_opcode; /* of the message that waits; 0: none */
    uint8_t place;        /* enum gl_ws_place */
    bool compressed : 1;  /* the message that comes */
    bool in_frame : 1;    /* a data frame's head was read */
    bool fin : 1;         /* it is the message's last */
    bool more : 1;        /* conn->in may hold whole frames */
    bool unflushed : 1;   /* conn->out got pongs, not sent yet */
    bool pinged : 1;      /* a ping went out since heard_ms */
    bool shut : 1;        /* our side of the stream has ended */
    bool dead : 1;        /* freed while waking */
};

/* What 15,000 idle ones cost counts. */
static_assert(sizeof(struct gl_ws) <= 304, "an idle WebSocket is small");

/* Drops the message that was handed out, if any. */
void gl_ws_drop_handed(struct gl_ws *ws);
/* Reads and handles what has come, until a message is ready, nothing more is
 * there, it was enough for once, or the WebSocket is closed. */
void gl_ws_pump(struct gl_ws *ws);
/* Makes the ready message independent of memory that others use. */
void gl_ws_save_ready(struct gl_ws *ws);
/* Whether the next byte of input begins a message. */
bool gl_ws_between_messages(const struct gl_ws *ws);

/* Queues the answer to a ping. */
void gl_ws_pong(struct gl_ws *ws, struct gl_str payload);
/* The peer's close has come. */
void gl_ws_peer_closes(struct gl_ws *ws, int code, struct gl_str reason);
/* The peer broke the protocol: tells it, and ends. */
void gl_ws_fail(struct gl_ws *ws, int code, const char *reason);
/* The peer is gone, or as good as gone. */
void gl_ws_lose(struct gl_ws *ws, const char *why);

#endif
