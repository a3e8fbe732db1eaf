/* test_blocks.c - blocks that nobody else has, in any order of taking.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/blocks.h"

#include "base/gl.h"
#include "check.h"

#include <stdint.h>
#include <sys/mman.h>

#define COUNT 3000

static struct held {
    unsigned char *p;
    size_t n;
    unsigned char mark;
} held[COUNT];

static bool
is_marked(const struct held *h)
{
    for (size_t i = 0; i < h->n; i++) {
        if (h->p[i] != h->mark) {
            return false;
        }
    }
    return true;
}

static void
test_any_order(void)
{
    struct gl_blocks *blocks = gl_blocks_new();
    unsigned long seed = 11;

    for (int i = 0; i < 40000; i++) {
        unsigned long r = check_random(&seed) >> 8;
        struct held *h = &held[r % COUNT];

        check_case("operation %d", i);
        if (h->p != NULL) {
            CHECK(gl_blocks_own(blocks, h->p));
            CHECK(gl_blocks_own(blocks, h->p + h->n - 1));
            CHECK(gl_blocks_size(blocks, h->p) >= h->n);
            CHECK(is_marked(h));
            gl_blocks_give(blocks, h->p);
            h->p = NULL;
            continue;
        }
        r /= COUNT;
        h->n = GL_BLOCK_MIN_BYTES +
               r % (GL_BLOCK_MAX_BYTES - GL_BLOCK_MIN_BYTES + 1);
        h->n = r % 3 > 0 ? 1736 : h->n;
        h->mark = (unsigned char)r;
        h->p = gl_blocks_take(blocks, h->n);
        if (!CHECK(h->p != NULL)) {
            break;
        }
        CHECK((uintptr_t)h->p % GL_CACHE_LINE_BYTES == 0);
        memset(h->p, h->mark, h->n);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK(held[i].p == NULL || is_marked(&held[i]));
    }
    gl_blocks_free(blocks);
}

static void
test_the_last_one_first(void)
{
    struct gl_blocks *blocks = gl_blocks_new();
    void *first = gl_blocks_take(blocks, 2000);
    void *second = gl_blocks_take(blocks, 1990); /* of the same size */
    void *other = gl_blocks_take(blocks, 600);

    check_case("the last one first");
    CHECK(first != second && other != second);
    gl_blocks_give(blocks, first);
    gl_blocks_give(blocks, second);
    CHECK(gl_blocks_take(blocks, 2000) == second);
    CHECK(gl_blocks_take(blocks, 2000) == first);
    gl_blocks_free(blocks);
}

static void
test_bounds(void)
{
    struct gl_blocks *blocks = gl_blocks_new();
    char local = 0;
    char *foreign = malloc(2000);

    check_case("bounds");
    CHECK(gl_blocks_take(blocks, 0) == NULL);
    CHECK(gl_blocks_take(blocks, GL_BLOCK_MIN_BYTES - 1) == NULL);
    CHECK(gl_blocks_take(blocks, GL_BLOCK_MAX_BYTES + 1) == NULL);
    CHECK(gl_blocks_take(blocks, SIZE_MAX) == NULL);
    CHECK(gl_blocks_take(blocks, GL_BLOCK_MIN_BYTES) != NULL);
    CHECK(gl_blocks_take(blocks, GL_BLOCK_MAX_BYTES) != NULL);
    CHECK(!gl_blocks_own(blocks, NULL) && !gl_blocks_own(blocks, &local));
    CHECK(!gl_blocks_own(blocks, foreign));
    free(foreign);
    gl_blocks_free(blocks);
    gl_blocks_free(NULL);
}

/* Pages of a range that are in memory. */
static size_t
resident_pages(char *from, size_t bytes)
{
    static unsigned char pages[16];
    size_t n = 0;

    CHECK(mincore(from, bytes, pages) == 0);
    for (size_t i = 0; i < bytes / 4096; i++) {
        n += pages[i] & 1;
    }
    return n;
}

static void
test_a_wave_goes_back(void)
{
    struct gl_blocks *blocks = gl_blocks_new();
    size_t pages = 0;

    check_case("a wave");
    for (int i = 0; i < COUNT; i++) {
        held[i].p = gl_blocks_take(blocks, 4096);
        memset(held[i].p, 1, 4096);
    }
    for (int i = 0; i < COUNT; i++) {
        gl_blocks_give(blocks, held[i].p);
    }
    for (int i = 0; i < COUNT; i += 16) { /* 16 blocks a slab */
        uintptr_t slab = (uintptr_t)held[i].p & ~(uintptr_t)65535;

        pages += resident_pages((char *)slab, 65536);
    }
    CHECK(pages < COUNT / 4);
    for (int i = 0; i < COUNT; i++) { /* and can come again */
        held[i].p = gl_blocks_take(blocks, 8000);
        CHECK(held[i].p != NULL);
        memset(held[i].p, 2, 8000);
    }
    gl_blocks_free(blocks);
}

static void
test_an_end(void)
{
    struct gl_blocks *blocks = gl_blocks_new();
    size_t n = 0;

    check_case("no more");
    while (n < 100000 && gl_blocks_take(blocks, 8192) != NULL) {
        n++;
    }
    CHECK(n == 4096 * 8);
    CHECK(gl_blocks_take(blocks, 8192) == NULL);
    gl_blocks_free(blocks);
    check_fail_allocation(1);
    CHECK(gl_blocks_new() == NULL);
}

int
main(void)
{
    test_any_order();
    test_the_last_one_first();
    test_bounds();
    test_a_wave_goes_back();
    test_an_end();
    return check_end();
}
