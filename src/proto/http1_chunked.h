/* http1_chunked.h - incremental decoder of the chunked transfer coding.
 *
 * RFC 9112, section 7.1.  Bytes in, events out: no I/O, no allocation.
 *
 *  - A zeroed struct gl_chunked is ready and needs no cleanup.
 *  - Input may be cut at any byte; the result never depends on the cuts.
 *  - A bare LF never ends a line; chunk sizes are hex digits only, with no
 *    sign, prefix or blank; extensions must be as the standard writes them,
 *    and are ignored; trailer fields are checked as header fields are, and
 *    dropped.
 *  - Framing is bounded: extensions of one chunk, the trailer section, and
 *    the share of framing in the whole body.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP1_CHUNKED_H
#define GL_PROTO_HTTP1_CHUNKED_H

#include "base/str.h"

#include <stdint.h>

enum gl_chunk_event {
    GL_CHUNK_DATA, /* *data is the next piece of the body */
    GL_CHUNK_END,  /* the trailer section ended; *in is what follows */
    GL_CHUNK_MORE, /* all of *in was used */
    GL_CHUNK_BAD   /* malformed or mostly framing: 400, then close */
};

struct gl_chunked {
    uint64_t left;    /* body bytes to come in this chunk */
    uint64_t body;    /* body bytes so far */
    uint64_t framing; /* other bytes so far */
    uint32_t line;    /* bytes of the extension or trailers so far */
    uint8_t state;    /* private; 0 at the start */
};

/* Takes bytes from *in, at most to the next event.  On DATA, *data lies
 * inside the caller's bytes (borrowed) and is not empty.  After END or BAD
 * every further call answers the same. */
enum gl_chunk_event gl_chunked_step(struct gl_chunked *c, struct gl_str *in,
                                    struct gl_str *data);

#endif
