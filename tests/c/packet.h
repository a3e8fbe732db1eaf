/* packet.h - uwsgi packets from text.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_TESTS_PACKET_H
#define GL_TESTS_PACKET_H

#include <stddef.h>
#include <string.h>

#define PACKET_BYTES 8192

static inline size_t
packet_put(char *dst, size_t at, const char *bytes, size_t n)
{
    dst[at] = (char)(n & 0xff);
    dst[at + 1] = (char)(n >> 8);
    memcpy(dst + at + 2, bytes, n);
    return at + 2 + n;
}

/* Writes a packet with the variables of `text`, "NAME=value|NAME=value" (at
 * most PACKET_BYTES of it all).  Returns its size. */
static inline size_t
packet_write(char dst[PACKET_BYTES], unsigned char modifier1,
             const char *text)
{
    size_t at = 4;

    while (*text != '\0') {
        size_t name = strcspn(text, "="), value;

        at = packet_put(dst, at, text, name);
        text += name + (text[name] == '=');
        value = strcspn(text, "|");
        at = packet_put(dst, at, text, value);
        text += value + (text[value] == '|');
    }
    dst[0] = (char)modifier1;
    dst[1] = (char)((at - 4) & 0xff);
    dst[2] = (char)((at - 4) >> 8);
    dst[3] = 0;
    return at;
}

#endif
