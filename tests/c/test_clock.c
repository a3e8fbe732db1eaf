/* test_clock.c - time that does not go back, and the text of Date.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/clock.h"

#include "base/gl.h"
#include "check.h"

static const struct {
    time_t now;
    const char *text;
} rows[] = {
    {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110's own */
    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
    {1798761599, "Thu, 31 Dec 2026 23:59:59 GMT"},
    {1798761600, "Fri, 01 Jan 2027 00:00:00 GMT"},
    {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
    /* What has no four-digit year becomes the epoch, not a longer text. */
    {253402300800, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {INT64_MAX, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {-1, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT"},
};

static void
test_date(void)
{
    struct gl_date date = {0};

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        check_case("%lld", (long long)rows[i].now);
        CHECK(strcmp(gl_date_text(&date, rows[i].now), rows[i].text) == 0);
        CHECK(strcmp(gl_date_text(&date, rows[i].now), rows[i].text) == 0);
        CHECK(strlen(date.text) == GL_DATE_BYTES);
    }
}

/* Within a second the text is not made again. */
static void
test_cache(void)
{
    struct gl_date date = {0};

    check_case("cache");
    CHECK(gl_date_text(&date, 1000) == date.text);
    date.text[0] = '!';
    CHECK(gl_date_text(&date, 1000)[0] == '!');
    CHECK(gl_date_text(&date, 1001)[0] == 'T');
}

static void
test_monotonic(void)
{
    const struct timespec pause = {.tv_nsec = 3000000};
    uint64_t ns = gl_clock_ns(), ms = gl_clock_ms();

    check_case("monotonic");
    CHECK(ms - ns / 1000000 < 1000);
    CHECK(nanosleep(&pause, NULL) == 0);
    CHECK(gl_clock_ns() - ns >= 3000000);
    CHECK(gl_clock_ms() - ms >= 2);
    for (int i = 0; i < 1000; i++) {
        uint64_t next = gl_clock_ns();

        CHECK(next >= ns);
        ns = next;
    }
}

int
main(void)
{
    test_date();
    test_cache();
    test_monotonic();
    return check_end();
}
