/* buf.c - a byte queue that grows to a cap and gives its memory back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 512

/* Moves the bytes to the start of the storage. */
static void
compact(struct gl_buf *b)
{
    size_t len = gl_buf_len(b);

    if (b->start > 0) {
        memmove(b->bytes, b->bytes + b->start, len);
        b->start = 0;
        b->end = len;
    }
}

/* Makes room for n more bytes at the end.  0 or -ENOMEM. */
static int
reserve(struct gl_buf *b, size_t n)
{
    size_t len = gl_buf_len(b), cap = b->cap > 0 ? 2 * b->cap : FIRST_BYTES;
    char *bytes;

    if (b->cap - b->end >= n) {
        return 0;
    }
    /* Only over as many consumed bytes as it moves: a queue that is filled
     * as fast as it is emptied costs linear time. */
    if (b->start >= len && b->cap - len >= n) {
        compact(b);
        return 0;
    }
    while (cap - len < n) {
        if (cap > SIZE_MAX / 2) {
            return -ENOMEM;
        }
        cap *= 2;
    }
    compact(b);
    bytes = realloc(b->bytes, cap);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    b->bytes = bytes;
    b->cap = cap;
    return 0;
}

int
gl_buf_append(struct gl_buf *b, const void *bytes, size_t n, size_t max_bytes)
{
    int error;

    if (n == 0) {
        return 0;
    }
    if (gl_buf_len(b) > max_bytes || n > max_bytes - gl_buf_len(b)) {
        return -ENOBUFS;
    }
    error = reserve(b, n);
    if (error == 0) {
        memcpy(b->bytes + b->end, bytes, n);
        b->end += n;
    }
    return error;
}

char *
gl_buf_reserve(struct gl_buf *b, size_t n)
{
    return reserve(b, n) < 0 ? NULL : b->bytes + b->end;
}

void
gl_buf_commit(struct gl_buf *b, size_t n)
{
    assert(n <= b->cap - b->end);
    b->end += n;
}

void
gl_buf_consume(struct gl_buf *b, size_t n)
{
    assert(n <= gl_buf_len(b));
    b->start += n;
    if (b->start == b->end) {
        gl_buf_fini(b);
    }
}

void
gl_buf_fini(struct gl_buf *b)
{
    free(b->bytes);
    *b = (struct gl_buf){0};
}
