/* forwarded.h - what a trusted proxy says in a request's fields of who asked
 * it, and how: X-Forwarded-* or Forwarded (RFC 7239).
 *
 *  - Each field is believed only if it was named: a proxy passes on, as its
 *    client sent them, the fields that it does not write itself.
 *  - Lists are read from their right end, where the nearest proxy wrote.
 *    The client is the last address that is no trusted proxy's, or, of
 *    trusted ones alone, the first.  What stands left of it is not read.
 *  - Fields that do not parse say nothing, and leave what the connection
 *    itself says.
 *  - Several lines of a field are one list, in their order.
 *
 * Whether the peer is trusted at all is the caller's affair.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_FORWARDED_H
#define GL_PROTO_FORWARDED_H

#include "base/networks.h"
#include "base/str.h"
#include "proto/head.h"

#include <stdbool.h>
#include <stdint.h>

/* Bits of gl_trust.fields. */
enum {
    GL_TRUST_X_FOR = 1,
    GL_TRUST_X_PROTO = 2,
    GL_TRUST_X_HOST = 4,
    GL_TRUST_X_PORT = 8,
    GL_TRUST_X_SSL = 16,
    GL_TRUST_FORWARDED = 32,
    GL_TRUST_DEFAULT = GL_TRUST_X_FOR | GL_TRUST_X_PROTO
};

struct gl_trust { /* zeroed: nobody */
    struct gl_networks proxies;
    unsigned fields; /* that are believed */
};

enum gl_forwarded_scheme {
    GL_SCHEME_UNSAID,
    GL_SCHEME_HTTP,
    GL_SCHEME_HTTPS
};

struct gl_forwarded {
    struct gl_address client;
    uint16_t client_port; /* 0: unsaid */
    bool has_client;
    enum gl_forwarded_scheme scheme;
    struct gl_str
        host;      /* in the head's bytes; with its port; n == 0: unsaid */
    uint16_t port; /* 0: unsaid */
};

/* The bit of a field's lower-case name; 0: there is none. */
unsigned gl_trust_field(struct gl_str name);
/* Reads the fields of a head. */
struct gl_forwarded gl_forwarded_read(const struct gl_trust *trust,
                                      const char *bytes,
                                      const struct gl_head *head);
/* The port at the end of a host as gl_forwarded has it; 0: it has none.
 * *ret_name is the rest. */
uint16_t gl_forwarded_host_port(struct gl_str host, struct gl_str *ret_name);

#endif
