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
    const struct entry entry = {t->due_ms, t};

    if (t->slot != 0) {
        settle(timers, t->slot - 1, entry);
        return 0;
    }
    if (grow(timers) < 0) {
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

/* Whoever fires next gets a moment to fetch its memory. */
static void
announce_next(struct gl_timers *timers, uint64_t now_ms)
{
    struct gl_timer *next;

    if (timers->used > 0 && timers->heap[0].due_ms <= now_ms) {
        next = timers->heap[0].timer;
        if (next->next_to_fire != NULL) {
            next->next_to_fire(next);
        }
    }
}

size_t
gl_timers_run(struct gl_timers *timers, uint64_t now_ms, size_t max)
{
    size_t fired = 0;

    while (fired < max && timers->used > 0 &&
           timers->heap[0].due_ms <= now_ms) {
        struct gl_timer *t = timers->heap[0].timer;

        gl_timers_stop(timers, t);
        announce_next(timers, now_ms);
        t->fire(t);
        fired++;
    }
    return fired;
}
