/* http1_write.h - bytes of the server's own HTTP/1.1 answers.
 *
 * RFC 9112, sections 4 and 7.1.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP1_WRITE_H
#define GL_PROTO_HTTP1_WRITE_H

#include <stddef.h>
#include <stdint.h>

#define GL_CHUNK_HEAD_BYTES 18 /* 16 hex digits and CRLF */
#define GL_REFUSAL_BYTES 512   /* room for any refusal */

/* Writes "<hex size>\r\n" of a chunk of n > 0 bytes; returns its length. */
size_t gl_http1_chunk_head(char dst[GL_CHUNK_HEAD_BYTES], uint64_t n);
/* Writes decimal digits of n (at most 20, no NUL); returns their number. */
size_t gl_http1_decimal(char dst[20], uint64_t n);
/* Writes a whole answer with status (400..599), Date, Server, a short text
 * body (left out if head_only), "Connection: close", and for 503 Retry-After;
 * returns its length, at most GL_REFUSAL_BYTES.  `date` is GL_DATE_BYTES
 * long. */
size_t gl_http1_refusal(char dst[GL_REFUSAL_BYTES], int status,
                        const char *date, int head_only);

#endif
