/* http_tables.h - byte classes, status texts and well-known fields of HTTP.
 *
 * RFC 9110, sections 5.1, 5.5, 5.6.2 and 15.  Read-only data.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_HTTP_TABLES_H
#define GL_PROTO_HTTP_TABLES_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bits of gl_http_class[byte]. */
enum {
    GL_CLASS_TOKEN = 1,  /* tchar */
    GL_CLASS_VALUE = 2,  /* field-vchar, obs-text, SP, HTAB */
    GL_CLASS_TARGET = 4, /* 0x21..0x7e without '#' */
    GL_CLASS_DIGIT = 8,
    GL_CLASS_HOST = 16, /* of a reg-name, without '%' (RFC 3986, 3.2.2) */
    GL_CLASS_HEX = 32
};
extern const uint8_t gl_http_class[256];

/* Fields that the server or nearly every client knows.  The order is that of
 * gl_field_name(); GL_FIELD_COUNT ends it. */
enum gl_field_id {
    GL_FIELD_UNKNOWN,
    GL_FIELD_ACCEPT,
    GL_FIELD_ACCEPT_CHARSET,
    GL_FIELD_ACCEPT_ENCODING,
    GL_FIELD_ACCEPT_LANGUAGE,
    GL_FIELD_AUTHORIZATION,
    GL_FIELD_CACHE_CONTROL,
    GL_FIELD_CONNECTION,
    GL_FIELD_CONTENT_LENGTH,
    GL_FIELD_CONTENT_TYPE,
    GL_FIELD_COOKIE,
    GL_FIELD_DATE,
    GL_FIELD_EXPECT,
    GL_FIELD_HOST,
    GL_FIELD_IF_MATCH,
    GL_FIELD_IF_MODIFIED_SINCE,
    GL_FIELD_IF_NONE_MATCH,
    GL_FIELD_IF_RANGE,
    GL_FIELD_IF_UNMODIFIED_SINCE,
    GL_FIELD_KEEP_ALIVE,
    GL_FIELD_ORIGIN,
    GL_FIELD_PRAGMA,
    GL_FIELD_PROXY,
    GL_FIELD_RANGE,
    GL_FIELD_REFERER,
    GL_FIELD_SERVER,
    GL_FIELD_TE,
    GL_FIELD_TRAILER,
    GL_FIELD_TRANSFER_ENCODING,
    GL_FIELD_UPGRADE,
    GL_FIELD_UPGRADE_INSECURE_REQUESTS,
    GL_FIELD_USER_AGENT,
    GL_FIELD_X_FORWARDED_FOR,
    GL_FIELD_X_FORWARDED_HOST,
    GL_FIELD_X_FORWARDED_PROTO,
    GL_FIELD_X_REAL_IP,
    GL_FIELD_X_REQUEST_ID,
    GL_FIELD_X_REQUESTED_WITH,
    GL_FIELD_COUNT
};

/* The id of a field name (a token) in any case, or GL_FIELD_UNKNOWN. */
enum gl_field_id gl_field_lookup(struct gl_str name);
/* The lower-case name of a known id. */
struct gl_str gl_field_name(enum gl_field_id id);

bool gl_http_is_token(struct gl_str s); /* and not empty */
bool gl_http_is_value(struct gl_str s); /* no control byte but HTAB */
/* s equals `lower` (a lower-case ASCII literal) in any case. */
bool gl_http_equals(struct gl_str s, struct gl_str lower);
/* Cuts the next element off a comma-separated list: without the blanks around
 * it, perhaps empty.  Returns false at the end of the list. */
bool gl_http_list_next(struct gl_str *list, struct gl_str *ret_item);
/* The comma-separated list `s` has the token `lower`, in any case. */
bool gl_http_list_has(struct gl_str s, struct gl_str lower);
/* The reason phrase of a registered status, "Unknown" for any other. */
const char *gl_http_reason(int status);

#endif
