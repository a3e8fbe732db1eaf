/* poller.h - one epoll set, and what it calls when a descriptor is ready.
 *
 * A struct gl_watch is embedded in the object that owns the descriptor and
 * is borrowed by the set from add to remove.  One batch of events may hold
 * an event for a watch that an earlier event of the batch removed: such an
 * event is dropped, so the owner must stay in memory until the batch is over
 * (gl_engine frees closed objects only then).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_POLLER_H
#define GL_ENGINE_POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define GL_POLLER_BATCH 256

struct gl_watch {
    int fd;          /* borrowed; meaningful while `active` */
    uint32_t events; /* EPOLL* bits asked for */
    bool active;
    void (*ready)(struct gl_watch *self, uint32_t events);
};

struct gl_poller {
    int fd;              /* the epoll set, owned; -1 when not made */
    unsigned char *mark; /* owned: a page that reads 1 in the process that
                          * made the set, and 0 in its children */
    struct epoll_event batch[GL_POLLER_BATCH];
};

/* Returns 0 or a negative errno. */
int gl_poller_init(struct gl_poller *p);
/* Closes the set; the watches in it become inactive by themselves only in
 * the kernel, so owners remove them first. */
void gl_poller_fini(struct gl_poller *p);
/* Adds w (fd and ready set by the owner).  Returns 0 or a negative errno. */
int gl_poller_add(struct gl_poller *p, struct gl_watch *w, uint32_t events);
/* Changes the events of an active watch.  Returns 0 or a negative errno. */
int gl_poller_change(struct gl_poller *p, struct gl_watch *w,
                     uint32_t events);
/* Takes w out; harmless when it is not active. */
void gl_poller_remove(struct gl_poller *p, struct gl_watch *w);
/* Waits up to timeout_ms (-1: for ever) into p->batch.  Returns the number of
 * events, or a negative errno: -EINTR after a signal. */
int gl_poller_wait(struct gl_poller *p, int timeout_ms);
/* False in a child of the process that made the set: its parent's
 * connections are not to be served there. */
bool gl_poller_is_ours(const struct gl_poller *p);
/* Calls what the events `from` to `to` - 1 of the last wait are for. */
void gl_poller_dispatch(struct gl_poller *p, int from, int to);

#endif
