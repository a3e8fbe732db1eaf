/* test_ws_frame.c - frame heads, masking and close codes of WebSocket.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/ws_frame.h"

#include "base/gl.h"
#include "check.h"

#include <errno.h>

/* The initialiser of a struct gl_str. */
#define BYTES(literal) {literal, sizeof(literal) - 1}

static const uint8_t rfc_mask[4] = {0x37, 0xfa, 0x21, 0x3d};

/* Parses n bytes that end where the memory does. */
static int
parse(const void *bytes, size_t n, struct gl_ws_frame *ret)
{
    char *copy = check_copy(bytes, n);
    int size = gl_ws_frame_parse((struct gl_str){copy, n}, ret);

    free(copy);
    return size;
}

/* --- heads ------------------------------------------------------------- */

static const struct {
    struct gl_str wire;
    struct gl_ws_frame frame;
} frames[] = {
    /* RFC 6455, section 5.7 */
    {BYTES("\x81\x05Hello"), {.length = 5, .opcode = 1, .fin = 1, .size = 2}},
    {BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
     {.length = 5,
      .opcode = 1,
      .fin = 1,
      .masked = 1,
      .mask = {0x37, 0xfa, 0x21, 0x3d},
      .size = 6}},
    {BYTES("\x01\x03Hel"), {.length = 3, .opcode = 1, .size = 2}},
    {BYTES("\x80\x02lo"), {.length = 2, .opcode = 0, .fin = 1, .size = 2}},
    {BYTES("\x89\x05Hello"), {.length = 5, .opcode = 9, .fin = 1, .size = 2}},
    {BYTES("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
     {.length = 5,
      .opcode = 10,
      .fin = 1,
      .masked = 1,
      .mask = {0x37, 0xfa, 0x21, 0x3d},
      .size = 6}},
    {BYTES("\x82\x7e\x01\x00"),
     {.length = 256, .opcode = 2, .fin = 1, .size = 4}},
    {BYTES("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
     {.length = 65536, .opcode = 2, .fin = 1, .size = 10}},
    /* RFC 7692, section 7.2.3.1 */
    {BYTES("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"),
     {.length = 7, .opcode = 1, .fin = 1, .rsv1 = 1, .size = 2}},
    {BYTES("\x41\x03\xf2\x48\xcd"),
     {.length = 3, .opcode = 1, .rsv1 = 1, .size = 2}},
    /* the ends of each form of the length */
    {BYTES("\x82\x00"), {.opcode = 2, .fin = 1, .size = 2}},
    {BYTES("\x02\x7d"), {.length = 125, .opcode = 2, .size = 2}},
    {BYTES("\x02\x7e\x00\x7e"), {.length = 126, .opcode = 2, .size = 4}},
    {BYTES("\x02\x7e\xff\xff"), {.length = 65535, .opcode = 2, .size = 4}},
    {BYTES("\x02\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
     {.length = INT64_MAX, .opcode = 2, .size = 10}},
    {BYTES("\x02\xff\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"),
     {.length = 0x0001020304050607,
      .opcode = 2,
      .masked = 1,
      .mask = {8, 9, 10, 11},
      .size = 14}},
    {BYTES("\x88\x7d"), {.length = 125, .opcode = 8, .fin = 1, .size = 2}},
};

static bool
frames_are_equal(const struct gl_ws_frame *a, const struct gl_ws_frame *b)
{
    return a->length == b->length && a->opcode == b->opcode &&
           a->fin == b->fin && a->rsv1 == b->rsv1 && a->masked == b->masked &&
           a->size == b->size &&
           memcmp(a->mask, b->mask, sizeof(a->mask)) == 0;
}

static void
test_frames(void)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(frames); i++) {
        struct gl_str wire = frames[i].wire;

        for (size_t n = 0; n <= wire.n; n++) {
            struct gl_ws_frame found, untouched;
            int size;

            memset(&found, 0xaa, sizeof(found));
            memset(&untouched, 0xaa, sizeof(untouched));
            check_case("frame %zu, %zu bytes", i, n);
            size = parse(wire.p, n, &found);
            if (n < frames[i].frame.size) {
                CHECK(size == 0);
                CHECK(memcmp(&found, &untouched, sizeof(found)) == 0);
            } else {
                CHECK(size == frames[i].frame.size);
                CHECK(frames_are_equal(&found, &frames[i].frame));
            }
        }
    }
}

/* What is wrong is refused with its last byte, which is the last here, and
 * whatever follows. */
static void
test_bad_frames(void)
{
    static const struct gl_str rows[] = {
        BYTES("\x83"),
        BYTES("\x87"),
        BYTES("\x8b"),
        BYTES("\x8f"),
        BYTES("\x91"),
        BYTES("\xa1"),
        BYTES("\xb1"),
        BYTES("\xf2"),
        BYTES("\x08"),
        BYTES("\x09"),
        BYTES("\x0a"),
        BYTES("\xc8"),
        BYTES("\xc9"),
        BYTES("\xca"),
        BYTES("\x88\x7e"),
        BYTES("\x89\xff"),
        BYTES("\x8a\xfe"),
        /* not the shortest form (section 5.2) */
        BYTES("\x82\x7e\x00\x00"),
        BYTES("\x82\x7e\x00\x7d"),
        BYTES("\x82\xfe\x00\x7d"),
        BYTES("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x00"),
        BYTES("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"),
        /* the top bit */
        BYTES("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"),
        BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    };

    for (size_t i = 0; i < GL_ARRAY_LEN(rows); i++) {
        struct gl_ws_frame found;
        char longer[64] = {0};

        check_case("bad frame %zu", i);
        memcpy(longer, rows[i].p, rows[i].n);
        for (size_t n = 0; n < rows[i].n; n++) {
            CHECK(parse(longer, n, &found) == 0);
        }
        for (size_t n = rows[i].n; n <= sizeof(longer); n++) {
            CHECK(parse(longer, n, &found) == -EPROTO);
        }
    }
}

/* Every first byte with every second one; the others are such that a long
 * length is in its shortest form. */
static void
test_first_bytes(void)
{
    static const char opcodes[] = "111.....111....."; /* by number */
    static const char rest[] = "\x00\x01\x00\x00\x00\x00\x00\x00"
                               "\x00\x00\x00\x00";

    for (unsigned i = 0; i < 65536; i++) {
        unsigned first = i >> 8, second = i & 0xff, length = second & 0x7f;
        bool control = (first & 8) != 0;
        bool good = opcodes[first & 15] == '1' && (first & 0x30) == 0 &&
                    (!control || ((first & 0xc0) == 0x80 && length < 126));
        int expected = 2 +
                       (length == 126   ? 2
                        : length == 127 ? 8
                                        : 0) +
                       (second >= 128 ? 4 : 0);
        char wire[14] = {(char)first, (char)second};
        struct gl_ws_frame found;

        memcpy(wire + 2, rest, sizeof(rest) - 1);
        if (length == 126) {
            wire[2] = 1;
        }
        check_case("%02x %02x", first, second);
        if (!good) {
            CHECK(parse(wire, sizeof(wire), &found) == -EPROTO);
        } else if (CHECK(parse(wire, sizeof(wire), &found) == expected)) {
            CHECK(found.size == expected);
            CHECK(found.fin == (first >= 128));
            CHECK(found.rsv1 == ((first & 0x40) != 0));
            CHECK(found.masked == (second >= 128));
            CHECK(found.opcode == (first & 15));
        }
    }
}

static void
test_write(void)
{
    static const uint64_t lengths[] = {
        0,         1,          124,        125,
        126,       127,        255,        256,
        65534,     65535,      65536,      65537,
        INT32_MAX, UINT32_MAX, 1ULL << 32, (1ULL << 56) + 1,
        INT64_MAX,
    };
    static const enum gl_ws_opcode opcodes[] = {GL_WS_CONTINUATION,
                                                GL_WS_TEXT, GL_WS_BINARY};
    struct gl_ws_frame found;

    for (size_t i = 0; i < GL_ARRAY_LEN(lengths) * 6; i++) {
        uint64_t length = lengths[i / 6];
        enum gl_ws_opcode opcode = opcodes[i % 3];
        bool rsv1 = i % 2 == 0;
        char head[GL_WS_HEAD_BYTES];
        size_t n = gl_ws_frame_write(head, opcode, rsv1, length);

        check_case("head of %llu bytes", (unsigned long long)length);
        CHECK(n == (length < 126 ? 2 : length < 65536 ? 4 : 10));
        if (CHECK(parse(head, n, &found) == (int)n)) {
            CHECK(found.length == length && found.opcode == opcode);
            CHECK(found.fin && found.rsv1 == rsv1 && !found.masked);
        }
    }
    for (unsigned opcode = GL_WS_CLOSE; opcode <= GL_WS_PONG; opcode++) {
        char head[GL_WS_HEAD_BYTES];

        check_case("head of control frame %u", opcode);
        CHECK(gl_ws_frame_write(head, opcode, false, 125) == 2);
        CHECK(parse(head, 2, &found) == 2);
        CHECK(found.opcode == opcode && found.length == 125);
    }
}

/* --- masks ------------------------------------------------------------- */

#define MASK_BYTES 150

static void
test_mask_example(void)
{
    char text[] = "\x7f\x9f\x4d\x51\x58";

    check_case("mask of the RFC");
    gl_ws_mask(text, 5, rfc_mask, 0);
    CHECK(memcmp(text, "Hello", 5) == 0);
    gl_ws_mask(text, 5, rfc_mask, 0);
    CHECK(memcmp(text, "\x7f\x9f\x4d\x51\x58", 5) == 0);
    gl_ws_mask(NULL, 0, rfc_mask, 3);
}

/* Every length, in two pieces cut at each place, wherever the memory lies. */
static void
test_mask_pieces(void)
{
    char plain[MASK_BYTES], masked[MASK_BYTES];
    unsigned long random = 1;

    for (size_t i = 0; i < MASK_BYTES; i++) {
        plain[i] = (char)check_random(&random);
        masked[i] = (char)(plain[i] ^ rfc_mask[i % 4]);
    }
    for (size_t n = 0; n <= MASK_BYTES; n++) {
        for (size_t cut = 0; cut <= n; cut++) {
            char *copy = check_copy(plain, n);

            check_case("mask of %zu bytes cut at %zu", n, cut);
            gl_ws_mask(copy + cut, n - cut, rfc_mask, cut);
            gl_ws_mask(copy, cut, rfc_mask, 0);
            CHECK(memcmp(copy, masked, n) == 0);
            free(copy);
        }
    }
}

/* Far into a payload that is longer than memory. */
static void
test_mask_far(void)
{
    char text[4] = {0};

    check_case("mask far in");
    gl_ws_mask(text, 4, rfc_mask, INT64_MAX);
    CHECK(memcmp(text, "\x3d\x37\xfa\x21", 4) == 0);
}

/* --- close frames ------------------------------------------------------ */

static bool
is_sent_by_the_rfc(int code)
{
    static const int registered[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                     1009, 1010, 1011, 1012, 1013, 1014};

    for (size_t i = 0; i < GL_ARRAY_LEN(registered); i++) {
        if (code == registered[i]) {
            return true;
        }
    }
    return code / 1000 == 3 || code / 1000 == 4;
}

static int
close_parse(const void *payload, size_t n, int *ret_code,
            struct gl_str *ret_reason)
{
    char *copy = check_copy(payload, n);
    int r = gl_ws_close_parse((struct gl_str){copy, n}, ret_code, ret_reason);

    if (r == 0 && ret_reason->n > 0) {
        CHECK(ret_reason->p == copy + 2);
        ret_reason->p = (const char *)payload + 2;
    }
    free(copy);
    return r;
}

static void
test_close_codes(void)
{
    CHECK(!gl_ws_close_code_may_be_sent(-1));
    CHECK(!gl_ws_close_code_may_be_sent(66536)); /* 1000 in 16 bits */
    for (int i = 0; i < 65536; i++) {
        char payload[] = {(char)(i >> 8), (char)i, 'w', 'h', 'y'};
        struct gl_str reason = GL_STR("untouched");
        bool good = is_sent_by_the_rfc(i);
        int code = 0;

        check_case("close code %d", i);
        CHECK(gl_ws_close_code_may_be_sent(i) == good);
        CHECK(close_parse(payload, 5, &code, &reason) ==
              (good ? 0 : -EPROTO));
        CHECK(code == (good ? i : 0));
        CHECK(gl_str_eq(reason, good ? GL_STR("why") : GL_STR("untouched")));
        CHECK(close_parse(payload, 2, &code, &reason) ==
              (good ? 0 : -EPROTO));
        CHECK(!good || reason.n == 0);
    }
}

static void
test_close_payloads(void)
{
    struct gl_str reason = GL_STR("old");
    char longest[GL_WS_CONTROL_MAX_BYTES] = "\x03\xe8";
    int code = 0;

    check_case("close payloads");
    CHECK(close_parse("\x03", 1, &code, &reason) == -EPROTO);
    CHECK(close_parse("\x03\xe8\xff", 3, &code, &reason) == -EILSEQ);
    CHECK(close_parse("\x03\xe8\xc3", 3, &code, &reason) == -EILSEQ);
    CHECK(close_parse("\x03\xe8\xed\xa0\x80", 5, &code, &reason) == -EILSEQ);
    CHECK(code == 0 && gl_str_eq(reason, GL_STR("old")));
    CHECK(close_parse("", 0, &code, &reason) == 0);
    CHECK(code == GL_WS_CODE_NONE && reason.n == 0);
    CHECK(close_parse("\x0b\xb8\xc3\xa4", 4, &code, &reason) == 0);
    CHECK(code == 3000 && gl_str_eq(reason, GL_STR("\xc3\xa4")));
    CHECK(close_parse(longest, sizeof(longest), &code, &reason) == 0);
    CHECK(code == 1000 && reason.n == GL_WS_REASON_MAX_BYTES);
}

int
main(void)
{
    test_frames();
    test_bad_frames();
    test_first_bytes();
    test_write();
    test_mask_example();
    test_mask_pieces();
    test_mask_far();
    test_close_codes();
    test_close_payloads();
    return check_end();
}
