/* test_http_date.c - dates of fields, good and bad.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_date.h"

#include "base/clock.h"
#include "base/gl.h"
#include "check.h"

#define NOW INT64_C(1700000000) /* 2023-11-14 */
#define NONE INT64_MIN

static const struct {
    const char *text;
    int64_t seconds;
} rows[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Tue, 29 Feb 2000 12:00:00 GMT", 951825600},
    {"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
    {"Tue Feb 29 12:00:00 2000", 951825600},
    {"Wed Nov 16 08:49:37 1994", 784975777},
    {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
    {"Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200)},
    {"Sun, 31 Dec 2023 23:59:60 GMT", 1704067200},
    {"Monday, 01-Jan-70 00:00:00 GMT", 3155760000},   /* 2070: 47 years */
    {"Wednesday, 01-Jan-75 00:00:00 GMT", 157766400}, /* 1975 */
    {"Saturday, 01-Jan-00 00:00:00 GMT", 946684800},
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* it was a Sunday */
    {"", NONE},
    {"Sun", NONE},
    {"Sun,", NONE},
    {"Sun, 06 Nov 1994 08:49:37 GMT ", NONE},
    {" Sun, 06 Nov 1994 08:49:37 GMT", NONE},
    {"Sun, 06 Nov 1994 08:49:37 UTC", NONE},
    {"Sun, 06 Nov 1994 08:49:37 +0000", NONE},
    {"sun, 06 Nov 1994 08:49:37 GMT", NONE},
    {"Sun, 6 Nov 1994 08:49:37 GMT", NONE},
    {"Sun, 06 nov 1994 08:49:37 GMT", NONE},
    {"Sun, 06 Nov 94 08:49:37 GMT", NONE},
    {"Sun, 00 Nov 1994 08:49:37 GMT", NONE},
    {"Sun, 31 Nov 1994 08:49:37 GMT", NONE},
    {"Wed, 29 Feb 2023 12:00:00 GMT", NONE},
    {"Thu, 29 Feb 1900 12:00:00 GMT", NONE},
    {"Sun, 06 Nov 1994 24:00:00 GMT", NONE},
    {"Sun, 06 Nov 1994 08:60:37 GMT", NONE},
    {"Sun, 06 Nov 1994 08:49:61 GMT", NONE},
    {"Sun, -6 Nov 1994 08:49:37 GMT", NONE},
    {"Sun, 06 Nov 1994 8:49:37 GMT", NONE},
    {"Someday, 06-Nov-94 08:49:37 GMT", NONE},
    {"Sunday, 06-Nov-1994 08:49:37 GMT", NONE},
    {"Sun Nov 6 08:49:37 1994", NONE},
    {"Sun Nov  6 08:49:37 94", NONE},
    {"784111777", NONE},
    {"0", NONE},
};

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].text);
        char *text = check_copy(rows[i].text, n);
        int64_t seconds = NONE;
        bool is_date =
            gl_http_date_parse((struct gl_str){text, n}, NOW, &seconds);

        check_case("%s", rows[i].text);
        CHECK(is_date == (rows[i].seconds != NONE));
        CHECK(seconds == rows[i].seconds);
        free(text);
    }
}

/* Each cut of a good date is none, and reads nothing beyond it. */
static void
test_cuts(void)
{
    for (size_t i = 0; i < 3; i++) {
        for (size_t n = 0; n < strlen(rows[i].text); n++) {
            char *text = check_copy(rows[i].text, n);
            int64_t seconds = NONE;

            check_case("%zu bytes of %s", n, rows[i].text);
            CHECK(
                !gl_http_date_parse((struct gl_str){text, n}, NOW, &seconds));
            CHECK(seconds == NONE);
            free(text);
        }
    }
}

/* What we write ourselves is read as it was meant. */
static void
test_round_trips(void)
{
    unsigned long random = 1;

    for (int i = 0; i < 20000; i++) {
        time_t when = (time_t)(check_random(&random) % 253402300800UL);
        struct gl_date date = {0};
        const char *text = gl_date_text(&date, when);
        int64_t seconds = NONE;

        check_case("%s", text);
        CHECK(gl_http_date_parse((struct gl_str){text, GL_DATE_BYTES}, NOW,
                                 &seconds));
        CHECK(seconds == (int64_t)when);
    }
}

int
main(void)
{
    test_rows();
    test_cuts();
    test_round_trips();
    return check_end();
}
