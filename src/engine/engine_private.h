/* engine_private.h - the engine's own state, for src/engine alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_ENGINE_PRIVATE_H
#define GL_ENGINE_ENGINE_PRIVATE_H

#include "base/clock.h"
#include "base/episode.h"
#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/proxy_intake.h"

#define GL_SCRATCH_BYTES 65536
#define GL_EXPLANATION_BYTES 256
#define GL_SPARE_REQUESTS 1024 /* freed requests that are kept for reuse */

struct gl_engine {
    struct gl_poller poller;
    struct gl_timers *timers;    /* owned */
    struct gl_watch timer_watch; /* of the timerfd, owned */
    uint64_t timer_armed_ms;     /* what the timerfd is set to */
    bool timers_left;            /* of those that are due, some may be left */
    bool brief_bursts;           /* the last run of timers was a brief one */
    struct gl_watch member;      /* the loop's selector, borrowed fd */
    bool member_ready;
    const struct gl_engine_ops *ops; /* borrowed */
    void *owner;                     /* borrowed */
    struct gl_options options;
    struct gl_log log;
    struct gl_trust trust; /* of proxies */
    struct gl_proxy_complaint strangers, bad_headers;
    struct gl_access_log *access_log; /* borrowed; may be NULL */
    struct gl_timer access_log_timer; /* flushes what is pending */
    struct gl_list listeners;
    struct gl_list connections; /* all that are not closed */
    struct gl_list pending;     /* connections to be continued */
    struct gl_list deferred;    /* of struct gl_deferred */
    struct gl_list due;         /* those that this turn runs */
    struct gl_list websockets;  /* all, by gl_ws.link */
    struct gl_list queue;       /* requests that wait for a slot */
    struct gl_list gathered;    /* those that have one, and start next */
    struct gl_list held;       /* connections whose answers wait for others */
    uint64_t hold_until_ns;    /* 0: each answer leaves at once */
    struct gl_list graveyard;  /* closed connections, freed in settle */
    struct gl_list fd_watches; /* of fd_wait.c */
    struct gl_list
        fd_graveyard;      /* ended ones, freed when the batch is over */
    struct gl_list spares; /* requests for reuse */
    uint32_t spare_count;
    struct gl_engine_stats stats;
    uint32_t excess; /* connections that are being rejected */
    uint32_t paused_listeners, starved_listeners;
    struct gl_episode starving;  /* somebody waits in a backlog */
    struct gl_episode rejecting; /* connections, beyond the limit */
    struct gl_episode refusing;  /* requests, for want of a slot */
    struct gl_date date;
    bool in_turn;
    bool gathering; /* more events of a group are to be handled */
    bool settling;
    bool draining;
    bool drained;                           /* ops->drained was called */
    struct gl_head head;                    /* of the request being parsed */
    char explanation[GL_EXPLANATION_BYTES]; /* of its refusal; may be "" */
    uint64_t explained_second;              /* when the last was logged */
    uint32_t explained;                     /* in that second */
    uint32_t unexplained;                   /* dropped since */
    char scratch[GL_SCRATCH_BYTES]; /* received bytes, until used or kept */
};

/* A zeroed request, or NULL without memory. */
struct gl_request *gl_engine_take_request(struct gl_engine *e);
/* Takes a request back, its kept head freed. */
void gl_engine_give_request(struct gl_engine *e, struct gl_request *req);
/* Leaves a line for the log, of why the request being parsed is refused. */
void gl_engine_explain(struct gl_engine *e, const char *format, ...)
    GL_PRINTF(2, 3);
/* Writes that line, if there is one; but peers cannot flood the log.  To be
 * called when the connection has been dealt with: the log may run anything,
 * and so may have this very connection closed. */
void gl_engine_log_explanation(struct gl_engine *e);
/* Has the connection continued when the engine settles. */
void gl_engine_continue_later(struct gl_engine *e, struct gl_conn *conn);
/* The same from any place: where no turn runs one is made to come. */
void gl_engine_continue_soon(struct gl_engine *e, struct gl_conn *conn);
/* Where no turn runs, makes one come.  At most one system call a turn. */
void gl_engine_wake(struct gl_engine *e);

/* Frees the watches of waits for descriptors that are over. */
void gl_fd_bury(struct gl_engine *e);
/* Ends every wait for a descriptor, waking nobody. */
void gl_fd_forget_all(struct gl_engine *e);

/* Has the listeners that were paused accept again, if they can: after
 * connections were closed. */
void gl_listeners_resume(struct gl_engine *e);
/* Has no listener accept any more; connections may still point to them. */
void gl_listeners_silence(struct gl_engine *e);
void gl_listeners_free(struct gl_engine *e);

/* Whether the queue for slots has no room for another request. */
bool gl_engine_queue_full(const struct gl_engine *e);
/* Counts, and logs, that a request got no slot: `late`, it waited too long;
 * else the queue was full. */
void gl_engine_note_overload(struct gl_engine *e, bool late);

/* Begins to close every WebSocket, with 1001. */
void gl_ws_close_all(struct gl_engine *e);
/* Ends every WebSocket and its request, and leaves the memory to the owner. */
void gl_ws_abandon_all(struct gl_engine *e);

/* Parts of a connection that request.c shares with conn.c. */

/* Sends what is in conn->out.  Returns 0 when it is empty, -EAGAIN (the
 * watch then asks for EPOLLOUT), or -ECONNRESET. */
int gl_conn_flush(struct gl_conn *conn);
/* The same, and within write_timeout_ms the peer must take a byte: nothing
 * else that it does moves that deadline. */
int gl_conn_flush_in_time(struct gl_conn *conn);
/* Receives up to n > 0 bytes of the peer's stream.  Returns how many, 0 at its
 * end, -EAGAIN or -ECONNRESET. */
ssize_t gl_conn_receive(struct gl_conn *conn, void *dst, size_t n);
/* Sends all of iov, what the socket does not take by way of conn->out, which
 * may grow by it.  Returns 0; -ENOMEM: nothing was taken; or -ECONNRESET. */
int gl_conn_post(struct gl_conn *conn, const struct iovec *iov, int count);
/* Ends the connection once conn->out has left; lingers where bytes of the
 * peer could still be on their way. */
void gl_conn_end(struct gl_conn *conn);
/* What follows a request that keeps the connection. */
void gl_conn_next(struct gl_conn *conn);

#endif
