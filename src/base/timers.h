/* timers.h - deadlines in a binary heap.
 *
 * Times are milliseconds of CLOCK_MONOTONIC.  A struct gl_timer is embedded
 * in the object that expires, zeroed first, and borrowed by the heap from
 * start until it fires or is stopped.  Start, stop and fire are O(log n).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_TIMERS_H
#define GL_BASE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GL_TIMERS_NEVER UINT64_MAX

struct gl_timers; /* opaque: layout is private to timers.c */

struct gl_timer {
    uint64_t due_ms;                     /* set by the owner before start */
    void (*fire)(struct gl_timer *self); /* may start or stop any timer */
    /* A hint to prefetch memory, in steps: called when so many others (3, 2,
     * then 1) fire before this one; must change nothing.  NULL: no wish. */
    void (*coming)(struct gl_timer *self, int others);
    size_t slot; /* private: where it is; 0 when idle */
};

/* Returns an empty heap, or NULL without memory. */
struct gl_timers *gl_timers_new(void);
/* Frees the heap; no timer may be running.  NULL is fine. */
void gl_timers_free(struct gl_timers *timers);
/* Starts an idle timer, or moves a running one to its new due_ms.  Returns 0
 * or -ENOMEM (never for a running one). */
int gl_timers_start(struct gl_timers *timers, struct gl_timer *t);
/* Stops t; harmless when it is idle. */
void gl_timers_stop(struct gl_timers *timers, struct gl_timer *t);
static inline bool
gl_timer_running(const struct gl_timer *t)
{
    return t->slot != 0;
}
/* Due time of the earliest timer, or GL_TIMERS_NEVER. */
uint64_t gl_timers_next_ms(const struct gl_timers *timers);
/* Fires, earliest first, at most `max` of the timers that are due at now_ms;
 * each is idle while its fire() runs.  Returns how many fired.  Not to be
 * called by a fire(). */
size_t gl_timers_run(struct gl_timers *timers, uint64_t now_ms, size_t max);

#endif
