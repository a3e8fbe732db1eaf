/* deflate.h - permessage-deflate (RFC 7692) by means of the zlib module.
 *
 * The interpreter's own zlib does the work, so that nothing more is linked.
 * Its objects, some 11 to 300 KiB each, are made when the first message needs
 * them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PY_DEFLATE_H
#define GL_PY_DEFLATE_H

#include "engine/websocket.h"
#include "proto/ws_deflate.h"
#include "py/state.h"

struct gl_deflate;

/* Whether this Python has zlib. */
bool gl_deflate_is_available(const struct gl_state *st);
/* For what was agreed; NULL with MemoryError.  Its calls need the GIL. */
struct gl_deflate *gl_deflate_new(struct gl_state *st,
                                  const struct gl_ws_deflate *agreed);
/* NULL is fine. */
void gl_deflate_free(struct gl_deflate *d);
/* The functions for the engine; they use d until it is freed. */
struct gl_ws_codec gl_deflate_codec(struct gl_deflate *d);

#endif
