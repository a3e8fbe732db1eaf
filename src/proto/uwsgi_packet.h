/* uwsgi_packet.h - parser of a uwsgi packet that carries a request.
 *
 * Four bytes (modifier1, the block's size as 16 bits with the low byte first,
 * modifier2), then the block: pairs of a variable's name and its value, each
 * with its own 16-bit size before it.  The body follows: CONTENT_LENGTH bytes
 * as they are.  No I/O, no allocation, no Python.
 *
 *  - Input may be cut at any byte; the result never depends on the cuts.
 *    Work is linear in the bytes, however they are cut.
 *  - The result is a struct gl_head: each variable is a field, in the order
 *    in which they came, with its gl_var_id, and its gl_field_id if it is
 *    HTTP_*; the method, target, path, query and length of the body are taken
 *    out of the variables, the last one of a name winning.
 *  - Strict where the end of a request could be doubted: the pairs fill the
 *    block exactly, names are not empty, one CONTENT_LENGTH of digits only,
 *    and no chunked body.
 *  - Values hold no NUL; those that come from an HTTP message hold no other
 *    control byte either (HTAB excepted).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_UWSGI_PACKET_H
#define GL_PROTO_UWSGI_PACKET_H

#include "proto/head.h"

#include <stddef.h>

#define GL_PACKET_HEADER_BYTES 4

/* Values of modifier1 (the first byte of a head's bytes). */
enum {
    GL_MODIFIER_WSGI = 0,
    GL_MODIFIER_SCRIPT_NAME = 30, /* WSGI; SCRIPT_NAME begins PATH_INFO */
    GL_MODIFIER_PING = 100
};

enum gl_packet_result {
    GL_PACKET_DONE,         /* head->size bytes are the head */
    GL_PACKET_MORE,         /* call again with more bytes */
    GL_PACKET_PING,         /* modifier1 100, modifier2 0: no request */
    GL_PACKET_OTHER_SPEECH, /* the start of HTTP or TLS: 400 */
    GL_PACKET_MODIFIER,     /* a modifier1 that is not served */
    GL_PACKET_TOO_LARGE,    /* 431: over head_max_bytes */
    GL_PACKET_TOO_MANY,     /* 431: too many fields or variables */
    GL_PACKET_EMPTY,        /* 400: no variables */
    GL_PACKET_BAD_SIZES,    /* 400: the pairs do not fill the block */
    GL_PACKET_BAD_TEXT,     /* 400: bytes that a name or value cannot have */
    GL_PACKET_BAD_LENGTH,   /* 400: CONTENT_LENGTH twice, or no number */
    GL_PACKET_NO_METHOD,    /* 400: without REQUEST_METHOD */
    GL_PACKET_NO_LENGTH     /* 411: a chunked body */
};

/* What a variable is (gl_field.var of a packet's head). */
enum gl_var_id {
    GL_VAR_OTHER,    /* as it is */
    GL_VAR_FIELD,    /* HTTP_*: a field of the HTTP message */
    GL_VAR_COOKIE,   /* HTTP_COOKIE */
    GL_VAR_DROPPED,  /* HTTP_*: not for applications; see uwsgi_packet.c */
    GL_VAR_RESERVED, /* a name that only the server itself may give */
    GL_VAR_METHOD,
    GL_VAR_URI,
    GL_VAR_PATH,
    GL_VAR_QUERY,
    GL_VAR_SCRIPT,
    GL_VAR_LENGTH,
    GL_VAR_TYPE,
    GL_VAR_PROTOCOL,
    GL_VAR_ADDR,
    GL_VAR_PORT,
    GL_VAR_USER,
    GL_VAR_SCHEME, /* UWSGI_SCHEME */
    GL_VAR_HTTPS
};

struct gl_packet_limits {
    uint32_t head_max_bytes; /* header and block */
    uint32_t fields_max;     /* HTTP_* variables; GL_HEAD_FIELDS_MAX bounds
                              * all of them */
};

/* Makes `head` ready for a new packet (the field table is not touched). */
void gl_uwsgi_packet_init(struct gl_head *head);
/* Parses bytes[0..n), always from the first byte of the packet; on later
 * calls for the same packet the earlier bytes are the same, at any address.
 * After an error, head->size is the packet's header and block if
 * modifier1 promised a request. */
enum gl_packet_result gl_uwsgi_packet_parse(
    struct gl_head *head, const struct gl_packet_limits *limits,
    const char *bytes, size_t n);
/* The status that answers a result; 0: none of HTTP would fit. */
int gl_uwsgi_packet_status(enum gl_packet_result result);

#endif
