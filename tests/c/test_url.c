/* test_url.c - percent-decoding.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/url.h"

#include "base/gl.h"
#include "check.h"

static const struct {
    const char *text;
    const char *decoded; /* NULL: refused */
} rows[] = {
    {"", ""},
    {"/", "/"},
    {"/a+b?c", "/a+b?c"},
    {"%41%62%2f%2F", "Ab//"},
    {"/%c3%A4", "/\xc3\xa4"},
    {"%25%32%35", "%25"},
    {"%2541", "%41"},
    {"a%", NULL},
    {"a%4", NULL},
    {"%%41", NULL},
    {"%4%41", NULL},
    {"%4g", NULL},
    {"%g4", NULL},
    {"%-1", NULL},
    {"% 1", NULL},
    {"%00", NULL},
    {"a%00b", NULL},
    {"%u0041", NULL},
};

static void
check_decoded(ssize_t n, const char *dst, const char *expected)
{
    if (expected == NULL) {
        CHECK(n == -1);
    } else if (CHECK(n == (ssize_t)strlen(expected))) {
        CHECK(memcmp(dst, expected, (size_t)n) == 0);
    }
}

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].text);
        char *src = check_copy(rows[i].text, n);
        char *dst = check_copy(rows[i].text, n);

        check_case("%s", rows[i].text);
        check_decoded(gl_url_decode(dst, (struct gl_str){src, n}), dst,
                      rows[i].decoded);
        check_decoded(gl_url_decode(src, (struct gl_str){src, n}), src,
                      rows[i].decoded);
        free(src);
        free(dst);
    }
}

/* All 65536 pairs of bytes after a '%'. */
static void
test_pairs(void)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    for (int pair = 0; pair < 65536; pair++) {
        char high = (char)(pair >> 8), low = (char)pair, dst[3];
        char src[] = {'%', high, low};
        ssize_t n = gl_url_decode(dst, (struct gl_str){src, 3});
        bool hex = high != '\0' && low != '\0' && strchr(digits, high) &&
                   strchr(digits, low);
        char text[] = {high, low, '\0'};
        long value = hex ? strtol(text, NULL, 16) : 0;

        check_case("pair %d", pair);
        CHECK(n == (value > 0 ? 1 : -1));
        CHECK(n < 0 || dst[0] == (char)value);
    }
}

int
main(void)
{
    test_rows();
    test_pairs();
    return check_end();
}
