/* http1_chunked.c - incremental decoder of the chunked transfer coding.
 *
 * A state machine that takes one byte of framing at a time, and runs of body
 * bytes at once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proto/http1_chunked.h"

#include "proto/http_tables.h"

#define SIZE_DIGITS_MAX 16
#define SIZE_MAX_BYTES (UINT64_C(1) << 60)
#define EXTENSION_MAX_BYTES 256
#define TRAILERS_MAX_BYTES 8192
/* One-byte chunks have five bytes of framing each; who sends much more than
 * that wants to keep us busy. */
#define FRAMING_FREE_BYTES 16384
#define FRAMING_PER_BODY_BYTE 8

enum {
    SIZE_FIRST,
    SIZE_NEXT,
    EXT_START, /* after a ';' */
    EXT_NAME,
    EXT_NAME_END, /* blanks behind it: '=' or ';' must follow */
    EXT_VALUE_START,
    EXT_VALUE,
    EXT_VALUE_END, /* blanks behind it: ';' must follow */
    EXT_QUOTED,
    EXT_ESCAPED, /* after a backslash in quotes */
    EXT_QUOTED_END,
    SIZE_LF,
    BODY,
    BODY_CR,
    BODY_LF,
    TRAILER_START, /* at the start of a trailer line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE,
    BAD
};

static int
hex_value(unsigned char b)
{
    if (b >= '0' && b <= '9') {
        return b - '0';
    }
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static uint8_t
size_byte(struct gl_chunked *c, unsigned char b)
{
    int digit = hex_value(b);

    if (digit >= 0) {
        c->left = c->left * 16 + (uint64_t)digit;
        return ++c->line <= SIZE_DIGITS_MAX && c->left <= SIZE_MAX_BYTES
                   ? SIZE_NEXT
                   : BAD;
    }
    if (c->state == SIZE_FIRST) {
        return BAD; /* a size has at least one digit */
    }
    c->line = 0;
    return b == '\r' ? SIZE_LF : b == ';' ? EXT_START : BAD;
}

/* In quotes: to the closing one. */
static uint8_t
quoted_byte(uint8_t state, unsigned char b)
{
    if (!(gl_http_class[b] & GL_CLASS_VALUE)) {
        return BAD;
    }
    if (state == EXT_ESCAPED) {
        return EXT_QUOTED;
    }
    return b == '"' ? EXT_QUOTED_END : b == '\\' ? EXT_ESCAPED : EXT_QUOTED;
}

/* What ends a name or a value, or stands behind it. */
static uint8_t
extension_end(uint8_t state, unsigned char b)
{
    bool named = state == EXT_NAME || state == EXT_NAME_END;

    if (b == ';') {
        return EXT_START;
    }
    if (b == '=' && named) {
        return EXT_VALUE_START;
    }
    if (b == ' ' || b == '\t') {
        return named ? EXT_NAME_END : EXT_VALUE_END;
    }
    return b == '\r' && state != EXT_NAME_END && state != EXT_VALUE_END
               ? SIZE_LF
               : BAD;
}

/* BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ], but for blanks
 * before the first ';'.  Two parsers that skip unequal nonsense here may end
 * the line at unequal places. */
static uint8_t
extension_byte(struct gl_chunked *c, unsigned char b)
{
    bool token = gl_http_class[b] & GL_CLASS_TOKEN;

    if (b != '\r' && ++c->line > EXTENSION_MAX_BYTES) {
        return BAD;
    }
    switch (c->state) {
    case EXT_START:
        return token ? EXT_NAME : b == ' ' || b == '\t' ? EXT_START : BAD;
    case EXT_VALUE_START:
        if (b == '"') {
            return EXT_QUOTED;
        }
        return token                   ? EXT_VALUE
               : b == ' ' || b == '\t' ? EXT_VALUE_START
                                       : BAD;
    case EXT_QUOTED:
    case EXT_ESCAPED:
        return quoted_byte(c->state, b);
    case EXT_NAME:
    case EXT_VALUE:
        return token ? c->state : extension_end(c->state, b);
    default:
        return extension_end(c->state, b);
    }
}

/* The value of a trailer, which is only checked: to its CR. */
static uint8_t
trailer_value_byte(struct gl_chunked *c, unsigned char b)
{
    if (b == '\r') {
        return TRAILER_LF;
    }
    return (gl_http_class[b] & GL_CLASS_VALUE) &&
                   ++c->line <= TRAILERS_MAX_BYTES
               ? TRAILER_VALUE
               : BAD;
}

static uint8_t
trailer_byte(struct gl_chunked *c, unsigned char b)
{
    if (++c->line > TRAILERS_MAX_BYTES) {
        return BAD;
    }
    if (c->state == TRAILER_START && b == '\r') {
        return END_LF;
    }
    if (gl_http_class[b] & GL_CLASS_TOKEN) {
        return TRAILER_NAME;
    }
    return c->state == TRAILER_NAME && b == ':' ? TRAILER_VALUE : BAD;
}

/* Takes one byte that is not body; returns the next state. */
static uint8_t
next_state(struct gl_chunked *c, unsigned char b)
{
    switch (c->state) {
    case SIZE_FIRST:
    case SIZE_NEXT:
        return size_byte(c, b);
    case EXT_START:
    case EXT_NAME:
    case EXT_NAME_END:
    case EXT_VALUE_START:
    case EXT_VALUE:
    case EXT_VALUE_END:
    case EXT_QUOTED:
    case EXT_ESCAPED:
    case EXT_QUOTED_END:
        return extension_byte(c, b);
    case SIZE_LF:
        c->line = 0;
        return b != '\n' ? BAD : c->left > 0 ? BODY : TRAILER_START;
    case BODY_CR:
        return b == '\r' ? BODY_LF : BAD;
    case BODY_LF:
        return b == '\n' ? SIZE_FIRST : BAD;
    case TRAILER_START:
    case TRAILER_NAME:
        return trailer_byte(c, b);
    case TRAILER_VALUE:
        return trailer_value_byte(c, b);
    case TRAILER_LF:
        return b == '\n' ? TRAILER_START : BAD;
    case END_LF:
        return b == '\n' ? DONE : BAD;
    default:
        return BAD;
    }
}

static void
take_framing(struct gl_chunked *c, unsigned char b)
{
    c->state = next_state(c, b);
    c->framing++;
    if (c->framing > FRAMING_FREE_BYTES &&
        (c->framing - FRAMING_FREE_BYTES) / FRAMING_PER_BODY_BYTE > c->body) {
        c->state = BAD;
    }
}

enum gl_chunk_event
gl_chunked_step(struct gl_chunked *c, struct gl_str *in, struct gl_str *data)
{
    while (in->n > 0 && c->state != BAD && c->state != DONE) {
        if (c->state == BODY) {
            size_t n = c->left < in->n ? (size_t)c->left : in->n;

            *data = gl_str_take(in, n);
            c->left -= n;
            c->body += n;
            c->state = c->left > 0 ? BODY : BODY_CR;
            return GL_CHUNK_DATA;
        }
        take_framing(c, (unsigned char)*gl_str_take(in, 1).p);
    }
    if (c->state == DONE) {
        return GL_CHUNK_END;
    }
    return c->state == BAD ? GL_CHUNK_BAD : GL_CHUNK_MORE;
}
