/* proxy_header.h - the header by which a proxy says who its client is,
 * before the client's own bytes: the PROXY protocol, versions 1 and 2, as
 * HAProxy's proxy-protocol.txt describes it.
 *
 *  - The parser is given all bytes so far, from the first one on, and says
 *    at the earliest byte that they are no header.
 *  - Version 1 has at most 107 bytes, version 2 at most
 *    GL_PROXY_HEADER_MAX: more is refused.
 *  - The additional values (TLV) of version 2 are skipped unread, and so is
 *    the checksum among them.
 *  - Datagrams are refused: HTTP does not come in any.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_PROTO_PROXY_HEADER_H
#define GL_PROTO_PROXY_HEADER_H

#include "base/networks.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

/* The addresses take 216 bytes at most; the rest is for additional values,
 * such as what the proxy knows of a TLS session. */
#define GL_PROXY_HEADER_MAX 4096

enum gl_proxy_result {
    GL_PROXY_MORE, /* no header yet, and nothing wrong so far */
    GL_PROXY_DONE,
    GL_PROXY_BAD
};

enum gl_proxy_source {
    GL_PROXY_LOCAL,   /* the proxy speaks for itself: a health check */
    GL_PROXY_UNKNOWN, /* it speaks for somebody without an IP address */
    GL_PROXY_CLIENT   /* it speaks for `address` and `port` */
};

struct gl_proxy_header {
    enum gl_proxy_source source;
    struct gl_address address;
    uint16_t port;
    size_t size; /* bytes of the whole header */
};

/* Fills ret_header when the header is whole. */
enum gl_proxy_result gl_proxy_header_parse(
    struct gl_str bytes, struct gl_proxy_header *ret_header);

#endif
