/* fd_wait.c - a one-shot wait for a descriptor that is not the engine's.
 *
 * The watch is apart from the wait: a batch of events may hold one more for
 * it when the wait's memory has gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/fd_wait.h"

#include "base/gl.h"
#include "engine/engine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct gl_fd_watch {
    struct gl_watch watch; /* fd: our duplicate, owned */
    struct gl_list link;   /* in the engine's list, then in its graveyard */
    struct gl_engine *engine; /* borrowed */
    struct gl_fd_wait *wait;  /* borrowed; NULL: forgotten */
};

static void
end_watch(struct gl_fd_watch *watch)
{
    struct gl_engine *e = watch->engine;

    watch->wait->watch = NULL;
    watch->wait = NULL;
    gl_list_remove(&watch->link);
    gl_poller_remove(&e->poller, &watch->watch);
    close(watch->watch.fd);
    gl_list_push(&e->fd_graveyard, &watch->link);
}

static void
fd_ready(struct gl_watch *self, uint32_t events)
{
    struct gl_fd_watch *watch =
        GL_CONTAINER_OF(self, struct gl_fd_watch, watch);
    struct gl_waiter *waiter = &watch->wait->waiter;

    (void)events;
    end_watch(watch);
    waiter->wake(waiter, 0);
}

int
gl_fd_wait_start(struct gl_engine *e, struct gl_fd_wait *w, int fd,
                 bool for_write)
{
    uint32_t events = for_write ? EPOLLOUT : EPOLLIN | EPOLLRDHUP;
    struct gl_fd_watch *watch;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0), error = -ENOMEM;

    assert(w->watch == NULL);
    if (own < 0) {
        return -errno;
    }
    watch = calloc(1, sizeof(*watch));
    if (watch != NULL) {
        watch->watch.fd = own;
        watch->watch.ready = fd_ready;
        watch->engine = e;
        watch->wait = w;
        error =
            gl_poller_add(&e->poller, &watch->watch, events | EPOLLONESHOT);
    }
    if (error < 0) {
        free(watch);
        close(own);
        return error;
    }
    w->watch = watch;
    gl_list_push(&e->fd_watches, &watch->link);
    return 0;
}

void
gl_fd_wait_stop(struct gl_engine *e, struct gl_fd_wait *w)
{
    if (w->watch != NULL) {
        end_watch(w->watch);
        if (!e->in_turn) {
            gl_fd_bury(e);
        }
    }
}

void
gl_fd_bury(struct gl_engine *e)
{
    struct gl_list *link;

    while ((link = gl_list_pop(&e->fd_graveyard)) != NULL) {
        free(GL_CONTAINER_OF(link, struct gl_fd_watch, link));
    }
}

void
gl_fd_forget_all(struct gl_engine *e)
{
    while (!gl_list_empty(&e->fd_watches)) {
        end_watch(
            GL_CONTAINER_OF(e->fd_watches.next, struct gl_fd_watch, link));
    }
    gl_fd_bury(e);
}
