/* ws_deflate.h - agreeing on permessage-deflate (RFC 7692, section 7.1).
 *
 * Only the words of the handshake; compressing is done elsewhere.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_WS_DEFLATE_H
#define GL_PROTO_WS_DEFLATE_H

#include "base/str.h"

#include <stdint.h>

/* Windows of 2^bits bytes.  zlib inflates any, but deflates with 9 bits at
 * least: the server's own window is never agreed to be smaller. */
#define GL_WS_SERVER_BITS_MIN 9
#define GL_WS_CLIENT_BITS_MIN 8
#define GL_WS_BITS_MAX 15

struct gl_ws_deflate {
    bool on;
    bool server_no_context; /* each of our messages starts anew */
    bool client_no_context; /* each of the client's does */
    uint8_t server_bits;    /* of the window of what we compress */
    uint8_t client_bits;    /* of what the client does */
};

/* Whether Sec-WebSocket-Extensions, several of them joined with commas, has
 * the grammar of RFC 6455, section 9.1; empty elements are allowed. */
bool gl_ws_extensions_are_valid(struct gl_str offers);

#define GL_WS_DEFLATE_ANSWER_BYTES 160
/* Picks the first acceptable of the client's offers.
 *
 * offers: Sec-WebSocket-Extensions, several of them joined with commas.
 * policy: the least that we want: no extension unless `on`, contexts given up
 *     where it says so even if the client did not offer, windows at most as
 *     large (GL_WS_SERVER_BITS_MIN, GL_WS_CLIENT_BITS_MIN up to
 *     GL_WS_BITS_MAX).  A client that does not offer client_max_window_bits
 *     cannot be bound: its window then is GL_WS_BITS_MAX.
 *
 * Writes the answer's value to dst (GL_WS_DEFLATE_ANSWER_BYTES, no NUL) and
 * returns its length; *ret is what was agreed.  0, and *ret zeroed: no
 * extension, also when the header is malformed anywhere. */
size_t gl_ws_deflate_negotiate(struct gl_str offers,
                               const struct gl_ws_deflate *policy,
                               struct gl_ws_deflate *ret, char *dst);

#endif
