/* fuzz_http_date.c - any bytes as the date of a field.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/clock.h"
#include "fuzz.h"
#include "proto/http_date.h"

#define NOW INT64_C(1700000000)

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *text = fuzz_copy(bytes, n);
    int64_t seconds = INT64_MIN, again;
    struct gl_date date = {0};

    if (!gl_http_date_parse((struct gl_str){text, n}, NOW, &seconds)) {
        REQUIRE(seconds == INT64_MIN);
    } else if (seconds >= 0 && seconds < INT64_C(253402300800)) {
        /* The years 1970 to 9999 can be written, and read again. */
        const char *own = gl_date_text(&date, (time_t)seconds);

        REQUIRE(gl_http_date_parse((struct gl_str){own, GL_DATE_BYTES}, NOW,
                                   &again));
        REQUIRE(again == seconds);
    } else {
        REQUIRE(seconds >= INT64_C(-62167219200) &&
                seconds <= INT64_C(253402300800));
    }
    free(text);
    return 0;
}
