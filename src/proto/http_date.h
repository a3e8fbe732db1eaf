/* http_date.h - the dates of HTTP's fields, read.
 *
 * RFC 9110, section 5.6.7: the form of today and the two obsolete ones.  The
 * name of the day must be one, and is not compared with the date.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP_DATE_H
#define GL_PROTO_HTTP_DATE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads a date into seconds since 1970.  `now` places years of two digits: a
 * date over 50 years ahead of it is one of the past.  Returns false for what
 * is no date, and then *ret_seconds is untouched. */
bool gl_http_date_parse(struct gl_str text, int64_t now,
                        int64_t *ret_seconds);

#endif
