/* proxy_header.c - the PROXY protocol, versions 1 and 2.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/proxy_header.h"

#include <string.h>

#define V1_MAX_BYTES 107 /* with its CRLF (section 2.1) */
#define V2_HEAD_BYTES 16

/* The fields of version 2 (section 2.2). */
enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_UNSPEC = 0, V2_INET = 1, V2_INET6 = 2, V2_UNIX = 3 };
enum { V2_ANY = 0, V2_STREAM = 1 };

/* A string literal has one NUL more than it shows. */
static const char v1_signature[] = "PROXY ";
static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

/* Whether the bytes are the signature, or as much of it as there are. */
static bool
may_be(struct gl_str bytes, const char *signature, size_t n)
{
    return memcmp(bytes.p, signature, bytes.n < n ? bytes.n : n) == 0;
}

/* --- version 1 -------------------------------------------------------- */

/* Cuts the word before the next single space, or the last one, off *line.
 * A word may be empty: who reads it refuses that. */
static struct gl_str
next_word(struct gl_str *line)
{
    const char *space = line->n > 0 ? memchr(line->p, ' ', line->n) : NULL;
    struct gl_str word;

    if (space == NULL) {
        return gl_str_take(line, line->n);
    }
    word = gl_str_take(line, (size_t)(space - line->p));
    (void)gl_str_take(line, 1);
    return word;
}

static bool
parse_port(struct gl_str text, uint16_t *ret_port)
{
    unsigned value = 0;

    if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text.p[i] - '0');
    }
    *ret_port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* An address written in the form of one family. */
static bool
parse_address(struct gl_str text, bool v6, struct gl_address *ret_address)
{
    bool colon = text.n > 0 && memchr(text.p, ':', text.n) != NULL;

    return colon == v6 && gl_address_parse(text, ret_address);
}

/* The line between "PROXY " and CRLF. */
static enum gl_proxy_result
parse_line(struct gl_str line, struct gl_proxy_header *h)
{
    struct gl_str family = next_word(&line);
    bool v6 = gl_str_eq(family, GL_STR("TCP6"));
    struct gl_address target;
    uint16_t target_port;

    if (gl_str_eq(family, GL_STR("UNKNOWN"))) {
        h->source = GL_PROXY_UNKNOWN; /* what follows is to be ignored */
        return GL_PROXY_DONE;
    }
    h->source = GL_PROXY_CLIENT;
    if ((!v6 && !gl_str_eq(family, GL_STR("TCP4"))) ||
        !parse_address(next_word(&line), v6, &h->address) ||
        !parse_address(next_word(&line), v6, &target) ||
        !parse_port(next_word(&line), &h->port) ||
        !parse_port(line, &target_port)) { /* a space in it is no digit */
        return GL_PROXY_BAD;
    }
    return GL_PROXY_DONE;
}

static enum gl_proxy_result
parse_v1(struct gl_str bytes, struct gl_proxy_header *h)
{
    size_t most = bytes.n < V1_MAX_BYTES ? bytes.n : V1_MAX_BYTES;
    size_t begin = sizeof(v1_signature) - 1, n = begin;

    while (n < most && (unsigned char)bytes.p[n] >= ' ') {
        n++;
    }
    if (n >= most) { /* no line end yet */
        return bytes.n < V1_MAX_BYTES ? GL_PROXY_MORE : GL_PROXY_BAD;
    }
    if (bytes.p[n] != '\r' || n + 2 > V1_MAX_BYTES) {
        return GL_PROXY_BAD;
    }
    if (n + 1 == bytes.n) {
        return GL_PROXY_MORE;
    }
    if (bytes.p[n + 1] != '\n') {
        return GL_PROXY_BAD;
    }
    h->size = n + 2;
    return parse_line((struct gl_str){bytes.p + begin, n - begin}, h);
}

/* --- version 2 -------------------------------------------------------- */

static uint16_t
be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* The least length of what follows the first 16 bytes; -1: no such family or
 * transport. */
static int
least_length(unsigned family, unsigned transport)
{
    if (transport > V2_STREAM) {
        return -1;
    }
    switch (family) {
    case V2_UNSPEC:
        return 0;
    case V2_INET:
        return 4 + 4 + 2 + 2;
    case V2_INET6:
        return 16 + 16 + 2 + 2;
    case V2_UNIX:
        return 108 + 108;
    default:
        return -1;
    }
}

static void
take_client(const uint8_t *at, unsigned family, struct gl_proxy_header *h)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    h->source = GL_PROXY_CLIENT;
    if (family == V2_INET6) {
        memcpy(h->address.bytes, at, 16);
        h->port = be16(at + 32);
    } else {
        memcpy(h->address.bytes, mapped, sizeof(mapped));
        memcpy(h->address.bytes + sizeof(mapped), at, 4);
        h->port = be16(at + 8);
    }
}

static enum gl_proxy_result
parse_v2(struct gl_str bytes, struct gl_proxy_header *h)
{
    const uint8_t *b = (const uint8_t *)bytes.p;
    size_t at = sizeof(v2_signature) - 1, length;
    unsigned family, transport;
    int least = 0;

    if (bytes.n > at && b[at] != V2_LOCAL && b[at] != V2_PROXY) {
        return GL_PROXY_BAD;
    }
    if (bytes.n < V2_HEAD_BYTES) {
        return GL_PROXY_MORE;
    }
    family = b[at + 1] >> 4;
    transport = b[at + 1] & 15;
    length = be16(b + at + 2);
    h->source = b[at] == V2_LOCAL ? GL_PROXY_LOCAL : GL_PROXY_UNKNOWN;
    if (h->source != GL_PROXY_LOCAL) { /* which says nothing of addresses */
        least = least_length(family, transport);
    }
    if (least < 0 || length < (size_t)least ||
        length > GL_PROXY_HEADER_MAX - V2_HEAD_BYTES) {
        return GL_PROXY_BAD;
    }
    h->size = V2_HEAD_BYTES + length;
    if (bytes.n < h->size) {
        return GL_PROXY_MORE;
    }
    if (h->source != GL_PROXY_LOCAL && transport == V2_STREAM &&
        (family == V2_INET || family == V2_INET6)) {
        take_client(b + V2_HEAD_BYTES, family, h);
    }
    return GL_PROXY_DONE;
}

enum gl_proxy_result
gl_proxy_header_parse(struct gl_str bytes, struct gl_proxy_header *ret_header)
{
    struct gl_proxy_header found = {0};
    size_t v1 = sizeof(v1_signature) - 1, v2 = sizeof(v2_signature) - 1;
    enum gl_proxy_result result = GL_PROXY_MORE;

    if (bytes.n == 0) {
        return GL_PROXY_MORE;
    }
    if (may_be(bytes, v1_signature, v1)) {
        result = bytes.n > v1 ? parse_v1(bytes, &found) : GL_PROXY_MORE;
    } else if (may_be(bytes, v2_signature, v2)) {
        result = bytes.n > v2 ? parse_v2(bytes, &found) : GL_PROXY_MORE;
    } else {
        return GL_PROXY_BAD;
    }
    if (result == GL_PROXY_DONE) {
        *ret_header = found;
    }
    return result;
}
