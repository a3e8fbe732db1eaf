/* test_sha1.c - SHA-1 against the published vectors, at every cut.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/sha1.h"

#include "base/gl.h"
#include "check.h"

static const struct {
    const char *text;
    const char *hex;
} rows[] = {
    {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
     "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "a49b2446a02c645bf419f995b67091253a04a259"},
};

static void
digest_in_hex(struct gl_sha1 *h, char hex[2 * GL_SHA1_BYTES + 1])
{
    unsigned char digest[GL_SHA1_BYTES];

    gl_sha1_end(h, digest);
    for (size_t i = 0; i < GL_SHA1_BYTES; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

/* The digest of n bytes that come in pieces of `step`. */
static void
digest(const char *text, size_t n, size_t step,
       char hex[2 * GL_SHA1_BYTES + 1])
{
    struct gl_sha1 h;

    gl_sha1_init(&h);
    for (size_t at = 0, len; at < n; at += len) {
        len = n - at < step ? n - at : step;
        char *piece = check_copy(text + at, len);

        gl_sha1_feed(&h, (struct gl_str){piece, len});
        free(piece);
    }
    digest_in_hex(&h, hex);
}

static void
test_vectors(void)
{
    char hex[2 * GL_SHA1_BYTES + 1];

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].text);

        for (size_t step = 1; step <= n + 1; step++) {
            check_case("%.20s: step %zu", rows[i].text, step);
            digest(rows[i].text, n, step, hex);
            CHECK(strcmp(hex, rows[i].hex) == 0);
        }
    }
}

/* The vector of a million times "a" (FIPS 180-2, appendix A.3). */
static void
test_a_million(void)
{
    struct gl_sha1 h;
    char text[1000], hex[2 * GL_SHA1_BYTES + 1];

    check_case("a million");
    memset(text, 'a', sizeof(text));
    gl_sha1_init(&h);
    for (int i = 0; i < 1000; i++) {
        gl_sha1_feed(&h, (struct gl_str){text, sizeof(text)});
    }
    digest_in_hex(&h, hex);
    CHECK(strcmp(hex, "34aa973cd4c4daa4f61eeb2bdbad27316534016f") == 0);
}

/* The lengths around which the padding takes one block or two. */
static void
test_padding(void)
{
    static const struct {
        size_t n;
        const char *hex;
    } lengths[] = {
        {55, "cef734ba81a024479e09eb5a75b6ddae62e6abf1"},
        {56, "901305367c259952f4e7af8323f480d59f81335b"},
        {57, "025ecbd5d70f8fb3c5457cd96bab13fda305dc59"},
        {63, "0ddc4e0cccd9a12850deb5abb0853a4425559fec"},
        {64, "bb2fa3ee7afb9f54c6dfb5d021f14b1ffe40c163"},
        {65, "78c741ddc482e4cdf8c474a0876347a0905b6233"},
        {119, "4300320394f7ee239bcdce7d3b8bcee173a0cd5c"},
        {120, "ceb2821639c4b6dcb10bce0e522ca2e608ce056d"},
        {128, "150fa3fbdc899bd0b8f95a9fb6027f564d953762"},
    };
    char text[128], hex[2 * GL_SHA1_BYTES + 1];

    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < GL_ARRAY_LEN(lengths); i++) {
        check_case("%zu bytes", lengths[i].n);
        digest(text, lengths[i].n, 7, hex);
        CHECK(strcmp(hex, lengths[i].hex) == 0);
    }
}

int
main(void)
{
    test_vectors();
    test_a_million();
    test_padding();
    return check_end();
}
