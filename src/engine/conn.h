/* conn.h - a connection: the peer's byte stream and where it stands.
 *
 * Private to src/engine and its tests; owners see struct gl_request.  The
 * machine is drawn in docs/internals/conn.md.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_CONN_H
#define GL_ENGINE_CONN_H

#include "base/buf.h"
#include "base/list.h"
#include "base/sock.h"
#include "base/timers.h"
#include "engine/poller.h"
#include "engine/protocol.h"
#include "engine/request.h"
#include "engine/transport.h"

#include <stdbool.h>
#include <stdint.h>

struct gl_engine;
struct gl_listener;

enum gl_conn_state {
    GL_CONN_IDLE,    /* between requests, nothing received */
    GL_CONN_PROXY,   /* a PROXY header has to come first */
    GL_CONN_HEAD,    /* a part of a head is here */
    GL_CONN_QUEUED,  /* a request waits for a slot; nothing is read */
    GL_CONN_BUSY,    /* a request runs */
    GL_CONN_DISCARD, /* answered; the rest of the body is thrown away */
    GL_CONN_FLUSH,   /* the rest of the last answer is leaving */
    GL_CONN_LINGER,  /* our side has ended; the peer's bytes are dropped so
                      * that a reset does not destroy the answer */
    GL_CONN_CLOSED   /* freed at the end of the batch */
};

struct gl_conn {
    struct gl_watch watch;
    struct gl_timer timer;    /* re-armed lazily: see deadline_ms */
    uint64_t deadline_ms;     /* GL_TIMERS_NEVER: none */
    struct gl_engine *engine; /* borrowed */
    const struct gl_transport *transport; /* borrowed, const */
    const struct gl_protocol *protocol;   /* borrowed, const */
    const struct gl_listener *listener;   /* borrowed; may be NULL */
    void *transport_state;                /* the transport's */
    struct gl_request *request;           /* owned; NULL: none */
    struct gl_head *partial;              /* owned; while in HEAD */
    struct gl_buf in;                     /* received, not yet used */
    struct gl_buf out;      /* to be sent before anything else */
    struct gl_list link;    /* in the engine's list of connections */
    struct gl_list pending; /* in the list of those to be continued */
    int unsent;             /* in the kernel when the write deadline was
                              * last moved: fewer later is progress */
    uint64_t discarded;     /* bytes dropped in DISCARD or LINGER */
    uint8_t state;          /* enum gl_conn_state */
    bool readable;          /* the socket may hold unread bytes */
    bool half_closed;       /* the peer ended its stream */
    bool reset;             /* the connection is broken */
    bool flushing;          /* the deadline is that of conn->out */
    bool linger;            /* after FLUSH comes LINGER, not the end */
    bool served;            /* it has carried a request */
    bool excess;            /* beyond max_connections: is being rejected */
    bool trusted;           /* what the peer says of its client counts */
    bool cut;               /* the last answer is not whole: no orderly end
                             * where the transport knows one */
    struct gl_peer peer;    /* or the client that a PROXY header named */
};

/* Reads, parses and starts what the connection's state allows. */
void gl_conn_continue(struct gl_conn *conn);
/* Gives the connection's request a slot, and hands it to the owner. */
void gl_conn_start(struct gl_conn *conn);
/* Whether it rests between two requests, with none on its way: who closes it
 * takes no answer from anybody. */
bool gl_conn_is_idle(const struct gl_conn *conn);
/* Answers 503 to a new connection, beyond the limit, and ends it. */
void gl_conn_reject(struct gl_conn *conn);
/* Marks it closed, wakes nobody, and leaves it to the engine to free. */
void gl_conn_close(struct gl_conn *conn);
/* Frees a connection that is closed (or was never watched). */
void gl_conn_free(struct gl_conn *conn);
/* Makes a watched connection; takes fd over, also on failure.  Returns 0 or
 * a negative errno. */
int gl_conn_new(struct gl_engine *e, int fd, const struct gl_peer *peer,
                const struct gl_transport *transport,
                const struct gl_protocol *protocol,
                const struct gl_listener *listener);
/* Its far end, for the log (borrowed). */
const char *gl_conn_peer_name(const struct gl_conn *conn);
/* Asks for an event when the socket takes bytes again.  0 or -errno. */
int gl_conn_want_write(struct gl_conn *conn);
/* Moves the deadline to delay_ms from now; the timer follows lazily.  Without
 * memory for the timer the connection counts as broken. */
void gl_conn_set_deadline(struct gl_conn *conn, uint32_t delay_ms);
/* The same with write_timeout_ms: also moved on while the peer takes bytes. */
void gl_conn_set_write_deadline(struct gl_conn *conn);
void gl_conn_clear_deadline(struct gl_conn *conn);

#endif
