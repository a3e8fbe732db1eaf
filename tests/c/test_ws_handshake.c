/* test_ws_handshake.c - the key of the opening handshake.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/ws_handshake.h"

#include "base/gl.h"
#include "check.h"

static bool
is_valid(const char *key, size_t n)
{
    char *copy = check_copy(key, n);
    bool valid = gl_ws_key_is_valid((struct gl_str){copy, n});

    free(copy);
    return valid;
}

static void
test_accept(void)
{
    /* RFC 6455, section 1.3, then as Python's hashlib has them */
    static const char *const rows[][2] = {
        {"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
        {"x3JBHMbDL1EzLkh9GBhXDw==", "6Wv849byVS55GCExRCOABm1PY4k="},
        {"AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
        {"/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g="},
        {"", "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="},
        {"a", "FtgH8qqfEKHvZKEZYEWkYDhlXNY="},
        {"not a key, and longer than a block of the hash can b"
         "e, so that two are taken",
         "fTE3Kjse6+VLXOx0hNZ5kIeWwNo="},
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i][0]);
        char *key = check_copy(rows[i][0], n);
        char *dst = check_copy("............................", 28);

        check_case("accept of %s", rows[i][0]);
        gl_ws_accept((struct gl_str){key, n}, dst);
        CHECK(memcmp(dst, rows[i][1], GL_WS_ACCEPT_BYTES) == 0);
        free(key);
        free(dst);
    }
}

/* Every byte at every place of a good key. */
static void
test_keys(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char good[] = "dGhlIHNhbXBsZSBub25jZQ==";

    CHECK(is_valid(good, 24));
    for (size_t at = 0; at < 24; at++) {
        for (int c = 0; c < 256; c++) {
            char key[24];

            memcpy(key, good, sizeof(key));
            key[at] = (char)c;
            check_case("key with %02x at %zu", (unsigned)c, at);
            CHECK(is_valid(key, sizeof(key)) ==
                  (at < 22 ? c != 0 && strchr(digits, c) != NULL : c == '='));
        }
    }
}

static void
test_key_lengths(void)
{
    static const char text[] = "AAAAAAAAAAAAAAAAAAAAAA====AAAA==";

    for (size_t n = 0; n < sizeof(text); n++) {
        check_case("key of %zu bytes", n);
        CHECK(is_valid(text, n) == (n == 24));
    }
    check_case("other keys");
    CHECK(!is_valid("AAAAAAAAAAAAAAAAAAAAAAA=", 24)); /* 17 bytes */
    CHECK(!is_valid("AAAAAAAAAAAAAAAAAAAAAAAA", 24)); /* 18 bytes */
    CHECK(!is_valid(" AAAAAAAAAAAAAAAAAAAAA==", 24));
    CHECK(!is_valid("-_AAAAAAAAAAAAAAAAAAAA==", 24)); /* base64url */
    CHECK(!gl_ws_key_is_valid((struct gl_str){NULL, 0}));
}

int
main(void)
{
    test_accept();
    test_keys();
    test_key_lengths();
    return check_end();
}
