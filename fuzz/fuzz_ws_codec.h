/* fuzz_ws_codec.h - a WebSocket codec without a library, of which any bytes
 * are input.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_FUZZ_WS_CODEC_H
#define GL_FUZZ_WS_CODEC_H

#include "engine/websocket.h"

#include <errno.h>

/* Each byte stands for as many of itself as its last two bits say; 0x80 is
 * bad data. */
static inline int
fuzz_inflate(void *arg, struct gl_str in, bool last, struct gl_buf *out,
             uint64_t max)
{
    (void)arg;
    (void)last;
    for (size_t i = 0; i < in.n; i++) {
        if ((unsigned char)in.p[i] == 0x80) {
            return -EPROTO;
        }
        for (int j = in.p[i] & 3; j > 0; j--) {
            int error = gl_buf_append(out, in.p + i, 1, (size_t)max);

            if (error < 0) {
                return error == -ENOBUFS ? -EMSGSIZE : error;
            }
        }
    }
    return 0;
}

static inline int
fuzz_deflate(void *arg, struct gl_str in, struct gl_buf *out)
{
    (void)arg;
    return gl_buf_append(out, in.p, in.n, SIZE_MAX);
}

static const struct gl_ws_codec fuzz_codec = {fuzz_inflate, fuzz_deflate,
                                              NULL};

#endif
