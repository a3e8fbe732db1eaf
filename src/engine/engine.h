/* engine.h - the event core of one loop: one epoll set, its timers, its
 * listeners and connections.
 *
 * An engine is used by one thread.  Whoever owns it calls gl_engine_turn()
 * when the engine's descriptor (itself an epoll set, so it nests in any
 * loop) is readable, or lets it wait.  The engine calls upward only through
 * struct gl_engine_ops; it knows nothing of Python.
 *
 * Errors are negative errno values.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_ENGINE_H
#define GL_ENGINE_ENGINE_H

#include "base/list.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sock.h"
#include "base/timers.h"
#include "engine/access_log.h"
#include "engine/poller.h"
#include "engine/protocol.h"
#include "engine/transport.h"
#include "proto/forwarded.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gl_engine; /* opaque; engine_private.h is for src/engine alone */
struct gl_request;

struct gl_engine_ops {
    /* Whether the owner answers the request without a slot, however many are
     * free: asked for each one first, with its head valid as for start.  If
     * true it may have ended already.  May be NULL: never. */
    bool (*answer)(void *owner, struct gl_request *req);
    /* The request has one of the slots: answer it, now or later, and end it
     * with gl_request_finish().  Its head is valid until the first other
     * gl_request_ call or the return, whichever is first. */
    void (*start)(void *owner, struct gl_request *req);
    /* The peer of a running request reset or half-closed its connection.
     * Its waiters, if any, have been woken.  Called at most once for each of
     * the two events. */
    void (*departed)(void *owner, struct gl_request *req);
    /* Around a wait that may block; NULL: nothing to do. */
    void (*before_wait)(void *owner);
    void (*after_wait)(void *owner);
    /* The engine is draining and its last connection has gone: once; may
     * be NULL. */
    void (*drained)(void *owner);
};

struct gl_budget {
    int events;  /* events after which a turn returns */
    uint64_t ns; /* time after which it returns */
};
/* 512 events or 0.5 ms: what keeps the loop's other callbacks prompt. */
extern const struct gl_budget gl_budget_default;

struct gl_engine_stats {
    uint64_t accepted;   /* connections */
    uint64_t requests;   /* that got a slot, or were answered without */
    uint64_t refused;    /* answered by the engine with a 4xx or 5xx */
    uint64_t queued;     /* that had to wait for a slot */
    uint64_t rejected;   /* connections beyond max_connections */
    uint64_t overflowed; /* requests refused: the queue was full */
    uint64_t expired;    /* requests refused: they waited too long */
    uint64_t turns;
    uint32_t connections; /* open now */
    uint32_t running;     /* slots in use now (not: requests that gave
                           * theirs back) */
    uint32_t waiting;     /* requests in the queue now */
    uint32_t websockets;  /* not freed yet */
};

/* Embedded in what wants to go on after everybody else who is ready; zeroed
 * first.  Runs once, in a later turn than the one it was deferred in, so that
 * the loop's own callbacks have had theirs. */
struct gl_deferred {
    struct gl_list link;
    void (*run)(struct gl_deferred *self); /* may defer any */
};

struct gl_listener {
    struct gl_watch watch;
    struct gl_timer retry; /* runs while an error pauses accepting */
    struct gl_engine *engine;
    const struct gl_transport *transport;
    const struct gl_protocol *protocol;
    void *user; /* borrowed; the owner's */
    struct gl_list link;
    bool paused;  /* not watched */
    bool starved; /* when it was last looked at, somebody had to wait */
};

/* Makes an engine.  `options` is copied; ops and owner are borrowed for the
 * engine's life, and so is access_log, which may be NULL.  Returns 0 or a
 * negative errno. */
int gl_engine_new(const struct gl_engine_ops *ops, void *owner,
                  const struct gl_options *options, const struct gl_log *log,
                  struct gl_access_log *access_log,
                  struct gl_engine **ret_engine);
/* Closes all connections and frees the engine; no request may be running,
 * with a slot or without, but those of WebSockets without a slot: they are
 * ended (1006), their waiters woken, and what is left of them is freed by
 * gl_ws_free as ever.
 * NULL is fine.  Not to be called inside a turn. */
void gl_engine_free(struct gl_engine *e);

/* The descriptor that is readable when a turn has work to do (borrowed). */
int gl_engine_fd(const struct gl_engine *e);
/* Whether this process made it.  A child of it must leave it alone. */
bool gl_engine_is_ours(const struct gl_engine *e);
const struct gl_options *gl_engine_options(const struct gl_engine *e);
struct gl_engine_stats gl_engine_stats(const struct gl_engine *e);
const struct gl_log *gl_engine_log(const struct gl_engine *e);
/* Whom to believe what they say of their clients; of connections that are
 * accepted from now on.  Moves the list out of *trust. */
void gl_engine_set_trust(struct gl_engine *e, struct gl_trust *trust);
const struct gl_trust *gl_engine_trust(const struct gl_engine *e);
/* Whether gl_engine_drain was called. */
bool gl_engine_draining(const struct gl_engine *e);
/* Text of the Date field, now (borrowed until the next call). */
const char *gl_engine_date(struct gl_engine *e);
struct gl_access_log *gl_engine_access_log(const struct gl_engine *e);

/* Has lines that were added to the access log written soon. */
void gl_engine_note_access(struct gl_engine *e);

/* Runs what is ready.  Waits up to timeout_ms (-1: for ever, 0: not) for the
 * first event, then goes on without waiting until one event or none came, the
 * budget is spent, or the member descriptor is ready.  Returns the number of
 * events that were handled, or a negative errno (-EINTR: a signal came;
 * -ECHILD: this is a child of the engine's process; others are fatal).  A
 * call from inside a turn does nothing and returns 0. */
int gl_engine_turn(struct gl_engine *e, int timeout_ms,
                   const struct gl_budget *budget);
/* The next of the requests that came together and have their slots, or NULL.
 * Who has just ended one may go on with it, as if it came by ops->start, but
 * its head is valid until gl_request_drop_head.  A child of the process gets
 * none: they are its parent's. */
struct gl_request *gl_engine_next_request(struct gl_engine *e);
/* Starts queued requests while slots are free, continues connections whose
 * request ended, and frees what was closed.  A turn does this by itself;
 * owners call it after they ran a request outside of one. */
void gl_engine_settle(struct gl_engine *e);

/* Watches the selector of the loop that runs us (level-triggered; fd is
 * borrowed until the engine is freed). */
int gl_engine_set_member(struct gl_engine *e, int fd);
/* Whether the member was ready in the last turn. */
bool gl_engine_member_ready(const struct gl_engine *e);

/* Serves the connections of a listening, non-blocking socket (borrowed until
 * gl_engine_drain or gl_engine_free). */
int gl_engine_listen(struct gl_engine *e, int fd,
                     const struct gl_transport *transport,
                     const struct gl_protocol *protocol, void *user);
/* Serves one connected, non-blocking socket, which the engine owns from now
 * on, also on failure.  listener may be NULL. */
int gl_engine_adopt(struct gl_engine *e, int fd, const struct gl_peer *peer,
                    const struct gl_transport *transport,
                    const struct gl_protocol *protocol,
                    const struct gl_listener *listener);
/* Stops accepting, closes idle connections and WebSockets (1001), and lets
 * each other connection end with its current request. */
void gl_engine_drain(struct gl_engine *e);
/* Closes every connection that runs no request. */
void gl_engine_close_unused(struct gl_engine *e);

/* Starts or moves a timer of the owner's on the engine's clock.  Returns 0
 * or -ENOMEM. */
int gl_engine_timer_start(struct gl_engine *e, struct gl_timer *timer);
void gl_engine_timer_stop(struct gl_engine *e, struct gl_timer *timer);

/* Runs `d` (borrowed until then) after what is ready now.  Undone by taking
 * its link out of the list. */
void gl_engine_defer(struct gl_engine *e, struct gl_deferred *d);

#endif
