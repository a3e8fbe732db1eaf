/* fuzz.h - what every fuzz target has: a hard check, and cuts to try.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_FUZZ_FUZZ_H
#define GL_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Ends the program when an invariant does not hold. */
#define REQUIRE(what) \
    ((what) ? (void)0 : fuzz_fail(#what, __FILE__, __LINE__))

static inline void
fuzz_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    abort();
}

/* A copy of exactly n bytes (owned by the caller), so that ASan traps a read
 * of one more. */
static inline char *
fuzz_copy(const void *bytes, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);

    REQUIRE(copy != NULL);
    if (n > 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

/* Sizes of pieces, which the input itself decides. */
struct fuzz_cuts {
    uint64_t state;
};

static inline struct fuzz_cuts
fuzz_cuts_of(const uint8_t *bytes, size_t n)
{
    struct fuzz_cuts cuts = {UINT64_C(0xcbf29ce484222325)};

    for (size_t i = 0; i < n; i++) { /* FNV-1a */
        cuts.state = (cuts.state ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return cuts;
}

/* The next piece's size: 1 to `most` (> 0) bytes. */
static inline size_t
fuzz_cut(struct fuzz_cuts *cuts, size_t most)
{
    cuts->state = cuts->state * UINT64_C(6364136223846793005) + 1;
    return 1 + (size_t)(cuts->state >> 33) % most;
}

#endif
