/* test_http_accept.c - qualities of content codings.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http_accept.h"

#include "base/gl.h"
#include "check.h"

static const struct {
    const char *field;
    int gzip, br;
} rows[] = {
    {"", -1, -1},
    {"gzip", 1000, -1},
    {"GZip, bR", 1000, 1000},
    {"gzip;q=0.5, br;q=0.75", 500, 750},
    {"gzip ; q=0.5,br ;\tQ=1.000", 500, 1000},
    {"gzip;q=0", 0, -1},
    {"gzip;q=0.000", 0, -1},
    {"gzip;q=0.001", 1, -1},
    {"gzip;q=1.", 1000, -1},
    {"gzip;q=0.", 0, -1},
    {"*", 1000, 1000},
    {"*;q=0.3, gzip", 1000, 300},
    {"gzip;q=0, *", 0, 1000},
    {"identity", -1, -1},
    {"gzip;q=1.001", 0, -1},
    {"gzip;q=2", 0, -1},
    {"gzip;q=0.1234", 0, -1},
    {"gzip;q=.5", 0, -1},
    {"gzip;q=0,5", 0, -1},
    {"gzip;q=-1", 0, -1},
    {"gzip;q=a", 0, -1},
    {"gzip;q=", 0, -1},
    {"gzip;", 0, -1},
    {"gzip;level=3", 0, -1},
    {"gzipped, brr", -1, -1},
    {",,gzip,,", 1000, -1},
    {"gzip;q=0, gzip", 0, -1},
};

static void
test_rows(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].field);
        char *text = check_copy(rows[i].field, n);
        struct gl_str field = {text, n};

        check_case("%s", rows[i].field);
        CHECK(gl_http_coding_quality(field, GL_STR("gzip")) == rows[i].gzip);
        CHECK(gl_http_coding_quality(field, GL_STR("br")) == rows[i].br);
        free(text);
    }
}

static void
test_cuts(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        for (size_t n = 0; n < strlen(rows[i].field); n++) {
            char *text = check_copy(rows[i].field, n);
            int quality = gl_http_coding_quality((struct gl_str){text, n},
                                                 GL_STR("gzip"));

            check_case("%zu bytes of %s", n, rows[i].field);
            CHECK(quality >= -1 && quality <= 1000);
            free(text);
        }
    }
}

int
main(void)
{
    test_rows();
    test_cuts();
    return check_end();
}
