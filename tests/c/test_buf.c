/* test_buf.c - the byte queue against a plain array, and without memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/buf.h"

#include "check.h"

#include <errno.h>
#include <stdint.h>

#define MODEL_BYTES 8192

/* What the queue should hold. */
struct model {
    char bytes[MODEL_BYTES];
    size_t n;
};

static bool
agrees(const struct gl_buf *b, const struct model *m)
{
    return gl_buf_len(b) == m->n && (m->n > 0) == (gl_buf_data(b) != NULL) &&
           (m->n == 0 || memcmp(gl_buf_data(b), m->bytes, m->n) == 0);
}

static void
append(struct gl_buf *b, struct model *m, unsigned long r, size_t max)
{
    char piece[700];
    size_t n = r % sizeof(piece);
    int expected = n > 0 && m->n + n > max ? -ENOBUFS : 0;

    for (size_t i = 0; i < n; i++) {
        piece[i] = (char)(r + i);
    }
    CHECK(gl_buf_append(b, piece, n, max) == expected);
    if (expected == 0) {
        memcpy(m->bytes + m->n, piece, n);
        m->n += n;
    }
}

static void
consume(struct gl_buf *b, struct model *m, unsigned long r)
{
    size_t n = r % (m->n + 1);

    gl_buf_consume(b, n);
    memmove(m->bytes, m->bytes + n, m->n - n);
    m->n -= n;
}

static void
test_against_array(void)
{
    unsigned long seed = 1;
    struct gl_buf b = {0};
    struct model m = {.n = 0};

    for (int i = 0; i < 20000; i++) {
        unsigned long r = check_random(&seed) >> 8;

        check_case("operation %d", i);
        if (r % 2 == 0) {
            append(&b, &m, r / 2, r % 3 == 0 ? 1000 : MODEL_BYTES);
        } else {
            consume(&b, &m, r / 2);
        }
        if (!CHECK(agrees(&b, &m))) {
            break;
        }
    }
    gl_buf_fini(&b);
}

static void
test_caps(void)
{
    struct gl_buf b = {0};

    check_case("caps");
    CHECK(gl_buf_append(&b, "abc", 3, 2) == -ENOBUFS);
    CHECK(gl_buf_data(&b) == NULL);
    CHECK(gl_buf_append(&b, "abc", 3, 3) == 0);
    CHECK(gl_buf_append(&b, "d", 1, 3) == -ENOBUFS);
    CHECK(gl_buf_append(&b, "d", 1, 2) == -ENOBUFS);
    CHECK(gl_buf_append(&b, "", 0, 0) == 0);
    CHECK(gl_buf_append(&b, "d", SIZE_MAX, SIZE_MAX) == -ENOBUFS);
    gl_buf_consume(&b, 1);
    CHECK(gl_buf_append(&b, "d", 1, 3) == 0);
    CHECK(gl_buf_len(&b) == 3 && memcmp(gl_buf_data(&b), "bcd", 3) == 0);
    gl_buf_consume(&b, 3);
    CHECK(b.bytes == NULL && b.cap == 0); /* idle owners cost nothing */
    gl_buf_fini(&b);
    gl_buf_fini(&b);
}

/* A queue of constant length takes constant room, however much passes, and
 * moves no more bytes than pass. */
static void
test_room(void)
{
    static char piece[7000];
    struct gl_buf b = {0};
    size_t passed = sizeof(piece), moved = 0;

    check_case("room");
    CHECK(gl_buf_append(&b, piece, sizeof(piece), SIZE_MAX) == 0);
    for (int i = 0; i < 100000; i++) {
        size_t start = b.start;

        CHECK(gl_buf_append(&b, piece, 100, SIZE_MAX) == 0);
        passed += 100;
        moved += b.start < start ? gl_buf_len(&b) : 0;
        gl_buf_consume(&b, 100);
        CHECK(b.cap <= 4 * sizeof(piece));
    }
    CHECK(moved > 0 && moved <= 2 * passed);
    gl_buf_fini(&b);
}

/* The nth allocation fails: the queue is as before. */
static void
test_without_memory(void)
{
    for (unsigned long nth = 1; nth <= 3; nth++) {
        struct gl_buf b = {0};
        struct model m = {.n = 0};
        int failures = 0;

        check_case("allocation %lu", nth);
        check_fail_allocation(nth);
        for (unsigned long i = 0; i < 8; i++) {
            int error;

            memset(m.bytes + m.n, (int)i, 600);
            error = gl_buf_append(&b, m.bytes + m.n, 600, SIZE_MAX);
            CHECK(error == 0 || error == -ENOMEM);
            failures += error != 0;
            m.n += error == 0 ? 600 : 0;
            if (m.n > 0) {
                consume(&b, &m, 1); /* the next growth moves the bytes */
            }
            CHECK(agrees(&b, &m));
        }
        CHECK(failures == 1 && !check_failure_is_due());
        check_fail_allocation(0);
        gl_buf_fini(&b);
    }
}

int
main(void)
{
    test_against_array();
    test_caps();
    test_room();
    test_without_memory();
    return check_end();
}
