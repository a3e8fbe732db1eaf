/* buf.h - a byte queue that grows to a cap and gives its memory back.
 *
 * A zeroed struct gl_buf is empty, ready and needs no cleanup; gl_buf_fini
 * accepts it.  Bytes enter at the end and leave at the start.  Pointers into
 * the queue are valid until the next call that takes a non-const struct.
 * An emptied queue frees its storage, so that idle owners cost nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_BUF_H
#define GL_BASE_BUF_H

#include "base/str.h"

#include <stddef.h>

struct gl_buf {
    char *bytes; /* owned; NULL when empty */
    size_t start;
    size_t end;
    size_t cap;
};

static inline size_t
gl_buf_len(const struct gl_buf *b)
{
    return b->end - b->start;
}

/* First byte of the queue; NULL when it is empty. */
static inline const char *
gl_buf_data(const struct gl_buf *b)
{
    return b->bytes == NULL ? NULL : b->bytes + b->start;
}

/* What is in the queue, borrowed from it. */
static inline struct gl_str
gl_buf_str(const struct gl_buf *b)
{
    return (struct gl_str){gl_buf_data(b), gl_buf_len(b)};
}

/* Appends n bytes (which must not lie inside the queue).  Returns 0; -ENOBUFS
 * if the queue would hold more than max_bytes; -ENOMEM.  On failure the
 * queue is as before. */
int gl_buf_append(struct gl_buf *b, const void *bytes, size_t n,
                  size_t max_bytes);
/* Makes room for n > 0 more bytes.  Returns where they go (borrowed until the
 * next call; their number is told to gl_buf_commit), or NULL without memory,
 * and then the queue is as before. */
char *gl_buf_reserve(struct gl_buf *b, size_t n);
/* Adds n bytes that were written to the room of gl_buf_reserve. */
void gl_buf_commit(struct gl_buf *b, size_t n);
/* Drops the first n bytes (n <= length); frees the storage if none is left. */
void gl_buf_consume(struct gl_buf *b, size_t n);
/* Frees the storage; the struct is zeroed and may be used again. */
void gl_buf_fini(struct gl_buf *b);

#endif
