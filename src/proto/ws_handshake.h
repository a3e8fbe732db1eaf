/* ws_handshake.h - the key of WebSocket's opening handshake.
 *
 * RFC 6455, sections 4.1 and 4.2.2.  The lists in `Connection` and `Upgrade`
 * are read with gl_http_list_has().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_WS_HANDSHAKE_H
#define GL_PROTO_WS_HANDSHAKE_H

#include "base/str.h"
#include "proto/http_tables.h" /* gl_http_list_has() */

#define GL_WS_ACCEPT_BYTES 28

/* Whether it is the base64 form of 16 bytes, as a client's key must be. */
bool gl_ws_key_is_valid(struct gl_str key);
/* Writes the value of Sec-WebSocket-Accept for a key (any bytes). */
void gl_ws_accept(struct gl_str key, char dst[GL_WS_ACCEPT_BYTES]);

#endif
