/* http_range.h - which bytes of a representation a Range field asks for.
 *
 * RFC 9110, section 14.1.2 and 14.2.  What is malformed, of another unit, of
 * too many or of overlapping ranges is answered with the whole, which is
 * always allowed, and never costs more than one answer of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP_RANGE_H
#define GL_PROTO_HTTP_RANGE_H

#include "base/str.h"

#include <stdint.h>

#define GL_RANGES_MAX 8

struct gl_range {
    uint64_t at;
    uint64_t size; /* > 0 */
};

enum gl_range_result {
    GL_RANGE_WHOLE, /* 200: the field is as if it were not there */
    GL_RANGE_PARTS, /* 206 */
    GL_RANGE_NONE   /* 416: none of the ranges begins within it */
};

/* Reads the field's value for a representation of `size` bytes.  With PARTS,
 * ranges[0..*ret_count) lie within it, in the order of the field, and do not
 * overlap. */
enum gl_range_result gl_http_range_parse(
    struct gl_str value, uint64_t size, struct gl_range ranges[GL_RANGES_MAX],
    unsigned *ret_count);

#endif
