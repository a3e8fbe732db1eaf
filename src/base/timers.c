/* timers.c - deadlines in a binary heap.
 *
 * The heap holds pointers; each timer knows its place (slot = index + 1), so
 * that stopping one needs no search.  Those that fire together leave the heap
 * first: then it is known who comes after whom, and among a thousand timers
 * whose memory is in no cache each one's can be fetched in time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/timers.h"

#include "base/gl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_TIMERS 16
#define BATCH 64                   /* timers that are due together */
#define TIMER_LINES 3              /* of what a timer is likely to lie in */
#define DUE (SIZE_MAX - BATCH - 1) /* slots from here on: in `due` */

/* The due time stands beside the pointer: comparing then touches only the
 * heap, not the memory of timers that nobody has used for long. */
struct entry {
    uint64_t due_ms;
    struct gl_timer *timer; /* borrowed */
};

struct gl_timers {
    struct entry *heap; /* owned */
    size_t used;
    size_t cap;
    struct gl_timer *due[BATCH]; /* borrowed; NULL: stopped meanwhile */
    size_t due_left;             /* of them, not NULL */
};

struct gl_timers *
gl_timers_new(void)
{
    return calloc(1, sizeof(struct gl_timers));
}

void
gl_timers_free(struct gl_timers *timers)
{
    if (timers == NULL) {
        return;
    }
    /* Owners stop their timers before this. */
    assert(timers->used + timers->due_left == 0);
    free(timers->heap);
    free(timers);
}

static void
place(struct gl_timers *timers, size_t at, struct entry entry)
{
    timers->heap[at] = entry;
    entry.timer->slot = at + 1;
}

static void
sift_up(struct gl_timers *timers, size_t at, struct entry entry)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;

        if (timers->heap[parent].due_ms <= entry.due_ms) {
            break;
        }
        place(timers, at, timers->heap[parent]);
        at = parent;
    }
    place(timers, at, entry);
}

static void
sift_down(struct gl_timers *timers, size_t at, struct entry entry)
{
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < timers->used &&
            timers->heap[child + 1].due_ms < timers->heap[child].due_ms) {
            child++;
        }
        if (child >= timers->used ||
            timers->heap[child].due_ms >= entry.due_ms) {
            break;
        }
        place(timers, at, timers->heap[child]);
        at = child;
    }
    place(timers, at, entry);
}

/* Puts the entry where it belongs, given that only `at` may be wrong. */
static void
settle(struct gl_timers *timers, size_t at, struct entry entry)
{
    if (at > 0 && timers->heap[(at - 1) / 2].due_ms > entry.due_ms) {
        sift_up(timers, at, entry);
    } else {
        sift_down(timers, at, entry);
    }
}

static int
grow(struct gl_timers *timers)
{
    size_t cap = timers->cap > 0 ? 2 * timers->cap : FIRST_TIMERS;
    struct entry *heap;

    /* Those that left the heap to fire may be moved instead: room for them
     * stays. */
    if (timers->used + timers->due_left < timers->cap) {
        return 0;
    }
    heap = realloc(timers->heap, cap * sizeof(*heap));
    if (heap == NULL) {
        return -ENOMEM;
    }
    timers->heap = heap;
    timers->cap = cap;
    return 0;
}

/* Takes t, which was to fire in this run, out of it. */
static void
leave_due(struct gl_timers *timers, struct gl_timer *t)
{
    timers->due[t->slot - DUE - 1] = NULL;
    timers->due_left--;
    t->slot = 0;
}

int
gl_timers_start(struct gl_timers *timers, struct gl_timer *t)
{
    const struct entry entry = {t->due_ms, t};

    if (t->slot > DUE) {
        leave_due(timers, t);
    } else if (t->slot != 0) {
        settle(timers, t->slot - 1, entry);
        return 0;
    } else if (grow(timers) < 0) {
        return -ENOMEM;
    }
    timers->used++;
    sift_up(timers, timers->used - 1, entry);
    return 0;
}

void
gl_timers_stop(struct gl_timers *timers, struct gl_timer *t)
{
    size_t at = t->slot - 1;
    struct entry last;

    if (t->slot > DUE) {
        leave_due(timers, t);
    }
    if (t->slot == 0) {
        return;
    }
    t->slot = 0;
    timers->used--;
    last = timers->heap[timers->used];
    if (last.timer != t) {
        settle(timers, at, last);
    }
}

uint64_t
gl_timers_next_ms(const struct gl_timers *timers)
{
    return timers->used > 0 ? timers->heap[0].due_ms : GL_TIMERS_NEVER;
}

/* Takes the due timers out of the heap, at most BATCH.  Returns how
 * many. */
static size_t
collect(struct gl_timers *timers, uint64_t now_ms, size_t max)
{
    size_t n = 0;

    while (n < max && n < BATCH && timers->used > 0 &&
           timers->heap[0].due_ms <= now_ms) {
        struct gl_timer *t = timers->heap[0].timer;

        gl_timers_stop(timers, t);
        timers->due[n] = t;
        timers->due_left++;
        n++;
        t->slot = DUE + n;
    }
    return n;
}

static void
announce(const struct gl_timers *timers, size_t at, size_t n, int others)
{
    struct gl_timer *t = at < n ? timers->due[at] : NULL;

    if (t != NULL && t->coming != NULL) {
        t->coming(t, others);
    }
}

/* Fires what was collected, but for what is stopped or moved meanwhile. */
static size_t
fire_collected(struct gl_timers *timers, size_t n)
{
    size_t fired = 0;

    for (size_t i = 0; i < n; i++) {
        struct gl_timer *t = timers->due[i];

        if (i + 4 < n) {
            gl_prefetch(timers->due[i + 4], TIMER_LINES);
        }
        announce(timers, i + 3, n, 3);
        announce(timers, i + 2, n, 2);
        announce(timers, i + 1, n, 1);
        if (t != NULL) {
            leave_due(timers, t);
            t->fire(t);
            fired++;
        }
    }
    return fired;
}

size_t
gl_timers_run(struct gl_timers *timers, uint64_t now_ms, size_t max)
{
    size_t fired = 0, n;

    assert(timers->due_left == 0); /* a run within a run would lose them */
    while (fired < max) {
        n = collect(timers, now_ms, max - fired);
        if (n == 0) {
            break;
        }
        fired += fire_collected(timers, n);
    }
    return fired;
}
