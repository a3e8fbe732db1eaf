/* ws_frame.c - frames of WebSocket (RFC 6455, sections 5 and 7.4).
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/ws_frame.h"

#include "base/gl.h"
#include "proto/utf8.h"

#include <errno.h>

#define FIN 0x80
#define RSV1 0x40
#define RSV2_RSV3 0x30
#define OPCODE 0x0f
#define CONTROL 0x08 /* the bit of an opcode */
#define MASKED 0x80
#define LENGTH 0x7f
#define LENGTH_16 126 /* two bytes of length follow */
#define LENGTH_64 127 /* eight */
#define MASK_STEP 32

static bool
is_opcode(unsigned opcode)
{
    return opcode <= GL_WS_BINARY ||
           (opcode >= GL_WS_CLOSE && opcode <= GL_WS_PONG);
}

static bool
first_byte_is_valid(unsigned char b)
{
    unsigned opcode = b & OPCODE;

    return (b & RSV2_RSV3) == 0 && is_opcode(opcode) &&
           ((opcode & CONTROL) == 0 || (b & (FIN | RSV1)) == FIN);
}

static uint64_t
big_endian(const char *p, size_t n)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        value = value << 8 | (unsigned char)p[i];
    }
    return value;
}

static bool
is_shortest(size_t more, uint64_t length)
{
    return more == 0 || (more == 2 && length >= LENGTH_16) ||
           (more == 8 && length > UINT16_MAX && length <= INT64_MAX);
}

int
gl_ws_frame_parse(struct gl_str in, struct gl_ws_frame *ret_frame)
{
    struct gl_ws_frame frame = {0};
    size_t more, size;
    unsigned char first;

    if (in.n == 0) {
        return 0;
    }
    first = (unsigned char)in.p[0];
    if (!first_byte_is_valid(first)) {
        return -EPROTO;
    }
    if (in.n < 2) {
        return 0;
    }
    frame.fin = (first & FIN) != 0;
    frame.rsv1 = (first & RSV1) != 0;
    frame.opcode = first & OPCODE;
    frame.masked = (in.p[1] & MASKED) != 0;
    frame.length = in.p[1] & LENGTH;
    if ((frame.opcode & CONTROL) && frame.length > GL_WS_CONTROL_MAX_BYTES) {
        return -EPROTO;
    }
    more = frame.length == LENGTH_16 ? 2 : frame.length == LENGTH_64 ? 8 : 0;
    if (in.n < 2 + more) {
        return 0;
    }
    if (more > 0) {
        frame.length = big_endian(in.p + 2, more);
    }
    if (!is_shortest(more, frame.length)) {
        return -EPROTO;
    }
    size = 2 + more + (frame.masked ? sizeof(frame.mask) : 0);
    if (in.n < size) {
        return 0;
    }
    if (frame.masked) {
        memcpy(frame.mask, in.p + size - sizeof(frame.mask),
               sizeof(frame.mask));
    }
    frame.size = (uint8_t)size;
    *ret_frame = frame;
    return (int)size;
}

void
gl_ws_mask(char *bytes, size_t n, const uint8_t mask[4], uint64_t at)
{
    uint8_t turned[sizeof(uint64_t)];
    uint64_t key, words[MASK_STEP / sizeof(uint64_t)];
    size_t i = 0;

    for (size_t j = 0; j < sizeof(turned); j++) {
        turned[j] = mask[(at + j) % 4];
    }
    memcpy(&key, turned, sizeof(key));
    for (; n - i >= MASK_STEP; i += MASK_STEP) {
        memcpy(words, bytes + i, sizeof(words));
        words[0] ^= key;
        words[1] ^= key;
        words[2] ^= key;
        words[3] ^= key;
        memcpy(bytes + i, words, sizeof(words));
    }
    for (; n - i >= sizeof(key); i += sizeof(key)) {
        memcpy(words, bytes + i, sizeof(key));
        words[0] ^= key;
        memcpy(bytes + i, words, sizeof(key));
    }
    for (; i < n; i++) {
        bytes[i] = (char)(bytes[i] ^ turned[i % sizeof(turned)]);
    }
}

static void
put_big_endian(char *dst, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = (char)(unsigned char)(value >> (8 * (n - 1 - i)));
    }
}

size_t
gl_ws_frame_write(char *dst, enum gl_ws_opcode opcode, bool rsv1,
                  uint64_t length)
{
    assert(length <= INT64_MAX);
    dst[0] = (char)(unsigned char)(FIN | (rsv1 ? RSV1 : 0) | opcode);
    if (length < LENGTH_16) {
        dst[1] = (char)length;
        return 2;
    }
    if (length <= UINT16_MAX) {
        dst[1] = LENGTH_16;
        put_big_endian(dst + 2, length, 2);
        return 4;
    }
    dst[1] = LENGTH_64;
    put_big_endian(dst + 2, length, 8);
    return 10;
}

/* Of the registered codes, 1004 is reserved, 1005, 1006 and 1015 are never
 * sent (section 7.4.1); 1012 to 1014 came after the RFC. */
bool
gl_ws_close_code_may_be_sent(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

int
gl_ws_close_parse(struct gl_str payload, int *ret_code,
                  struct gl_str *ret_reason)
{
    struct gl_utf8 utf8 = {0};
    int code;

    if (payload.n == 0) {
        *ret_code = GL_WS_CODE_NONE;
        *ret_reason = (struct gl_str){NULL, 0};
        return 0;
    }
    if (payload.n < 2) {
        return -EPROTO;
    }
    code = (int)big_endian(gl_str_take(&payload, 2).p, 2);
    if (!gl_ws_close_code_may_be_sent(code)) {
        return -EPROTO;
    }
    if (!gl_utf8_feed(&utf8, payload.p, payload.n) ||
        !gl_utf8_complete(&utf8)) {
        return -EILSEQ;
    }
    *ret_code = code;
    *ret_reason = payload;
    return 0;
}
