/* sha1.h - SHA-1 (FIPS 180-4), for protocols that name it.
 *
 * It is no protection against forgery any more: the WebSocket handshake uses
 * it as a plain checksum.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_SHA1_H
#define GL_BASE_SHA1_H

#include "base/str.h"

#include <stdint.h>

#define GL_SHA1_BYTES 20
#define GL_SHA1_BLOCK_BYTES 64

struct gl_sha1 {
    uint64_t length; /* bytes so far */
    uint32_t words[GL_SHA1_BYTES / 4];
    unsigned char
        block[GL_SHA1_BLOCK_BYTES]; /* its first length % 64 bytes */
};

void gl_sha1_init(struct gl_sha1 *h);
void gl_sha1_feed(struct gl_sha1 *h, struct gl_str bytes);
/* Writes the digest; h must be initialised again before its next use. */
void gl_sha1_end(struct gl_sha1 *h, unsigned char dst[GL_SHA1_BYTES]);

#endif
