/* http_conditional.h - whether a GET or HEAD of a representation is answered
 * with it, with a part of it, or with 304, 412 or 416.
 *
 * RFC 9110, section 13, in the precedence of 13.2.2, and 14.2.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP_CONDITIONAL_H
#define GL_PROTO_HTTP_CONDITIONAL_H

#include "base/str.h"
#include "proto/http_range.h"

#include <stdbool.h>
#include <stdint.h>

/* The fields of the request; p is NULL for one that was not sent. */
struct gl_conditions {
    struct gl_str if_match;
    struct gl_str if_none_match;
    struct gl_str if_modified_since;
    struct gl_str if_unmodified_since;
    struct gl_str if_range;
    struct gl_str range;
};

/* What a representation is recognised by. */
struct gl_validators {
    struct gl_str etag; /* a strong one, with its quotes */
    int64_t modified;   /* seconds since 1970 */
    uint64_t size;
};

struct gl_selection {
    int status;           /* 200, 206, 304, 412 or 416 */
    unsigned range_count; /* with 206 */
    struct gl_range ranges[GL_RANGES_MAX];
};

/* Chooses the answer; `now` is in seconds since 1970. */
void gl_http_select(const struct gl_conditions *c,
                    const struct gl_validators *v, int64_t now,
                    struct gl_selection *ret);

#endif
