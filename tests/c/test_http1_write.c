/* test_http1_write.c - the bytes of chunk heads, numbers and refusals.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http1_write.h"

#include "base/clock.h"
#include "base/gl.h"
#include "check.h"
#include "proto/http_tables.h"

#include <inttypes.h>

static const uint64_t numbers[] = {
    1,         9,         10,        15,         16,        17,
    99,        100,       255,       256,        4095,      4096,
    999999999, 123456789, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX,
};

static void
test_numbers(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(numbers); i++) {
        char expected[32];
        char *exact = check_copy("                    ", 20);
        size_t n = gl_http1_decimal(exact, numbers[i]);

        check_case("%" PRIu64, numbers[i]);
        (void)snprintf(expected, sizeof(expected), "%" PRIu64, numbers[i]);
        CHECK(n == strlen(expected) && memcmp(exact, expected, n) == 0);
        n = gl_http1_chunk_head(exact, numbers[i]);
        (void)snprintf(expected, sizeof(expected), "%" PRIx64 "\r\n",
                       numbers[i]);
        CHECK(n == strlen(expected) && memcmp(exact, expected, n) == 0);
        CHECK(n <= GL_CHUNK_HEAD_BYTES);
        free(exact);
    }
    check_case("zero");
    char zero[20];
    CHECK(gl_http1_decimal(zero, 0) == 1 && zero[0] == '0');
}

static void
check_refusal(int status, bool head_only)
{
    /* Not NUL-terminated, as the contract allows. */
    char *date = check_copy("Sun, 06 Nov 1994 08:49:37 GMT", GL_DATE_BYTES);
    char *dst = check_copy("", 0), text[GL_REFUSAL_BYTES + 1], line[128];
    const char *end;
    size_t n;

    check_case("%d %d", status, head_only);
    free(dst);
    dst = malloc(GL_REFUSAL_BYTES);
    n = gl_http1_refusal(dst, status, date, head_only);
    CHECK(n < GL_REFUSAL_BYTES);
    memcpy(text, dst, n);
    text[n] = '\0';
    (void)snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status,
                   gl_http_reason(status));
    CHECK(strncmp(text, line, strlen(line)) == 0);
    CHECK(strstr(text, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    CHECK(strstr(text, "\r\nServer: greenloop\r\n"));
    CHECK(strstr(text, "\r\nConnection: close\r\n"));
    CHECK((strstr(text, "\r\nRetry-After: 1\r\n") != NULL) ==
          (status == 503));
    (void)snprintf(line, sizeof(line), "\r\nContent-Length: %zu\r\n",
                   strlen(gl_http_reason(status)));
    CHECK(strstr(text, line));
    end = strstr(text, "\r\n\r\n");
    if (CHECK(end != NULL)) {
        CHECK(strcmp(end + 4, head_only ? "" : gl_http_reason(status)) == 0);
    }
    free(dst);
    free(date);
}

int
main(void)
{
    test_numbers();
    for (int status = 400; status < 600; status++) {
        check_refusal(status, false);
        check_refusal(status, true);
    }
    return check_end();
}
