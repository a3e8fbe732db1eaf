/* ws_handshake.c - the key of WebSocket's opening handshake.
 *
 * RFC 6455, sections 4.1 and 4.2.2; base64 is that of RFC 4648, section 4.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/ws_handshake.h"

#include "base/sha1.h"

#define KEY_BYTES 24
#define KEY_DIGITS 22                               /* the others are '=' */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* section 1.3 */

static bool
is_base64_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || c == '+' || c == '/';
}

bool
gl_ws_key_is_valid(struct gl_str key)
{
    if (key.n != KEY_BYTES) {
        return false;
    }
    for (size_t i = 0; i < KEY_BYTES; i++) {
        if (i < KEY_DIGITS ? !is_base64_digit(key.p[i]) : key.p[i] != '=') {
            return false;
        }
    }
    return true;
}

/* Writes the 4 digits of 3 bytes. */
static void
put_digits(char *dst, const unsigned char *p)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

    for (unsigned i = 0; i < 4; i++) {
        dst[i] = digits[bits >> (18 - 6 * i) & 63];
    }
}

void
gl_ws_accept(struct gl_str key, char dst[GL_WS_ACCEPT_BYTES])
{
    struct gl_sha1 h;
    unsigned char digest[GL_SHA1_BYTES + 1];

    gl_sha1_init(&h);
    gl_sha1_feed(&h, key);
    gl_sha1_feed(&h, GL_STR(GUID));
    gl_sha1_end(&h, digest);
    digest[GL_SHA1_BYTES] = 0; /* fills the last three up */
    for (size_t i = 0; i < sizeof(digest) / 3; i++) {
        put_digits(dst + 4 * i, digest + 3 * i);
    }
    dst[GL_WS_ACCEPT_BYTES - 1] = '=';
}
