/* transport.h - how a connection moves bytes: plain here, TLS in src/py.
 *
 * A transport is a const table.  All functions work on a non-blocking
 * connection and return >= 0, or a negative errno; -EAGAIN means "when the
 * descriptor is ready again".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GL_ENGINE_TRANSPORT_H
#define GL_ENGINE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct gl_conn;

struct gl_transport {
    const char *name;
    const char *scheme; /* of wsgi.url_scheme: "http" or "https" */
    /* Receives up to n > 0 bytes; 0: the peer ended its stream.  Sets
     * *ret_drained to whether the next call would surely answer -EAGAIN:
     * the descriptor is edge-triggered, so bytes that were left behind are
     * announced by nobody else. */
    ssize_t (*recv)(struct gl_conn *conn, void *dst, size_t n,
                    bool *ret_drained);
    /* Returns the bytes taken.  After -EAGAIN, or with fewer taken, the
     * next call offers the same bytes again from where it stopped: a
     * transport may have sent a part of them already. */
    ssize_t (*writev)(struct gl_conn *conn, const struct iovec *iov,
                      int count);
    /* Sends on what the transport itself holds; called when the socket takes
     * bytes again.  NULL: it never holds any.  0 or -errno. */
    int (*flush)(struct gl_conn *conn);
    /* Sends up to n bytes of file_fd from *offset and advances *offset.
     * NULL: the caller reads the file itself. */
    ssize_t (*sendfile)(struct gl_conn *conn, int file_fd, off_t *offset,
                        size_t n);
    /* Ends our side of the stream; the peer's may go on. */
    int (*shutdown_write)(struct gl_conn *conn);
    /* Releases what the transport keeps; the engine closes the descriptor. */
    void (*close)(struct gl_conn *conn);
};

extern const struct gl_transport gl_transport_plain;

#endif
