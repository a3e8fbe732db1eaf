/* http_date.c - the dates of HTTP's fields, read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_date.h"

#include "proto/http_tables.h"

#define DAY_SECONDS 86400

/* What is left of the text; `bad` once something did not fit. */
struct cursor {
    struct gl_str rest;
    bool bad;
};

struct moment {
    int year, month, day; /* month: 0 to 11 */
    int hour, minute, second;
};

static const struct gl_str day_names[] = {
    {"Sunday", 6},   {"Monday", 6}, {"Tuesday", 7},  {"Wednesday", 9},
    {"Thursday", 8}, {"Friday", 6}, {"Saturday", 8},
};

static void
take(struct cursor *c, struct gl_str literal)
{
    if (c->rest.n < literal.n ||
        memcmp(c->rest.p, literal.p, literal.n) != 0) {
        c->bad = true;
        return;
    }
    (void)gl_str_take(&c->rest, literal.n);
}

static int
take_digits(struct cursor *c, size_t count)
{
    int value = 0;

    if (c->rest.n < count) {
        c->bad = true;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)c->rest.p[i];

        c->bad |= !(gl_http_class[byte] & GL_CLASS_DIGIT);
        value = value * 10 + (byte - '0');
    }
    (void)gl_str_take(&c->rest, count);
    return c->bad ? 0 : value;
}

static int
take_month(struct cursor *c)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int month = 0; month < 12 && c->rest.n >= 3; month++) {
        if (memcmp(c->rest.p, names + (size_t)month * 3, 3) == 0) {
            (void)gl_str_take(&c->rest, 3);
            return month;
        }
    }
    c->bad = true;
    return 0;
}

/* The name of a day: whole, or its first three letters. */
static void
take_day_name(struct cursor *c, bool whole)
{
    for (size_t i = 0; i < sizeof(day_names) / sizeof(day_names[0]); i++) {
        size_t n = whole ? day_names[i].n : 3;

        if (c->rest.n >= n && memcmp(c->rest.p, day_names[i].p, n) == 0) {
            (void)gl_str_take(&c->rest, n);
            return;
        }
    }
    c->bad = true;
}

static void
take_time(struct cursor *c, struct moment *m)
{
    m->hour = take_digits(c, 2);
    take(c, GL_STR(":"));
    m->minute = take_digits(c, 2);
    take(c, GL_STR(":"));
    m->second = take_digits(c, 2);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static void
take_fixdate(struct cursor *c, struct moment *m)
{
    take_day_name(c, false);
    take(c, GL_STR(", "));
    m->day = take_digits(c, 2);
    take(c, GL_STR(" "));
    m->month = take_month(c);
    take(c, GL_STR(" "));
    m->year = take_digits(c, 4);
    take(c, GL_STR(" "));
    take_time(c, m);
    take(c, GL_STR(" GMT"));
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static void
take_rfc850(struct cursor *c, struct moment *m)
{
    take_day_name(c, true);
    take(c, GL_STR(", "));
    m->day = take_digits(c, 2);
    take(c, GL_STR("-"));
    m->month = take_month(c);
    take(c, GL_STR("-"));
    m->year = take_digits(c, 2);
    take(c, GL_STR(" "));
    take_time(c, m);
    take(c, GL_STR(" GMT"));
}

/* "Sun Nov  6 08:49:37 1994" */
static void
take_asctime(struct cursor *c, struct moment *m)
{
    take_day_name(c, false);
    take(c, GL_STR(" "));
    m->month = take_month(c);
    take(c, GL_STR(" "));
    if (c->rest.n > 0 && c->rest.p[0] == ' ') {
        take(c, GL_STR(" "));
        m->day = take_digits(c, 1);
    } else {
        m->day = take_digits(c, 2);
    }
    take(c, GL_STR(" "));
    take_time(c, m);
    take(c, GL_STR(" "));
    m->year = take_digits(c, 4);
}

static bool
is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from the year 0 to the first of January of `year`. */
static int64_t
days_to_year(int year)
{
    int64_t before = year > 0 ? year - 1 : 0; /* the year 0 is a leap year */

    return 365 * (int64_t)year + (year > 0) + before / 4 - before / 100 +
           before / 400;
}

static bool
is_real(const struct moment *m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30,
                               31, 31, 30, 31, 30, 31};
    int last = days[m->month] + (m->month == 1 && is_leap(m->year));

    /* 60: a leap second */
    return m->day >= 1 && m->day <= last && m->hour < 24 && m->minute < 60 &&
           m->second <= 60;
}

static int64_t
seconds_of(const struct moment *m)
{
    static const int before[] = {0,   31,  59,  90,  120, 151,
                                 181, 212, 243, 273, 304, 334};
    int64_t days = days_to_year(m->year) - days_to_year(1970) +
                   before[m->month] + (m->month > 1 && is_leap(m->year)) +
                   m->day - 1;

    return days * DAY_SECONDS + m->hour * 3600 + m->minute * 60 + m->second;
}

/* The century of a year of two digits. */
static void
place_year(struct moment *m, int64_t now)
{
    const int64_t half = INT64_C(50) * 36525 * (DAY_SECONDS / 100);

    m->year += 1900;
    while (m->year <= 9899) {
        m->year += 100;
        if (seconds_of(m) - now > half) {
            m->year -= 100;
            return;
        }
    }
}

bool
gl_http_date_parse(struct gl_str text, int64_t now, int64_t *ret_seconds)
{
    struct cursor c = {.rest = text};
    struct moment m = {0};

    if (text.n < 4) {
        return false;
    }
    if (text.p[3] == ',') {
        take_fixdate(&c, &m);
    } else if (text.p[3] == ' ') {
        take_asctime(&c, &m);
    } else {
        take_rfc850(&c, &m);
        if (!c.bad) {
            place_year(&m, now);
        }
    }
    if (c.bad || c.rest.n > 0 || !is_real(&m)) {
        return false;
    }
    *ret_seconds = seconds_of(&m);
    return true;
}
