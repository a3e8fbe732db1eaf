/* fuzz_http_range.c - any bytes as a Range field; the first eight are the
 * size of what it asks for.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/http_range.h"

static void
check_ranges(const struct gl_range *ranges, unsigned count, uint64_t size)
{
    REQUIRE(count > 0 && count <= GL_RANGES_MAX);
    for (unsigned i = 0; i < count; i++) {
        REQUIRE(ranges[i].size > 0 && ranges[i].at < size &&
                ranges[i].size <= size - ranges[i].at);
        for (unsigned j = 0; j < i; j++) {
            REQUIRE(ranges[i].at >= ranges[j].at + ranges[j].size ||
                    ranges[j].at >= ranges[i].at + ranges[i].size);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct gl_range ranges[GL_RANGES_MAX];
    uint64_t size = 0;
    unsigned count = 99;
    char *text;

    if (n < sizeof(size)) {
        return 0;
    }
    memcpy(&size, bytes, sizeof(size));
    n -= sizeof(size);
    text = fuzz_copy(bytes + sizeof(size), n);
    switch (
        gl_http_range_parse((struct gl_str){text, n}, size, ranges, &count)) {
    case GL_RANGE_PARTS:
        check_ranges(ranges, count, size);
        break;
    case GL_RANGE_NONE:
        REQUIRE(count == 0 && size > 0);
        break;
    case GL_RANGE_WHOLE:
        REQUIRE(count == 99);
        break;
    }
    free(text);
    return 0;
}
