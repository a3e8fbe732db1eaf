/* http1_head.h - parser of an HTTP/1.x request head.
 *
 * RFC 9112, sections 2 to 6 and 9.3; RFC 9110, sections 5, 7.2 and 10.1.1.
 * Bytes in, spans out: no I/O, no allocation, no Python.
 *
 *  - Input may be cut at any byte; the result never depends on the cuts.
 *    Work is linear in the bytes, however they are cut.
 *  - Strict where two parsers could differ on where a request ends: lines end
 *    in CRLF only; no blank before a colon, no line folding, no NUL or other
 *    control byte in a value (HTAB excepted), one Content-Length of digits
 *    only, never with Transfer-Encoding, whose one legal value is "chunked";
 *    none of it in HTTP/1.0 with Transfer-Encoding.
 *  - Errors in a line are reported as soon as the line is complete, and a
 *    first byte that cannot begin a method at once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP1_HEAD_H
#define GL_PROTO_HTTP1_HEAD_H

#include "proto/head.h"

#include <stddef.h>

enum gl_head_result {
    GL_HEAD_DONE,            /* head->size bytes are the head */
    GL_HEAD_MORE,            /* call again with more bytes */
    GL_HEAD_BAD,             /* 400 */
    GL_HEAD_LINE_TOO_LONG,   /* 414: request line over line_max */
    GL_HEAD_TOO_LARGE,       /* 431: over head_max or fields_max */
    GL_HEAD_NOT_IMPLEMENTED, /* 501: transfer coding, CONNECT, huge method */
    GL_HEAD_VERSION          /* 505: HTTP/2 and later, HTTP/0 */
};

struct gl_head_limits {
    uint32_t head_max_bytes; /* whole head */
    uint32_t line_max_bytes; /* request line without CRLF */
    uint32_t fields_max;     /* <= GL_HEAD_FIELDS_MAX */
};

/* Makes `head` ready for a new request (the field table is not touched). */
void gl_http1_head_init(struct gl_head *head);
/* Parses bytes[0..n), always from the first byte of the head; on later calls
 * for the same head the earlier bytes are the same, at any address. */
enum gl_head_result gl_http1_head_parse(struct gl_head *head,
                                        const struct gl_head_limits *limits,
                                        const char *bytes, size_t n);
/* Whether s is uri-host [ ":" port ], without a user and with a host that is
 * not empty. */
bool gl_http1_is_authority(struct gl_str s);
/* The status that answers a result other than DONE and MORE. */
int gl_http1_head_status(enum gl_head_result result);

#endif
