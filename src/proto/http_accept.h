/* http_accept.h - how much a client likes a content coding.
 *
 * RFC 9110, sections 12.4.2 and 12.5.3.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP_ACCEPT_H
#define GL_PROTO_HTTP_ACCEPT_H

#include "base/str.h"

/* The quality, 0 (not acceptable) to 1000, that an Accept-Encoding field
 * gives to `coding` (a lower-case name): by name, else by "*".  -1 if it says
 * nothing of it.  A malformed quality is 0. */
int gl_http_coding_quality(struct gl_str field, struct gl_str coding);

#endif
