/* fd_park.h - parking until a descriptor is ready.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_FD_PARK_H
#define GL_PY_FD_PARK_H

#include "py/state.h"

/* Parks the running greenlet until fd (borrowed; any descriptor but a
 * request's own connection) is ready for writing, else for reading, or is in
 * error or hung up.  timeout_ns: 0 waits for ever.  `what` names the caller
 * in errors.  Returns 1 when it is ready (a regular file always is), 0 after
 * the timeout, -1 with an exception: RuntimeError outside of a request,
 * OSError for what cannot be waited for, and whatever was thrown in. */
int gl_park_fd(struct gl_state *st, int fd, bool for_write,
               uint64_t timeout_ns, const char *what);

/* Whether fd is so now, without waiting; not for one that is none. */
bool gl_fd_is_ready(int fd, bool for_write);

/* wait_readable() and wait_writable(). */
extern PyMethodDef gl_fd_park_methods[];

#endif
