/* core.h - cores: slots for concurrent requests, each with its greenlet.
 *
 * A pool belongs to one engine and one thread.  Cores are made when first
 * needed.  An idle core keeps its greenlet, parked inside core_main(), and
 * the next request runs on it if nobody else can reach that greenlet; else
 * the greenlet is retired and a new one is made.  The decision falls when
 * the core is taken again, because at the end of a request handles of the
 * loop may still hold the greenlet for a turn.
 *
 * All functions are called with the GIL held.  docs/internals/cores.md draws
 * the states.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_CORE_H
#define GL_PY_CORE_H

#include "engine/engine.h"
#include "engine/request.h"
#include "py/state.h"

struct gl_wait;

/* The greenlet in which a thread's loop runs, parent of every core. */
struct gl_hub {
    struct gl_list link;     /* in st->hubs */
    struct gl_state *st;     /* borrowed from the module */
    unsigned long thread;    /* ident */
    PyObject *greenlet;      /* strong */
    PyObject *loop;          /* strong */
    PyObject *view;          /* borrowed: the loop or None, whichever the
                              * thread's running loop was last set to */
    struct gl_core *current; /* whose family has control; NULL: the hub */
    bool in_turn;            /* the engine runs: see gl_bracket_view */
    char *cores_below;       /* where the stacks of cores may begin */
    struct gl_stack_memory *stacks; /* borrowed from the process; or NULL */
    unsigned users;                 /* pools */
    struct gl_list pools; /* of them, those that are not yet done with */
    /* What a core asked the hub to do for it: see park.c. */
    struct gl_transfer {
        struct gl_wait *wait; /* of the asking core; NULL: nothing asked */
        PyObject *target;     /* strong: a GlCore */
        PyObject *args;       /* strong: a tuple, or NULL for a throw */
        PyObject *kwargs;     /* strong or NULL */
        struct gl_exc exc;
    } transfer;
};

struct gl_core {
    struct gl_pool *pool;       /* borrowed, outlives it */
    struct gl_list idle;        /* in the pool's list of idle cores */
    PyObject *greenlet;         /* strong: a GlCore; NULL: none made yet */
    PyObject *context;          /* strong: of the running request */
    PyObject *number;           /* strong: its id as environ shows it */
    struct gl_request *request; /* owned until finished; NULL: none */
    void *exchange;             /* the gateway's */
    PyObject *job;              /* strong: what spawn() runs here, or NULL */
    struct gl_list waits;       /* of its family, parked now */
    uint64_t served;            /* requests, the running one included */
    uint32_t id;
    uint32_t switches; /* into it, for the running request */
    uint32_t visible;  /* > 0: it sees the running loop */
    const void *stack; /* where it was copied to when it last gave
                                 * up control: a hint to prefetch, or NULL */
    size_t stack_bytes;
    bool cancels;   /* when its client departs: asked for */
    bool cancelled; /* told of that: once is enough */
    bool busy;      /* from taken to idle again */
    bool leaving;   /* its greenlet is to end */
};

struct gl_pool {
    struct gl_state *st;      /* borrowed from the module */
    struct gl_hub *hub;       /* shared with the thread's other pools */
    struct gl_engine *engine; /* borrowed */
    void *owner;              /* borrowed: the GlEngine */
    struct gl_list link;      /* in hub->pools, until it is done with */
    PyObject *context;        /* strong: what every request's is a copy of */
    struct gl_core **cores;   /* owned, `made` of them */
    uint32_t made;
    uint32_t busy;
    uint32_t resting;     /* greenlets of idle cores */
    uint32_t resting_max; /* more than these end; 0: all stay */
    struct gl_list idle;
    struct gl_list spare_waits; /* owned by park.c: struct gl_wait */
    uint32_t spare_wait_count;
    uint64_t retired;    /* greenlets that could not be reused */
    bool takes_requests; /* not jobs */
    bool visible;        /* --running-loop visible */
    bool no_parking;     /* the graceful time is over */
    /* Runs one request (or job) on `core`, in its greenlet; must finish it.
     * Keeps no exception set. */
    void (*serve)(struct gl_core *core);
    /* Frees what serve() keeps in core->exchange; NULL is fine. */
    void (*free_exchange)(void *exchange);
    /* Its request ends without it; where no request comes, may be NULL. */
    void (*forget_request)(void *exchange);
    /* Has the memory that serve() will use next fetched. */
    void (*prefetch)(const struct gl_core *core);
    /* Takes note of the exception that is set, and clears it. */
    void (*report)(struct gl_pool *pool, const char *what);
};

/* The greenlet subclass; the trailing part of its instances. */
struct gl_core_link {
    struct gl_core *core; /* NULL once it is retired */
};

/* The caller runs the engine: has the stacks of cores begin well below the
 * caller's.  Cores share the hub's stack: while one runs, what the hub had in
 * the same place is away.  libuv keeps what it looks for events with there
 * (about 16 KiB), and a request that closes a descriptor writes into it. */
void gl_hub_mark_stack(struct gl_hub *hub);

/* The zeroed pool is made ready for the calling thread, greenlet and loop;
 * the caller then sets serve, report and visible.  0 or -1. */
int gl_pool_init(struct gl_pool *pool, struct gl_state *st,
                 struct gl_engine *engine, PyObject *loop);
/* Ends every idle core's greenlet and frees the pool's memory.  Cores that
 * are still busy are abandoned with their requests finished: then it returns
 * true, and the pool's memory must stay, because their stacks refer to it. */
bool gl_pool_fini(struct gl_pool *pool);
/* Runs `req` on an idle core, until it ends or parks.  In the hub. */
void gl_pool_run(struct gl_pool *pool, struct gl_request *req);
/* Runs `job` (a new reference to it is taken) on an idle core, in `context`,
 * until it ends or parks.  In the hub.  0, or -1 if it could not start. */
int gl_pool_run_job(struct gl_pool *pool, PyObject *job, PyObject *context);
/* Throws an exception of class `type` into every parked request.  `value`
 * may be NULL.  In the hub. */
void gl_pool_throw_all(struct gl_pool *pool, PyObject *type);

/* Throws into the request that is parked on `core`: an exception of class
 * `type` with one text argument or none (NULL).  In the hub. */
void gl_core_throw(struct gl_core *core, PyObject *type, const char *text);
/* The core in whose family control is, or NULL (no exception).  A child of
 * the process is in none. */
struct gl_core *gl_core_current(struct gl_state *st);
/* The link inside a GlCore. */
struct gl_core_link *gl_core_link(PyObject *greenlet);
/* The hub of this thread in which engines run, or NULL (no exception); NULL
 * as well in a child of the process that made it. */
struct gl_hub *gl_hub_here(struct gl_state *st);
/* The hub of the loop that runs in this thread, if engines run on it; else
 * NULL with RuntimeError. */
struct gl_hub *gl_hub_running(struct gl_state *st);

/* Adds the types Core to the module.  0 or -1. */
int gl_core_type_init(PyObject *module, struct gl_state *st);

#endif
