/* sha1.c - SHA-1 (FIPS 180-4, sections 4 to 6), in its plainest form.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/sha1.h"

#include "base/gl.h"

#define ROUNDS 80
#define LENGTH_BYTES 8 /* at the end of the last block */

static uint32_t
rotate(uint32_t x, unsigned bits)
{
    return x << bits | x >> (32 - bits);
}

/* Big-endian, as all of SHA-1 is. */
static uint32_t
word_at(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static void
put_word(unsigned char *dst, uint32_t word)
{
    for (unsigned i = 0; i < 4; i++) {
        dst[i] = (unsigned char)(word >> (24 - 8 * i));
    }
}

/* The function and the constant of a round (sections 4.1.1 and 4.2.1). */
static uint32_t
mix(int round, uint32_t b, uint32_t c, uint32_t d)
{
    switch (round / 20) {
    case 0:
        return ((b & c) | (~b & d)) + 0x5a827999U;
    case 1:
        return (b ^ c ^ d) + 0x6ed9eba1U;
    case 2:
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcU;
    default:
        return (b ^ c ^ d) + 0xca62c1d6U;
    }
}

static void
take_block(struct gl_sha1 *h)
{
    uint32_t w[ROUNDS];
    uint32_t a = h->words[0], b = h->words[1], c = h->words[2];
    uint32_t d = h->words[3], e = h->words[4];

    for (int t = 0; t < ROUNDS; t++) {
        uint32_t next;

        w[t] = t < 16
                   ? word_at(h->block + 4 * t)
                   : rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        next = rotate(a, 5) + mix(t, b, c, d) + e + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h->words[0] += a;
    h->words[1] += b;
    h->words[2] += c;
    h->words[3] += d;
    h->words[4] += e;
}

void
gl_sha1_init(struct gl_sha1 *h)
{
    static const uint32_t start[GL_SHA1_BYTES / 4] = {
        0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U, 0xc3d2e1f0U};

    h->length = 0;
    memcpy(h->words, start, sizeof(start));
}

void
gl_sha1_feed(struct gl_sha1 *h, struct gl_str bytes)
{
    while (bytes.n > 0) {
        size_t at = h->length % GL_SHA1_BLOCK_BYTES;
        size_t room = GL_SHA1_BLOCK_BYTES - at;
        struct gl_str piece =
            gl_str_take(&bytes, bytes.n < room ? bytes.n : room);

        memcpy(h->block + at, piece.p, piece.n);
        h->length += piece.n;
        if (piece.n == room) {
            take_block(h);
        }
    }
}

void
gl_sha1_end(struct gl_sha1 *h, unsigned char dst[GL_SHA1_BYTES])
{
    static const char padding[GL_SHA1_BLOCK_BYTES] = {'\x80'};
    uint64_t bits = h->length * 8;
    size_t at = h->length % GL_SHA1_BLOCK_BYTES;
    size_t end = GL_SHA1_BLOCK_BYTES - LENGTH_BYTES;
    unsigned char length[LENGTH_BYTES];

    put_word(length, (uint32_t)(bits >> 32));
    put_word(length + 4, (uint32_t)bits);
    gl_sha1_feed(h, (struct gl_str){padding, (at < end ? 0 : 64) + end - at});
    gl_sha1_feed(h, (struct gl_str){(const char *)length, sizeof(length)});
    assert(h->length % GL_SHA1_BLOCK_BYTES == 0);
    for (size_t i = 0; i < GL_SHA1_BYTES / 4; i++) {
        put_word(dst + 4 * i, h->words[i]);
    }
}
