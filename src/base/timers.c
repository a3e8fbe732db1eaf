/* timers.c - deadlines in a binary heap.
 *
 * The heap holds pointers; each timer knows its place (slot = index + 1), so
 * that stopping one needs no search.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/timers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_TIMERS 16

struct gl_timers {
    struct gl_timer **heap; /* owned; the timers are borrowed */
    size_t used;
    size_t cap;
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
    assert(timers->used == 0); /* owners stop their timers before this */
    free(timers->heap);
    free(timers);
}

static void
place(struct gl_timers *timers, size_t at, struct gl_timer *t)
{
    timers->heap[at] = t;
    t->slot = at + 1;
}

static void
sift_up(struct gl_timers *timers, size_t at, struct gl_timer *t)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;

        if (timers->heap[parent]->due_ms <= t->due_ms) {
            break;
        }
        place(timers, at, timers->heap[parent]);
        at = parent;
    }
    place(timers, at, t);
}

static void
sift_down(struct gl_timers *timers, size_t at, struct gl_timer *t)
{
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < timers->used &&
            timers->heap[child + 1]->due_ms < timers->heap[child]->due_ms) {
            child++;
        }
        if (child >= timers->used ||
            timers->heap[child]->due_ms >= t->due_ms) {
            break;
        }
        place(timers, at, timers->heap[child]);
        at = child;
    }
    place(timers, at, t);
}

/* Puts t where it belongs, given that only its place may be wrong. */
static void
settle(struct gl_timers *timers, size_t at, struct gl_timer *t)
{
    if (at > 0 && timers->heap[(at - 1) / 2]->due_ms > t->due_ms) {
        sift_up(timers, at, t);
    } else {
        sift_down(timers, at, t);
    }
}

static int
grow(struct gl_timers *timers)
{
    size_t cap = timers->cap > 0 ? 2 * timers->cap : FIRST_TIMERS;
    struct gl_timer **heap;

    if (timers->used < timers->cap) {
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

int
gl_timers_start(struct gl_timers *timers, struct gl_timer *t)
{
    if (t->slot != 0) {
        settle(timers, t->slot - 1, t);
        return 0;
    }
    if (grow(timers) < 0) {
        return -ENOMEM;
    }
    timers->used++;
    sift_up(timers, timers->used - 1, t);
    return 0;
}

void
gl_timers_stop(struct gl_timers *timers, struct gl_timer *t)
{
    size_t at = t->slot - 1;
    struct gl_timer *last;

    if (t->slot == 0) {
        return;
    }
    t->slot = 0;
    timers->used--;
    last = timers->heap[timers->used];
    if (last != t) {
        settle(timers, at, last);
    }
}

uint64_t
gl_timers_next_ms(const struct gl_timers *timers)
{
    return timers->used > 0 ? timers->heap[0]->due_ms : GL_TIMERS_NEVER;
}

size_t
gl_timers_run(struct gl_timers *timers, uint64_t now_ms, size_t max)
{
    size_t fired = 0;

    while (fired < max && timers->used > 0 &&
           timers->heap[0]->due_ms <= now_ms) {
        struct gl_timer *t = timers->heap[0];

        gl_timers_stop(timers, t);
        t->fire(t);
        fired++;
    }
    return fired;
}
