/* fuzz_url.c - any bytes as a percent-encoded path.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/url.h"

/* Encodes every byte; returns three times n bytes, owned by the caller. */
static char *
encode_all(const char *bytes, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    char *text = malloc(3 * n + 1);

    REQUIRE(text != NULL);
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)bytes[i];

        text[3 * i] = '%';
        text[3 * i + 1] = hex[b >> 4];
        text[3 * i + 2] = hex[b & 15];
    }
    return text;
}

/* What was decoded, encoded again, decodes to the same: unless it has a NUL,
 * which can only have been there unencoded. */
static void
check_again(const char *decoded, size_t n)
{
    char *text = encode_all(decoded, n), *again = fuzz_copy(text, 3 * n);
    ssize_t len = gl_url_decode(again, (struct gl_str){again, 3 * n});

    if (n > 0 && memchr(decoded, '\0', n) != NULL) {
        REQUIRE(len == -1);
    } else {
        REQUIRE(len == (ssize_t)n && memcmp(again, decoded, n) == 0);
    }
    free(again);
    free(text);
}

static size_t
count_of(const char *bytes, size_t n, char wanted)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        count += bytes[i] == wanted;
    }
    return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *src = fuzz_copy(bytes, n), *dst = fuzz_copy(bytes, n);
    size_t percents = count_of(src, n, '%'), nuls = count_of(src, n, '\0');
    ssize_t len = gl_url_decode(dst, (struct gl_str){src, n});

    REQUIRE(n == 0 || memcmp(src, bytes, n) == 0);
    REQUIRE(len >= -1);
    REQUIRE(gl_url_decode(src, (struct gl_str){src, n}) == len);
    if (len >= 0) {
        REQUIRE((size_t)len == n - 2 * percents);
        REQUIRE(memcmp(src, dst, (size_t)len) == 0);
        REQUIRE(count_of(dst, (size_t)len, '\0') == nuls);
        check_again(dst, (size_t)len);
    } else {
        REQUIRE(percents > 0);
    }
    free(src);
    free(dst);
    return 0;
}
