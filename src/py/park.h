/* park.h - parking a core for one stated reason, and resuming it.
 *
 * A struct gl_wait is one park of one greenlet.  It lives on the heap: the
 * C stack of a parked greenlet is copied away, so nothing outside may point
 * into it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_PARK_H
#define GL_PY_PARK_H

#include "py/core.h"

struct gl_wait {
    struct gl_timer timer;   /* for delays and timeouts */
    struct gl_core *core;    /* borrowed */
    PyObject *greenlet;      /* strong: who is parked, any class */
    struct gl_list link;     /* in core->waits while parked */
    struct gl_deferred turn; /* for letting others go first */
    struct gl_waiter waiter; /* for the engine's waits: wakes this one */
    const void *frame;       /* a hint: the Python frame that waits is near */
    PyObject *value;         /* strong; what the waker hands over, or NULL */
    struct gl_exc exc;       /* what it wants raised, or empty */
    int result;              /* of the waiter */
    bool woken;
    bool open; /* set by the caller: any switch() into it ends it as well */
    unsigned refs;
};

/* A wait of the current core for the current greenlet, or NULL with an
 * exception set: there is no core, or it may not park any more. */
struct gl_wait *gl_wait_new(struct gl_state *st, const char *what);
/* Notes where the Python frame that calls lies, to be near again when it goes
 * on: `args` are the arguments of a vectorcall. */
void gl_wait_note_frame(struct gl_wait *w, PyObject *const *args);
/* Gives control to the hub until the wait is woken.  Returns 0; or -1 with
 * the exception that was thrown in, or that the waker left.  Whatever the
 * caller registered it unregisters after either. */
int gl_wait_park(struct gl_wait *w);
/* Stops the timer and drops the reference. */
void gl_wait_free(struct gl_wait *w);
/* Resumes the parked greenlet of w with `result`.  In the hub; harmless for
 * one that is not parked. */
void gl_wait_wake(struct gl_wait *w, int result);
/* Has w woken with -ETIMEDOUT after the delay; with no delay after all that
 * is ready now.  0 or -1. */
int gl_wait_start_timer(struct gl_wait *w, uint64_t delay_ns);
/* Parks the current core until the hub has been through what else is ready
 * in this turn.  0 or -1. */
int gl_park_yield(struct gl_state *st);

/* Shows the running loop, or hides it, as the core is to see it. */
void gl_core_view(struct gl_core *core);
/* Gives control to `g`, a greenlet of core's family, and does what cores ask
 * of the hub until it is back for good.  exc: throws instead; emptied.
 * Returns what came back.  In the hub, outside of any task. */
PyObject *gl_core_enter(struct gl_core *core, PyObject *g, PyObject *args,
                        PyObject *kwargs, struct gl_exc *exc);
/* switch() and throw() of a core called from another core: asks the hub to
 * do it, parks, and returns what the target gave. */
PyObject *gl_core_transfer(struct gl_state *st, PyObject *target,
                           PyObject *args, PyObject *kwargs,
                           struct gl_exc *exc);
/* The wait in which greenlet `g` of `core` is parked, or NULL. */
struct gl_wait *gl_core_wait_of(struct gl_core *core, PyObject *g);
/* Whether `g` is in a wait that a switch() from elsewhere does not end. */
bool gl_core_is_closed(struct gl_core *core, PyObject *g);
/* Frees the waits that are kept for reuse; when no core of the pool runs. */
void gl_pool_free_waits(struct gl_pool *pool);
/* Ends waits of other greenlets that the finished request left behind. */
void gl_core_end_waits(struct gl_core *core);

#endif
