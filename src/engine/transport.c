/* transport.c - the plain transport: bytes straight from and to the socket.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine/transport.h"

#include "base/sock.h"
#include "engine/conn.h"

static ssize_t
plain_recv(struct gl_conn *conn, void *dst, size_t n, bool *ret_drained)
{
    ssize_t got = gl_sock_recv(conn->watch.fd, dst, n);

    /* epoll(7): a stream socket that gave less than asked for is empty. */
    *ret_drained = got < (ssize_t)n;
    return got;
}

static ssize_t
plain_writev(struct gl_conn *conn, const struct iovec *iov, int count)
{
    return gl_sock_writev(conn->watch.fd, iov, count);
}

static ssize_t
plain_sendfile(struct gl_conn *conn, int file_fd, off_t *offset, size_t n)
{
    return gl_sock_sendfile(conn->watch.fd, file_fd, offset, n);
}

static int
plain_shutdown_write(struct gl_conn *conn)
{
    return gl_sock_shutdown_write(conn->watch.fd);
}

static void
plain_close(struct gl_conn *conn)
{
    (void)conn; /* nothing is kept beside the descriptor */
}

const struct gl_transport gl_transport_plain = {
    .name = "plain",
    .scheme = "http",
    .recv = plain_recv,
    .writev = plain_writev,
    .sendfile = plain_sendfile,
    .shutdown_write = plain_shutdown_write,
    .close = plain_close,
};
