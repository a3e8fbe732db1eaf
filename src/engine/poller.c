/* poller.c - one epoll set, and what it calls when a descriptor is ready.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/poller.h"

#include "base/gl.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define MARK_BYTES 4096
#define WATCHER_LINES 5 /* a connection, in cache lines */

int
gl_poller_init(struct gl_poller *p)
{
    void *page;

    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0) {
        return -errno;
    }
    /* The kernel wipes it in children: cheaper to read than getpid(), which
     * would be one more system call a turn. */
    page = mmap(NULL, MARK_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    p->mark = page;
    *p->mark = 1;
    return madvise(page, MARK_BYTES, MADV_WIPEONFORK) < 0 ? -errno : 0;
}

void
gl_poller_fini(struct gl_poller *p)
{
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
    if (p->mark != NULL) {
        (void)munmap(p->mark, MARK_BYTES);
        p->mark = NULL;
    }
}

static int
control(struct gl_poller *p, int op, struct gl_watch *w, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};

    if (epoll_ctl(p->fd, op, w->fd, &ev) < 0) {
        return -errno;
    }
    w->events = events;
    return 0;
}

int
gl_poller_add(struct gl_poller *p, struct gl_watch *w, uint32_t events)
{
    int error;

    assert(!w->active && w->ready != NULL);
    error = control(p, EPOLL_CTL_ADD, w, events);
    w->active = error == 0;
    return error;
}

int
gl_poller_change(struct gl_poller *p, struct gl_watch *w, uint32_t events)
{
    assert(w->active);
    return control(p, EPOLL_CTL_MOD, w, events);
}

void
gl_poller_remove(struct gl_poller *p, struct gl_watch *w)
{
    if (w->active) {
        w->active = false;
        /* Fails only if the descriptor was closed behind our back; then the
         * kernel has dropped it already. */
        (void)epoll_ctl(p->fd, EPOLL_CTL_DEL, w->fd, NULL);
    }
}

int
gl_poller_wait(struct gl_poller *p, int timeout_ms)
{
    int n = epoll_wait(p->fd, p->batch, GL_POLLER_BATCH, timeout_ms);

    if (n < 0) {
        return -errno;
    }
    return n;
}

bool
gl_poller_is_ours(const struct gl_poller *p)
{
    return *p->mark == 1;
}

void
gl_poller_dispatch(struct gl_poller *p, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct gl_watch *w = p->batch[i].data.ptr;

        if (i + 1 < to) {
            /* With a thousand connections the next one is in no cache. */
            gl_prefetch(p->batch[i + 1].data.ptr, WATCHER_LINES);
        }
        if (w->active) {
            w->ready(w, p->batch[i].events);
        }
    }
}
