/* utf8.c - checks UTF-8 that comes in pieces (RFC 3629, section 4).
 *
 * Runs of ASCII are passed over 32 bytes at a time.  All else goes through an
 * automaton without branches: a state is a number of bits, and the row of a
 * byte, shifted right by the state, begins with the next state.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/utf8.h"

#include "base/gl.h"

#include <string.h>

#define STATE_BITS 6
#define STATE_MASK ((1U << STATE_BITS) - 1)
#define HIGH_BITS UINT64_C(0x8080808080808080)
#define ASCII_STEP 32
/* Bytes of the automaton between two looks for ASCII. */
#define BLOCK_BYTES 32

/* What must follow: T1, T2, T3: one, two, three bytes 80..BF; the others:
 * the byte after that lead is bounded (E0: not overlong; ED: no surrogate;
 * F0: not overlong; F4: not above U+10FFFF). */
enum {
    WHOLE = 0,
    BAD = STATE_BITS,
    T1 = STATE_BITS * 2,
    T2 = STATE_BITS * 3,
    T3 = STATE_BITS * 4,
    AFTER_E0 = STATE_BITS * 5,
    AFTER_ED = STATE_BITS * 6,
    AFTER_F0 = STATE_BITS * 7,
    AFTER_F4 = STATE_BITS * 8
};

/* The row of a byte that may only start a character, and then leads to
 * `next`. */
#define TO(next, from) ((uint64_t)(next) << (from))
#define LEAD(next)                                                \
    (TO(next, WHOLE) | TO(BAD, BAD) | TO(BAD, T1) | TO(BAD, T2) | \
     TO(BAD, T3) | TO(BAD, AFTER_E0) | TO(BAD, AFTER_ED) |        \
     TO(BAD, AFTER_F0) | TO(BAD, AFTER_F4))
/* The row of a byte 80..BF; the arguments: after the bounded leads. */
#define TAIL(e0, ed, f0, f4)                                               \
    (TO(BAD, WHOLE) | TO(BAD, BAD) | TO(WHOLE, T1) | TO(T1, T2) |          \
     TO(T2, T3) | TO(e0, AFTER_E0) | TO(ed, AFTER_ED) | TO(f0, AFTER_F0) | \
     TO(f4, AFTER_F4))
#define TAIL_8X TAIL(BAD, T1, BAD, T2)
#define TAIL_9X TAIL(BAD, T1, T2, BAD)
#define TAIL_AX_BX TAIL(T1, BAD, T2, BAD)

#define TIMES_2(row) row, row
#define TIMES_3(row) row, row, row
#define TIMES_4(row) TIMES_2(row), TIMES_2(row)
#define TIMES_16(row) TIMES_4(row), TIMES_4(row), TIMES_4(row), TIMES_4(row)

static const uint64_t rows[256] = {
    TIMES_16(LEAD(WHOLE)), /* 00 */
    TIMES_16(LEAD(WHOLE)), /* 10 */
    TIMES_16(LEAD(WHOLE)), /* 20 */
    TIMES_16(LEAD(WHOLE)), /* 30 */
    TIMES_16(LEAD(WHOLE)), /* 40 */
    TIMES_16(LEAD(WHOLE)), /* 50 */
    TIMES_16(LEAD(WHOLE)), /* 60 */
    TIMES_16(LEAD(WHOLE)), /* 70 */
    TIMES_16(TAIL_8X),     TIMES_16(TAIL_9X),  TIMES_16(TAIL_AX_BX),
    TIMES_16(TAIL_AX_BX),  TIMES_2(LEAD(BAD)), /* C0, C1: overlong */
    TIMES_2(LEAD(T1)),     TIMES_4(LEAD(T1)),  TIMES_4(LEAD(T1)),
    TIMES_4(LEAD(T1)),     TIMES_16(LEAD(T1)), LEAD(AFTER_E0),
    TIMES_4(LEAD(T2)), /* E1 to EC */
    TIMES_4(LEAD(T2)),     TIMES_4(LEAD(T2)),  LEAD(AFTER_ED),
    TIMES_2(LEAD(T2)),     LEAD(AFTER_F0),     TIMES_3(LEAD(T3)),
    LEAD(AFTER_F4),        TIMES_3(LEAD(BAD)), /* F5 to F7 */
    TIMES_4(LEAD(BAD)),    TIMES_4(LEAD(BAD)),
};

/* How many bytes at the start are ASCII for sure: a multiple of
 * ASCII_STEP. */
static size_t
ascii_run(const char *bytes, size_t n)
{
    uint64_t words[ASCII_STEP / sizeof(uint64_t)];
    size_t at = 0;

    for (; n - at >= ASCII_STEP; at += ASCII_STEP) {
        memcpy(words, bytes + at, sizeof(words));
        if ((words[0] | words[1] | words[2] | words[3]) & HIGH_BITS) {
            break;
        }
    }
    return at;
}

bool
gl_utf8_feed(struct gl_utf8 *u, const char *bytes, size_t n)
{
    uint64_t state = u->state;
    size_t at = 0;

    while (at < n && state != BAD) {
        size_t end;

        if (state == WHOLE) {
            at += ascii_run(bytes + at, n - at);
        }
        end = n - at < BLOCK_BYTES ? n : at + BLOCK_BYTES;
        for (; at < end; at++) {
            state = rows[(unsigned char)bytes[at]] >> (state & STATE_MASK);
        }
        state &= STATE_MASK;
    }
    u->state = (uint32_t)state;
    return state != BAD;
}

bool
gl_utf8_complete(const struct gl_utf8 *u)
{
    return u->state == WHOLE;
}

static_assert(AFTER_F4 + STATE_BITS <= 64, "a row holds every state");
static_assert(AFTER_F4 <= STATE_MASK, "a state fits its bits");
