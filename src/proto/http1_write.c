/* http1_write.c - bytes of the server's own HTTP/1.1 answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http1_write.h"

#include "proto/http_tables.h"

#include <stdio.h>
#include <string.h>

size_t
gl_http1_chunk_head(char dst[GL_CHUNK_HEAD_BYTES], uint64_t n)
{
    static const char hex[] = "0123456789abcdef";
    int shift = 60;
    size_t at = 0;

    while (shift > 0 && (n >> shift) == 0) {
        shift -= 4; /* no leading zeros */
    }
    for (; shift >= 0; shift -= 4) {
        dst[at++] = hex[(n >> shift) & 15];
    }
    dst[at++] = '\r';
    dst[at++] = '\n';
    return at;
}

size_t
gl_http1_decimal(char dst[20], uint64_t n)
{
    char reversed[20];
    size_t count = 0;

    do {
        reversed[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    for (size_t i = 0; i < count; i++) {
        dst[i] = reversed[count - 1 - i];
    }
    return count;
}

size_t
gl_http1_refusal(char dst[GL_REFUSAL_BYTES], int status, const char *date,
                 int head_only)
{
    const char *reason = gl_http_reason(status);
    int n = snprintf(dst, GL_REFUSAL_BYTES,
                     "HTTP/1.1 %d %s\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n"
                     "Date: %.29s\r\n"
                     "Server: greenloop\r\n"
                     "%sConnection: close\r\n\r\n%s",
                     status, reason, strlen(reason), date,
                     status == 503 ? "Retry-After: 1\r\n" : "",
                     head_only ? "" : reason);

    return n < GL_REFUSAL_BYTES ? (size_t)n : GL_REFUSAL_BYTES - 1;
}
