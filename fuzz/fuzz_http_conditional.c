/* fuzz_http_conditional.c - any bytes as the conditional fields of a request:
 * lines, the first byte of each says which field it is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/http_conditional.h"

#define FIELDS 6

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct gl_validators v = {GL_STR("\"a-1\""), 784111777, 100};
    struct gl_conditions c = {0};
    struct gl_str *const places[FIELDS] = {
        &c.if_match,          &c.if_none_match,
        &c.if_modified_since, &c.if_unmodified_since,
        &c.if_range,          &c.range,
    };
    char *copies[FIELDS] = {NULL};
    struct gl_selection selection;
    size_t at = 0;

    while (at < n) {
        size_t field = bytes[at] % FIELDS, end = at + 1;

        while (end < n && bytes[end] != '\n') {
            end++;
        }
        free(copies[field]);
        copies[field] = fuzz_copy(bytes + at + 1, end - at - 1);
        *places[field] = (struct gl_str){copies[field], end - at - 1};
        at = end + 1;
    }
    gl_http_select(&c, &v, 1700000000, &selection);
    REQUIRE(selection.status == 200 || selection.status == 206 ||
            selection.status == 304 || selection.status == 412 ||
            selection.status == 416);
    REQUIRE((selection.status == 206) == (selection.range_count > 0));
    REQUIRE(selection.status != 304 || c.if_none_match.p != NULL ||
            c.if_modified_since.p != NULL);
    for (size_t i = 0; i < FIELDS; i++) {
        free(copies[i]);
    }
    return 0;
}
