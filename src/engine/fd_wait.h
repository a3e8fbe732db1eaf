/* fd_wait.h - a one-shot wait for a descriptor that is not the engine's.
 *
 * Any number of waits may be for one descriptor at a time, also for one that
 * is a connection of ours.  A wait watches a duplicate: its number is nobody
 * else's, so that closing the original, and whatever gets its number then, is
 * no danger.  The price is that a descriptor that is closed while it is
 * waited for keeps its file open until the wait is over; closing it wakes
 * nobody.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_FD_WAIT_H
#define GL_ENGINE_FD_WAIT_H

#include "engine/request.h"

#include <stdbool.h>

struct gl_engine;
struct gl_fd_watch; /* private */

/* Embedded in what waits; zeroed first. */
struct gl_fd_wait {
    struct gl_waiter waiter;   /* wake is set by the caller; called once,
                                * with 0 */
    struct gl_fd_watch *watch; /* private; NULL: it does not wait */
};

/* Wakes w->waiter (borrowed until then) when fd is ready for writing, else
 * for reading, or is in error or hung up.  w must not wait already.  Returns
 * 0; -EBADF; -EPERM: a regular file, which is always ready; -EMFILE, -ENOMEM,
 * -ENOSPC and what else the system says. */
int gl_fd_wait_start(struct gl_engine *e, struct gl_fd_wait *w, int fd,
                     bool for_write);
/* Forgets a wait; harmless if it was woken or never started.  To be called
 * before the memory of w goes. */
void gl_fd_wait_stop(struct gl_engine *e, struct gl_fd_wait *w);

#endif
