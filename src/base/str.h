/* str.h - borrowed slices of bytes.
 *
 * A struct gl_str owns nothing: it is valid as long as the bytes it points
 * to.  It is not NUL-terminated.  The empty slice may have p == NULL.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_STR_H
#define GL_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct gl_str {
    const char *p; /* borrowed */
    size_t n;      /* bytes */
};

/* A slice over a string literal. */
#define GL_STR(literal) ((struct gl_str){"" literal, sizeof(literal) - 1})

static inline bool
gl_str_eq(struct gl_str a, struct gl_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Cuts the first n bytes (n <= s->n) off s and returns them. */
static inline struct gl_str
gl_str_take(struct gl_str *s, size_t n)
{
    struct gl_str head = {s->p, n};

    s->p += n;
    s->n -= n;
    return head;
}

#endif
