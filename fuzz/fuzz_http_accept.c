/* fuzz_http_accept.c - any bytes as an Accept-Encoding field.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/http_accept.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *text = fuzz_copy(bytes, n);
    struct gl_str field = {text, n};
    int gzip = gl_http_coding_quality(field, GL_STR("gzip"));
    int other = gl_http_coding_quality(field, GL_STR("no-such-coding"));

    REQUIRE(gzip >= -1 && gzip <= 1000);
    REQUIRE(other >= -1 && other <= 1000);
    REQUIRE(n >= 4 || gzip == other); /* the name does not fit */
    free(text);
    return 0;
}
