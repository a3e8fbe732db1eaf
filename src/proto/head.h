/* head.h - the head of one request, independent of who parsed it.
 *
 * Text is held as spans: offsets from the first byte of the head, so that a
 * head stays valid when its bytes move.  Whoever keeps a struct gl_head also
 * keeps its bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HEAD_H
#define GL_PROTO_HEAD_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define GL_HEAD_FIELDS_MAX 128 /* the cap of the fields_max option */

struct gl_span {
    uint32_t at; /* offset from the first byte of the head */
    uint32_t n;  /* bytes */
};

struct gl_field {
    struct gl_span name;  /* as sent; never empty; of HTTP: a token */
    struct gl_span value; /* of HTTP: without blanks around; may be empty */
    uint16_t id;          /* enum gl_field_id of http_tables.h; 0: unknown */
    uint16_t var;         /* of a uwsgi packet: enum gl_var_id */
};

struct gl_head {
    struct gl_span method;
    struct gl_span target;    /* as sent */
    struct gl_span path;      /* of the target, raw; empty means "/"; "*" for
                               * the asterisk form */
    struct gl_span query;     /* without its '?'; may be empty */
    struct gl_span authority; /* of an absolute-form target, else empty */
    uint64_t content_length;  /* 0 unless has_length */
    bool has_length;
    bool chunked;         /* Transfer-Encoding: chunked */
    bool keep_alive;      /* what version and Connection ask for */
    bool expect_continue; /* Expect: 100-continue, HTTP/1.1 only */
    bool path_escaped;    /* the path has a '%' */
    uint8_t minor;        /* HTTP/1.minor: 0, or 1 for every later minor */
    uint16_t count;       /* fields in use */
    uint32_t size;    /* bytes of the whole head, its last CRLF included */
    uint32_t at;      /* private to the parser: start of the next line */
    uint32_t scanned; /* private: bytes known to hold no line end */
    uint32_t seen;    /* private: which single-use fields came */
    struct gl_field fields[GL_HEAD_FIELDS_MAX];
};

static inline struct gl_str
gl_span_str(const char *bytes, struct gl_span span)
{
    return (struct gl_str){bytes + span.at, span.n};
}

#endif
