/* clock.h - monotonic time, and the text of the Date field.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_BASE_CLOCK_H
#define GL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define GL_DATE_BYTES 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

uint64_t gl_clock_ms(void); /* CLOCK_MONOTONIC, rounded down */
uint64_t gl_clock_ns(void); /* CLOCK_MONOTONIC */

/* The Date text of the last second asked for; zeroed memory is ready. */
struct gl_date {
    time_t second;
    char text[GL_DATE_BYTES + 1];
};
/* IMF-fixdate (RFC 9110, section 5.6.7) of `now` (seconds since 1970),
 * independent of the locale.  Borrowed from `date` until the next call;
 * GL_DATE_BYTES bytes and a NUL.  Formats only when the second changed. */
const char *gl_date_text(struct gl_date *date, time_t now);

#endif
