/* clock.c - monotonic time, and the text of the Date field.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

uint64_t
gl_clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail on Linux */
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

uint64_t
gl_clock_ms(void)
{
    return gl_clock_ns() / 1000000;
}

const char *
gl_date_text(struct gl_date *date, time_t now)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    char text[64];

    if (date->text[0] != '\0' && date->second == now) {
        return date->text;
    }
    if (now < 0 || gmtime_r(&now, &tm) == NULL || tm.tm_year > 9999 - 1900) {
        now = 0; /* no second that HTTP could write */
        (void)gmtime_r(&now, &tm);
    }
    (void)snprintf(text, sizeof(text),
                   "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                   days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
                   1900 + tm.tm_year, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(date->text, text, GL_DATE_BYTES);
    date->text[GL_DATE_BYTES] = '\0';
    date->second = now;
    return date->text;
}
