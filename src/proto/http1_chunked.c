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
    EXTENSION,
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
    return b == '\r' ? SIZE_LF : b == ';' ? EXTENSION : BAD;
}

/* Bytes of a line that is only checked: to `next` at its CR. */
static uint8_t
text_byte(struct gl_chunked *c, unsigned char b, uint32_t max, uint8_t next)
{
    if (b == '\r') {
        return next;
    }
    return (gl_http_class[b] & GL_CLASS_VALUE) && ++c->line <= max ? c->state
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
    case EXTENSION:
        return text_byte(c, b, EXTENSION_MAX_BYTES, SIZE_LF);
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
        return text_byte(c, b, TRAILERS_MAX_BYTES, TRAILER_LF);
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
