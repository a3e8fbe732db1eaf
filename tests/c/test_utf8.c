/* test_utf8.c - UTF-8 in pieces, against a decoder made of arithmetic.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/utf8.h"

#include "base/gl.h"
#include "check.h"

#define TOP 0x10ffff
#define LONG_BYTES 200

/* --- the other decoder ------------------------------------------------- */

/* How many bytes the character at p has: 0: it is none, -1: it is cut. */
static int
character(const unsigned char *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = p[0] < 0x80             ? 1
                  : (p[0] & 0xe0) == 0xc0 ? 2
                  : (p[0] & 0xf0) == 0xe0 ? 3
                  : (p[0] & 0xf8) == 0xf0 ? 4
                                          : 0;
    uint32_t code = size == 1 ? p[0] : p[0] & (0x7fU >> size);

    for (size_t i = 1; i < size; i++) {
        if (i == n) {
            return -1;
        }
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3f);
    }
    return size > 0 && code >= least[size] && code <= TOP &&
                   code >> 11 != 0xd800 >> 11
               ? (int)size
               : 0;
}

/* As character(), of the first one that is not whole; 1: all are. */
static int
first_flaw(const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        int size = character((const unsigned char *)bytes + at, n - at);

        if (size <= 0) {
            return size;
        }
        at += (size_t)size;
    }
    return 1;
}

static bool
is_utf8(const char *bytes, size_t n)
{
    return first_flaw(bytes, n) > 0;
}

/* Whether some bytes after the n (up to 4) make it UTF-8. */
static bool
may_become_utf8(const char *bytes, size_t n)
{
    static const char tails[] = "\x80\x8f\x90\x9f\xa0\xbf";
    char longer[8];
    int flaw = first_flaw(bytes, n);

    memcpy(longer, bytes, n);
    for (size_t i = 0; flaw < 0 && i < sizeof(tails) - 1; i++) {
        longer[n] = tails[i];
        if (may_become_utf8(longer, n + 1)) {
            return true;
        }
    }
    return flaw > 0;
}

/* --- tests ------------------------------------------------------------- */

/* Feeds n bytes in two pieces, each at its own address. */
static bool
feed(struct gl_utf8 *u, const char *bytes, size_t n, size_t cut)
{
    char *first = check_copy(bytes, cut);
    char *second = check_copy(bytes + cut, n - cut);
    bool good = gl_utf8_feed(u, first, cut);

    if (good) {
        good = gl_utf8_feed(u, second, n - cut);
    } else {
        CHECK(!gl_utf8_feed(u, second, n - cut));
    }
    free(first);
    free(second);
    return good;
}

static void
check_every_cut(const char *bytes, size_t n, bool good, bool whole)
{
    for (size_t cut = 0; cut <= n; cut++) {
        struct gl_utf8 u = {0};

        CHECK(feed(&u, bytes, n, cut) == good);
        CHECK(gl_utf8_complete(&u) == whole);
    }
}

/* All that one to four of the bytes at which a rule begins or ends can make:
 * what is bad is bad at once. */
static void
test_edges(void)
{
    static const char edges[] = "\x00\x41\x7f\x80\x8f\x90\x9f\xa0\xbf"
                                "\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef"
                                "\xf0\xf1\xf3\xf4\xf5\xff";
    const size_t count = sizeof(edges) - 1;
    char bytes[4];

    for (size_t n = 1, total = count; n <= 4; n++, total *= count) {
        for (size_t i = 0; i < total; i++) {
            struct gl_utf8 u = {0};
            bool good, whole, may;

            for (size_t j = 0, rest = i; j < n; j++, rest /= count) {
                bytes[j] = edges[rest % count];
            }
            good = gl_utf8_feed(&u, bytes, n);
            whole = is_utf8(bytes, n);
            may = may_become_utf8(bytes, n);
            if (good != may || gl_utf8_complete(&u) != whole) {
                check_case("edges %zu of %zu bytes", i, n); /* is slow */
                CHECK(!"as the other decoder says");
            }
        }
    }
}

static void
test_pairs(void)
{
    for (int i = 0; i < 65536; i++) {
        char bytes[2] = {(char)(i >> 8), (char)i};
        struct gl_utf8 u = {0};

        check_case("pair %04x", (unsigned)i);
        CHECK(gl_utf8_feed(&u, bytes, 1) == may_become_utf8(bytes, 1));
        CHECK(gl_utf8_feed(&u, bytes + 1, 1) == may_become_utf8(bytes, 2));
        CHECK(gl_utf8_complete(&u) == is_utf8(bytes, 2));
    }
}

static size_t
encode(char *dst, uint32_t code)
{
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = n; i > 1; i--, code >>= 6) {
        dst[i - 1] = (char)(0x80 | (code & 0x3f));
    }
    dst[0] = (char)(lead[n] | code);
    return n;
}

/* Every code there is, and those above, one after the other. */
static void
test_every_code(void)
{
    for (uint32_t code = 0; code <= 0x1fffff; code++) {
        char bytes[4];
        size_t n = encode(bytes, code);
        struct gl_utf8 u = {0};
        bool good = code <= TOP && (code < 0xd800 || code > 0xdfff);

        if (code % 256 == 0) { /* else most of the time goes into this */
            check_case("from U+%04X", (unsigned)code);
        }
        CHECK(gl_utf8_feed(&u, bytes, n) == good);
        CHECK(gl_utf8_complete(&u) == good);
    }
}

/* A character at each place of a text that is else ASCII: whichever way is
 * taken through the bytes, the answer is the same. */
static void
check_in_ascii(const char *character_bytes, bool good, bool whole)
{
    size_t size = strlen(character_bytes);
    char text[LONG_BYTES];

    for (size_t at = 0; at + size <= LONG_BYTES; at++) {
        memset(text, 'a', sizeof(text));
        memcpy(text + at, character_bytes, size);
        check_case("%zu bytes at %zu", size, at);
        if (good && !whole) { /* cut: fine at the end only */
            check_every_cut(text, at + size, true, false);
        }
        check_every_cut(text, sizeof(text),
                        good && (whole || at + size == LONG_BYTES),
                        good && whole);
    }
}

static void
test_long(void)
{
    char zeros[LONG_BYTES] = {0};

    check_in_ascii("\x7f", true, true);
    check_in_ascii("\xc3\xa4", true, true);
    check_in_ascii("\xed\x9f\xbf\xee\x80\x80", true, true);
    check_in_ascii("\xf0\x9f\x90\x8d", true, true);
    check_in_ascii("\x80", false, false);
    check_in_ascii("\xff", false, false);
    check_in_ascii("\xc0\x80", false, false);
    check_in_ascii("\xed\xa0\x80", false, false);
    check_in_ascii("\xc3", true, false);
    check_in_ascii("\xe2\x82", true, false);
    check_in_ascii("\xf4\x8f\xbf", true, false);
    check_case("zeros");
    check_every_cut(zeros, sizeof(zeros), true, true);
}

int
main(void)
{
    test_edges();
    test_pairs();
    test_every_code();
    test_long();
    return check_end();
}
