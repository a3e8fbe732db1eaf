/* loopback.h - what the C-only servers share: a port on 127.0.0.1, served
 * until SIGINT or SIGTERM.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_LOOPBACK_H
#define GL_ENGINE_LOOPBACK_H

#include "engine/engine.h"

#include <stdint.h>

/* Listens on a port of 127.0.0.1; 0: any free one.  Returns the socket (owned
 * by the caller) or a negative errno. */
int gl_loopback_listen(uint16_t port);
/* Tells the port on standard output, and serves until a signal comes.
 * Returns 0 or a negative errno. */
int gl_loopback_serve(struct gl_engine *e, int fd);

#endif
