/* test_http_range.c - Range fields against representations of some sizes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_range.h"

#include "base/gl.h"
#include "check.h"

static const struct {
    const char *value;
    uint64_t size;
    enum gl_range_result result;
    unsigned count;
    struct gl_range ranges[GL_RANGES_MAX];
} rows[] = {
    {"bytes=0-0", 10, GL_RANGE_PARTS, 1, {{0, 1}}},
    {"bytes=0-", 10, GL_RANGE_PARTS, 1, {{0, 10}}},
    {"bytes=9-", 10, GL_RANGE_PARTS, 1, {{9, 1}}},
    {"bytes=3-5", 10, GL_RANGE_PARTS, 1, {{3, 3}}},
    {"bytes=3-99", 10, GL_RANGE_PARTS, 1, {{3, 7}}},
    {"bytes=-1", 10, GL_RANGE_PARTS, 1, {{9, 1}}},
    {"bytes=-99", 10, GL_RANGE_PARTS, 1, {{0, 10}}},
    {"BYTES=3-5", 10, GL_RANGE_PARTS, 1, {{3, 3}}},
    {"bytes=0-1, 4-5 ,8-", 10, GL_RANGE_PARTS, 3, {{0, 2}, {4, 2}, {8, 2}}},
    {"bytes=8-,0-1", 10, GL_RANGE_PARTS, 2, {{8, 2}, {0, 2}}},
    {"bytes=,0-1,,", 10, GL_RANGE_PARTS, 1, {{0, 2}}},
    {"bytes=20-,0-1", 10, GL_RANGE_PARTS, 1, {{0, 2}}},
    {"bytes=0-1,2-3", 10, GL_RANGE_PARTS, 2, {{0, 2}, {2, 2}}},
    {"bytes=0-99999999999999999999999", 10, GL_RANGE_PARTS, 1, {{0, 10}}},
    {"bytes=0-18446744073709551615", 10, GL_RANGE_PARTS, 1, {{0, 10}}},
    {"bytes=-99999999999999999999999", 10, GL_RANGE_PARTS, 1, {{0, 10}}},
    {"bytes=18446744073709551614-18446744073709551614",
     UINT64_MAX,
     GL_RANGE_PARTS,
     1,
     {{UINT64_MAX - 1, 1}}},
    {"bytes=10-", 10, GL_RANGE_NONE, 0, {{0}}},
    {"bytes=10-12,11-", 10, GL_RANGE_NONE, 0, {{0}}},
    {"bytes=-0", 10, GL_RANGE_NONE, 0, {{0}}},
    {"bytes=99999999999999999999999-", 10, GL_RANGE_NONE, 0, {{0}}},
    {"bytes=0-", 0, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=-1", 0, GL_RANGE_WHOLE, 0, {{0}}},
    {"", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=,", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=-", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=5-3", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=0-1,5-3", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=a-b", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=0x1-2", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=1", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=0-1-2", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=--1", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=0 -1", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes = 0-1", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"items=0-1", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=0-4,4-5", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=4-5,0-", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=0-0,0-0", 10, GL_RANGE_WHOLE, 0, {{0}}},
    {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14",
     100,
     GL_RANGE_PARTS,
     8,
     {{0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 1}, {10, 1}, {12, 1}, {14, 1}}},
    {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16",
     100,
     GL_RANGE_WHOLE,
     0,
     {{0}}},
    {"bytes=200-,201-,202-,203-,204-,205-,206-,207-,208-,209-,210-,211-,212-,"
     "213-,214-,215-,0-0",
     100,
     GL_RANGE_WHOLE,
     0,
     {{0}}},
};

static void
check_row(size_t row, const char *value, size_t n)
{
    struct gl_range ranges[GL_RANGES_MAX] = {{0, 0}};
    unsigned count = 0;

    CHECK(gl_http_range_parse((struct gl_str){value, n}, rows[row].size,
                              ranges, &count) == rows[row].result);
    CHECK(count == rows[row].count);
    CHECK(rows[row].result != GL_RANGE_PARTS ||
          memcmp(ranges, rows[row].ranges, count * sizeof(ranges[0])) == 0);
}

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].value);
        char *value = check_copy(rows[i].value, n);

        check_case("%s of %llu", rows[i].value,
                   (unsigned long long)rows[i].size);
        check_row(i, value, n);
        free(value);
    }
}

static void
test_cuts(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        for (size_t n = 0; n < strlen(rows[i].value); n++) {
            struct gl_range ranges[GL_RANGES_MAX];
            unsigned count = 0;
            char *value = check_copy(rows[i].value, n);

            check_case("%zu bytes of %s", n, rows[i].value);
            (void)gl_http_range_parse((struct gl_str){value, n}, rows[i].size,
                                      ranges, &count);
            CHECK(count <= GL_RANGES_MAX);
            free(value);
        }
    }
}

int
main(void)
{
    test_rows();
    test_cuts();
    return check_end();
}
