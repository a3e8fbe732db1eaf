/* check.h - what every C test program has: checks, and failing allocations.
 *
 * Included exactly once by each program, which is linked with --wrap for
 * malloc, calloc and realloc.  A failed check prints its place and the case
 * it belongs to, and the program goes on; main() ends with
 * `return check_end();`.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_TESTS_CHECK_H
#define GL_TESTS_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

static struct {
    unsigned long failures;
    unsigned long fails_in; /* the nth allocation from now fails; 0: none */
    char name[256];         /* of the present case */
} check_state;

/* Names the case to which the next checks belong. */
__attribute__((format(printf, 1, 2))) static inline void
check_case(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(check_state.name, sizeof(check_state.name), format, args);
    va_end(args);
}

/* Returns `holds`, so that a test can stop where going on makes no sense. */
static inline bool
check_that(bool holds, const char *what, const char *file, int line)
{
    if (!holds) {
        check_state.failures++;
        fprintf(stderr, "%s:%d: [%s] %s\n", file, line, check_state.name,
                what);
    }
    return holds;
}
#define CHECK(what) check_that((what), #what, __FILE__, __LINE__)

/* The exit status of the program. */
static inline int
check_end(void)
{
    if (check_state.failures > 0) {
        fprintf(stderr, "%lu checks failed\n", check_state.failures);
    }
    return check_state.failures > 0;
}

/* Lets the nth allocation from now fail, once; 0: no more. */
static inline void
check_fail_allocation(unsigned long nth)
{
    check_state.fails_in = nth;
}

/* Whether the failure that was asked for is still to come. */
static inline bool
check_failure_is_due(void)
{
    return check_state.fails_in > 0;
}

static inline bool
check_fails_now(void)
{
    return check_state.fails_in > 0 && --check_state.fails_in == 0;
}

/* A copy of exactly n bytes (owned by the caller): ASan traps a read of one
 * more.  Ends the program without memory. */
static inline char *
check_copy(const void *bytes, size_t n)
{
    char *copy = __real_malloc(n > 0 ? n : 1);

    if (copy == NULL) {
        abort();
    }
    if (n > 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

/* Pseudo-random numbers, the same in every run (xorshift64). */
static inline unsigned long
check_random(unsigned long *state)
{
    unsigned long x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

void *
__wrap_malloc(size_t n)
{
    return check_fails_now() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t n)
{
    return check_fails_now() ? NULL : __real_calloc(count, n);
}

void *
__wrap_realloc(void *p, size_t n)
{
    return check_fails_now() ? NULL : __real_realloc(p, n);
}

#endif
