/* test_http_conditional.c - preconditions in their precedence, and If-Range.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_conditional.h"

#include "base/gl.h"
#include "check.h"

#define OLDER "Sun, 06 Nov 1994 08:49:36 GMT"
#define EXACT "Sun, 06 Nov 1994 08:49:37 GMT"
#define NEWER "Sun, 06 Nov 1994 08:49:38 GMT"
#define MODIFIED INT64_C(784111777)
#define LATER (MODIFIED + 3600)
#define FIELDS 6

static const struct {
    int status;
    /* If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since,
     * If-Range, Range */
    const char *fields[FIELDS];
} rows[] = {
    {200, {NULL}},
    {200, {"\"a\""}},
    {200, {"*"}},
    {200, {"\"x\", \"a\""}},
    {200, {"\"x,\",W/\"b\",\"a\""}},
    {412, {"\"x\""}},
    {412, {"W/\"a\""}}, /* strong comparison */
    {412, {""}},
    {412, {"a"}},
    {412, {"\"a"}},
    {412, {"x, \"a\""}}, /* nothing counts after what is no tag */
    {304, {NULL, "\"a\""}},
    {304, {NULL, "W/\"a\""}}, /* weak comparison */
    {304, {NULL, "*"}},
    {304, {NULL, "\"x\",\t\"y\" , \"a\""}},
    {200, {NULL, "\"x\""}},
    {200, {NULL, "a"}},
    {200, {NULL, ""}},
    {200, {NULL, "W/"}},
    {200, {NULL, "\"A\""}},
    {304, {NULL, NULL, EXACT}},
    {304, {NULL, NULL, NEWER}},
    {200, {NULL, NULL, OLDER}},
    {200, {NULL, NULL, "yesterday"}},
    {200, {NULL, "\"x\"", NEWER}}, /* the tag decides alone */
    {304, {NULL, "\"a\"", OLDER}},
    {200, {NULL, NULL, NULL, EXACT}},
    {200, {NULL, NULL, NULL, NEWER}},
    {412, {NULL, NULL, NULL, OLDER}},
    {200, {NULL, NULL, NULL, "never"}},
    {200, {"\"a\"", NULL, NULL, OLDER}}, /* the tag decides alone */
    {304, {"\"a\"", "\"a\""}},
    {412, {"\"x\"", "\"a\""}},
    {412, {"\"x\"", NULL, NULL, NULL, NULL, "bytes=0-1"}},
    {304, {NULL, "\"a\"", NULL, NULL, NULL, "bytes=0-1"}},
    {206, {NULL, NULL, NULL, NULL, NULL, "bytes=0-1"}},
    {416, {NULL, NULL, NULL, NULL, NULL, "bytes=99-"}},
    {206, {NULL, NULL, NULL, NULL, "\"a\"", "bytes=0-1"}},
    {200, {NULL, NULL, NULL, NULL, "\"x\"", "bytes=0-1"}},
    {200, {NULL, NULL, NULL, NULL, "W/\"a\"", "bytes=0-1"}},
    {200, {NULL, NULL, NULL, NULL, "*", "bytes=0-1"}},
    {200, {NULL, NULL, NULL, NULL, "", "bytes=0-1"}},
    {206, {NULL, NULL, NULL, NULL, EXACT, "bytes=0-1"}},
    {200, {NULL, NULL, NULL, NULL, NEWER, "bytes=0-1"}},
    {200, {NULL, NULL, NULL, NULL, OLDER, "bytes=0-1"}},
    {200, {NULL, NULL, NULL, NULL, "\"x\"", "bytes=99-"}},
    {200, {NULL, NULL, NULL, NULL, "\"a\"", NULL}},
};

static int
status_of(char *const fields[FIELDS], int64_t now)
{
    const struct gl_validators v = {GL_STR("\"a\""), MODIFIED, 10};
    struct gl_conditions c = {0};
    struct gl_str *const places[FIELDS] = {
        &c.if_match,          &c.if_none_match,
        &c.if_modified_since, &c.if_unmodified_since,
        &c.if_range,          &c.range,
    };
    struct gl_selection selection;

    for (size_t i = 0; i < FIELDS; i++) {
        if (fields[i] != NULL) {
            *places[i] = (struct gl_str){fields[i], strlen(fields[i])};
        }
    }
    gl_http_select(&c, &v, now, &selection);
    CHECK((selection.status == 206) == (selection.range_count > 0));
    return selection.status;
}

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        char *fields[FIELDS];

        check_case("row %zu", i);
        for (size_t j = 0; j < FIELDS; j++) {
            const char *text = rows[i].fields[j];

            fields[j] =
                text != NULL ? check_copy(text, strlen(text) + 1) : NULL;
        }
        CHECK(status_of(fields, LATER) == rows[i].status);
        for (size_t j = 0; j < FIELDS; j++) {
            free(fields[j]);
        }
    }
}

/* A date of this very second may stand for two versions. */
static void
test_fresh_dates(void)
{
    char date[] = EXACT, range[] = "bytes=0-1";
    char *const fields[FIELDS] = {NULL, NULL, NULL, NULL, date, range};

    CHECK(status_of(fields, MODIFIED) == 200);
    CHECK(status_of(fields, MODIFIED + 1) == 200);
    CHECK(status_of(fields, MODIFIED + 2) == 206);
}

int
main(void)
{
    test_rows();
    test_fresh_dates();
    return check_end();
}
