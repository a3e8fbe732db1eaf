/* gl.h - the few macros that every C file of Greenloop may use.
 *
 * No types, nothing that reads or writes memory.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_GL_H
#define GL_BASE_GL_H

#include <assert.h>
#include <stddef.h>

/* Number of elements of a true array (not of a pointer). */
#define GL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The struct of type `type` whose member `member` is at `ptr` (not NULL). */
#define GL_CONTAINER_OF(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define GL_LIKELY(x) __builtin_expect(!!(x), 1)
#define GL_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Keeps the locals of a function out of its caller's frame: each parked
 * request keeps a copy of the frames above it. */
#define GL_OFF_STACK __attribute__((noinline))

#define GL_CACHE_LINE_BYTES 64

/* Has the processor fetch `lines` cache lines from `p` on (any address). */
static inline void
gl_prefetch(const void *p, int lines)
{
    for (int i = 0; i < lines; i++) {
        __builtin_prefetch((const char *)p + i * GL_CACHE_LINE_BYTES, 1);
    }
}

/* Arguments `fmt` and `first` are checked as printf checks them. */
#define GL_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

#endif
