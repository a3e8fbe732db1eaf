/* fuzz_peer.h - what the targets of whole connections share: a transport that
 * moves little at a time, and a log that nobody reads.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_FUZZ_PEER_H
#define GL_FUZZ_PEER_H

#include "base/log.h"
#include "engine/conn.h"
#include "engine/transport.h"

#include <stdbool.h>

#define SIP_BYTES 7

static inline ssize_t
sip_recv(struct gl_conn *conn, void *dst, size_t n, bool *ret_drained)
{
    ssize_t got = gl_transport_plain.recv(
        conn, dst, n < SIP_BYTES ? n : SIP_BYTES, ret_drained);

    *ret_drained = got < 0;
    return got;
}

static inline ssize_t
sip_writev(struct gl_conn *conn, const struct iovec *iov, int count)
{
    struct iovec first = {iov[0].iov_base, iov[0].iov_len < SIP_BYTES
                                               ? iov[0].iov_len
                                               : SIP_BYTES};

    return gl_transport_plain.writev(conn, &first, count > 1 ? 1 : count);
}

static inline int
sip_shutdown_write(struct gl_conn *conn)
{
    return gl_transport_plain.shutdown_write(conn);
}

static inline void
sip_close(struct gl_conn *conn)
{
    gl_transport_plain.close(conn);
}

static const struct gl_transport sip = {
    .name = "sip",
    .scheme = "http",
    .recv = sip_recv,
    .writev = sip_writev,
    .shutdown_write = sip_shutdown_write,
    .close = sip_close,
};

static inline void
be_silent(void *arg, enum gl_log_level level, const char *line, size_t n)
{
    (void)arg;
    (void)level;
    (void)line;
    (void)n;
}

#endif
