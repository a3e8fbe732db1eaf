/* fuzz_ws_frame.c - any bytes as a frame's head, as a payload to mask, as a
 * close frame's payload, and as UTF-8 in pieces.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fuzz.h"
#include "proto/utf8.h"
#include "proto/ws_frame.h"

#include <errno.h>

/* --- heads ------------------------------------------------------------- */

static int
parse(const uint8_t *bytes, size_t n, struct gl_ws_frame *ret)
{
    char *copy = fuzz_copy(bytes, n);
    int size = gl_ws_frame_parse((struct gl_str){copy, n}, ret);

    free(copy);
    return size;
}

/* There is one way to write what was read, so writing it gives the bytes. */
static void
check_rewritten(const struct gl_ws_frame *frame, const uint8_t *bytes)
{
    char head[GL_WS_FRAME_HEAD_MAX_BYTES];
    size_t n = gl_ws_frame_write(head, (enum gl_ws_opcode)frame->opcode,
                                 frame->rsv1, frame->length);

    if (!frame->fin) {
        head[0] = (char)(head[0] & 0x7f);
    }
    if (frame->masked) {
        head[1] = (char)(head[1] | 0x80);
        memcpy(head + n, frame->mask, sizeof(frame->mask));
        n += sizeof(frame->mask);
    }
    REQUIRE(n == frame->size && memcmp(head, bytes, n) == 0);
}

/* However much of a head is there, the answer is that to all of it, or that
 * more is needed; and an answer stays. */
static void
check_head(const uint8_t *bytes, size_t n)
{
    struct gl_ws_frame whole, part;
    int found = parse(bytes, n, &whole), before = 0;

    for (size_t i = 0; i <= n && i <= GL_WS_FRAME_HEAD_MAX_BYTES; i++) {
        int now = parse(bytes, i, &part);

        REQUIRE(now == 0 || now == found);
        REQUIRE(before == 0 || now == before);
        before = now;
    }
    REQUIRE(before == found && (found != 0 || n < 14));
    if (found > 0) {
        REQUIRE(found == whole.size && (size_t)found <= n);
        REQUIRE(whole.length <= INT64_MAX);
        check_rewritten(&whole, bytes);
    } else {
        REQUIRE(found == 0 || found == -EPROTO);
    }
}

/* --- masks ------------------------------------------------------------- */

/* The first bytes are the mask and the offset, the others the payload. */
static void
check_mask(const uint8_t *bytes, size_t n)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    uint8_t mask[4] = {0};
    uint64_t from;
    size_t count, len;
    char *text;

    if (n < 5) {
        return;
    }
    memcpy(mask, bytes, 4);
    from = (uint64_t)bytes[4] << 32 | bytes[4];
    count = n - 5;
    text = fuzz_copy(bytes + 5, count);
    for (size_t at = 0; at < count; at += len) {
        size_t want = fuzz_cut(&cuts, count);

        len = want < count - at ? want : count - at;
        gl_ws_mask(text + at, len, mask, from + at);
    }
    for (size_t i = 0; i < count; i++) {
        REQUIRE((uint8_t)text[i] == (bytes[5 + i] ^ mask[(from + i) % 4]));
    }
    gl_ws_mask(text, count, mask, from);
    REQUIRE(count == 0 || memcmp(text, bytes + 5, count) == 0);
    free(text);
}

/* --- UTF-8 ------------------------------------------------------------- */

/* The bytes of the character at p; 0: none, or not all of it. */
static size_t
character(const uint8_t *p, size_t n)
{
    size_t size = p[0] < 0x80    ? 1
                  : p[0] < 0xc2  ? 0
                  : p[0] < 0xe0  ? 2
                  : p[0] < 0xf0  ? 3
                  : p[0] <= 0xf4 ? 4
                                 : 0;
    uint32_t code = p[0];

    if (size > n) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if (p[i] >> 6 != 2) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3fU);
    }
    switch (size) {
    case 3:
        code &= 0xffff;
        return code >= 0x800 && (code < 0xd800 || code > 0xdfff) ? size : 0;
    case 4:
        code &= 0x1fffff;
        return code >= 0x10000 && code <= 0x10ffff ? size : 0;
    default:
        return size;
    }
}

static bool
is_utf8(const uint8_t *bytes, size_t n)
{
    for (size_t at = 0, size; at < n; at += size) {
        size = character(bytes + at, n - at);
        if (size == 0) {
            return false;
        }
    }
    return true;
}

/* Once bad, it stays so. */
static bool
feed_in_pieces(struct gl_utf8 *u, const uint8_t *bytes, size_t n, size_t most)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(bytes, n);
    bool good = true;

    for (size_t at = 0, len; at < n; at += len) {
        size_t want = fuzz_cut(&cuts, most);
        char *piece;
        bool now;

        len = want < n - at ? want : n - at;
        piece = fuzz_copy(bytes + at, len);
        now = gl_utf8_feed(u, piece, len);
        REQUIRE(good || !now);
        good = now;
        free(piece);
    }
    return good;
}

static void
check_utf8(const uint8_t *bytes, size_t n)
{
    struct gl_utf8 whole = {0}, one = {0}, some = {0};
    char *copy = fuzz_copy(bytes, n);
    bool good = gl_utf8_feed(&whole, copy, n);

    REQUIRE(gl_utf8_complete(&whole) == is_utf8(bytes, n));
    REQUIRE(good || !gl_utf8_complete(&whole));
    REQUIRE(feed_in_pieces(&one, bytes, n, 1) == good);
    REQUIRE(feed_in_pieces(&some, bytes, n, n / 4 + 1) == good);
    REQUIRE(one.state == whole.state && some.state == whole.state);
    free(copy);
}

/* --- close frames ------------------------------------------------------ */

static void
check_close(const uint8_t *bytes, size_t n)
{
    char *copy = fuzz_copy(bytes, n);
    struct gl_str reason = {copy, 0};
    int code = 0, r;
    bool sent;

    r = gl_ws_close_parse((struct gl_str){copy, n}, &code, &reason);
    sent = n >= 2 && gl_ws_close_code_may_be_sent(bytes[0] << 8 | bytes[1]);
    if (n == 0) {
        REQUIRE(r == 0 && code == GL_WS_CODE_NONE && reason.n == 0);
    } else if (!sent) {
        REQUIRE(r == -EPROTO && code == 0);
    } else if (!is_utf8(bytes + 2, n - 2)) {
        REQUIRE(r == -EILSEQ && code == 0);
    } else {
        REQUIRE(r == 0 && code == (bytes[0] << 8 | bytes[1]));
        REQUIRE(reason.p == copy + 2 && reason.n == n - 2);
    }
    free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    check_head(bytes, n);
    check_mask(bytes, n);
    check_utf8(bytes, n);
    check_close(bytes, n);
    return 0;
}
