/* utf8.h - checks UTF-8 that comes in pieces (RFC 3629).
 *
 * Strict: no overlong forms, no surrogates, nothing above U+10FFFF.  The
 * result never depends on where the pieces are cut.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_UTF8_H
#define GL_PROTO_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed, it is ready; it needs no cleanup. */
struct gl_utf8 {
    uint32_t state; /* private */
};

/* Takes the next n bytes; false: they are not UTF-8, and whatever follows is
 * not either. */
bool gl_utf8_feed(struct gl_utf8 *u, const char *bytes, size_t n);
/* Whether all that was taken is UTF-8 and ends with a whole character. */
bool gl_utf8_complete(const struct gl_utf8 *u);

#endif
